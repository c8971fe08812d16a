"""What the server measures about its work, for Prometheus and for `/stats`.

Labels are names of served models and words of this file alone: nothing that a client sends becomes a label.
"""

import threading
import time
from collections import Counter as Counted
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from harken.serving.contract import Timings
from harken.serving.gpu_memory import used_bytes
from harken.serving.loop_lag import LoopLag

Refusal = Literal["queue_full", "model_busy", "stopping", "stream_flooded", "too_many_streams"]
Keeping = Literal["kept", "dropped"]
DecodeFailure = Literal["not_audio", "damaged", "too_short", "beyond_limits", "wrong_header", "decoder", "queue_full"]

RECENT = 512  # requests and passes that `stats` speaks about
_WAITS_S = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_SIZES = (1, 2, 4, 8, 12, 16, 24, 32)
_RTF = (0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pass:
    audio_s: float
    inference_s: float
    batch_size: int


class ServerMetrics:
    """Counts of one server. Any thread may call it."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        """`registry` is where Prometheus reads; None: one of its own."""
        self.registry = registry = registry or CollectorRegistry()
        model = ("model",)
        self._audio_s = Counter("asr_audio_seconds", "Audio heard", model, registry=registry)
        self._depth = Gauge("asr_queue_depth", "Requests that wait", model, registry=registry)
        self._wait = Histogram("asr_queue_wait_seconds", "In the queue", model, buckets=_WAITS_S, registry=registry)
        self._decode = Histogram("asr_decode_seconds", "Decoding an upload", buckets=_WAITS_S, registry=registry)
        self._size = Histogram("asr_batch_size", "Requests that share a pass", model, buckets=_SIZES, registry=registry)
        self._rtf = Histogram("asr_rtf", "Seconds of a pass for one of audio", model, buckets=_RTF, registry=registry)
        self._refused = Counter("asr_rejects", "Requests refused", ("reason",), registry=registry)
        self._failed = Counter("asr_decode_failures", "Uploads that are no audio", ("reason",), registry=registry)
        self._cached = Counter("asr_cache_hits", "Answers from the cache", model, registry=registry)
        self._held_up = Counter("asr_job_hold_ups", "Files of jobs put off in an outage", registry=registry)
        self._unaudited = Counter("asr_audit_rows_lost", "Rows that the database did not take", registry=registry)
        self._loaded = Gauge("asr_models_loaded", "Models in memory", registry=registry)
        self._wer = Gauge("asr_wer_score", "Word error rate of the last evaluation", model, registry=registry)
        self._streams = Gauge("asr_active_streams", "Live streams", model, registry=registry)
        self._kept = Counter("asr_audio_kept", "Uploads kept after their request", ("outcome",), registry=registry)
        self._gpu = Gauge("asr_gpu_memory_used_bytes", "Memory in use", ("gpu",), registry=registry)
        for number in range(len(used_bytes())):
            self._gpu.labels(str(number)).set_function(partial(_gpu_bytes, number))
        self.loop_lag = LoopLag(registry)
        self._lock = threading.Lock()
        self._requests: deque[tuple[Timings, float]] = deque(maxlen=RECENT)
        self._passes: deque[_Pass] = deque(maxlen=RECENT)
        self._totals: Counted[str] = Counted()
        self._began = time.monotonic()

    def set_queue_depth(self, model: str, depth: int) -> None:
        self._depth.labels(model).set(depth)

    def pass_done(self, model: str, *, audio_s: float, inference_s: float, batch_size: int) -> None:
        """One pass of a model over `batch_size` requests."""
        self._audio_s.labels(model).inc(audio_s)
        self._size.labels(model).observe(batch_size)
        self._rtf.labels(model).observe(inference_s / max(audio_s, 0.01))
        with self._lock:
            self._passes.append(_Pass(audio_s=audio_s, inference_s=inference_s, batch_size=batch_size))

    def request_done(self, model: str, timings: Timings, *, audio_s: float, cached: bool) -> None:
        """A request that got its transcript."""
        if cached:
            self._cached.labels(model).inc()
        else:
            self._wait.labels(model).observe(timings.queue_s)
            self._decode.observe(timings.decode_s)
        with self._lock:
            self._totals["cached" if cached else "heard"] += 1
            if not cached:
                self._requests.append((timings, audio_s))

    def stream_heard(self, model: str, audio_s: float) -> None:
        """So much audio of a live stream was heard."""
        self._audio_s.labels(model).inc(audio_s)

    def refused(self, reason: Refusal) -> None:
        self._refused.labels(reason).inc()
        with self._lock:
            self._totals[f"refused: {reason}"] += 1

    def decode_failed(self, reason: DecodeFailure) -> None:
        self._failed.labels(reason).inc()
        with self._lock:
            self._totals[f"not decoded: {reason}"] += 1

    def job_held_up(self) -> None:
        """A file of a job is put off, because something it needs is away."""
        self._held_up.inc()
        with self._lock:
            self._totals["held up"] += 1

    def audit_rows_lost(self, rows: int) -> None:
        self._unaudited.inc(rows)

    def audio_kept(self, outcome: Keeping) -> None:
        """An upload that should be kept is stored, or is not."""
        self._kept.labels(outcome).inc()
        with self._lock:
            self._totals[f"audio {outcome}"] += 1

    def stream_opened(self, model: str) -> None:
        self._streams.labels(model).inc()

    def stream_closed(self, model: str) -> None:
        self._streams.labels(model).dec()

    def set_models_loaded(self, models: int) -> None:
        self._loaded.set(models)

    def set_wer(self, model: str, wer: float | None) -> None:
        """The word error rate of a served model as a fraction, None where its folder says none."""
        self._wer.labels(model).set(float("nan") if wer is None else wer)

    def stats(self) -> dict[str, Any]:
        """Figures of the last `RECENT` requests and passes, as `/stats` shows them. Times are in seconds."""
        with self._lock:
            requests, passes, totals = list(self._requests), list(self._passes), dict(self._totals)
        timings = [asdict(found) for found, _ in requests]
        return {
            "uptime_s": round(time.monotonic() - self._began, 3),
            "totals": totals,
            "recent_requests": len(requests),
            "audio_s": _spread(audio_s for _, audio_s in requests),
            **{name: _spread(row[name] for row in timings) for name in Timings.__dataclass_fields__},
            "rtf": _spread(
                row["total_s"] / max(audio_s, 0.01) for row, (_, audio_s) in zip(timings, requests, strict=True)
            ),
            "batching": _batching(passes),
            "event_loop_lag_s": self.loop_lag.recent(),
        }


def _batching(passes: Sequence[_Pass]) -> dict[str, Any]:
    """Sizes of recent passes, and how fast those of one request were beside those of several."""
    alone = [item for item in passes if item.batch_size == 1]
    together = [item for item in passes if item.batch_size > 1]
    return {
        "passes": len(passes),
        "sizes": {str(size): count for size, count in sorted(Counted(item.batch_size for item in passes).items())},
        "audio_s_per_s": {"alone": _speed(alone), "together": _speed(together)},
    }


def _speed(passes: Iterable[_Pass]) -> float | None:
    found = list(passes)
    inference_s = sum(item.inference_s for item in found)
    return round(sum(item.audio_s for item in found) / inference_s, 2) if inference_s else None


def _spread(values: Iterable[float]) -> dict[str, float] | None:
    """Median and 95th percentile (nearest rank); None for no values."""
    ordered = sorted(values)
    if not ordered:
        return None
    places = {"p50": 0.5, "p95": 0.95}
    return {name: round(ordered[min(len(ordered) - 1, int(len(ordered) * at))], 4) for name, at in places.items()}


def _gpu_bytes(number: int) -> float:
    found = used_bytes()
    return float(found[number]) if number < len(found) else float("nan")
