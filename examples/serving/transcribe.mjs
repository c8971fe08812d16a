// A file's text, then the same file as if it were spoken now: node transcribe.mjs FILE.wav
// The stream needs Node 22, or Node 20 with --experimental-websocket; the WAV file 16-bit samples and a plain header.
// HARKEN_URL is the server (http://127.0.0.1:8000 without it), HARKEN_API_KEY the key if it asks for one.

import { openAsBlob } from "node:fs";
import { basename } from "node:path";
import { setTimeout as wait } from "node:timers/promises";

const url = process.env.HARKEN_URL ?? "http://127.0.0.1:8000";
const key = process.env.HARKEN_API_KEY ?? "";
const path = process.argv[2];

async function transcribe(blob) {
  const form = new FormData();
  form.set("file", blob, basename(path));
  form.set("word_times", "true");
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  const response = await fetch(`${url}/transcribe`, { method: "POST", headers, body: form });
  const body = await response.json();
  if (!response.ok) throw new Error(`${body.error.message} ${body.error.hint}`);
  return body;
}

function stream(audio, sampleRate, channels) {
  const socket = new WebSocket(
    `${url.replace(/^http/, "ws")}/ws/transcribe`,
    key ? ["harken", `harken-key.${key}`] : ["harken"],
  );
  const send = async () => {
    const step = Math.floor(sampleRate / 10) * channels * 2;
    for (let start = 0; start < audio.byteLength; start += step) {
      socket.send(audio.slice(start, start + step));
      await wait(100);
    }
    socket.send(JSON.stringify({ type: "finish" }));
  };
  return new Promise((resolve, reject) => {
    socket.onopen = () => socket.send(JSON.stringify({ type: "start", sample_rate: sampleRate, channels }));
    socket.onmessage = ({ data }) => {
      const event = JSON.parse(data);
      if (event.type === "ready") send().catch(reject);
      else if (event.type === "committed") process.stdout.write(`${event.text} `);
      else if (event.type === "endpoint") process.stdout.write("\n");
      else if (event.type === "error") reject(new Error(event.error.message));
      else if (event.type === "final") resolve(event.text);
    };
    socket.onclose = ({ code }) => reject(new Error(`The stream was closed with code ${code}.`));
    socket.onerror = () => reject(new Error("The stream could not be opened."));
  });
}

try {
  if (!path) throw new Error("Name a file: node transcribe.mjs FILE.wav");
  const blob = await openAsBlob(path);
  const result = await transcribe(blob);
  console.log(result.text);
  for (const word of result.words) console.log(word.start_s.toFixed(2), word.end_s.toFixed(2), word.text);
  if (!globalThis.WebSocket) throw new Error("The stream needs Node 22, or --experimental-websocket.");
  const file = await blob.arrayBuffer();
  const header = new DataView(file);
  await stream(file.slice(44), header.getUint32(24, true), header.getUint16(22, true));
} catch (error) {
  console.error(`error: ${error.message}`);
  process.exitCode = 1;
}
