"""Settings of an engine and of what it does with audio; one set for all engines."""

import math
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from harken.core import InputError, Strict
from harken.inference.ctc.config import CtcDecodingConfig
from harken.inference.whisper.config import WhisperDecodingConfig
from harken.text.whisper_tokenizer import Task

Precision = Literal["auto", "fp32", "fp16", "int8"]
CPU_BATCH_S, GPU_BATCH_S = 30.0, 240.0
FEATURES_WINDOW_S, SAMPLES_WINDOW_S = 30.0, 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig(Strict):
    """Audio longer than `window_s` is read in windows of that length by CTC models: each scores what lies
    `context_s` away from its edges at least, and the scores are joined before anything is decoded. None: 30 s, and 20 s
    for models that hear samples, such as wav2vec 2.0, whose first layers take tens of MiB for a second of audio.
    Encoder-decoder models have a window of their own.
    """

    device: str = "auto"  # auto, cpu, cuda, cuda:1 ...
    precision: Precision = "auto"  # which export runs; torch runs fp32
    threads: int | None = None  # of the CPU; None leaves it to the engine
    parallel: int | None = None  # passes of a CTC model in ONNX at a time, on a CPU; None: one a thread, 4 at most
    batch_s: float | None = None  # seconds of audio, padding included, in one forward pass; None: see `at_once_s`
    window_s: float | None = None
    context_s: float = 4.0
    longest_s: float = 14_400.0  # audio above this is refused
    language: str | None = None  # what is spoken, for encoder-decoder models; None: the model's own, or its own guess
    task: Task | None = None  # encoder-decoder models; None: what the model was trained for
    ctc: CtcDecodingConfig = field(default_factory=CtcDecodingConfig)  # for models with a CTC output only
    whisper: WhisperDecodingConfig = field(default_factory=WhisperDecodingConfig)  # for Whisper only

    def __post_init__(self) -> None:
        for name in ("batch_s", "window_s", "longest_s"):
            seconds = getattr(self, name)
            if seconds is not None and not (math.isfinite(seconds) and seconds > 0):
                raise ValueError(f"{name} is {seconds}; use seconds above 0, a finite number")
        shortest_s = self.window_s or SAMPLES_WINDOW_S
        if not 0 <= self.context_s < shortest_s / 2:
            raise ValueError(f"context_s is {self.context_s}; use 0 to less than half of window_s ({shortest_s:g})")
        if self.language is not None and self.whisper.multilingual:
            raise ValueError(f"language is {self.language} but whisper.multilingual is set; use one of the two")
        for name in ("threads", "parallel"):
            if (number := getattr(self, name)) is not None and number < 1:
                raise ValueError(f"{name} is {number}; use 1 or more")

    def at_once_s(self, *, on_cpu: bool) -> float:
        """Seconds of audio in one forward pass of a CTC model. A processor works from its caches, which the activations
        of a large batch leave; a GPU is idle without one.
        """
        return self.batch_s or (CPU_BATCH_S if on_cpu else GPU_BATCH_S)

    def windows_at_once(self, window_s: float | None) -> int:
        """Windows of an encoder-decoder model in one pass, at least 1. Its decoder reads all its weights for each token
        of a batch, so that batches pay on a CPU too.
        """
        return 1 if window_s is None else max(1, int((self.batch_s or GPU_BATCH_S) // window_s))


def refuse_seq2seq_settings(config: EngineConfig) -> None:
    """Raise InputError for settings that would do nothing with a CTC model."""
    told = next((name for name in ("language", "task") if getattr(config, name) is not None), None)
    if told is not None:
        raise InputError(
            f"{told} is {getattr(config, told)!r}, which this model cannot be told: it has a CTC output.",
            hint="Leave it out; only encoder-decoder models such as Whisper take it.",
        )
    _refuse_changes("whisper", config.whisper, WhisperDecodingConfig(), "this model has a CTC output")


def refuse_ctc_settings(config: EngineConfig) -> None:
    """Raise InputError for settings that would do nothing with an encoder-decoder model."""
    _refuse_changes("ctc", config.ctc, CtcDecodingConfig(), "this model has no CTC output")


def _refuse_changes(block: str, found: Any, plain: Any, reason: str) -> None:
    changed = next(
        (item.name for item in fields(found) if getattr(found, item.name) != getattr(plain, item.name)), None
    )
    if changed is not None:
        raise InputError(
            f"{block}.{changed} is {getattr(found, changed)!r}, which does nothing here: {reason}.",
            hint="Leave it out.",
        )
