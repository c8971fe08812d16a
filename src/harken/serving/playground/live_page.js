// The part of the page that listens.

import { offerExport } from "./export.js";
import { LiveStream } from "./live.js";
import { Microphone } from "./microphone.js";
import { element, show } from "./page.js";
import { LiveTranscript } from "./transcript.js";

const PROCESSING = ["echoCancellation", "noiseSuppression", "autoGainControl"];
const QUIETEST_DB = -60;

export class LivePage {
  // `settings()` gives the model and language to use.
  constructor(settings) {
    this.settings = settings;
    this.tentative = document.createElement("span");
    this.tentative.className = "tentative";
    this.tentative.setAttribute("aria-hidden", "true"); // read out, it would repeat itself at every change
    element("start").addEventListener("click", () => this.start());
    element("stop").addEventListener("click", () => this.stop());
    addEventListener("pagehide", () => this.microphone?.release());
  }

  async start() {
    this.begin();
    const processing = Object.fromEntries(PROCESSING.map((name) => [name, element(name).checked]));
    try {
      this.microphone = await Microphone.open(
        processing,
        (audio, rms) => this.hearMicrophone(audio, rms),
        () => this.stop(),
      );
      this.stream = new LiveStream({
        ...this.settings(),
        sampleRate: this.microphone.sampleRate,
        onEvent: (event) => this.hearServer(event),
        onEnd: (problem) => this.end(problem),
      });
    } catch (problem) {
      this.end(problem);
      return;
    }
    element("stop").disabled = false;
    element("stop").focus();
    this.lock = await navigator.wakeLock?.request("screen").catch(() => null); // a phone would fall asleep
  }

  async stop() {
    if (this.stopping) return;
    this.stopping = true;
    element("stop").disabled = true;
    this.tell("Finishing.");
    await this.microphone.close();
    element("level").value = 0;
    this.stream.finish();
  }

  begin() {
    this.heard = new LiveTranscript();
    this.durationS = 0;
    this.line = null;
    this.microphone = null;
    this.stream = null;
    this.stopping = false;
    element("live-text").replaceChildren();
    element("live-export").hidden = true;
    element("start").disabled = true;
    this.tell("Connecting.");
    show("live-problem", null);
  }

  hearMicrophone(audio, rms) {
    element("level").value = Math.max(0, 1 - (20 * Math.log10(rms + 1e-9)) / QUIETEST_DB);
    this.stream?.send(audio);
  }

  hearServer(event) {
    if (event.type === "ready") this.tell(`Listening with ${event.model}.`);
    else if (event.type === "hypothesis") this.showTentative(event.text);
    else if (event.type === "committed") this.commit(event);
    else if (event.type === "endpoint") this.endLine();
    else if (event.type === "final") this.durationS = event.duration_s;
    else if (event.type === "error") show("live-problem", this.stream.problem);
  }

  // Committed words leave the front of what is tentative; the server says the rest again only where it changed.
  commit(event) {
    if (!event.text) return;
    this.heard.commit(event);
    const rest = this.tentative.textContent.split(/\s+/).slice(event.words.length).join(" ");
    this.tentative.remove();
    this.openLine().append(`${event.text} `);
    this.showTentative(rest);
  }

  showTentative(text) {
    this.tentative.textContent = text;
    if (text) this.openLine().append(this.tentative);
    const lines = element("live-text");
    lines.scrollTop = lines.scrollHeight;
  }

  openLine() {
    if (this.line === null) {
      this.line = document.createElement("p");
      element("live-text").append(this.line);
    }
    return this.line;
  }

  endLine() {
    this.heard.endLine();
    this.tentative.remove();
    if (this.line?.textContent.trim()) this.line = null;
  }

  end(problem) {
    this.microphone?.release();
    this.lock?.release();
    this.showTentative("");
    element("level").value = 0;
    element("start").disabled = false;
    element("stop").disabled = true;
    element("start").focus();
    this.tell(problem ? "Stopped." : `Done: ${this.durationS.toFixed(1)} s heard.`);
    show("live-problem", problem);
    const transcript = this.heard.transcript(this.durationS);
    if (transcript.text) offerExport(element("live-export"), transcript, "live", (text) => this.tell(text));
  }

  tell(text) {
    element("live-status").textContent = text;
  }
}
