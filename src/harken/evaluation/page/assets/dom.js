// Elements, numbers and dates. Text only ever enters the page as text nodes and attributes, never as markup.

const SVG = "http://www.w3.org/2000/svg"; // the name of a vocabulary; nothing is fetched from it

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [key, part] of Object.entries(value)) node.style.setProperty(key, part);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined && child !== false) node.append(child);
  }
  return node;
}

const h = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
const svg = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

const THIN = "\u202f"; // narrow no-break space
const NONE = "\u2013";
const MINUS = "\u2212";
const ARROW = "\u2192";

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);
const whole = (value) => (isNumber(value) ? value.toLocaleString("en", { maximumFractionDigits: 0 }) : NONE);
const fixed = (value, digits) =>
  isNumber(value)
    ? value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits }).replace("-", MINUS)
    : NONE;
const percent = (rate, digits = 2) => (isNumber(rate) ? `${fixed(100 * rate, digits)}${THIN}%` : NONE);
const signed = (value, digits = 2) => (isNumber(value) ? `${value > 0 ? "+" : ""}${fixed(value, digits)}` : NONE);
const points = (difference) => signed(isNumber(difference) ? 100 * difference : difference);
const plural = (count, noun) => `${whole(count)} ${noun}${count === 1 ? "" : "s"}`;

function duration(seconds) {
  if (!isNumber(seconds)) return NONE;
  if (seconds < 60) return `${fixed(seconds, seconds < 10 ? 2 : 1)}${THIN}s`;
  if (seconds < 3600) return `${fixed(seconds / 60, 1)}${THIN}min`;
  return `${fixed(seconds / 3600, 1)}${THIN}h`;
}

function clock(seconds) {
  const tenths = Math.round(10 * seconds);
  return `${Math.floor(tenths / 600)}:${String(Math.floor((tenths % 600) / 10)).padStart(2, "0")}.${tenths % 10}`;
}

function chance(p) {
  if (!isNumber(p)) return NONE;
  return p < 0.001 ? `<${THIN}0.001` : fixed(p, 3);
}

// A rate is {value, low, high, ...}, or a bare number in reports that have no interval for it.
const rateOf = (rate) => (isNumber(rate) ? { value: rate, low: null, high: null } : (rate ?? { value: null, low: null, high: null }));
const hasInterval = (rate) => isNumber(rate.low) && isNumber(rate.high);
const interval = (rate, digits = 2) =>
  hasInterval(rate) ? `${fixed(100 * rate.low, digits)} to ${fixed(100 * rate.high, digits)}${THIN}%` : NONE;

const spoken = (name) => String(name).replaceAll("_", " ").replaceAll("-", " ");
const sentence = (text) => (text ? text[0].toUpperCase() + text.slice(1) : text);

// Rows of a <dl>; entries without a value are left out.
function definitions(entries, attributes) {
  const kept = entries.filter(([, value]) => value !== null && value !== undefined && value !== NONE);
  return h("dl", attributes, kept.map(([name, value, note]) =>
    h("div", {}, h("dt", {}, name), h("dd", {}, value, note ? h("small", {}, note) : null))));
}

/* A table that sorts by its columns. A column is {name, title?, value(row) for sorting, cell(row), numeric?, head?}.
   The order given is kept until a header is pressed. */
function sortableTable({ columns, rows, caption, first = 30, onrow = null, rowTitle = null }) {
  let sorted = rows, by = null, descending = true, shown = first;
  const body = h("tbody", {});
  const more = h("button", { type: "button", class: "quiet", onclick: () => { shown += 200; draw(); } });
  const headers = columns.map((column) => {
    const label = column.value
      ? h("button", { type: "button", onclick: () => sort(column) }, column.name)
      : column.name;
    return h("th", { scope: "col", class: column.numeric ? "number" : null, title: column.title }, label);
  });

  function sort(column) {
    descending = by === column ? !descending : Boolean(column.numeric);
    by = column;
    const missing = descending ? -Infinity : Infinity;
    const keys = new Map(rows.map((row) => [row, column.value(row) ?? (column.numeric ? missing : "")]));
    const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
    sorted = [...rows].sort((a, b) => (descending ? -1 : 1) * compare(keys.get(a), keys.get(b)));
    columns.forEach((other, place) => {
      if (other === by) headers[place].setAttribute("aria-sort", descending ? "descending" : "ascending");
      else headers[place].removeAttribute("aria-sort");
    });
    draw();
  }

  function draw() {
    body.replaceChildren(...sorted.slice(0, shown).map((row) => {
      const cells = columns.map((column, place) =>
        h(place === 0 ? "th" : "td",
          { scope: place === 0 ? "row" : null, class: [column.numeric && "number", column.class].filter(Boolean).join(" ") || null },
          place === 0 && onrow ? pressable(row, column.cell(row)) : column.cell(row)));
      return h("tr", {}, cells);
    }));
    more.hidden = rows.length <= shown;
    more.textContent = `Show more (${whole(rows.length - Math.min(shown, rows.length))} left)`;
  }

  function pressable(row, content) {
    const action = onrow(row);
    return action ? h("button", { type: "button", class: "link", title: rowTitle, onclick: action }, content) : content;
  }

  draw();
  return h("div", { class: "scroll" },
    h("table", {}, caption ? h("caption", {}, caption) : null, h("thead", {}, h("tr", {}, headers)), body), more);
}

// A row of tabs over panels that are drawn when first opened.
function tabs(items, label) {
  const id = `tabs-${tabs.count = (tabs.count ?? 0) + 1}`;
  const panel = h("div", { role: "tabpanel", id: `${id}-panel` });
  const drawn = new Map();
  const buttons = items.map((item, place) =>
    h("button", { type: "button", role: "tab", id: `${id}-${place}`, "aria-controls": `${id}-panel`,
      onclick: () => open(place), onkeydown: (event) => step(event, place) }, item.name));

  function open(place) {
    buttons.forEach((button, other) => {
      button.setAttribute("aria-selected", String(other === place));
      button.tabIndex = other === place ? 0 : -1;
    });
    if (!drawn.has(place)) drawn.set(place, items[place].draw());
    panel.setAttribute("aria-labelledby", `${id}-${place}`);
    panel.replaceChildren(drawn.get(place));
  }

  function step(event, place) {
    const to = { ArrowRight: place + 1, ArrowLeft: place - 1, Home: 0, End: items.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const next = (to + items.length) % items.length;
    open(next);
    buttons[next].focus();
  }

  open(0);
  if (items.length === 1) return panel;
  return h("div", {}, h("div", { role: "tablist", "aria-label": label }, buttons), panel);
}
