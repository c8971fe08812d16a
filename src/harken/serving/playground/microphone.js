// The microphone: permission, capture, level.

import { Problem } from "./api.js";

const REASONS = {
  NotAllowedError: ["The microphone was not allowed.", "Allow it for this page in the browser's settings, then press Start."],
  NotFoundError: ["There is no microphone.", "Connect one, then press Start."],
  OverconstrainedError: ["There is no microphone of the kind asked for.", "Switch off the processing by the browser."],
  NotReadableError: ["The microphone cannot be read.", "Another program may hold it."],
};

export class Microphone {
  // Opens it. `onAudio(bytes, rms)` gets a tenth of a second at a time, rms from 0 to 1; `onLost()` that it went away.
  static async open(processing, onAudio, onLost) {
    if (!navigator.mediaDevices?.getUserMedia || !window.AudioWorkletNode) {
      throw new Problem("This browser gives no microphone to this page.", "Open the page by https, or on localhost.");
    }
    const microphone = new Microphone();
    try {
      await microphone.connect(processing, onAudio, onLost);
    } catch (error) {
      microphone.release();
      const [message, hint] = REASONS[error.name] ?? [`The microphone does not work: ${error.message}`, ""];
      throw new Problem(message, hint);
    }
    return microphone;
  }

  async connect(processing, onAudio, onLost) {
    this.context = new AudioContext();
    this.stream = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1, ...processing } });
    this.stream.getAudioTracks()[0].addEventListener("ended", onLost);
    await this.context.resume();
    await this.context.audioWorklet.addModule(new URL("capture.js", import.meta.url));
    this.node = new AudioWorkletNode(this.context, "capture");
    this.ended = new Promise((resolve) => {
      this.node.port.onmessage = ({ data }) => (data.ended ? resolve() : onAudio(data.audio, data.rms));
    });
    this.context.createMediaStreamSource(this.stream).connect(this.node);
    this.node.connect(this.context.destination); // silent, but it keeps every browser pulling audio through the node
  }

  get sampleRate() {
    return this.context.sampleRate;
  }

  // The last samples are given before this is done.
  async close() {
    this.node.port.postMessage("end");
    await Promise.race([this.ended, new Promise((resolve) => setTimeout(resolve, 500))]);
    this.release();
  }

  release() {
    this.stream?.getTracks().forEach((track) => track.stop());
    if (this.context && this.context.state !== "closed") this.context.close();
  }
}
