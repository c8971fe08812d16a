// The server's API. The key lives here, in memory, and nowhere else.

const base = new URL("./", document.baseURI);
let key = "";

export class Problem extends Error {
  constructor(message, hint = "", status = 0) {
    super(hint ? `${message} ${hint}` : message);
    this.status = status;
  }
}

export function setKey(value) {
  key = value.trim();
}

export async function listModels() {
  const answer = await call("v1/models");
  return answer.data.map((model) => model.id);
}

export async function transcribe(file, { model, language }, signal) {
  const form = new FormData();
  form.set("file", file);
  form.set("word_times", "true");
  if (model) form.set("model", model);
  if (language) form.set("language_hint", language);
  return call("transcribe", { method: "POST", body: form, signal });
}

// A socket for live audio. Browsers cannot set headers on one, so the key goes as a subprotocol.
export function liveSocket() {
  const url = new URL("ws/transcribe", base);
  url.protocol = url.protocol.replace("http", "ws");
  try {
    return new WebSocket(url, key ? ["harken", `harken-key.${key}`] : ["harken"]);
  } catch {
    throw new Problem("The key holds characters that no key has.", "Paste it again.");
  }
}

// Why a socket did not open, which browsers do not tell: the same server, asked by a plain request.
export async function whyRefused() {
  try {
    await listModels();
  } catch (error) {
    return error;
  }
  return new Problem("The server did not take the stream.", "It may be busy, or the key may not be for streams.");
}

async function call(path, options = {}) {
  let response;
  try {
    response = await fetch(new URL(path, base), { ...options, headers: key ? { Authorization: `Bearer ${key}` } : {} });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("The server does not answer.", "Check that it runs, and your network.");
  }
  const body = await response.json().catch(() => null);
  if (!response.ok) throw refusal(response.status, body?.error);
  if (body === null) throw new Problem("The server's answer cannot be read.");
  return body;
}

function refusal(status, error) {
  if (status === 401) return new Problem("The server asks for a key that it knows.", "Put one into the field Key.", 401);
  return new Problem(error?.message || `The server answered with status ${status}.`, error?.hint ?? "", status);
}
