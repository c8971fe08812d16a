// Runs beside the audio: the microphone's channels as one, in pieces of signed 16-bit samples at the device's rate.

const PIECE_S = 0.1;

class Capture extends AudioWorkletProcessor {
  constructor() {
    super();
    this.samples = new Int16Array(Math.round(sampleRate * PIECE_S));
    this.filled = 0;
    this.energy = 0;
    this.ended = false;
    this.port.onmessage = () => {
      this.give();
      this.ended = true;
      this.port.postMessage({ ended: true });
    };
  }

  process([channels]) {
    const count = channels.length;
    for (let i = 0; count > 0 && !this.ended && i < channels[0].length; i += 1) {
      let sum = 0;
      for (let channel = 0; channel < count; channel += 1) sum += channels[channel][i];
      const value = Math.max(-1, Math.min(1, sum / count));
      this.energy += value * value;
      this.samples[this.filled] = Math.round(value * 32767);
      this.filled += 1;
      if (this.filled === this.samples.length) this.give();
    }
    return !this.ended;
  }

  give() {
    if (this.filled === 0) return;
    const audio = this.samples.slice(0, this.filled).buffer;
    const rms = Math.sqrt(this.energy / this.filled);
    this.filled = 0;
    this.energy = 0;
    this.port.postMessage({ audio, rms }, [audio]);
  }
}

registerProcessor("capture", Capture);
