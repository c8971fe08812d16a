// The utterances: pieces of base64 → inflated JSON → columns. Counts come from the alignment letters.

const facts = JSON.parse(document.getElementById("facts").textContent);
const summary = facts.summary;

const pause = () => new Promise((resolve) => setTimeout(resolve, 0));

function bytesOf(block) {
  const text = document.getElementById(`block-${block}`).textContent;
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

async function inflate(block) {
  const stream = new Blob([bytesOf(block)]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).json();
}

function emptyStore(table) {
  const n = table.rows;
  const numbers = (Type, fallback = 0) => new Type(n).fill(fallback);
  return {
    table, length: n, filled: 0,
    id: new Array(n), reference: new Array(n), hypothesis: new Array(n), alignment: new Array(n),
    referenceRaw: new Array(n), hypothesisRaw: new Array(n), haystack: new Array(n),
    words: numbers(Uint32Array), substitutions: numbers(Uint32Array), deletions: numbers(Uint32Array),
    insertions: numbers(Uint32Array), errors: numbers(Uint32Array), rate: numbers(Float64Array, NaN),
    seconds: numbers(Float64Array, NaN), latency: null, snr: null,
    speaker: numbers(Int32Array, -1), language: numbers(Int32Array, -1), tags: {},
    flags: new Map(), rejected: new Map(), places: null,
  };
}

// Badness by which utterances are sorted: the rate; words where nothing was said are worse than any rate.
const badness = (store, row) =>
  store.words[row] ? store.rate[row] : store.insertions[row] ? Infinity : -1;

function addPiece(store, piece) {
  const start = store.filled;
  piece.id.forEach((id, place) => {
    const row = start + place;
    const [reference, hypothesis, referenceRaw, hypothesisRaw] = piece.texts.slice(4 * place, 4 * place + 4);
    store.id[row] = id;
    store.reference[row] = reference;
    store.hypothesis[row] = hypothesis ?? reference;
    store.referenceRaw[row] = referenceRaw;
    store.hypothesisRaw[row] = hypothesisRaw;
    store.alignment[row] = piece.alignment[place];
    count(store, row);
    store.haystack[row] =
      [id, reference, hypothesis, referenceRaw, hypothesisRaw].filter((text) => text !== null).join("\n").toLowerCase();
    store.seconds[row] = piece.duration_s[place] ?? NaN;
    store.speaker[row] = piece.speaker[place];
    store.language[row] = piece.language[place];
  });
  addOptional(store, piece, start);
  store.filled += piece.id.length;
}

function addOptional(store, piece, start) {
  for (const [name, key, scale] of [["latency", "latency_us", 0.001], ["snr", "snr_db", 1]]) {
    if (!piece[key]) continue;
    store[name] ??= new Float64Array(store.length).fill(NaN);
    piece[key].forEach((value, place) => { if (value !== null) store[name][start + place] = value * scale; });
  }
  for (const [key, codes] of Object.entries(piece.tags)) {
    store.tags[key] ??= new Int32Array(store.length).fill(-1);
    store.tags[key].set(codes, start);
  }
  for (const [place, codes] of Object.entries(piece.flags)) {
    store.flags.set(start + Number(place), codes.map((code) => facts.names.flags[code]));
  }
  for (const [place, cause] of Object.entries(piece.rejected)) store.rejected.set(start + Number(place), cause);
}

function count(store, row) {
  let correct = 0, substitutions = 0, deletions = 0, insertions = 0;
  const letters = store.alignment[row];
  for (let place = 0; place < letters.length; place++) {
    switch (letters.charCodeAt(place)) {
      case 67: correct++; break; // C
      case 83: substitutions++; break; // S
      case 68: deletions++; break; // D
      default: insertions++;
    }
  }
  store.words[row] = correct + substitutions + deletions;
  store.substitutions[row] = substitutions;
  store.deletions[row] = deletions;
  store.insertions[row] = insertions;
  store.errors[row] = substitutions + deletions + insertions;
  if (store.words[row]) store.rate[row] = store.errors[row] / store.words[row];
}

// Told when the last piece has been parsed: the script stands before the data, so that the page shows early.
const arrived = new Promise((resolve) => {
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", () => setTimeout(resolve, 0));
  else resolve();
});

const stores = new Map();

// The table of a condition, read once; `progress` is told the share that has been read.
async function loadStore(number, progress = () => {}) {
  if (!stores.has(number)) stores.set(number, readStore(facts.tables[number], progress));
  return stores.get(number);
}

async function readStore(table, progress) {
  await arrived;
  const store = emptyStore(table);
  const [first, end] = table.blocks;
  for (let block = first; block < end; block++) {
    addPiece(store, await inflate(block));
    progress((block + 1 - first) / (end - first));
    await pause();
  }
  store.places = new Map(store.id.map((id, row) => [id, row]));
  return store;
}

const nameOf = (names, code) => (code < 0 ? null : names[code]);
