"""What a streaming policy is, and the one that all CTC models share."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from harken.core import Tokenizer, Waveform
from harken.core.units import samples_to_seconds
from harken.inference.streaming.config import EndpointConfig
from harken.inference.streaming.frames import Frames, FrameSource
from harken.inference.streaming.speech import SpeechState, SpeechTracker
from harken.inference.streaming.words import CtcWords, Found, WordsState

BLOCK_S = 0.032
"""Policies hear audio in blocks of this length, whatever the pieces that it arrives in: one window of Silero VAD."""
_MARGIN_S = 0.2  # a CTC model may emit a word's last unit this long after the speech
_SPELLED_S = 1.0  # the longest that an endpoint waits for the end of a word


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What a block brought: words and endpoints in order, and the text that is tentative now."""

    found: Sequence[Found] = ()
    tentative: str = ""


class Policy(Protocol):
    """How audio becomes words; `State` is the policy's own. Blocks are of `BLOCK_S`, the last one may be shorter."""

    def start(self) -> Any: ...

    def step(self, state: Any, block: Waveform) -> tuple[Any, Progress]: ...

    def finish(self, state: Any) -> tuple[Any, Progress]: ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CtcState:
    """`due` is an endpoint that voice activity detection has told, waiting for the frames of the speech before it."""

    source: Any
    words: WordsState
    speech: SpeechState | None
    tentative: str = ""
    due: Found | None = None


class CtcPolicy:
    """Frames from a `FrameSource`, decoded greedily; endpoints by blanks, or by a `SpeechTracker`."""

    def __init__(
        self,
        source: FrameSource,
        tokenizer: Tokenizer,
        *,
        endpoint: EndpointConfig,
        sample_rate_hz: int,
        tracker: SpeechTracker | None = None,
    ) -> None:
        """`tracker` is needed where `endpoint.source` is vad."""
        if (tracker is not None) != (endpoint.source == "vad"):
            raise ValueError(f"endpoint.source is {endpoint.source}; use vad with a tracker, blank without")
        self._source, self._endpoint, self._tracker = source, endpoint, tracker
        self._words = CtcWords(tokenizer, frame_s=source.frame_s, endpoint=endpoint)
        self._rate = sample_rate_hz

    def start(self) -> CtcState:
        speech = None if self._tracker is None else self._tracker.start()
        return CtcState(source=self._source.start(), words=self._words.start(), speech=speech)

    def step(self, state: CtcState, block: Waveform) -> tuple[CtcState, Progress]:
        if self._tracker is not None and state.speech is not None:
            speech = self._tracker.step(state.speech, block)
            state = replace(state, speech=speech, due=state.due or self._told(speech, state.words))
        source, frames = self._source.step(state.source, block)
        return self._decode(replace(state, source=source), frames)

    def finish(self, state: CtcState) -> tuple[CtcState, Progress]:
        source, frames = self._source.finish(state.source)
        state, progress = self._decode(replace(state, source=source), frames)
        words, last = self._words.close(state.words)
        return replace(state, words=words, tentative=""), Progress(found=[*progress.found, last])

    def _told(self, speech: SpeechState, words: WordsState) -> Found | None:
        """The endpoint that the silence up to here makes, with the frame its silence begins with.

        Of a segment that voice activity detection has missed, silence is the blanks after its last word. For a word
        that it missed after others, which may be half spelled, the endpoint waits until the model takes a breath.
        """
        rule = "pause" if words.spoken else "silence"
        wanted_s = self._endpoint.pause_s if words.spoken else self._endpoint.silence_s
        if wanted_s is None or speech.speaking or (words.told and not words.spoken):
            return None
        frame_s = self._source.frame_s
        since_s = samples_to_seconds(speech.since or 0, sample_rate_hz=self._rate)
        silent_s = samples_to_seconds(speech.heard, sample_rate_hz=self._rate) - since_s
        ended_s, blank_s = (words.frames - words.blanks) * frame_s, words.blanks * frame_s
        if words.spoken and words.segment * frame_s > since_s + _MARGIN_S:
            since_s, silent_s = ended_s, blank_s
        missed = words.spoken and ended_s > since_s + _MARGIN_S and not self._words.whole_words
        if missed and blank_s < self._endpoint.breath_s:
            wanted_s += _SPELLED_S
        return None if silent_s < wanted_s else Found(rule=rule, silence=round(since_s / frame_s))

    def _decode(self, state: CtcState, frames: Frames) -> tuple[CtcState, Progress]:
        found: list[Found] = []
        words, due, final_TV = state.words, state.due, frames.final_TV
        if due is not None:
            cut = due.silence + round(_MARGIN_S / self._source.frame_s) - words.frames
            if cut <= len(final_TV):
                words, more = self._words.step(words, final_TV[: max(0, cut)])
                words, last = self._words.close(words)
                found += [*more, replace(due, words=last.words)]
                due, final_TV = None, final_TV[max(0, cut) :]
        words, more = self._words.step(words, final_TV)
        found += more
        tentative = state.tentative
        if len(frames.final_TV) or frames.ahead_TV is not None or found:
            tentative = self._words.tentative(words, frames.ahead_TV)
        after = replace(state, words=words, due=due, tentative=tentative)
        return after, Progress(found=found, tentative=tentative)
