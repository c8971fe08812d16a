// Transcripts as values and as text: { text, duration_s, segments: [{ text, start_s, end_s, words }] }.
// Cues are cut as the server's own subtitles are: at most 12 words and 6 s, no word cut.

const CUE_WORDS = 12;
const CUE_S = 6;

export const STYLES = ["txt", "srt", "vtt", "json"];

export function render(transcript, style) {
  if (style === "txt") return `${transcript.text}\n`;
  if (style === "json") return `${JSON.stringify(transcript, null, 2)}\n`;
  const cues = transcript.segments.flatMap(cuesOf);
  const mark = style === "srt" ? "," : ".";
  const blocks = cues.map((cue, index) => block(index + 1, cue, mark, style === "srt" ? cue.text : escaped(cue.text)));
  return style === "srt" ? blocks.join("\n") : ["WEBVTT\n", ...blocks].join("\n");
}

export function clock(seconds) {
  const whole = Math.floor(seconds);
  const minutes = String(Math.floor(whole / 60)).padStart(2, "0");
  return `${minutes}:${String(whole % 60).padStart(2, "0")}`;
}

// What was committed so far on a live stream, line by line, as a transcript.
export class LiveTranscript {
  constructor() {
    this.segments = [];
    this.open = true; // whether the last segment goes on
  }

  commit({ text, words }) {
    if (this.open && this.segments.length) {
      const segment = this.segments.at(-1);
      segment.text = `${segment.text} ${text}`.trim();
      segment.words.push(...words);
      segment.end_s = words.at(-1)?.end_s ?? segment.end_s;
    } else if (text) {
      this.segments.push({ text, start_s: words[0]?.start_s ?? 0, end_s: words.at(-1)?.end_s ?? 0, words: [...words] });
    }
    this.open = true;
  }

  endLine() {
    this.open = false;
  }

  transcript(durationS) {
    const text = this.segments.map((segment) => segment.text).join("\n");
    return { text, duration_s: durationS, segments: this.segments };
  }
}

function cuesOf(segment) {
  const pieces = [];
  for (const word of segment.words ?? []) {
    const last = pieces.at(-1);
    if (last && last.length < CUE_WORDS && word.end_s - last[0].start_s <= CUE_S) last.push(word);
    else pieces.push([word]);
  }
  if (!pieces.length) return [segment];
  return pieces.map((words) => ({
    text: words.map((word) => word.text).join(" "),
    start_s: words[0].start_s,
    end_s: words.at(-1).end_s,
  }));
}

function block(number, cue, mark, text) {
  const startMs = Math.round(cue.start_s * 1000);
  const endMs = Math.max(Math.round(cue.end_s * 1000), startMs + 1); // a cue ends after it starts
  return `${number}\n${stamp(startMs, mark)} --> ${stamp(endMs, mark)}\n${text}\n`;
}

function stamp(milliseconds, mark) {
  const two = (value) => String(Math.floor(value)).padStart(2, "0");
  const seconds = milliseconds / 1000;
  const rest = String(milliseconds % 1000).padStart(3, "0");
  return `${two(seconds / 3600)}:${two((seconds / 60) % 60)}:${two(seconds % 60)}${mark}${rest}`;
}

function escaped(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
