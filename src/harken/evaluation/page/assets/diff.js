// Reference against hypothesis, word by word. Errors differ by colour and by mark: struck, underlined, or both.

// [{kind, reference, hypothesis}] from two texts and the letters C, S, D, I.
function alignedWords(reference, hypothesis, letters) {
  const said = reference ? reference.split(" ") : [];
  const heard = hypothesis ? hypothesis.split(" ") : [];
  let at = 0, on = 0;
  return Array.from(letters, (kind) => ({
    kind,
    reference: kind === "I" ? null : said[at++],
    hypothesis: kind === "D" ? null : heard[on++],
  }));
}

const KINDS = { S: "substituted", D: "deleted", I: "inserted" };

// The text with its errors in place: one run of words.
function inlineDiff(pairs) {
  const parts = [];
  let run = [];
  const flush = () => { if (run.length) parts.push(run.join(" ") + " "); run = []; };
  for (const { kind, reference, hypothesis } of pairs) {
    if (kind === "C") { run.push(reference); continue; }
    flush();
    parts.push(h("span", { class: `error ${kind}`, title: KINDS[kind] },
      reference === null ? null : h("del", { dir: "auto" }, reference),
      hypothesis === null ? null : h("ins", { dir: "auto" }, hypothesis)), " ");
  }
  flush();
  return parts.length ? parts : [h("span", { class: "faint" }, "(no words)")];
}

// The two texts one above the other, each word over the word it was taken for.
function interlinear(pairs, direction) {
  if (!pairs.length) return h("p", { class: "faint" }, "Nothing was said and nothing recognised.");
  return h("div", { class: "interlinear", dir: direction }, pairs.map(({ kind, reference, hypothesis }) =>
    h("span", { class: `pair ${kind}`, title: KINDS[kind] ?? "correct" },
      h("span", { class: "said", dir: "auto" }, reference ?? "\u00a0"),
      h("span", { class: "heard", dir: "auto" }, hypothesis ?? "\u00a0"),
      h("span", { class: "mark" }, kind === "C" ? "\u00a0" : kind))));
}

// "rtl" when the first letter with a direction is Hebrew, Arabic, Syriac, Thaana, N'Ko or another right-to-left one.
function directionOf(text) {
  const letter = /\p{L}/u.exec(text ?? "");
  return letter && /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]|[\u{10800}-\u{10fff}]|[\u{1e800}-\u{1efff}]/u.test(letter[0]) ? "rtl" : "ltr";
}

const pairsOf = (store, row) => alignedWords(store.reference[row], store.hypothesis[row], store.alignment[row]);

const errorCounts = (substitutions, deletions, insertions) =>
  [["S", substitutions], ["D", deletions], ["I", insertions]].filter(([, n]) => n).map(([kind, n]) =>
    h("span", { class: `count ${kind}`, title: `${n} ${KINDS[kind]}` }, `${kind}${n}`));

const legend = () => h("p", { class: "legend" },
  h("span", { class: "error S" }, h("del", {}, "said"), h("ins", {}, "recognised")), " substituted",
  h("span", { class: "error D" }, h("del", {}, "said")), " deleted",
  h("span", { class: "error I" }, h("ins", {}, "recognised")), " inserted");
