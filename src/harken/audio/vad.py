"""Voice activity detection with Silero VAD (MIT), run by ONNX Runtime; no torch."""

from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harken.audio.resample import resample
from harken.core import MissingPart, Strict, Waveform
from harken.core.units import samples_to_seconds, seconds_to_samples

RATE_HZ = 16_000
WINDOW_SAMPLES = 512
CONTEXT_SAMPLES = 64
_HYSTERESIS = 0.15  # speech ends below the threshold less this


@dataclass(frozen=True, slots=True, kw_only=True)
class VadConfig(Strict):
    speech_threshold: float = 0.5  # probability
    min_speech_s: float = 0.25
    min_silence_s: float = 0.1
    pad_s: float = 0.03  # added on both sides of speech
    threads: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.speech_threshold < 1:
            raise ValueError(f"speech_threshold is {self.speech_threshold}; use a probability between 0 and 1")
        for name in ("min_speech_s", "min_silence_s", "pad_s"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; use seconds, 0 or more")
        if self.threads < 1:
            raise ValueError(f"threads is {self.threads}; use 1 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class VadState:
    """What the network carries from one window to the next: memory (2, 1, 128) and the last samples (64,)."""

    memory: npt.NDArray[np.float32]
    context: npt.NDArray[np.float32]


class SpeechDetector:
    """The network; holds no audio. `state, probability = step(state, window)` for streams."""

    def __init__(self, *, threads: int = 1) -> None:
        self._session = _session(threads)

    def start(self) -> VadState:
        """The state before the first window."""
        return VadState(memory=np.zeros((2, 1, 128), np.float32), context=np.zeros(CONTEXT_SAMPLES, np.float32))

    def step(self, state: VadState, window: Waveform) -> tuple[VadState, float]:
        """Probability of speech in one window of 512 samples at 16 kHz, and the state after it."""
        if window.shape != (WINDOW_SAMPLES,):
            raise ValueError(f"the window has shape {window.shape}; use ({WINDOW_SAMPLES},) at {RATE_HZ} Hz")
        samples = np.concatenate([state.context, window])[None, :]
        output, memory = self._session.run(
            None, {"input": samples, "state": state.memory, "sr": np.array(RATE_HZ, np.int64)}
        )
        return VadState(memory=memory, context=window[-CONTEXT_SAMPLES:]), float(output[0, 0])

    def probabilities(self, waveform: Waveform) -> npt.NDArray[np.float32]:
        """(windows,) probability of speech in each 32 ms of a waveform at 16 kHz; the last window is zero-padded."""
        state, found = self.start(), []
        for first in range(0, len(waveform), WINDOW_SAMPLES):
            window = waveform[first : first + WINDOW_SAMPLES]
            state, probability = self.step(state, np.pad(window, (0, WINDOW_SAMPLES - len(window))))
            found.append(probability)
        return np.array(found, dtype=np.float32)


def detect_speech(
    waveform: Waveform, config: VadConfig | None = None, *, sample_rate_hz: int = RATE_HZ
) -> list[tuple[float, float]]:
    """Spans [start, end) of speech in seconds, in order, not overlapping.

    Follows Silero's own rule: speech begins at the threshold, ends after `min_silence_s` below the threshold less
    0.15, and is dropped when shorter than `min_speech_s`. Raises MissingPart without the extra `vad`.
    """
    config = config or VadConfig()
    audio = resample(waveform, from_hz=sample_rate_hz, to_hz=RATE_HZ)
    probabilities = SpeechDetector(threads=config.threads).probabilities(audio)
    return spans_of(probabilities, config, samples=len(audio))


def spans_of(probabilities: npt.NDArray[np.float32], config: VadConfig, *, samples: int) -> list[tuple[float, float]]:
    """Speech spans in seconds from the probability of each 512-sample window of audio with `samples` samples."""
    min_silence = seconds_to_samples(config.min_silence_s, sample_rate_hz=RATE_HZ)
    raw: list[tuple[int, int]] = []
    begin: int | None = None
    quiet_from: int | None = None
    for number, probability in enumerate(probabilities.tolist()):
        here = number * WINDOW_SAMPLES
        if probability >= config.speech_threshold:
            begin, quiet_from = (here if begin is None else begin), None
        elif probability < config.speech_threshold - _HYSTERESIS and begin is not None:
            quiet_from = here if quiet_from is None else quiet_from
            if here - quiet_from >= min_silence:
                raw.append((begin, quiet_from))
                begin = quiet_from = None
    if begin is not None:
        raw.append((begin, samples))
    return _padded(raw, config, samples)


def _padded(raw: list[tuple[int, int]], config: VadConfig, samples: int) -> list[tuple[float, float]]:
    shortest = seconds_to_samples(config.min_speech_s, sample_rate_hz=RATE_HZ)
    pad = seconds_to_samples(config.pad_s, sample_rate_hz=RATE_HZ)
    kept = [span for span in raw if span[1] - span[0] > shortest]
    spans: list[tuple[float, float]] = []
    for index, (begin, end) in enumerate(kept):
        before = begin - kept[index - 1][1] if index else 2 * pad + begin
        after = kept[index + 1][0] - end if index + 1 < len(kept) else 2 * pad + samples
        first, last = max(0, begin - min(pad, before // 2)), min(samples, end + min(pad, after // 2))
        spans.append(
            (samples_to_seconds(first, sample_rate_hz=RATE_HZ), samples_to_seconds(last, sample_rate_hz=RATE_HZ))
        )
    return spans


@lru_cache(maxsize=4)
def _session(threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = threads
    return onnxruntime.InferenceSession(str(_model_file()), options, providers=["CPUExecutionProvider"])


def _model_file() -> Path:
    """The network inside the installed package, which is found without importing it (that would load torch)."""
    found = find_spec("silero_vad")
    for folder in (found.submodule_search_locations or ()) if found else ():
        path = Path(folder) / "data" / "silero_vad.onnx"
        if path.is_file():
            return path
    raise MissingPart("Voice activity detection needs the package silero-vad.", hint="pip install 'harken[vad]'")
