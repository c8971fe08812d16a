// The part of the page that sends a file.

import { Problem, transcribe } from "./api.js";
import { offerExport } from "./export.js";
import { element, show } from "./page.js";
import { clock } from "./transcript.js";

const UNSURE = 0.5;

export class FilePage {
  // `settings()` gives the model and language to use.
  constructor(settings) {
    this.settings = settings;
    const input = element("file");
    input.addEventListener("change", () => this.choose(input.files[0]));
    element("send").addEventListener("click", () => this.send());
    element("cancel").addEventListener("click", () => this.sending?.abort());
    this.acceptDrops(element("drop"), input);
  }

  acceptDrops(place, input) {
    for (const kind of ["dragover", "dragleave", "drop"]) {
      place.addEventListener(kind, (event) => {
        event.preventDefault();
        place.classList.toggle("over", kind === "dragover");
        if (kind === "drop" && event.dataTransfer.files.length && !this.sending) {
          input.files = event.dataTransfer.files;
          this.choose(input.files[0]);
        }
      });
    }
  }

  choose(file) {
    this.file = file;
    element("send").disabled = !file || Boolean(this.sending);
    this.tell(file ? `${file.name}, ${(file.size / 1e6).toFixed(1)} MB.` : "Choose a file, or drop one here.");
    show("file-problem", null);
  }

  async send() {
    const file = this.file;
    this.sending = new AbortController();
    element("send").disabled = true;
    element("cancel").disabled = false;
    element("file-text").hidden = true;
    element("file-export").hidden = true;
    show("file-problem", null);
    this.tell(`Transcribing ${file.name}.`);
    try {
      const result = await transcribe(file, this.settings(), this.sending.signal);
      this.showResult(result, file.name.replace(/\.[^.]*$/, ""));
    } catch (error) {
      const cancelled = error.name === "AbortError";
      this.tell(cancelled ? "Cancelled." : "Not transcribed.");
      if (!cancelled) show("file-problem", error instanceof Problem ? error : new Problem(error.message));
    } finally {
      this.sending = null;
      element("send").disabled = !this.file;
      element("cancel").disabled = true;
    }
  }

  showResult(result, name) {
    const spoken = result.language_detected ? `, ${result.language_detected}` : "";
    this.tell(`${result.duration_s.toFixed(1)} s${spoken}, by ${result.model} in ${result.timings.total_s.toFixed(2)} s.`);
    const place = element("file-text");
    const lines = result.segments.map(lineOf);
    place.replaceChildren(...(result.text ? lines : ["Nothing was said."]));
    place.hidden = false;
    offerExport(element("file-export"), result, name || "transcript", (text) => this.tell(text));
  }

  tell(text) {
    element("file-status").textContent = text;
  }
}

// A segment: when it begins, and its words, each with its time and confidence to hover over.
function lineOf(segment) {
  const line = document.createElement("p");
  const time = document.createElement("span");
  time.className = "time";
  time.textContent = clock(segment.start_s);
  const words = (segment.words ?? []).flatMap((word) => [wordOf(word), " "]);
  line.append(time, ...(words.length ? words : [segment.text]));
  return line;
}

function wordOf(word) {
  const made = document.createElement("span");
  const sure = word.confidence === null ? "" : `, ${Math.round(100 * word.confidence)} % sure`;
  made.textContent = word.text;
  made.title = `${word.start_s.toFixed(2)} to ${word.end_s.toFixed(2)} s${sure}`;
  if (word.confidence !== null && word.confidence < UNSURE) made.className = "unsure";
  return made;
}
