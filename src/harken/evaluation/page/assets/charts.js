// Bars, dots with intervals and the heat map. Positions are shares of a scale from 0 to `most`.

// A round number at or above `value`: 1, 1.5, 2, 3, 4, 5, 6, 8 or 10 times a power of ten.
function roundUp(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return power * [1, 1.5, 2, 3, 4, 5, 6, 8, 10].find((step) => step * power >= value * 0.9999);
}

// The end of the scale for these rates: their upper limits, unless some of those are far beyond all values.
function scaleOf(rates) {
  const values = rates.filter((rate) => isNumber(rate.value)).map((rate) => rate.value);
  const limits = rates.map((rate) => (hasInterval(rate) ? rate.high : rate.value)).filter(isNumber);
  return roundUp(Math.min(Math.max(0, ...limits), Math.max(0.0005, 1.6 * Math.max(0, ...values))));
}

const share = (value, most) => `${Math.max(0, Math.min(100, (100 * value) / most))}%`;

function whisker(rate, most) {
  return hasInterval(rate)
    ? h("span", { class: "whisker", style: { left: share(rate.low, most), right: share(most - rate.high, most) } })
    : null;
}

function mark(reference, most) {
  return isNumber(reference) ? h("span", { class: "reference", style: { left: share(reference, most) } }) : null;
}

const describe = (rate) => `${percent(rate.value)}${hasInterval(rate) ? `, interval ${interval(rate)}` : ""}`;

function barWithInterval(rate, most) {
  return h("div", { class: "track", role: "img", "aria-label": describe(rate) },
    h("span", { class: "bar", style: { width: share(rate.value ?? 0, most) } }), whisker(rate, most));
}

function dotWithInterval(rate, most, reference) {
  return h("div", { class: "track", role: "img", "aria-label": describe(rate) },
    mark(reference, most), whisker(rate, most),
    isNumber(rate.value) ? h("span", { class: "dot", style: { left: share(rate.value, most) } }) : null);
}

// The head of a column of tracks: its scale.
const scaleHead = (most) => h("span", { class: "scale" }, h("span", {}, "0"), h("span", {}, percent(most, most < 0.02 ? 1 : 0)));

const plainBar = (value, most, name) =>
  h("div", { class: "track", role: "img", "aria-label": name }, h("span", { class: "bar", style: { width: share(value, most) } }));

// Substitutions, deletions and insertions as parts of one bar, each with its name and number below.
function compositionBar(counts) {
  const parts = [["S", "Substitutions", counts.substitutions], ["D", "Deletions", counts.deletions], ["I", "Insertions", counts.insertions]];
  const all = parts.reduce((sum, [, , n]) => sum + n, 0);
  if (!all) return h("p", { class: "faint" }, "No errors.");
  return h("div", { class: "composition" },
    h("div", { class: "stack", "aria-hidden": "true" }, parts.filter(([, , n]) => n).map(([kind, , n]) =>
      h("span", { class: kind, style: { "flex-grow": n } }, n / all > 0.06 ? kind : ""))),
    h("ul", {}, parts.map(([kind, name, n]) =>
      h("li", {}, h("span", { class: `key ${kind}` }, kind), h("span", {}, name), h("b", {}, whole(n)), h("small", {}, percent(n / all, 1))))));
}

// Reference sounds in rows, recognised ones in columns; depth is the share of the row, the diagonal only outlined.
function heatMap(names, counts, describeCell) {
  const cell = names.length > 48 ? 13 : names.length > 30 ? 17 : 22;
  const margin = 34, size = margin + cell * names.length;
  const sums = new Array(names.length).fill(0);
  for (const [row, , n] of counts) sums[row] += n;
  const wrong = counts.filter(([row, column]) => row !== column && names[row] !== "∅"); // all of ∅ is wrong: no scale
  const deepest = Math.max(1e-9, ...wrong.map(([row, , n]) => n / Math.max(1, sums[row])));
  const picture = svg("svg", { class: "heat", viewBox: `0 0 ${size} ${size}`, width: size, height: size, role: "img",
    "aria-label": "Confusion of phonemes: rows were said, columns were recognised" });
  names.forEach((name, place) => {
    const middle = margin + (place + 0.5) * cell;
    picture.append(
      svg("rect", { class: "lane", x: margin, y: margin + place * cell + 0.5, width: cell * names.length, height: cell - 1 }),
      svg("text", { x: margin - 6, y: middle, class: "row-name" }, name),
      svg("text", { x: middle, y: margin - 8, class: "column-name" }, name));
  });
  for (const [row, column, n] of counts) {
    const part = n / Math.max(1, sums[row]);
    const right = row === column;
    picture.append(svg("rect", {
      x: margin + column * cell + 1, y: margin + row * cell + 1, width: cell - 2, height: cell - 2, rx: 2,
      class: right ? "right" : "wrong", "fill-opacity": right ? null : (0.14 + 0.86 * Math.sqrt(Math.min(1, part / deepest))).toFixed(3),
    }, svg("title", {}, describeCell(row, column, n, part))));
  }
  return h("div", { class: "scroll" }, picture);
}
