"""Policy `local-agreement`: recognisers of whole utterances, such as Whisper, on a growing buffer of speech.

The buffer is read again and again; the words that two readings in a row agree on from the start are committed
(LocalAgreement-2, Liu et al. 2020, as Macháček et al. 2023, "Turning Whisper into Real-Time Transcription System", use
it). A reading tells the committed words of the buffer once more: which they are is told by text first, so that a word
said twice counts twice, and by their times only where that leaves a choice. Voice activity detection keeps silence out,
in which such models repeat themselves or make words up; a buffer that grows too long is committed whatever its readings
say. So memory and the cost of a reading are bounded.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np

from harken.core import Recognizer, Waveform, Word
from harken.core.units import samples_to_seconds, seconds_to_samples
from harken.inference.streaming.config import AgreementConfig, EndpointConfig
from harken.inference.streaming.fixed import timed_words
from harken.inference.streaming.policy import Progress
from harken.inference.streaming.speech import SpeechState, SpeechTracker, silent_s
from harken.inference.streaming.words import Found

_BEFORE_S = 0.3  # kept from before the speech: its detection comes late
_KEPT = 2  # committed words that stay in a trimmed buffer: what begins with whole, known words is read well


@runtime_checkable
class BufferRecognizer(Protocol):
    """Reads a piece of speech from its beginning, knowing what was said before."""

    @property
    def sample_rate_hz(self) -> int: ...

    def transcribe_buffer(self, waveform: Waveform, prompt: str) -> Sequence[Word]:
        """Words of (samples,) float32 at `sample_rate_hz`, with times from its start. `prompt` is text before it."""
        ...


class PlainBuffer:
    """Any recognizer as a `BufferRecognizer`; it is not told what was said before."""

    def __init__(self, recognizer: Recognizer) -> None:
        self._recognizer = recognizer

    @property
    def sample_rate_hz(self) -> int:
        return self._recognizer.sample_rate_hz

    def transcribe_buffer(self, waveform: Waveform, prompt: str) -> Sequence[Word]:
        return timed_words(self._recognizer, waveform)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AgreementState:
    """`held` audio from sample `begin` on, `unread` of them new; what the last reading said and is not committed.

    `inside` are the committed words whose sound is still held, `context` the text before them.
    """

    speech: SpeechState
    held: Waveform
    begin: int = 0
    unread: int = 0
    active: bool = False
    last: tuple[Word, ...] = ()
    inside: tuple[Word, ...] = ()
    context: str = ""


class AgreementPolicy:
    """A `BufferRecognizer` behind a gate of voice activity detection."""

    def __init__(
        self,
        recognizer: BufferRecognizer,
        *,
        config: AgreementConfig,
        endpoint: EndpointConfig,
        tracker: SpeechTracker,
    ) -> None:
        """A segment ends by `endpoint.pause_s`, or, where that is None, silently after `config.reset_s`."""
        self._recognizer, self._config, self._endpoint, self._tracker = recognizer, config, endpoint, tracker
        self._rate = recognizer.sample_rate_hz
        self._every = self._samples(config.every_s)
        self._longest = self._samples(config.longest_s)
        self._long = self._samples(config.trim_s)
        self._before = self._samples(_BEFORE_S)

    def start(self) -> AgreementState:
        return AgreementState(speech=self._tracker.start(), held=np.zeros(0, np.float32))

    def step(self, state: AgreementState, block: Waveform) -> tuple[AgreementState, Progress]:
        speech = self._tracker.step(state.speech, block)
        state = replace(
            state,
            speech=speech,
            held=np.concatenate([state.held, block]),
            unread=state.unread + len(block),
            active=state.active or speech.speaking,
        )
        if not state.active:
            return self._wait(state), Progress()
        pause_s = self._endpoint.pause_s
        if silent_s(speech) >= (pause_s or self._config.reset_s):
            return self._close(state, rule=None if pause_s is None else "pause")
        found: list[Found] = []
        if state.unread >= self._every or len(state.held) >= self._longest:
            state, found = self._read(state)
        if len(state.held) >= self._longest:
            state, more = self._force(state)
            found += more
        elif found and len(state.held) >= self._long:
            state = self._trim(state)
        return state, Progress(found=found, tentative=_text(state.last))

    def finish(self, state: AgreementState) -> tuple[AgreementState, Progress]:
        return self._close(state, rule=None) if state.active else (state, Progress())

    def _samples(self, seconds: float) -> int:
        return seconds_to_samples(seconds, sample_rate_hz=self._rate)

    def _wait(self, state: AgreementState) -> AgreementState:
        """Nobody speaks: a little audio is kept, and after a long silence what was said before no longer counts."""
        cut = max(0, len(state.held) - self._before)
        context = "" if silent_s(state.speech) >= self._config.reset_s else state.context
        return replace(state, held=state.held[cut:].copy(), begin=state.begin + cut, unread=0, context=context)

    def _read(self, state: AgreementState) -> tuple[AgreementState, list[Found]]:
        """Read the buffer, and commit the words that this reading and the last one begin with."""
        words = self._new_words(state)
        agreed = 0
        for now, before in zip(words, state.last, strict=False):
            if plain(now.text) != plain(before.text):
                break
            agreed += 1
        found = [Found(words=words[:agreed])] if agreed else []
        return replace(state, unread=0, last=words[agreed:], inside=(*state.inside, *words[:agreed])), found

    def _new_words(self, state: AgreementState) -> tuple[Word, ...]:
        """What a reading says after the committed words, with times in the stream."""
        offset_s = samples_to_seconds(state.begin, sample_rate_hz=self._rate)
        heard = self._recognizer.transcribe_buffer(state.held, state.context)
        timed = [replace(word, start_s=word.start_s + offset_s, end_s=word.end_s + offset_s) for word in heard]
        return tuple(timed[retold(timed, state.inside) :])

    def _trim(self, state: AgreementState) -> AgreementState:
        """Drop the sound of committed words but the last, where that is worth it: a short buffer is read sooner, and
        better by models that have heard few long ones."""
        dropped, cut = self._seam(state)
        return state if cut < self._every else self._cut(state, dropped, cut)

    def _force(self, state: AgreementState) -> tuple[AgreementState, list[Found]]:
        """Drop the sound of committed words but the last; where that is too little, commit all first."""
        found: list[Found] = []
        dropped, cut = self._seam(state)
        if cut < self._every:
            found = [Found(words=state.last)] if state.last else []
            state = replace(state, inside=(*state.inside, *state.last), last=())
            dropped, cut = self._seam(state)
        if cut < self._every:  # what is held is hardly speech to the recogniser
            dropped, cut = len(state.inside), len(state.held) - self._before
        return self._cut(state, dropped, cut), found

    def _cut(self, state: AgreementState, dropped: int, cut: int) -> AgreementState:
        """Without the first `cut` samples, in which the first `dropped` committed words are."""
        context = self._context(state.context, state.inside[:dropped])
        held, inside = state.held[cut:].copy(), state.inside[dropped:]
        return replace(state, held=held, begin=state.begin + cut, context=context, inside=inside)

    def _seam(self, state: AgreementState) -> tuple[int, int]:
        """How many committed words can go, and where the buffer is cut for it: halfway to the first that stays."""
        dropped = max(0, len(state.inside) - _KEPT)
        if not dropped:
            return 0, 0
        seam_s = (state.inside[dropped - 1].end_s + state.inside[dropped].start_s) / 2
        return dropped, min(max(0, self._samples(seam_s) - state.begin), len(state.held))

    def _context(self, before: str, words: Sequence[Word]) -> str:
        context = f"{before} {_text(words)}".strip()
        return context[max(0, len(context) - self._config.prompt_characters) :]

    def _close(self, state: AgreementState, *, rule: str | None) -> tuple[AgreementState, Progress]:
        """Commit all that is said; the speech is over."""
        words = self._new_words(state)
        context = self._context(state.context, (*state.inside, *words))
        state = replace(state, last=(), inside=(), active=False, context=context)
        silence = state.speech.since if state.speech.since is not None and not state.speech.speaking else None
        found = Found(words=words, rule=rule, silence=state.speech.heard if silence is None else silence)
        return self._wait(state), Progress(found=[found])


def retold(words: Sequence[Word], committed: Sequence[Word]) -> int:
    """How many of the first `words` say `committed` once more: as many as come nearest to its text.

    Nearest in edit distance (Levenshtein 1966); among equally near ones those that end where it ended.
    """
    if not committed:
        return 0
    distances = list(range(len(words) + 1))
    for before in committed:
        left, distances[0] = distances[0], distances[0] + 1
        for place, word in enumerate(words, start=1):
            different = plain(word.text) != plain(before.text)
            best = min(left + different, distances[place] + 1, distances[place - 1] + 1)
            left, distances[place] = distances[place], best
    heard_before = sum((word.start_s + word.end_s) / 2 < committed[-1].end_s for word in words)
    return min(range(len(distances)), key=lambda count: (distances[count], abs(count - heard_before)))


def plain(word: str) -> str:
    """A word as readings are compared: without case and punctuation, unless there is nothing else."""
    folded = unicodedata.normalize("NFKC", word).casefold()
    return "".join(character for character in folded if character.isalnum()) or folded


def _text(words: Sequence[Word]) -> str:
    return " ".join(word.text for word in words)
