// The section of utterances: filters, and the ways there from the figures and from a link.

function change(filter) {
  Object.assign(table.filter, filter);
  showFilter();
  refresh({ filter: true });
}

// Put the filter's values into the controls.
function showFilter() {
  for (const [name, control] of Object.entries(parts.controls)) {
    const value = table.filter[name] ?? "";
    if (control.tagName === "SELECT" && value && ![...control.options].some((option) => option.value === value)) {
      control.append(h("option", { value }, value));
    }
    control[control.type === "checkbox" ? "checked" : "value"] = value;
    if (["tag", "flag", "length", "snr"].includes(name)) control.parentElement.hidden = control.options.length < 2;
  }
}

function showUtterances(filter) {
  change({ ...NO_FILTER, ...filter });
  document.getElementById("utterances").scrollIntoView({ behavior: calm() ? "auto" : "smooth", block: "start" });
  parts.viewport.focus({ preventScroll: true });
}

async function jumpTo(id) {
  if (table.number !== 0 || !table.store) await choose(0);
  showUtterances({});
  const at = table.view.indexOf(table.store.places.get(id) ?? -1);
  if (at < 0) return;
  table.active = at;
  parts.viewport.scrollTop = offsetOf(at);
  place();
  toggle(at);
}

async function choose(number) {
  table.number = number;
  parts.condition.value = String(number);
  table.store = await loadStore(number, (done) => { parts.status.textContent = `Reading the utterances, ${Math.round(100 * done)}${THIN}%`; });
  table.mask = table.order = null;
  refresh({ filter: true, sort: true });
}

const KIND_CHOICES = [["", "All utterances"], ["any", "With an error"], ["none", "Without error"], ["S", "With substitutions"], ["D", "With deletions"],
  ["I", "With insertions"], ["nothing", "Recognised as nothing"], ["unsaid", "Words where none were said"], ["rejected", "Could not be recognised"]];

const bandChoices = (dimension) => [["", "All"], ...Object.keys(summary.slices?.[dimension] ?? {}).map((name) => [name, name])];

function filterBar() {
  const options = (choices) => choices.map(([value, name]) => h("option", { value }, name));
  const text = (name, attributes) => {
    const later = afterTyping((value) => change({ [name]: value }));
    return h("input", { name, autocomplete: "off", spellcheck: "false", ...attributes, oninput: (event) => later(event.target.value) });
  };
  const select = (name, choices) => h("select", { name, onchange: (event) => change({ [name]: event.target.value }) }, options(choices));
  const tagGroups = Object.entries(facts.names.tags).map(([key, values]) =>
    h("optgroup", { label: spoken(key) }, [...values].sort().slice(0, 200).map((value) => h("option", { value: `${key}=${value}` }, value))));
  const controls = parts.controls = {
    query: text("query", { type: "search", placeholder: "Words said, words recognised, or an id", "aria-keyshortcuts": "/" }),
    where: select("where", [["", "Anywhere"], ["reference", "In what was said"], ["hypothesis", "In what was recognised"], ["id", "In the id"]]),
    kind: select("kind", KIND_CHOICES),
    from: text("from", { type: "number", min: 0, step: 5, placeholder: "0" }),
    to: text("to", { type: "number", min: 0, step: 5, placeholder: "any" }),
    speaker: text("speaker", { type: "text", list: "speakers", placeholder: "All" }),
    language: select("language", [["", "All"], ...[...facts.names.languages].sort().map((name) => [name, name])]),
    tag: fill(select("tag", [["", "All"]]), {}, tagGroups),
    length: select("length", bandChoices("duration")),
    snr: select("snr", bandChoices("snr")),
    flag: select("flag", [["", "All"], ...[...facts.names.flags].sort().map((name) => [name, spoken(name)])]),
    audio: h("input", { type: "checkbox", name: "audio", onchange: (event) => change({ audio: event.target.checked ? "yes" : "" }) }),
  };
  parts.condition = h("select", { name: "condition", onchange: (event) => choose(Number(event.target.value)) },
    facts.tables.map((part, number) => h("option", { value: number }, part.name)));
  const field = (name, control, attributes = {}) => h("label", attributes, h("span", {}, name), control);
  return h("form", { class: "filters", role: "search", onsubmit: (event) => event.preventDefault() },
    field("Search", controls.query, { class: "wide" }), field("Where", controls.where), field("Show", controls.kind),
    h("div", { class: "field", role: "group", "aria-label": "WER in percent" }, h("span", {}, "WER, %"), h("span", { class: "range" },
      fill(controls.from, { "aria-label": "Lowest WER in percent" }, []), "to", fill(controls.to, { "aria-label": "Highest WER in percent" }, []))),
    facts.names.speakers.length ? [field("Speaker", controls.speaker), h("datalist", { id: "speakers" }, [...facts.names.speakers].sort().slice(0, 500).map((value) => h("option", { value })))] : null,
    facts.names.languages.length ? field("Language", controls.language) : null,
    field("Length", controls.length), field("Signal-to-noise", controls.snr), field("Tag", controls.tag), field("Marked as", controls.flag),
    facts.tables.length > 1 ? field("Condition", parts.condition) : null,
    Object.keys(facts.clips).length ? field("With audio", controls.audio, { class: "check" }) : null);
}

// Calls at most once per frame, with what came last.
function afterTyping(call) {
  let waiting = 0;
  return (...given) => { cancelAnimationFrame(waiting); waiting = requestAnimationFrame(() => call(...given)); };
}

function saveView() {
  const { store, view } = table;
  const plain = (text) => String(text ?? "").replace(/[\t\r\n]+/g, " ");
  const head = "id\tspeaker\tlanguage\tduration_s\twords\tsubstitutions\tdeletions\tinsertions\treference\thypothesis";
  const lines = Array.from(view, (row) => [store.id[row], nameOf(facts.names.speakers, store.speaker[row]), nameOf(facts.names.languages, store.language[row]),
    store.seconds[row], store.words[row], store.substitutions[row], store.deletions[row], store.insertions[row], store.reference[row], store.hypothesis[row]].map(plain).join("\t"));
  const url = URL.createObjectURL(new Blob([[head, ...lines, ""].join("\n")], { type: "text/tab-separated-values" }));
  h("a", { href: url, download: "utterances.tsv" }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

// The filter stands in the address, so that a reload or a copied link shows the same rows.
function remember() {
  const set = Object.entries(table.filter).filter(([name, value]) => value !== NO_FILTER[name]);
  const text = new URLSearchParams(set.map(([name, value]) => [name, name === "error" ? JSON.stringify(value) : value])).toString();
  if (!text && !location.hash.startsWith("#utterances?")) return;
  try { history.replaceState(null, "", text ? `#utterances?${text}` : "#utterances"); } catch { /* some viewers forbid it */ }
}

function recall() {
  if (!location.hash.startsWith("#utterances?")) return false;
  for (const [name, value] of new URLSearchParams(location.hash.slice("#utterances?".length))) {
    if (!(name in NO_FILTER)) continue;
    try { table.filter[name] = name === "error" ? JSON.parse(value) : value; } catch { /* a damaged link filters nothing */ }
  }
  return true;
}

function utterancesSection() {
  parts.status = h("p", { class: "status", role: "status", "aria-live": "polite" }, "Reading the utterances");
  parts.chips = h("span", { class: "chips" });
  parts.clear = h("button", { type: "button", class: "quiet", hidden: true, onclick: () => change(NO_FILTER) }, "Clear the filters");
  parts.head = h("div", { role: "row", class: "head", "aria-rowindex": 1 });
  parts.body = h("div", { role: "rowgroup", class: "body" });
  parts.empty = h("p", { class: "empty", hidden: true }, "No utterance is like this. Clear a filter to see more.");
  parts.viewport = parts.grid = h("div", { class: "grid", role: "grid", tabindex: 0, "aria-label": "Utterances", onkeydown: keys, onscroll: afterTyping(place) }, parts.head, parts.body, parts.empty);
  const more = facts.tables[0].all_rows - facts.tables[0].rows;
  const bar = filterBar();
  watchWidth();
  window.addEventListener("beforeprint", () => { table.printing = true; close(); redraw(); });
  window.addEventListener("afterprint", () => { table.printing = false; redraw(); });
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !event.target.closest("input, select, textarea")) { event.preventDefault(); parts.controls.query.focus(); }
  });
  return [
    more ? h("p", { class: "note" }, `The ${whole(facts.tables[0].rows)} utterances with the most errors of ${whole(facts.tables[0].all_rows)}. All are in utterances.jsonl.`) : null,
    bar,
    h("div", { class: "tools" }, parts.status, parts.chips, parts.clear, h("button", { type: "button", class: "quiet save", onclick: saveView }, "Save these as TSV")),
    parts.viewport,
    h("p", { class: "note only-print" }, `At most the first ${PRINTED_ROWS} of these rows are printed.`),
    legend(),
    facts.left_out.length ? h("p", { class: "note" }, `The utterances of ${facts.left_out.join(", ")} would make this page too large; they are in conditions/NAME/utterances.jsonl.`) : null,
  ];
}
