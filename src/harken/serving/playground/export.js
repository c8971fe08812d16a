// Buttons that copy a transcript, and save it in each style.

import { render, STYLES } from "./transcript.js";

export function offerExport(place, transcript, name, tell) {
  const copy = button("Copy", async () => {
    try {
      await navigator.clipboard.writeText(transcript.text);
      tell("Copied.");
    } catch {
      tell("The browser did not allow copying; save the text instead.");
    }
  });
  const saves = STYLES.map((style) => button(`Save ${style}`, () => save(`${name}.${style}`, render(transcript, style))));
  place.replaceChildren(copy, ...saves);
  place.hidden = false;
}

function button(text, onClick) {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = text;
  made.addEventListener("click", onClick);
  return made;
}

function save(name, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
