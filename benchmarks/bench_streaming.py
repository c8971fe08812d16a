"""Streaming recognition of digits: exactness, cost and memory over an hour, latencies, and WER beside other ways.

    python -m benchmarks.run streaming

Needs the Free Spoken Digit Dataset as `digit_sets` says. HARKEN_STREAMING_MODEL names a model folder trained with
recipes/digits-streaming.yaml; without it one is trained first. HARKEN_STREAMING_MINUTES shortens the hour. Latencies
are those of a stream in real time: an answer arrives once its chunk is heard, those before are worked off, and the CPU
time of its own is over.
"""

import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.digit_sets import corpus, digit_sets, division, train_recipe
from benchmarks.harness import ROOT, peak_memory
from benchmarks.stream_track import RATE_HZ, Track, first_partial_s, latencies, make_track
from harken.audio.features import FeatureExtractor
from harken.core import Waveform
from harken.data.importers import import_corpus
from harken.evaluation import align_words
from harken.evaluation.streaming import listen
from harken.inference.ctc_recognizer import CtcRecognizer
from harken.inference.engines import load
from harken.inference.streaming import StreamingASR, StreamingConfig
from harken.inference.streaming.cached import CachedFrames
from harken.inference.streaming.config import EndpointConfig
from harken.inference.streaming.stream import StreamState
from harken.inference.streaming.torch_network import TorchChunkNetwork
from harken.models.conformer import ConformerCtc
from harken.models.conformer_stream import StreamingConformer
from harken.models.folder import load_model

NAME = "streaming"
TITLE = "Streaming Conformer on connected digits, one thread"
TARGET = (
    "frames and text equal the masked offline pass; CPU per audio-second, beside a stream of a minute, within 10 % "
    "from the first third to the last; RSS growth below 2 MiB; 95 % of first partials within 0.7 s of the speech, of "
    "endpoints told within 0.4 s; WER below that of the fixed windows"
)
MINUTES = float(os.environ.get("HARKEN_STREAMING_MINUTES", "60"))
COMPARED_MINUTES = 5.0  # of the policies beside each other
CHUNK_S = 0.05
PIECE_FRAMES, LEAD_FRAMES = 1504, 400  # of the masked pass, a multiple of the chunk; a lead beyond what layers reach


def run() -> dict[str, Any]:
    clips = import_corpus("fsdd", corpus()).utterances
    held_out = division(clips, None)["test"]
    track = make_track(held_out, min(COMPARED_MINUTES, MINUTES))
    with tempfile.TemporaryDirectory(prefix="harken-streaming-") as folder:
        model = Path(os.environ.get("HARKEN_STREAMING_MODEL") or _trained(Path(folder)))
        # In a process of its own: memory that training gave back to the heap would hide growth.
        curve_ = peak_memory("benchmarks.bench_streaming:curve", str(model)).result
        figures = _exactness(model, make_track(held_out, MINUTES)) | curve_ | _comparison(model, track)
    value = {name: figure["value"] for name, figure in figures.items()}
    met = (
        value["frames that differ from the masked pass"] == 0
        and value["largest change of CPU per audio-second"] <= 10
        and value["RSS growth after the first minute"] < 2
        and value["first partial after speech begins, p95"] <= 0.7
        and value["final after the endpoint, p95"] <= 0.4
        and value["WER, cached"] < value["WER, fixed"]
    )
    return {"name": NAME, "title": TITLE, "figures": figures, "target": TARGET, "met": met, "rivals": {}}


def _trained(folder: Path) -> Path:
    """A model folder of the recipe, trained on the training clips."""
    return train_recipe(ROOT / "recipes" / "digits-streaming.yaml", digit_sets(folder), folder / "run").model_folder


def _exactness(model: Path, track: Track) -> dict[str, Any]:
    """Streamed frames beside those of the masked pass, which goes over pieces that begin well before what counts."""
    import torch

    loaded = load_model(model)
    network = loaded.model
    if not isinstance(network, ConformerCtc):
        raise TypeError(f"{model} holds a {type(network).__name__}")
    source = CachedFrames(TorchChunkNetwork(StreamingConformer(network), torch.device("cpu")), loaded.features)
    state, found = source.start(), []
    for chunk in _chunks(track.waveform):
        state, frames = source.step(state, chunk)
        found.append(frames.final_TV)
    streamed = np.concatenate([*found, source.finish(state)[1].final_TV])
    features = torch.from_numpy(FeatureExtractor(loaded.features)(track.waveform))
    masked = []
    for first in range(0, len(streamed), PIECE_FRAMES):
        begin, end = max(0, first - LEAD_FRAMES), first + PIECE_FRAMES
        piece = features[4 * begin : 4 * end + 8]  # the front end looks ahead
        with torch.inference_mode():
            scores = network(piece[None], torch.tensor([len(piece)]))[0][0].log_softmax(-1).numpy()
        masked.append(scores[first - begin : end - begin])
    whole = np.concatenate(masked)
    return {
        "frames compared with the masked pass": {"value": len(streamed), "unit": "frames"},
        "frames that differ from the masked pass": {
            "value": int((streamed.argmax(1) != whole.argmax(1)).sum()), "unit": "frames",
        },
        "largest difference of log probabilities": {"value": float(np.abs(streamed - whole).max()), "unit": "nats"},
    }  # fmt: skip


def curve(model: str) -> dict[str, Any]:
    """CPU time of each minute and memory after it, over a track that goes round.

    Beside the long stream, second by second, runs one that begins anew each minute: what slows both is the machine.
    """
    track = make_track(division(import_corpus("fsdd", corpus()).utterances, None)["test"], COMPARED_MINUTES)
    asr = StreamingASR(model)
    seconds = track.waveform[: len(track.waveform) // RATE_HZ * RATE_HZ].reshape(-1, RATE_HZ)
    long, at = asr.start(), 0
    cpu_s, fresh_s, rss_bytes = [], [], []
    for _ in range(round(MINUTES)):
        fresh, spent_s = asr.start(), [0.0, 0.0]
        for _ in range(60):
            second = seconds[at % len(seconds)]
            long, spent_s[0] = _heard(asr, long, second, spent_s[0])
            fresh, spent_s[1] = _heard(asr, fresh, second, spent_s[1])
            at += 1
        cpu_s.append(spent_s[0] / 60)
        fresh_s.append(spent_s[1] / 60)
        rss_bytes.append(_rss_bytes())
    ratios = [long_s / new_s for long_s, new_s in zip(cpu_s, fresh_s, strict=True)]
    third = max(1, len(ratios) // 3)
    drift = abs(float(np.median(ratios[-third:])) / float(np.median(ratios[:third])) - 1)
    return {
        "CPU per audio-second": {
            "value": float(np.median(cpu_s)), "unit": "s", "spread": [min(cpu_s), max(cpu_s)], "minutes": cpu_s,
        },
        "CPU per audio-second, streams of a minute": {
            "value": float(np.median(fresh_s)), "unit": "s", "spread": [min(fresh_s), max(fresh_s)], "minutes": fresh_s,
        },
        "CPU of a minute over that of a stream of a minute": {
            "value": round(float(np.median(ratios)), 4), "unit": "times", "spread": [min(ratios), max(ratios)],
        },
        "largest change of CPU per audio-second": {"value": round(100 * drift, 2), "unit": "%"},
        "RSS growth after the first minute": {
            "value": round((max(rss_bytes) - rss_bytes[0]) / 2**20, 3), "unit": "MiB",
            "minutes": [round(x / 2**20, 2) for x in rss_bytes],
        },
    }  # fmt: skip


def _heard(asr: StreamingASR, state: StreamState, waveform: Waveform, spent_s: float) -> tuple[StreamState, float]:
    """The state after a piece in chunks, and the CPU seconds spent so far."""
    begun = time.process_time()
    for chunk in _chunks(waveform):
        state, _ = asr.step(state, chunk)
    return state, spent_s + time.process_time() - begun


def _comparison(model: Path, track: Track) -> dict[str, Any]:
    """WER, latencies and corrections of each way to recognise the track."""
    recognizer = load(model, engine="torch")
    if not isinstance(recognizer, CtcRecognizer):
        raise TypeError(f"{model} has no CTC output")
    figures: dict[str, Any] = {}
    sentences = [
        track.waveform[int(item.words[0][1] * RATE_HZ) : int(item.words[-1][2] * RATE_HZ)] for item in track.sentences
    ]
    batch = " ".join(transcript.text for transcript in recognizer.transcribe_batch(sentences))
    figures["WER, batch of sentences"] = _wer(track, batch.split())
    figures["WER, single pass"] = _wer(track, recognizer.transcribe(track.waveform).text.split())
    for policy in ("cached", "windowed", "fixed"):
        config = StreamingConfig(policy=policy, endpoint=EndpointConfig())
        asr = StreamingASR(recognizer, config=config)
        heard = listen(asr, track.waveform, chunk_s=CHUNK_S, clock=time.process_time)
        late = latencies(track, heard)
        figures[f"WER, {policy}"] = _wer(track, heard.text.split())
        figures[f"hypothesis latency, {policy}"] = _seconds(late.shown_s)
        figures[f"committed latency, {policy}"] = _seconds(late.committed_s)
        figures[f"corrections per word, {policy}"] = {
            "value": round(heard.corrections / max(1, len(heard.words)), 4),
            "unit": "",
        }
        figures[f"CPU per audio-second, {policy}"] = {"value": heard.cpu_s / heard.audio_s, "unit": "s"}
        if policy == "cached":
            pause_s = config.endpoint.pause_s or 0.0
            told_s = [at_s - event.silence_s - pause_s for event, at_s in heard.endpoints if event.rule == "pause"]
            figures["first partial after speech begins, p95"] = _p95(first_partial_s(track, heard))
            figures["final after the endpoint, p95"] = _p95(told_s)
    return figures


def _chunks(waveform: Waveform) -> list[Waveform]:
    size = round(CHUNK_S * RATE_HZ)
    return [waveform[first : first + size] for first in range(0, len(waveform), size)]


def _wer(track: Track, heard: Sequence[str]) -> dict[str, Any]:
    said = [word for word, _, _ in track.words]
    errors = sum(operation.kind != "C" for operation in align_words(said, list(heard)))
    return {"value": round(100 * errors / len(said), 3), "unit": "%", "words": len(said), "errors": errors}


def _seconds(values: Sequence[float]) -> dict[str, Any]:
    low, middle, high = (round(float(x), 3) for x in np.percentile(values, [5, 50, 95]))
    return {"value": middle, "unit": "s", "spread": [low, high], "words": len(values)}


def _p95(values: Sequence[float]) -> dict[str, Any]:
    low, middle, high = (round(float(x), 3) for x in np.percentile(values, [5, 50, 95]))
    return {"value": high, "unit": "s", "spread": [low, high], "median": middle, "count": len(values)}


def _rss_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
