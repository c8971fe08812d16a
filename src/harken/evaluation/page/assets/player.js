// Audio with its spectrogram. The picture is computed from the decoded samples, so time fits to the sample.

const clipUrls = new Map();

function clipUrl(id) {
  if (!clipUrls.has(id)) {
    clipUrls.set(id, URL.createObjectURL(new Blob([bytesOf(facts.clips[id].block)], { type: "audio/flac" })));
  }
  return clipUrls.get(id);
}

// (samples,) Float32Array at the clip's own rate.
async function clipSamples(id) {
  const clip = facts.clips[id];
  const context = new OfflineAudioContext(1, 1, clip.sample_rate_hz);
  const buffer = await context.decodeAudioData(bytesOf(clip.block).buffer);
  return buffer.getChannelData(0);
}

/* In-place radix-2 Fourier transform of `real` and `imaginary`, whose length is a power of two
   (Cooley and Tukey, 1965). */
function fourier(real, imaginary) {
  const n = real.length;
  for (let i = 1, j = 0; i < n; i++) {
    let bit = n >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) {
      [real[i], real[j]] = [real[j], real[i]];
      [imaginary[i], imaginary[j]] = [imaginary[j], imaginary[i]];
    }
  }
  for (let size = 2; size <= n; size <<= 1) {
    const half = size >> 1, angle = (-2 * Math.PI) / size;
    for (let k = 0; k < half; k++) {
      const c = Math.cos(angle * k), s = Math.sin(angle * k);
      for (let start = k; start < n; start += size) {
        const other = start + half;
        const re = real[other] * c - imaginary[other] * s, im = real[other] * s + imaginary[other] * c;
        real[other] = real[start] - re;
        imaginary[other] = imaginary[start] - im;
        real[start] += re;
        imaginary[start] += im;
      }
    }
  }
}

const WINDOW_S = 0.025;
const RANGE_DB = 70;

/* Energy in dB for `columns` moments spread evenly over the samples; column c is centred on (c + 0.5) / columns of
   the length. Returns {levels: Float32Array(columns * bins), bins, loudest}. */
function spectrogram(samples, rate, columns) {
  const width = Math.round(WINDOW_S * rate);
  const size = 2 ** Math.ceil(Math.log2(2 * width));
  const bins = size / 2;
  const shape = Float64Array.from({ length: width }, (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * (i + 0.5)) / width));
  const real = new Float64Array(size), imaginary = new Float64Array(size);
  const levels = new Float32Array(columns * bins);
  let loudest = -Infinity;
  for (let column = 0; column < columns; column++) {
    const start = Math.round(((column + 0.5) / columns) * samples.length - width / 2);
    real.fill(0);
    imaginary.fill(0);
    for (let i = 0; i < width; i++) real[i] = shape[i] * (samples[start + i] ?? 0);
    fourier(real, imaginary);
    for (let bin = 0; bin < bins; bin++) {
      const level = 10 * Math.log10(real[bin] ** 2 + imaginary[bin] ** 2 + 1e-12);
      levels[column * bins + bin] = level;
      if (level > loudest) loudest = level;
    }
  }
  return { levels, bins, loudest };
}

// Red, green and blue of a CSS colour, as a canvas reads it.
function channels(color) {
  const one = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  one.fillStyle = color;
  one.fillRect(0, 0, 1, 1);
  return one.getImageData(0, 0, 1, 1).data.slice(0, 3);
}

// 256 colours of the present theme, from silence to the loudest.
function palette(element) {
  const style = getComputedStyle(element);
  const stops = ["--spectrum-low", "--spectrum-middle", "--spectrum-high"].map((name) => channels(style.getPropertyValue(name)));
  return Array.from({ length: 256 }, (_, step) => {
    const at = (step / 255) * (stops.length - 1), low = Math.min(stops.length - 2, Math.floor(at));
    return [0, 1, 2].map((c) => stops[low][c] + (stops[low + 1][c] - stops[low][c]) * (at - low));
  });
}

function paint(canvas, samples, rate) {
  const ratio = Math.min(2, window.devicePixelRatio || 1);
  const columns = Math.max(1, Math.round(canvas.clientWidth * ratio)), rows = Math.max(1, Math.round(canvas.clientHeight * ratio));
  const { levels, bins, loudest } = spectrogram(samples, rate, columns);
  const colors = palette(canvas);
  const context = canvas.getContext("2d");
  canvas.width = columns;
  canvas.height = rows;
  const image = context.createImageData(columns, rows);
  for (let y = 0; y < rows; y++) {
    const bin = Math.min(bins - 1, Math.floor(((rows - 1 - y + 0.5) / rows) * bins));
    for (let x = 0; x < columns; x++) {
      const level = (levels[x * bins + bin] - loudest + RANGE_DB) / RANGE_DB;
      const [red, green, blue] = colors[Math.max(0, Math.min(255, Math.round(255 * level)))];
      image.data.set([red, green, blue, 255], 4 * (y * columns + x));
    }
  }
  context.putImageData(image, 0, 0);
}

function timeTicks(seconds) {
  const step = [0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300].find((size) => seconds / size <= 8) ?? 600;
  const ticks = [];
  for (let n = 0; n * step <= seconds; n++) ticks.push([n * step, `${Number((n * step).toFixed(1))}${n ? "" : `${THIN}s`}`]);
  return ticks;
}

const players = new Set();

// Play button, spectrogram with a moving line, seconds below, and the recognised words at their times.
function player(id) {
  const clip = facts.clips[id];
  const seconds = clip.duration_s;
  const audio = h("audio", { preload: "auto" });
  const canvas = h("canvas", { class: "spectrum", "aria-hidden": "true" });
  const line = h("span", { class: "playhead" });
  const button = h("button", { type: "button", class: "play", "aria-label": `Play ${id}`, onclick: () => (audio.paused ? audio.play() : audio.pause()) });
  const time = h("span", { class: "time" }, `${clock(0)} / ${clock(seconds)}`);
  const seek = (to) => { audio.currentTime = Math.max(0, Math.min(seconds, to)); follow(); };
  const stage = h("div", { class: "stage", role: "slider", tabindex: 0, "aria-label": `Position in ${id}`,
    "aria-valuemin": 0, "aria-valuemax": seconds.toFixed(2), "aria-valuenow": 0,
    onclick: (event) => { const box = stage.getBoundingClientRect(); seek(((event.clientX - box.left) / box.width) * seconds); },
    onkeydown: (event) => {
      const by = { ArrowRight: 0.5, ArrowLeft: -0.5, PageUp: 5, PageDown: -5 }[event.key];
      if (by) { event.preventDefault(); event.stopPropagation(); seek(audio.currentTime + by); }
      if (event.key === " " || event.key === "Enter") { event.preventDefault(); event.stopPropagation(); button.click(); }
    } }, canvas, line);
  const words = clip.words.map(([text, start, end]) =>
    h("span", { dir: "auto", title: `${text}: ${fixed(start, 2)} to ${fixed(end, 2)} s`,
      style: { left: share(start, seconds), width: share(end - start, seconds) } }, text));

  function follow() {
    line.style.left = share(audio.currentTime, seconds);
    time.textContent = `${clock(audio.currentTime)} / ${clock(seconds)}`;
    stage.setAttribute("aria-valuenow", audio.currentTime.toFixed(2));
    clip.words.forEach(([, start, end], place) => words[place].classList.toggle("now", start <= audio.currentTime && audio.currentTime < end && !audio.paused));
    if (!audio.paused) requestAnimationFrame(follow);
  }
  for (const name of ["play", "pause", "ended", "seeked"]) audio.addEventListener(name, () => {
    button.classList.toggle("playing", !audio.paused);
    if (name === "play") players.forEach((other) => other !== audio && other.pause());
    follow();
  });
  players.add(audio);

  const element = h("figure", { class: "player" },
    h("div", { class: "controls" }, button, time, audio),
    h("div", { class: "picture" }, stage,
      h("div", { class: "hertz", "aria-hidden": "true" }, h("span", {}, `${Number((clip.sample_rate_hz / 2000).toFixed(2))} kHz`), h("span", {}, "0")),
      h("div", { class: "ticks", "aria-hidden": "true" }, timeTicks(seconds).map(([at, text]) => h("span", { style: { left: share(at, seconds) } }, text))),
      words.length ? h("div", { class: "timeline" }, words) : null));
  drawWhenSeen(canvas, id, () => { audio.src = clipUrl(id); });
  return element;
}

// Spectrograms are drawn when they come into view, and again when the theme or their width changes.
const canvases = new Map();
const seen = new IntersectionObserver((entries) => entries.forEach(({ target, isIntersecting }) => {
  const state = canvases.get(target);
  if (!state) return;
  state.visible = isIntersecting;
  draw(target, state);
}), { rootMargin: "300px" });
const resized = new ResizeObserver((entries) => entries.forEach(({ target }) => {
  if (canvases.has(target)) draw(target, canvases.get(target));
}));

function drawWhenSeen(canvas, id, first) {
  canvases.set(canvas, { id, first, visible: false, samples: null, drawn: "" });
  seen.observe(canvas);
  resized.observe(canvas);
}

async function draw(canvas, state) {
  const wanted = `${canvas.clientWidth} ${currentTheme()}`;
  if (!state.visible || !canvas.clientWidth || state.drawn === wanted) return;
  state.drawn = wanted;
  if (state.first) state.first();
  state.first = null;
  state.samples ??= await clipSamples(state.id);
  paint(canvas, state.samples, facts.clips[state.id].sample_rate_hz);
  canvas.dataset.drawn = "yes";
}

function repaint() {
  for (const [canvas, state] of canvases) {
    if (canvas.isConnected) draw(canvas, state);
    else { canvases.delete(canvas); seen.unobserve(canvas); resized.unobserve(canvas); }
  }
}
