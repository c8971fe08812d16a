// A live stream: audio up, events down.

import { liveSocket, Problem, whyRefused } from "./api.js";

const MOST_WAITING_BYTES = 4 * 1024 * 1024;
const KEEPALIVE_MS = 5000;
const FINISH_MS = 60000;
const CLOSED = {
  1001: ["The server closed the stream, as nothing was sent for long.", ""],
  1008: ["The server closed the stream.", ""],
  1011: ["The server failed over the stream.", "Try again."],
  1012: ["The server is stopping.", "Start again in a moment."],
  1013: ["The server has no room for another stream.", "Try again later."],
};

export class LiveStream {
  // `onEvent(event)` gets the server's messages; `onEnd(problem)` comes once, with null after the final event.
  constructor({ sampleRate, model, language, onEvent, onEnd }) {
    this.onEvent = onEvent;
    this.onEnd = onEnd;
    this.waiting = [];
    this.ready = false;
    this.final = false;
    this.problem = null;
    this.socket = liveSocket();
    this.socket.binaryType = "arraybuffer";
    const start = { type: "start", encoding: "linear16", sample_rate: sampleRate, channels: 1 };
    if (model) start.model = model;
    if (language) start.language = language;
    this.socket.addEventListener("open", () => this.tell(start));
    this.socket.addEventListener("message", ({ data }) => this.hear(JSON.parse(data)));
    this.socket.addEventListener("close", ({ code }) => this.end(code));
    this.keeper = setInterval(() => this.ready && this.tell({ type: "keepalive" }), KEEPALIVE_MS);
  }

  send(audio) {
    if (this.finishing) return;
    if (!this.ready) {
      this.waiting.push(audio);
      return;
    }
    if (this.socket.bufferedAmount > MOST_WAITING_BYTES) {
      this.fail(new Problem("The network is too slow for live audio.", "Send a recording as a file."));
      return;
    }
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(audio);
  }

  finish() {
    this.finishing = true;
    if (this.ready) this.tell({ type: "finish" });
    this.patience = setTimeout(() => this.fail(new Problem("The server did not finish the stream.", "")), FINISH_MS);
  }

  fail(problem) {
    this.problem = problem;
    this.socket.close();
  }

  tell(message) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  hear(event) {
    if (event.type === "ready") {
      this.ready = true;
      this.waiting.splice(0).forEach((audio) => this.socket.send(audio));
      if (this.finishing) this.tell({ type: "finish" });
    } else if (event.type === "error") {
      this.problem = new Problem(event.error.message, event.error.hint);
      if (!this.ready) this.socket.close();
    } else if (event.type === "final") {
      this.final = true;
      this.problem = null;
    }
    this.onEvent(event);
  }

  async end(code) {
    clearInterval(this.keeper);
    clearTimeout(this.patience);
    if (this.final && code === 1000) {
      this.onEnd(null);
      return;
    }
    const [message, hint] = CLOSED[code] ?? ["The connection to the server ended.", "Start again."];
    this.onEnd(this.problem ?? (this.ready ? new Problem(message, hint) : await whyRefused()));
  }
}
