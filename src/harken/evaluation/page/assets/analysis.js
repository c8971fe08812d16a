// What goes wrong: words, frequency, sounds, hallucinations, keywords, switches of language, and the hardest utterances.

function errorLabel({ kind, reference, hypothesis }) {
  return h("span", { class: `error ${kind}` },
    reference === null || reference === undefined ? null : h("del", { dir: "auto" }, reference),
    hypothesis === null || hypothesis === undefined ? null : h("ins", { dir: "auto" }, hypothesis));
}

function errorItem(error, most) {
  const contexts = error.contexts ?? [];
  return h("details", { class: "item" },
    h("summary", {}, h("span", { class: "what" }, errorLabel(error)), plainBar(error.count, most, plural(error.count, "time")), h("b", { class: "times" }, whole(error.count))),
    h("ul", { class: "contexts" }, contexts.map((context) =>
      h("li", {}, h("span", { dir: "auto" }, `${context.before} `, errorLabel(error), ` ${context.after}`), " ",
        h("button", { type: "button", class: "link small", onclick: () => jumpTo(context.id) }, context.id)))),
    h("button", { type: "button", class: "quiet", onclick: () => showUtterances({ error }) }, "Show all in the table"));
}

function errorsSection() {
  const errors = summary.errors ?? [];
  if (!errors.length) return null;
  const columns = [["S", "Substituted"], ["D", "Deleted"], ["I", "Inserted"]].map(([kind, name]) => {
    const found = errors.filter((error) => error.kind === kind);
    if (!found.length) return null;
    const most = Math.max(...found.map((error) => error.count));
    const rest = h("div", { hidden: true }, found.slice(10).map((error) => errorItem(error, most)));
    const more = found.length > 10
      ? h("button", { type: "button", class: "quiet", onclick: () => { rest.hidden = false; more.remove(); } }, `Show ${found.length - 10} more`)
      : null;
    return h("div", {}, h("h3", {}, name), found.slice(0, 10).map((error) => errorItem(error, most)), rest, more);
  });
  return [h("p", { class: "lead" }, "The most frequent errors of each kind. Open one to see it in its sentences."), h("div", { class: "columns three" }, columns)];
}

function bandTable(bands, head) {
  return sortableTable({ rows: bands.filter((band) => band.words), columns: [
    { name: head, cell: (band) => (band.highest === 0 ? "never" : /^\d+$/.test(band.name) ? plural(Number(band.name), "time") : `${band.name} times`) },
    { name: "Recognised", cell: (band) => plainBar(band.accuracy ?? 0, 1, percent(band.accuracy, 1)), class: "plot" },
    { name: "", cell: (band) => h("b", {}, percent(band.accuracy, 1)), numeric: true },
    { name: "Words", cell: (band) => whole(band.words), numeric: true },
    { name: "Different", cell: (band) => whole(band.types), numeric: true },
  ] });
}

function vocabularySection() {
  const vocabulary = summary.vocabulary;
  if (!vocabulary || !(vocabulary.bands?.length || vocabulary.worst?.length)) return null;
  const bands = vocabulary.bands ?? [], worst = vocabulary.worst ?? [];
  return [
    h("p", { class: "lead" }, "How often a word was recognised, by how often it occurs."),
    h("div", { class: "columns two" },
      h("div", {},
        bands.length ? bandTable(bands, "In the references") : null,
        vocabulary.known?.bands?.length ? bandTable(vocabulary.known.bands, "In the training text") : null),
      worst.length ? sortableTable({ rows: worst, first: 12, onrow: (row) => () => showUtterances({ query: row.word, kind: "any" }), rowTitle: "Show utterances", columns: [
        { name: "Most missed", value: (row) => row.word, cell: (row) => h("span", { dir: "auto" }, row.word) },
        { name: "Said", value: (row) => row.count, cell: (row) => whole(row.count), numeric: true },
        { name: "Missed", value: (row) => row.count - row.correct, cell: (row) => whole(row.count - row.correct), numeric: true },
        { name: "Recognised", value: (row) => row.accuracy, cell: (row) => percent(row.accuracy, 1), numeric: true },
      ] }) : null),
  ];
}

function phonemePanel(language, { phonemes, counts, words, reference_phonemes: total, unpronounced }) {
  const sums = new Array(phonemes.length).fill(0);
  for (const [row, , n] of counts) sums[row] += n;
  const name = (place) => (phonemes[place] === "∅" ? "∅" : `/${phonemes[place]}/`);
  const say = (row, column, n, partOfRow) =>
    row === column ? `${name(row)} recognised: ${whole(n)} of ${whole(sums[row])} (${percent(partOfRow, 1)})`
      : phonemes[row] === "∅" ? `${name(column)} inserted: ${whole(n)}`
        : phonemes[column] === "∅" ? `${name(row)} deleted: ${whole(n)} of ${whole(sums[row])} (${percent(partOfRow, 1)})`
          : `${name(row)} taken for ${name(column)}: ${whole(n)} of ${whole(sums[row])} (${percent(partOfRow, 1)})`;
  const part = (row, n) => (phonemes[row] === "∅" ? null : n / sums[row]);
  const frequent = counts.filter(([row, column]) => row !== column).sort((a, b) => b[2] - a[2] || a[0] - b[0] || a[1] - b[1]).slice(0, 15);
  return h("div", {},
    h("p", { class: "note" }, `${whole(total)} phonemes of ${whole(words)} words. Rows were said, columns recognised; ∅ is nothing. The stronger the colour, the larger the part of the row that went there; outlined cells were right.`),
    unpronounced?.words ? h("p", { class: "note" }, `${plural(unpronounced.words, "word")} had no pronunciation${unpronounced.examples?.length ? `, such as ${unpronounced.examples.slice(0, 5).join(", ")}` : ""}.`) : null,
    h("div", { class: "columns wide-first" }, heatMap(phonemes, counts, say),
      frequent.length ? sortableTable({ rows: frequent, columns: [
        { name: "Confusion", cell: ([row, column]) => `${name(row)} ${ARROW} ${name(column)}` },
        { name: "Times", value: ([, , n]) => n, cell: ([, , n]) => whole(n), numeric: true },
        { name: "Share", title: "Of the times it was said", value: ([row, , n]) => part(row, n), cell: ([row, , n]) => percent(part(row, n), 1), numeric: true },
      ] }) : null));
}

function phonemesSection() {
  const languages = Object.entries(summary.phonemes ?? {}).filter(([, part]) => part?.phonemes?.length);
  const skipped = (summary.phonemes_skipped ?? []).map((item) => `${item.language ?? "no language"} (${item.reason})`);
  const note = skipped.length ? h("p", { class: "note" }, `Left out: ${skipped.join(", ")}`) : null;
  if (!languages.length) return note;
  return [tabs(languages.map(([language, part]) => ({ name: language, draw: () => phonemePanel(language, part) })), "Languages"), note];
}

function hallucinationsSection() {
  const found = summary.hallucinations;
  if (!found || !(found.insertion_runs || found.repetitions || found.on_empty || found.speaking_rate || found.utterances?.length)) return null;
  return [
    h("p", { class: "lead" }, "Text that nobody said: several inserted words in a row, phrases that repeat themselves, words where there was no speech."),
    definitions([["Insertion runs", whole(found.insertion_runs)], ["Repetitions", whole(found.repetitions)], ["On empty references", whole(found.on_empty)], ["More letters than can be said", whole(found.speaking_rate)]], { class: "facts wide" }),
    found.utterances?.length ? sortableTable({ rows: found.utterances, first: 15, onrow: (row) => () => jumpTo(row.id), rowTitle: "Show this utterance", columns: [
      { name: "Utterance", value: (row) => row.id, cell: (row) => row.id },
      { name: "Kind", value: (row) => row.kind, cell: (row) => spoken(row.kind) },
      { name: "What", cell: (row) => h("span", { dir: "auto" }, String(row.detail ?? "")), class: "text" },
      { name: "Words", value: (row) => row.words, cell: (row) => whole(row.words), numeric: true },
    ] }) : null,
  ];
}

function keywordsSection() {
  const keywords = summary.keywords;
  if (!keywords) return null;
  return [
    definitions([
      ["Found (recall)", percent(keywords.recall, 1), `${whole(keywords.hits)} of ${whole(keywords.count)}`],
      ["Right when recognised (precision)", percent(keywords.precision, 1), `${plural(keywords.false_alarms, "false alarm")}`],
    ], { class: "facts wide" }),
    Object.keys(keywords.groups ?? {}).length ? keywordTable(Object.entries(keywords.groups).map(([group, part]) => ({ ...part, keyword: group })), "Group") : null,
    keywordTable(keywords.words ?? [], "Keyword", (row) => () => showUtterances({ query: row.keyword })),
    keywords.skipped?.length ? h("p", { class: "note" }, `Not looked for: ${keywords.skipped.map((item) => `${item.keyword} (${item.reason})`).join(", ")}.`) : null,
  ];
}

function keywordTable(rows, head, onrow = null) {
  return sortableTable({ rows, first: 20, onrow, rowTitle: "Show utterances", columns: [
    { name: head, value: (row) => row.keyword, cell: (row) => [h("span", { dir: "auto" }, row.keyword), row.group ? h("small", {}, ` ${row.group}`) : null] },
    { name: "Said", value: (row) => row.count, cell: (row) => whole(row.count), numeric: true },
    { name: "Found", value: (row) => row.hits, cell: (row) => whole(row.hits), numeric: true },
    { name: "Recall", value: (row) => row.recall, cell: (row) => percent(row.recall, 1), numeric: true },
    { name: "", cell: (row) => plainBar(row.recall ?? 0, 1, percent(row.recall, 1)), class: "plot" },
    { name: "False alarms", value: (row) => row.false_alarms, cell: (row) => whole(row.false_alarms), numeric: true },
  ] });
}

function switchTable(rows, head) {
  return sortableTable({ rows, columns: [
    { name: head, cell: ([name]) => name },
    { name: "F1", cell: ([, part]) => h("b", {}, percent(part.f1, 1)), numeric: true },
    { name: "Precision", cell: ([, part]) => percent(part.precision, 1), numeric: true },
    { name: "Recall", cell: ([, part]) => percent(part.recall, 1), numeric: true },
    { name: "Said", cell: ([, part]) => whole(part.reference), numeric: true },
    { name: "Recognised", cell: ([, part]) => whole(part.hypothesis), numeric: true },
    { name: "Right", cell: ([, part]) => whole(part.correct), numeric: true },
  ] });
}

function languageTable(languages) {
  return sortableTable({ rows: Object.entries(languages), columns: [
    { name: "Language", cell: ([name]) => name },
    { name: "WER", value: ([, part]) => rateOf(part.wer).value, cell: ([, part]) => h("b", {}, percent(rateOf(part.wer).value)), numeric: true },
    ...[["Words", "words"], ["Errors", "errors"], ["Sub.", "substitutions"], ["Del.", "deletions"], ["Ins.", "insertions"]].map(([name, key]) =>
      ({ name, value: ([, part]) => part[key], cell: ([, part]) => whole(part[key]), numeric: true })),
  ] });
}

// Precision and recall of switches from one language to another, by direction and by how far off they may be.
function directionRows(directions) {
  return Object.entries(directions).flatMap(([name, found]) =>
    Object.entries(found).map(([tolerance, counts]) => [`${name.replace(">", ` ${ARROW} `)}, ${nearby(tolerance)}`, counts]));
}

const nearby = (tolerance) => (tolerance === "0" ? "at the exact word" : `within ${plural(Number(tolerance), "word")}`);

function codeSwitchingSection() {
  const part = summary.code_switching;
  if (!part) return null;
  const set = part.set ?? {}, pier = part.pier ?? {};
  const switches = Object.entries(part.switch_points ?? {}).map(([tolerance, counts]) => [sentence(nearby(tolerance)), counts]);
  const directions = directionRows(part.directions ?? {});
  const reasons = Object.values(part.reasons ?? {});
  return [
    definitions([
      ["Words in the right language", percent(part.language_accuracy, 1), isNumber(part.language_pairs) ? `${whole(part.language_correct)} of ${whole(part.language_pairs)}` : null],
      ["Error rate at points of interest", percent(pier.value, 1), isNumber(pier.words) ? `${whole(pier.errors)} of ${plural(pier.words, "word")}${isNumber(pier.with_insertions) ? `; ${percent(pier.with_insertions, 1)} with insertions` : ""}` : null],
      ["Mixed error rate", percent(rateOf(part.mer).value)],
      ["Utterances with a switch", whole(set.switched_utterances), isNumber(set.utterances) ? `of ${whole(set.utterances)}` : null],
      ["Code-mixing index", isNumber(set.cmi) ? fixed(set.cmi, 2) : null],
      ["M-index, I-index", isNumber(set.m_index) && isNumber(set.i_index) ? `${fixed(set.m_index, 3)}, ${fixed(set.i_index, 3)}` : null],
    ], { class: "facts wide" }),
    h("div", { class: "columns two" },
      switches.length ? h("div", {}, h("h3", {}, "Switch points"), switchTable(switches, "Tolerance")) : null,
      Object.keys(part.languages ?? {}).length ? h("div", {}, h("h3", {}, "By language"), languageTable(part.languages)) : null),
    directions.length ? h("div", {}, h("h3", {}, "By direction"), switchTable(directions, "Direction")) : null,
    reasons.length ? h("p", { class: "note" }, `Not given: ${reasons.join(" ")}`) : null,
  ];
}

function rejectedSection() {
  const rejected = summary.rejected ?? [];
  if (!rejected.length) return null;
  return [
    h("p", { class: "lead" }, `${plural(rejected.length, "utterance")} could not be recognised. Every reference word there counts as deleted.`),
    sortableTable({ rows: rejected, first: 15, onrow: (row) => () => jumpTo(row.id), rowTitle: "Show this utterance", columns: [
      { name: "Utterance", value: (row) => row.id, cell: (row) => row.id },
      { name: "Cause", value: (row) => row.cause, cell: (row) => row.cause, class: "text" },
    ] }),
  ];
}

function hardestSection() {
  const hardest = summary.hardest ?? [];
  if (!hardest.length) return null;
  const list = h("ol", { class: "hardest" });
  const more = h("button", { type: "button", class: "quiet", hidden: true });
  loadStore(0).then((store) => {
    const show = (items) => list.append(...items.map((item) => hardCard(store, item)));
    show(hardest.slice(0, 10));
    more.hidden = hardest.length <= 10;
    more.textContent = `Show ${hardest.length - 10} more`;
    more.onclick = () => { show(hardest.slice(10)); more.remove(); };
  });
  return [list, more];
}

function hardCard(store, item) {
  const row = store.places.get(item.id);
  const facts_ = row === undefined ? [] : [nameOf(facts.names.speakers, store.speaker[row]), nameOf(facts.names.languages, store.language[row]), duration(store.seconds[row])].filter((part) => part && part !== NONE);
  return h("li", {},
    h("div", { class: "head" },
      h("b", {}, isNumber(item.wer) ? percent(item.wer, 0) : "no words"),
      row === undefined ? h("span", {}, item.id) : h("button", { type: "button", class: "link", onclick: () => jumpTo(item.id) }, item.id),
      h("span", { class: "faint" }, facts_.join(" · ")),
      h("span", {}, row === undefined ? `${item.errors} errors in ${item.words} words` : errorCounts(store.substitutions[row], store.deletions[row], store.insertions[row]))),
    row === undefined ? null : interlinear(pairsOf(store, row), directionOf(store.reference[row] || store.hypothesis[row])),
    facts.clips[item.id] ? player(item.id) : audioLink(item.audio),
    item.cause ? h("p", { class: "note" }, `No audio: ${item.cause}`) : null);
}

// A file of the report's own folder; anything else is no link.
const audioLink = (path) =>
  typeof path === "string" && /^audio\/[\w.-]+$/.test(path) ? h("p", {}, h("a", { href: path }, `Open ${path}`)) : null;
