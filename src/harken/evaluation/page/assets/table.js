// The table of utterances. Only the rows in view are elements.

const PRINTED_ROWS = 100;
const NEARBY_ROWS = 8; // kept ready above and below the view

const COLUMNS = [
  { key: "id", name: "Utterance" },
  { key: "speaker", name: "Speaker" },
  { key: "language", name: "Language" },
  { key: "seconds", name: "Length", numeric: true },
  { key: "wer", name: "WER", numeric: true },
  { key: "errors", name: "Errors", numeric: true },
  { key: "text", name: "Said and recognised", sorts: false },
];

const parts = {}; // elements that stand for the life of the page

const table = {
  store: null, number: 0, filter: { ...NO_FILTER }, sort: { key: "wer", descending: true },
  mask: null, order: null, view: new Uint32Array(0), opened: -1, openedHeight: 0, active: 0, rows: new Map(), printing: false, height: 60,
};

function refresh({ filter = false, sort = false } = {}) {
  const { store } = table;
  if (!store) return;
  if (filter || !table.mask) table.mask = filterRows(store, table.filter);
  if (sort || !table.order) table.order = sortRows(store, table.sort.key, table.sort.descending);
  table.view = table.order.filter((row) => table.mask[row]);
  close();
  table.active = 0;
  parts.viewport.scrollTop = 0;
  drawStatus();
  drawHead();
  redraw();
  remember();
}

function drawStatus() {
  const { store, view } = table;
  let words = 0, s = 0, d = 0, i = 0;
  for (const row of view) { words += store.words[row]; s += store.substitutions[row]; d += store.deletions[row]; i += store.insertions[row]; }
  const all = view.length === store.length;
  parts.status.replaceChildren(
    h("b", {}, all ? plural(store.length, "utterance") : `${whole(view.length)} of ${plural(store.length, "utterance")}`),
    ` · ${plural(words, "word")} · `, h("b", {}, `${words ? percent((s + d + i) / words) : "no"} WER`),
    ` · ${plural(s + d + i, "error")}: ${whole(s)} substituted, ${whole(d)} deleted, ${whole(i)} inserted`);
  const { error } = table.filter;
  parts.chips.replaceChildren(...(error ? [h("button", { type: "button", class: "chip", title: "Remove this filter", onclick: () => change({ error: null }) },
    "Only ", errorLabel(error), " ×")] : []));
  parts.clear.hidden = Object.keys(NO_FILTER).every((name) => table.filter[name] === NO_FILTER[name]);
}

function drawHead() {
  parts.head.replaceChildren(...COLUMNS.map((column) => {
    const sorted = table.sort.key === column.key;
    return h("div", { role: "columnheader", class: `cell ${column.key}`, "aria-sort": sorted ? (table.sort.descending ? "descending" : "ascending") : null },
      column.sorts === false ? column.name : h("button", { type: "button", onclick: () => sortBy(column) }, column.name));
  }));
}

function sortBy(column) {
  table.sort = { key: column.key, descending: table.sort.key === column.key ? !table.sort.descending : Boolean(column.numeric) };
  refresh({ sort: true });
  parts.head.querySelector(`.${column.key} button`)?.focus();
}

// Where rows stand: all are equally high, apart from the opened one.

const offsetOf = (place) => place * table.height + (table.opened >= 0 && place > table.opened ? table.openedHeight : 0);

function placeAt(y) {
  const below = (table.opened + 1) * table.height;
  if (table.opened < 0 || y < below) return Math.floor(y / table.height);
  return y < below + table.openedHeight ? table.opened : Math.floor((y - table.openedHeight) / table.height);
}

function redraw() {
  parts.body.replaceChildren();
  table.rows.clear();
  parts.grid.setAttribute("aria-rowcount", table.view.length + 1);
  parts.empty.hidden = table.view.length > 0;
  table.height = Number.parseFloat(getComputedStyle(parts.grid).getPropertyValue("--row-height")) || table.height;
  place();
}

function place() {
  const { view, rows } = table;
  const shown = table.printing ? Math.min(PRINTED_ROWS, view.length) : view.length;
  parts.body.style.height = `${offsetOf(shown - 1) + table.height + (table.opened === shown - 1 && shown ? table.openedHeight : 0)}px`;
  const top = parts.viewport.scrollTop;
  const first = table.printing ? 0 : Math.max(0, placeAt(top) - NEARBY_ROWS);
  const end = table.printing ? shown : Math.min(view.length, placeAt(top + parts.viewport.clientHeight) + NEARBY_ROWS);
  for (const [at, element] of rows) {
    if ((at < first || at >= end) && at !== table.opened) { element.remove(); rows.delete(at); }
  }
  for (let at = first; at < end; at++) {
    if (!rows.has(at)) { const element = rowElement(at); rows.set(at, element); parts.body.append(element); }
  }
  for (const [at, element] of rows) {
    element.style.top = `${offsetOf(at)}px`;
    element.classList.toggle("active", at === table.active);
  }
  parts.viewport.setAttribute("aria-activedescendant", rows.has(table.active) ? `row-${table.active}` : "");
}

function rowElement(at) {
  const { store } = table, row = table.view[at];
  const cell = (key, ...content) => h("div", { role: "gridcell", class: `cell ${key}` }, content);
  const rate = store.words[row] ? percent(store.rate[row], 0) : "no words";
  const marks = [
    store.id[row] in facts.clips ? h("span", { class: "badge", title: "With audio" }, "♪ audio") : null,
    ...(store.flags.get(row) ?? []).map((flag) => h("span", { class: "badge" }, spoken(flag))),
    store.rejected.has(row) && !store.flags.get(row)?.includes("rejected") ? h("span", { class: "badge" }, "rejected") : null,
  ].filter(Boolean);
  return h("div", { role: "row", id: `row-${at}`, class: `row${at % 2 ? " odd" : ""}`, "aria-rowindex": at + 2, "aria-expanded": String(at === table.opened),
    onclick: (event) => { if (!event.target.closest(".detail") && !String(getSelection())) { table.active = at; toggle(at); } } },
    h("div", { class: "line" },
      cell("id", h("span", { class: "name", title: store.id[row] }, store.id[row]), marks.length ? h("span", { class: "marks" }, marks) : null),
      cell("speaker", h("span", { dir: "auto", title: nameOf(facts.names.speakers, store.speaker[row]) }, nameOf(facts.names.speakers, store.speaker[row]) ?? NONE)),
      cell("language", nameOf(facts.names.languages, store.language[row]) ?? NONE),
      cell("seconds", isNumber(store.seconds[row]) ? `${fixed(store.seconds[row], 1)}${THIN}s` : NONE),
      cell("wer", h("b", {}, rate), isNumber(store.rate[row]) ? h("span", { class: "level" }, h("span", { style: { width: share(Math.min(1, store.rate[row]), 1) } })) : null),
      cell("errors", errorCounts(store.substitutions[row], store.deletions[row], store.insertions[row])),
      cell("text", h("div", { class: "diff", dir: directionOf(store.reference[row] || store.hypothesis[row]) }, inlineDiff(pairsOf(store, row))))));
}

// The opened row.

const detailSize = new ResizeObserver((entries) => {
  const height = Math.ceil(entries.at(-1).borderBoxSize[0].blockSize);
  if (table.opened >= 0 && height !== table.openedHeight) { table.openedHeight = height; place(); }
});

function toggle(at) {
  if (table.opened === at) { close(); place(); return; }
  const moved = table.opened >= 0 && table.opened < at ? table.openedHeight : 0;
  close();
  if (moved) parts.viewport.scrollTop -= moved; // the row that was pressed stays where it is
  table.opened = at;
  place();
  const element = table.rows.get(at);
  element.setAttribute("aria-expanded", "true");
  const detail = detailElement(table.view[at]);
  element.append(detail);
  table.openedHeight = Math.ceil(detail.getBoundingClientRect().height);
  detailSize.observe(detail);
  place();
}

function close() {
  const element = table.rows.get(table.opened);
  if (element) {
    detailSize.disconnect();
    element.querySelector(".detail")?.remove();
    element.setAttribute("aria-expanded", "false");
  }
  table.opened = -1;
  table.openedHeight = 0;
}

function detailElement(row) {
  const { store } = table, id = store.id[row];
  const direction = directionOf(store.reference[row] || store.hypothesis[row]);
  const tags = Object.entries(store.tags).map(([key, codes]) => [sentence(spoken(key)), nameOf(facts.names.tags[key], codes[row])]);
  const written = [["Said, as written", store.referenceRaw[row]], ["Recognised, as written", store.hypothesisRaw[row]]].filter(([, text]) => text);
  return h("div", { class: "detail" },
    interlinear(pairsOf(store, row), direction),
    facts.clips[id] && table.number === 0 ? player(id) : null,
    definitions([
      ["Utterance", id],
      ...written.map(([name, text]) => [name, h("span", { dir: "auto" }, text)]),
      ["Could not be recognised", store.rejected.get(row) ?? null],
      ["Speaker", nameOf(facts.names.speakers, store.speaker[row])],
      ["Length", duration(store.seconds[row])],
      ["Latency", store.latency && isNumber(store.latency[row]) ? `${fixed(store.latency[row], 1)}${THIN}ms` : null],
      ["Signal-to-noise", store.snr && isNumber(store.snr[row]) ? `${fixed(store.snr[row], 1)}${THIN}dB` : null],
      ...tags,
      ["Marked", store.flags.get(row)?.map(spoken).join(", ") ?? null],
    ], { class: "method" }),
    otherConditions(id));
}

// The same utterance in the other conditions whose tables the page carries.
function otherConditions(id) {
  const others = facts.tables.map((part, number) => number).filter((number) => number !== table.number);
  if (!others.length) return null;
  const body = h("tbody", {});
  const fillIn = () => others.forEach(async (number) => {
    const line = h("tr", {});
    body.append(line);
    const store = await loadStore(number), row = store.places.get(id);
    if (row === undefined) { line.remove(); return; }
    line.append(h("th", { scope: "row" }, facts.tables[number].name), h("td", { class: "number" }, store.words[row] ? percent(store.rate[row], 0) : "no words"),
      h("td", {}, h("div", { class: "diff", dir: directionOf(store.reference[row]) }, inlineDiff(pairsOf(store, row)))));
  });
  const open = h("details", { class: "others" }, h("summary", {}, "The same utterance in other conditions"), h("table", {}, body));
  open.addEventListener("toggle", fillIn, { once: true });
  return open;
}

function keys(event) {
  if (event.target !== parts.viewport) return;
  const page = Math.max(1, Math.floor(parts.viewport.clientHeight / table.height) - 1);
  const to = { ArrowDown: table.active + 1, ArrowUp: table.active - 1, PageDown: table.active + page, PageUp: table.active - page, Home: 0, End: table.view.length - 1 }[event.key];
  if (to !== undefined) {
    event.preventDefault();
    table.active = Math.max(0, Math.min(table.view.length - 1, to));
    const top = offsetOf(table.active), { viewport } = parts, room = viewport.clientHeight - parts.head.offsetHeight;
    if (top < viewport.scrollTop) viewport.scrollTop = top;
    else if (top + table.height > viewport.scrollTop + room) viewport.scrollTop = top + table.height - room;
    place();
  } else if ((event.key === "Enter" || event.key === " ") && table.view.length) {
    event.preventDefault();
    toggle(table.active);
  } else if (event.key === "Escape" && table.opened >= 0) { close(); place(); }
}

// Rows have another height in a narrow window.
function watchWidth() {
  let width = 0;
  new ResizeObserver(() => {
    if (!table.store || parts.viewport.clientWidth === width) return;
    width = parts.viewport.clientWidth;
    const first = placeAt(parts.viewport.scrollTop);
    close();
    redraw();
    parts.viewport.scrollTop = offsetOf(first);
  }).observe(parts.viewport);
}
