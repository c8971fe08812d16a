"""Windows of speech, cut where nobody speaks, from audio of any length.

Neighbouring spans share a window as far as they fit, with the silence between them; longer silence is left out. Speech
longer than a window is cut at its quietest place in the window's second half (Bain et al. 2023, "WhisperX", section
2.1). All places but the edges of a span lie on the grid of the detector's windows.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from harken.audio.vad import RATE_HZ, WINDOW_SAMPLES, SpeechDetector, VadConfig, spans_of
from harken.core import Waveform
from harken.core.units import seconds_to_samples
from harken.inference.whisper.sample_stream import SampleStream

LONGEST_PAUSE_S = 5.0
"""Silence beyond this is not given to Whisper, which would find words in it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SpeechSpan:
    """Samples (n,) that begin at the position `start` of the audio."""

    start: int
    samples: Waveform


class _HeardStream:
    """A stream with the probability of speech in each of the detector's windows."""

    def __init__(self, stream: SampleStream, detector: SpeechDetector) -> None:
        self._stream, self._detector = stream, detector
        self._state = detector.start()
        self._probabilities: list[float] = []
        self._first = 0  # detector window of the first probability that is held

    def read(self, start: int, count: int) -> tuple[Waveform, npt.NDArray[np.float32]]:
        """Samples as `SampleStream.read` gives them, and the probabilities of the windows they fill or begin.

        `start` and `count` are multiples of the detector's window.
        """
        samples = self._stream.read(start, count)
        first = start // WINDOW_SAMPLES
        known = self._first + len(self._probabilities)
        for number in range(known, first + -(-len(samples) // WINDOW_SAMPLES)):
            offset = (number - first) * WINDOW_SAMPLES
            window = samples[offset : offset + WINDOW_SAMPLES]
            padded = np.pad(window, (0, WINDOW_SAMPLES - len(window)))
            self._state, probability = self._detector.step(self._state, padded)
            self._probabilities.append(probability)
        return samples, np.array(self._probabilities[first - self._first :], np.float32)

    def drop(self, before: int) -> None:
        self._stream.drop(before)
        first = min(before // WINDOW_SAMPLES, self._first + len(self._probabilities))
        del self._probabilities[: first - self._first]
        self._first = first


def speech_windows(
    stream: SampleStream, *, longest: int, config: VadConfig, detector: SpeechDetector | None = None
) -> Iterator[SpeechSpan]:
    """The windows of a stream at 16 kHz, each at most `longest` samples, in order.

    Every span of speech lies in exactly one of them, but for those cut because they are longer than a window. Memory
    holds little more than a window. Raises MissingPart without the extra `vad`.
    """
    heard = _HeardStream(stream, detector or SpeechDetector(threads=config.threads))
    # A span is known to have ended only some time after it did.
    margin_s = config.min_speech_s + config.min_silence_s + 2 * config.pad_s
    margin = _whole(seconds_to_samples(margin_s, sample_rate_hz=RATE_HZ)) + 4 * WINDOW_SAMPLES
    ahead = _whole(longest) + margin
    shortest_pause = seconds_to_samples(config.min_silence_s, sample_rate_hz=RATE_HZ)
    seek, done = 0, 0  # what is looked at from here on; the end of the last window
    goes_on = False  # whether the speech at `seek` began before it
    while True:
        samples, probabilities = heard.read(seek, ahead)
        ends_here = len(samples) < ahead
        rules = replace(config, min_speech_s=0.0) if goes_on else config
        spans = _samples_of(spans_of(probabilities, rules, samples=len(samples)))
        if goes_on and spans and spans[0][0] <= shortest_pause:  # the dip it was cut in is no pause
            spans[0] = (0, spans[0][1])
        quiet = spans[0][0] if spans else max(0, len(samples) - margin)
        if not spans and ends_here:
            return
        if quiet >= WINDOW_SAMPLES:  # so that the window begins with its speech
            seek, goes_on = seek + quiet // WINDOW_SAMPLES * WINDOW_SAMPLES, False
        else:
            begin = max(spans[0][0], done - seek)  # padding of two windows does not overlap
            end = _last_that_fits(spans, begin + longest)
            goes_on = end is None
            if end is None:
                end = _quietest(probabilities, begin + longest // 2, begin + longest)
            done = seek + end
            yield SpeechSpan(start=seek + begin, samples=samples[begin:end])
            seek += max(WINDOW_SAMPLES, end // WINDOW_SAMPLES * WINDOW_SAMPLES)
        heard.drop(seek)


def _whole(samples: int) -> int:
    return -(-samples // WINDOW_SAMPLES) * WINDOW_SAMPLES


def _samples_of(spans_s: list[tuple[float, float]]) -> list[tuple[int, int]]:
    return [
        (seconds_to_samples(begin, sample_rate_hz=RATE_HZ), seconds_to_samples(end, sample_rate_hz=RATE_HZ))
        for begin, end in spans_s
    ]


def _last_that_fits(spans: list[tuple[int, int]], limit: int) -> int | None:
    """The end of the last span before `limit` that no long pause parts from the first; None where not even that fits.

    A span that has not ended yet reaches beyond the limit.
    """
    pause = seconds_to_samples(LONGEST_PAUSE_S, sample_rate_hz=RATE_HZ)
    found: int | None = None
    for begin, end in spans:
        if end > limit or (found is not None and begin - found > pause):
            break
        found = end
    return found


def _quietest(probabilities: npt.NDArray[np.float32], first: int, last: int) -> int:
    """The sample in [first, last] where speech is least probable."""
    windows = slice(-(-first // WINDOW_SAMPLES), last // WINDOW_SAMPLES + 1)
    return (windows.start + int(probabilities[windows].argmin())) * WINDOW_SAMPLES
