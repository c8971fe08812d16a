// The headline, the verdict against the base model, the facts, the conditions and how the numbers were made.

const isCertain = (difference) => hasInterval(difference) && (difference.low > 0 || difference.high < 0);

function baselineBanner() {
  const base = summary.baseline;
  if (!base) return null;
  const theirs = rateOf(base.wer), ours = rateOf(summary.wer), difference = base.difference ?? {};
  const certain = base.certain ?? isCertain(difference);
  const detail = [
    `${percent(ours.value)} against ${percent(theirs.value)} word error rate`,
    hasInterval(difference) ? `paired difference ${points(difference.value)} points, interval ${points(difference.low)} to ${points(difference.high)}` : null,
    isNumber(difference.p_value) ? `p ${difference.p_value < 0.001 ? "" : "= "}${chance(difference.p_value)}` : null,
  ].filter(Boolean).join("; ") + ".";
  const gap = isNumber(difference.value) ? 100 * Math.abs(difference.value) : 100 * Math.abs(ours.value - theirs.value);
  const amount = `${fixed(gap, 2)} points`;
  const name = /^(?!the ).*\bmodel$/i.test(base.name ?? "base model") ? `the ${base.name ?? "base model"}` : base.name;
  if (base.worse) {
    return h("div", { class: "banner worse", role: "alert" },
      h("strong", {}, `Worse than ${name} by ${amount}`),
      h("p", {}, detail, certain ? " Training made this model worse: use the base model, or look for the cause before anything else."
        : " This may be chance, and there is no sign that training helped."));
  }
  return h("div", { class: `banner ${certain ? "better" : "even"}` },
    h("strong", {}, certain ? `Better than ${name} by ${amount}` : `No certain difference from ${name}`),
    h("p", {}, detail, certain ? "" : " This may be chance."));
}

function inWords() {
  const wrong = summary.substitutions + summary.deletions + summary.insertions;
  const rate = rateOf(summary.wer).value;
  if (!isNumber(rate)) return summary.wer?.note ?? "There are no reference words, so there is no rate.";
  const head = `${plural(wrong, "error")} in ${plural(summary.words, "word")}`;
  if (!wrong) return `${head}.`;
  return rate > 0.5 ? `${head}: more than one for every second word.` : `${head}: about one in ${fixed(1 / rate, rate > 0.1 ? 1 : 0)}.`;
}

function intervalSentence(rate) {
  if (!hasInterval(rate)) return rate.note ? `No interval. ${rate.note}` : "No interval.";
  const level = `${Number((100 * (rate.confidence ?? 0.95)).toPrecision(6))}${THIN}%`;
  const how = rate.method === "bootstrap" || !rate.method ? "bootstrap" : rate.method;
  return `${level} interval ${interval(rate)} (${how}${isNumber(rate.units) ? ` over ${plural(rate.units, rate.unit ?? "unit")}` : ""})`;
}

function headline() {
  const wer = rateOf(summary.wer), cer = rateOf(summary.cer);
  const most = hasInterval(wer) ? roundUp(wer.high * 1.25) : 0;
  const note = summary.wer?.note;
  return h("div", { class: "hero" },
    h("div", { class: "rate" },
      h("p", { class: "over" }, "Word error rate"),
      h("p", { class: "figure" }, isNumber(wer.value) ? [fixed(100 * wer.value, 2), h("span", {}, `${THIN}%`)] : "none"),
      most ? h("div", { class: "ruler" }, dotWithInterval(wer, most), scaleHead(most)) : null,
      h("p", {}, intervalSentence(summary.wer ?? {})),
      note && hasInterval(wer) ? h("p", { class: "note" }, note) : null),
    h("div", { class: "parts" },
      h("p", { class: "lead" }, inWords()),
      compositionBar(summary),
      definitions([
        ["Character error rate", percent(cer.value), hasInterval(cer) ? interval(cer) : null],
        ["Utterances with an error", percent(summary.sentence_error_rate, 1)],
        ["Recognised as nothing", whole(summary.empty_hypotheses), "utterances"],
        ["Words where none were said", whole(summary.insertions_on_empty)],
      ], { class: "facts" })));
}

function factGrid() {
  const latency = summary.latency_ms ?? {}, timing = summary.timing;
  const model = summary.model, set = summary.test_set;
  const ms = (value) => (isNumber(value) ? `${fixed(value, value < 10 ? 2 : value < 100 ? 1 : 0)}${THIN}ms` : NONE);
  const languages = Object.keys(summary.slices?.language ?? summary.languages ?? {});
  const speakers = Object.keys(summary.slices?.speaker ?? summary.speakers ?? {}).length;
  return definitions([
    ["Model", model ? model.name ?? model.path ?? null : null, model?.family],
    ["Test set", set ? String(set.manifest ?? set.name ?? "").split("/").pop() || null : null, set?.sha256 ? `sha256 ${String(set.sha256).slice(0, 12)}` : null],
    ["Utterances", whole(summary.utterances), duration(summary.audio_s)],
    ["Speakers", speakers ? whole(speakers) : "not named"],
    ["Languages", languages.length ? (languages.length > 6 ? whole(languages.length) : languages.join(", ")) : null],
    ["Real-time factor", isNumber(summary.rtf) ? fixed(summary.rtf, summary.rtf < 0.1 ? 4 : 3) : null,
      timing ? [isNumber(timing.batch_size) ? `batches of ${timing.batch_size}` : null, isNumber(timing.threads) ? plural(timing.threads, "thread") : null].filter(Boolean).join(", ") : null],
    ["Latency, median", ms(latency.p50), isNumber(latency.p95) ? `p95 ${ms(latency.p95)}${isNumber(latency.p99) ? `, p99 ${ms(latency.p99)}` : ""}` : null],
    ["Normaliser", summary.normalizer?.name, summary.normalizer?.version ? `version ${summary.normalizer.version}` : null],
    ["Alignment", summary.alignment, summary.units === "mixed" ? "words; characters in scripts without spaces" : "words"],
  ], { class: "facts wide" });
}

function latencyBudget() {
  const budget = summary.latency_budget;
  if (!budget) return null;
  return h("div", {}, h("h3", {}, `Within ${fixed(budget.budget_ms, 0)} milliseconds`),
    definitions([
      ["Answers in time", percent(budget.coverage, 1)],
      ["Word error rate of those", percent(budget.wer_within)],
      ["Word error rate, late answers as silence", percent(budget.wer_late_as_deleted), hasInterval(budget.interval ?? {}) ? interval(budget.interval) : null],
      ["Timed utterances", whole(budget.utterances), budget.untimed ? `${whole(budget.untimed)} were not timed` : null],
    ], { class: "facts wide" }));
}

function summarySection() {
  return [baselineBanner(), headline(), factGrid(), latencyBudget()];
}

// Settings of a condition as one line of text: those inside others follow their name.
// A condition's facts as words: {"snr_db": [10, 10]} is "SNR 10 dB". The unit is the last part of a name.
const UNITS = { s: "s", db: "dB", m: "m", hz: "Hz", kbps: "kbps" };
const ABBREVIATIONS = { snr: "SNR", t60: "T60", pyav: "PyAV" };

function settings(value) {
  return Object.entries(value).filter(([name, part]) => !["name", "kind", "description"].includes(name) && part !== 0)
    .map(([block, part]) => (isPlain(part) ? Object.entries(part).filter(([, item]) => item !== 0).map(setting).join(", ") : setting([block, part])))
    .join("; ");
}

const isPlain = (value) => value !== null && typeof value === "object" && !Array.isArray(value);

function setting([name, value]) {
  if (Array.isArray(value) && value.some(isPlain)) return amount(value);
  const words = name.split("_"), unit = words.length > 1 || words[0] === "kbps" ? UNITS[words.at(-1)] : undefined;
  const label = (unit ? words.slice(0, -1) : words).map((word) => ABBREVIATIONS[word] ?? word).join(" ");
  return `${label} ${amount(value)}${unit ? ` ${unit}` : ""}`.trim();
}

function amount(value) {
  if (Array.isArray(value)) {
    if (value.some(isPlain)) return value.map(amount).join("; ");
    return [...new Set(value.map(amount))].join(" to ");
  }
  if (isPlain(value) && "mean" in value) return `${amount(value.mean)} (${amount(value.lowest)} to ${amount(value.highest)})`;
  if (isPlain(value)) return Object.entries(value).map(setting).join(", ");
  return typeof value === "number" ? String(Number(value.toPrecision(4))) : String(value);
}

function differenceCell(difference) {
  if (!difference || !isNumber(difference.value)) return h("span", { class: "faint" }, "reference");
  const certain = isCertain(difference);
  return [
    h("b", { class: certain ? (difference.value > 0 ? "up" : "down") : null }, points(difference.value)),
    hasInterval(difference) ? h("small", {}, `${points(difference.low)} to ${points(difference.high)}`) : null,
    hasInterval(difference) && !certain ? h("small", {}, "may be chance") : null,
  ];
}

function conditionsSection() {
  const rows = Object.entries(summary.conditions ?? {}).map(([name, figures]) => ({ name, ...figures, rate: rateOf(figures.wer) }));
  if (rows.length < 2) return null;
  const most = scaleOf(rows.map((row) => row.rate));
  const timed = rows.some((row) => isNumber(row.rtf));
  return [
    h("p", { class: "lead" }, `The same utterances under ${plural(rows.length, "condition")}. `,
      `Differences are paired: each utterance is compared with itself in ${spoken(rows[0].name)}, in points of word error rate.`),
    sortableTable({
      rows,
      columns: [
        { name: "Condition", value: (row) => row.name, cell: (row) => [row.name, h("small", {}, row.condition?.description)] },
        { name: "WER", value: (row) => row.rate.value, cell: (row) => h("b", {}, percent(row.rate.value)), numeric: true },
        { name: scaleHead(most), cell: (row) => barWithInterval(row.rate, most), class: "plot" },
        { name: "Interval", cell: (row) => interval(row.rate), numeric: true },
        { name: "Difference", value: (row) => row.difference?.value, cell: (row) => differenceCell(row.difference), numeric: true, class: "stacked" },
        rows.some((row) => isNumber(row.difference?.p_value)) && { name: "p", value: (row) => row.difference?.p_value, cell: (row) => chance(row.difference?.p_value), numeric: true },
        { name: "CER", value: (row) => rateOf(row.cer).value, cell: (row) => percent(rateOf(row.cer).value), numeric: true },
        { name: "Sub.", value: (row) => row.substitutions, cell: (row) => whole(row.substitutions), numeric: true },
        { name: "Del.", value: (row) => row.deletions, cell: (row) => whole(row.deletions), numeric: true },
        { name: "Ins.", value: (row) => row.insertions, cell: (row) => whole(row.insertions), numeric: true },
        timed && { name: "RTF", value: (row) => row.rtf, cell: (row) => fixed(row.rtf, 3), numeric: true },
      ].filter(Boolean),
    }),
  ];
}

function methodSection() {
  const wer = summary.wer ?? {};
  const set = summary.test_set ?? {}, model = summary.model ?? {};
  const text = (value) => (value === null || value === undefined ? null : typeof value === "object" ? JSON.stringify(value) : String(value));
  return [
    h("p", {}, "The word error rate is the sum of substitutions, deletions and insertions over the whole set, divided by the words of the references. ",
      "An utterance whose reference is empty has no rate of its own; words recognised there count as insertions. ",
      "Utterances that could not be recognised count as recognised empty."),
    definitions([
      ["Normaliser", [summary.normalizer?.name, summary.normalizer?.version].filter(Boolean).join(" ") || null],
      ["Alignment", summary.alignment ?? null],
      ["Interval", wer.method ? `${wer.method}, ${whole(wer.samples)} samples over ${plural(wer.units ?? 0, wer.unit ?? "unit")}, seed ${wer.seed}` : null],
      ...Object.entries(summary.conditions ?? {}).map(([name, figures]) => [`Condition: ${name}`, figures.condition ? settings(figures.condition) || null : null]),
      ...Object.entries(set).map(([name, value]) => [`Test set: ${spoken(name)}`, text(value)]),
      ...Object.entries(model).map(([name, value]) => [`Model: ${spoken(name)}`, text(value)]),
    ], { class: "method" }),
  ];
}
