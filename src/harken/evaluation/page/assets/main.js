// Puts the page together: what needs only the summary at once, the utterances when the whole file has arrived.

const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
const systemDark = matchMedia("(prefers-color-scheme: dark)");
const currentTheme = () => document.documentElement.dataset.theme ?? (systemDark.matches ? "dark" : "light");

function setUpTheme() {
  const button = document.getElementById("theme");
  const label = () => { button.textContent = currentTheme() === "dark" ? "Light" : "Dark"; button.setAttribute("aria-label", `Switch to ${button.textContent.toLowerCase()} colours`); };
  try { const kept = localStorage.getItem("harken-theme"); if (kept === "dark" || kept === "light") document.documentElement.dataset.theme = kept; } catch { /* no storage here */ }
  button.addEventListener("click", () => {
    const next = currentTheme() === "dark" ? "light" : "dark";
    document.documentElement.dataset.theme = next;
    try { localStorage.setItem("harken-theme", next); } catch { /* no storage here */ }
    label();
    repaint();
  });
  systemDark.addEventListener("change", () => { label(); repaint(); });
  label();
}

const SECTIONS = [
  ["summary", "Summary", summarySection],
  ["conditions", "Conditions", conditionsSection],
  ["slices", "Slices", slicesSection],
  ["errors", "Frequent errors", errorsSection],
  ["vocabulary", "Vocabulary", vocabularySection],
  ["phonemes", "Phonemes", phonemesSection],
  ["hallucinations", "Hallucinations", hallucinationsSection],
  ["keywords", "Keywords", keywordsSection],
  ["code-switching", "Code-switching", codeSwitchingSection],
  ["rejected", "Not recognised", rejectedSection],
  ["hardest", "Hardest", hardestSection],
  ["utterances", "Utterances", utterancesSection],
  ["method", "Method", methodSection],
];


function setUpSections() {
  const page = document.getElementById("page"), contents = document.getElementById("contents");
  page.replaceChildren();
  const links = new Map();
  for (const [id, name, make] of SECTIONS) {
    const content = make();
    if (!content) continue;
    const section = h("section", { id, "aria-labelledby": `${id}-title` }, h("h2", { id: `${id}-title` }, name), content);
    links.set(section, h("a", { href: `#${id}` }, name));
    page.append(section);
    contents.append(links.get(section));
  }
  const spy = new IntersectionObserver((entries) => entries.forEach((entry) => {
    if (!entry.isIntersecting) return;
    links.forEach((link, section) => (section === entry.target ? link.setAttribute("aria-current", "true") : link.removeAttribute("aria-current")));
  }), { rootMargin: "-20% 0px -70% 0px" });
  links.forEach((link, section) => spy.observe(section));
}

setUpTheme();
setUpSections();
const recalled = recall();
showFilter();
arrived.then(() => choose(0)).then(() => {
  if (recalled) document.getElementById("utterances").scrollIntoView();
  document.documentElement.dataset.ready = "yes";
});
