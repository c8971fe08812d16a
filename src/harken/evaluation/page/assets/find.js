// Which utterances, and in which order: work on columns of numbers, without any element.

const NO_FILTER = { query: "", where: "", kind: "", from: "", to: "", speaker: "", language: "", flag: "", tag: "", length: "", snr: "", audio: "", error: null };

// 1 for every row the filter lets through.
function filterRows(store, filter) {
  const mask = new Uint8Array(store.length).fill(1);
  const keep = (test) => { for (let row = 0; row < mask.length; row++) if (mask[row] && !test(row)) mask[row] = 0; };
  const codes = (names, wanted) => new Set(names.flatMap((name, code) => (name === wanted ? [code] : [])));
  if (filter.speaker) {
    const exact = codes(facts.names.speakers, filter.speaker);
    const wanted = exact.size ? exact : new Set(facts.names.speakers.flatMap((name, code) => (name.toLowerCase().includes(filter.speaker.toLowerCase()) ? [code] : [])));
    keep((row) => wanted.has(store.speaker[row]));
  }
  if (filter.language) {
    const wanted = codes(facts.names.languages, filter.language);
    keep((row) => wanted.has(store.language[row]));
  }
  if (filter.tag) {
    const [key, value] = [filter.tag.slice(0, filter.tag.indexOf("=")), filter.tag.slice(filter.tag.indexOf("=") + 1)];
    const wanted = codes(facts.names.tags[key] ?? [], value), column = store.tags[key];
    keep((row) => column !== undefined && wanted.has(column[row]));
  }
  for (const [name, values] of [["length", store.seconds], ["snr", store.snr]]) {
    if (!filter[name]) continue;
    const [low, high] = bandOf(filter[name]);
    keep((row) => values !== null && values[row] >= low && values[row] < high);
  }
  if (filter.flag) keep((row) => store.flags.get(row)?.includes(filter.flag));
  if (filter.audio) keep((row) => store.id[row] in facts.clips);
  if (filter.kind) keep(kindTest(store, filter.kind));
  if (filter.from !== "") keep((row) => badness(store, row) >= Number(filter.from) / 100 - 1e-12);
  if (filter.to !== "") keep((row) => badness(store, row) <= Number(filter.to) / 100 + 1e-12);
  const query = filter.query.trim().replace(/\s+/g, " ").toLowerCase();
  if (query) {
    keep((row) => store.haystack[row].includes(query));
    if (filter.where) keep((row) => texts(store, row, filter.where).some((text) => text?.toLowerCase().includes(query)));
  }
  if (filter.error) keep(errorTest(store, filter.error));
  return mask;
}

// [lowest, first above] of a band by its name: "under 2 s", "2 to 5 s", "20 s or more"; nothing is in any other.
function bandOf(name) {
  const numbers = (name.match(/-?\d+(\.\d+)?/g) ?? []).map(Number);
  if (/^under /.test(name)) return [-Infinity, numbers[0]];
  if (/ or more$/.test(name)) return [numbers[0], Infinity];
  return numbers.length === 2 ? numbers : [NaN, NaN];
}

const texts = (store, row, where) =>
  where === "id" ? [store.id[row]]
    : where === "reference" ? [store.reference[row], store.referenceRaw[row]] : [store.hypothesis[row], store.hypothesisRaw[row]];

const kindTest = (store, kind) => ({
  any: (row) => store.errors[row] > 0,
  none: (row) => store.errors[row] === 0,
  S: (row) => store.substitutions[row] > 0,
  D: (row) => store.deletions[row] > 0,
  I: (row) => store.insertions[row] > 0,
  nothing: (row) => store.words[row] > 0 && store.hypothesis[row] === "",
  unsaid: (row) => store.words[row] === 0 && store.insertions[row] > 0,
  rejected: (row) => store.rejected.has(row),
})[kind] ?? (() => true);

function errorTest(store, { kind, reference, hypothesis }) {
  const [said, heard] = [reference ?? null, hypothesis ?? null];
  const counts = { S: store.substitutions, D: store.deletions, I: store.insertions }[kind];
  const part = (said ?? heard).toLowerCase();
  return (row) => counts[row] > 0 && store.haystack[row].includes(part) &&
    pairsOf(store, row).some((pair) => pair.kind === kind && pair.reference === said && pair.hypothesis === heard);
}

// All rows in the order of a column; rows that are equal there keep the order of the test set.
function sortRows(store, key, descending) {
  const values = sortValues(store, key), sign = descending ? -1 : 1;
  const order = Uint32Array.from({ length: store.length }, (_, row) => row);
  return order.sort((a, b) => sign * (values[a] - values[b]) || a - b);
}

function sortValues(store, key) {
  const finite = (value) => (Number.isNaN(value) ? -1 : value === Infinity ? Number.MAX_VALUE : value);
  const ranks = (names) => {
    const ordered = [...names.keys()].sort((a, b) => (names[a] < names[b] ? -1 : names[a] > names[b] ? 1 : 0));
    const rank = new Float64Array(names.length);
    ordered.forEach((place, position) => { rank[place] = position; });
    return rank;
  };
  const named = (names, codes) => { const rank = ranks(names); return Float64Array.from(codes, (code) => (code < 0 ? -1 : rank[code])); };
  if (key === "id") return ranks(store.id);
  if (key === "speaker") return named(facts.names.speakers, store.speaker);
  if (key === "language") return named(facts.names.languages, store.language);
  if (key === "seconds") return Float64Array.from(store.seconds, finite);
  if (key === "errors") return store.errors;
  return Float64Array.from({ length: store.length }, (_, row) => finite(badness(store, row)));
}
