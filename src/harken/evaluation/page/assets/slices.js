// Word error rate by speaker, language, length, noise and tags: a table with a dot and its interval in every row.

const ORDERED = new Set(["duration", "snr"]); // slices with an order of their own; the others start with the worst

function sliceDimensions() {
  const slices = { ...(summary.slices ?? {}) };
  for (const [name, groups] of [["speaker", summary.speakers], ["language", summary.languages]]) {
    if (!slices[name] && groups && Object.keys(groups).length) slices[name] = groups;
  }
  return Object.entries(slices).filter(([, groups]) => Object.keys(groups).length);
}

const dimensionName = (name) =>
  ({ speaker: "Speaker", language: "Language", duration: "Length", snr: "Signal-to-noise" })[name] ?? sentence(spoken(name.replace(/^tag:/, "")));

// What pressing a group does: the same choice in the table of utterances; null where the table cannot make it.
function sliceFilter(dimension, label) {
  if (dimension === "speaker") return () => showUtterances({ speaker: label });
  if (dimension === "language") return () => showUtterances({ language: label });
  if (dimension === "duration") return () => showUtterances({ length: label });
  if (dimension === "snr") return () => showUtterances({ snr: label });
  if (dimension.startsWith("tag:")) return () => showUtterances({ tag: `${dimension.slice(4)}=${label}` });
  return null;
}

function sliceTable(dimension, groups) {
  const rows = Object.entries(groups).map(([label, group]) => ({ ...group, label, rate: rateOf(group.wer) }));
  if (!ORDERED.has(dimension)) rows.sort((a, b) => (b.rate.value ?? -1) - (a.rate.value ?? -1) || (a.label < b.label ? -1 : 1));
  const most = scaleOf(rows.map((row) => row.rate));
  const overall = rateOf(summary.wer).value;
  const kinds = rows.some((row) => isNumber(row.substitutions));
  return h("div", {},
    sortableTable({
      rows,
      onrow: (row) => sliceFilter(dimension, row.label),
      rowTitle: "Show these utterances",
      columns: [
        { name: dimensionName(dimension), value: (row) => row.label, cell: (row) => h("span", { dir: "auto" }, row.label) },
        { name: "WER", value: (row) => row.rate.value, cell: (row) => h("b", {}, percent(row.rate.value)), numeric: true },
        { name: scaleHead(most), cell: (row) => dotWithInterval(row.rate, most, overall), class: "plot" },
        rows.some((row) => hasInterval(row.rate)) && { name: "Interval", value: (row) => (hasInterval(row.rate) ? row.rate.high - row.rate.low : null), title: "Sorts by width", cell: (row) => interval(row.rate), numeric: true },
        { name: "Words", value: (row) => row.words, cell: (row) => whole(row.words), numeric: true },
        { name: "Errors", value: (row) => row.errors, cell: (row) => whole(row.errors), numeric: true },
        ...(kinds ? [["Sub.", "substitutions"], ["Del.", "deletions"], ["Ins.", "insertions"]].map(([name, key]) =>
          ({ name, value: (row) => row[key], cell: (row) => whole(row[key]), numeric: true })) : []),
        { name: "Utterances", value: (row) => row.utterances, cell: (row) => whole(row.utterances), numeric: true },
      ].filter(Boolean),
    }),
    dimension === "speaker" ? spread() : null,
    h("p", { class: "note" }, `Dashed line: the whole set, ${percent(overall)}. A wide interval means too little data to say much about that group.`));
}

// How the rates of speakers spread; each speaker counts once.
function spread() {
  const found = summary.speaker_distribution;
  if (!found || found.speakers < 4) return null;
  return h("p", { class: "note" }, `Of ${whole(found.speakers)} speakers half lie between ${percent(found.q1)} and ${percent(found.q3)}, the median at ${percent(found.median)}, all between ${percent(found.min)} and ${percent(found.max)}.`);
}

function slicesSection() {
  const dimensions = sliceDimensions();
  if (!dimensions.length) return null;
  const out = (summary.slices_left_out ?? []).map((item) => `${dimensionName(item.dimension)} (${item.reason})`);
  return [
    tabs(dimensions.map(([dimension, groups]) => ({ name: dimensionName(dimension), draw: () => sliceTable(dimension, groups) })), "Slices"),
    out.length ? h("p", { class: "note" }, `Left out: ${out.join(", ")}.`) : null,
  ];
}
