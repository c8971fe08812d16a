// The page: its settings, and the two parts that use them.

import { listModels, setKey } from "./api.js";
import { FilePage } from "./file_page.js";
import { LivePage } from "./live_page.js";
import { element, show } from "./page.js";

function settings() {
  return { model: element("model").value, language: element("language").value.trim() };
}

async function fillModels() {
  const select = element("model");
  const chosen = select.value;
  try {
    const models = await listModels();
    select.replaceChildren(new Option("Default", ""), ...models.map((name) => new Option(name, name)));
    select.value = models.includes(chosen) ? chosen : "";
    show("settings-problem", null);
  } catch (problem) {
    show("settings-problem", problem);
  }
}

element("settings").addEventListener("submit", (event) => event.preventDefault());
element("key").addEventListener("change", () => {
  setKey(element("key").value);
  fillModels();
});
element("key").value = ""; // some browsers put back what was typed before a reload
new LivePage(settings);
new FilePage(settings);
await fillModels();
document.documentElement.dataset.ready = "";
