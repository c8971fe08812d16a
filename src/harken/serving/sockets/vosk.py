"""vosk-server's WebSocket protocol, after its asr_server.py: one reply to every message but the configuration.

Replies wait until the stream has heard the message they answer, as they do there, so that a client that sends and
receives in turn gets each result where it belongs.
"""

from collections import deque
from collections.abc import Sequence
from typing import Any

from harken.core import HarkenError, InputError, Word
from harken.inference.streaming import Committed, Endpoint, Final, StreamEvent
from harken.serving.contract import LiveOptions
from harken.serving.live.frames import check_format
from harken.serving.live.hearing import FLUSHED
from harken.serving.sockets.dialect import (
    Action,
    Audio,
    BadMessage,
    Finish,
    Flush,
    Message,
    Open,
    Stop,
    read_field,
    read_object,
)

_DEFAULT_HZ = 8_000
_POLICY_VIOLATION = 1008


class VoskDialect:
    """Audio is signed 16-bit, mono. `model` and `phrase_list` are refused: they would change what others hear, or
    promise a grammar that is not followed."""

    def __init__(self) -> None:
        self._rate = _DEFAULT_HZ
        self._show_words, self._alternatives = True, 0
        self._open = self._final_told = False
        self._said: list[Word] = []  # committed, in the utterance that goes on
        self._partial = ""
        self._results: deque[list[Word]] = deque()  # utterances that are over and not told
        self._owed: deque[float] = deque()  # seconds to be heard until each reply
        self._heard_s = 0.0

    def first_options(self) -> LiveOptions | None:
        return None

    def greet(self) -> Sequence[Message]:
        return []

    def read(self, message: str | bytes) -> Sequence[Action]:
        if isinstance(message, bytes):
            return self._opening([Audio(message)])
        data = read_object(message)
        if "config" in data:
            return self._configure(read_field(data, "config", dict, {}))
        if data.get("eof"):
            return [Finish()]
        if data.get("reset"):
            return self._opening([Flush()])
        raise BadMessage("The message has no config, eof or reset.", hint='Send audio, or {"eof" : 1} at its end.')

    def opened(self, options: LiveOptions, model: str) -> Sequence[Message]:
        self._open = True
        return []

    def pushed(self, heard_s: float) -> Sequence[Message]:
        self._owed.append(heard_s)
        return self._replies()

    def told(self, event: StreamEvent) -> Sequence[Message]:
        if isinstance(event, Committed):
            self._said += event.words
            self._partial = " ".join(self._partial.split()[len(event.words) :])
            return []
        if isinstance(event, Endpoint):
            return self._end_utterance(event)
        self._heard_s = event.at_s  # every turn ends with a partial, so nothing that was heard is still to come
        if isinstance(event, Final):
            self._final_told = True
            replies = self._replies()
            return [*replies, self._result([word for words in (*self._results, self._said) for word in words])]
        self._partial = event.text
        return self._replies()

    def ended(self, heard_s: float) -> Sequence[Message]:
        return [] if self._final_told else [self._result([])]

    def refused(self, error: HarkenError) -> Sequence[Message]:
        return [{"error": str(error)}]

    def _opening(self, actions: list[Action]) -> list[Action]:
        return actions if self._open else [Open(LiveOptions(sample_rate_hz=self._rate)), *actions]

    def _configure(self, config: dict[str, Any]) -> list[Action]:
        for name, why in (("model", "one model serves all clients"), ("phrase_list", "there are no grammars")):
            if config.get(name):
                error = InputError(f"config.{name} is not taken: {why}.", hint="Leave it out.")
                return [Stop(error, _POLICY_VIOLATION)]
        rate = read_field(config, "sample_rate", (int, float), self._rate)
        if rate != self._rate and self._open:
            raise BadMessage("The sample rate cannot change after the first audio.", hint="Open another socket.")
        alternatives = read_field(config, "max_alternatives", int, self._alternatives)
        words = bool(read_field(config, "words", (bool, int), self._show_words))
        check_format("linear16", int(rate), 1)
        self._rate, self._alternatives, self._show_words = int(rate), alternatives, words
        return []

    def _end_utterance(self, event: Endpoint) -> list[Message]:
        """A pause makes a result, which the next reply is; a reset is answered by what was said."""
        words, self._said, self._partial = self._said, [], ""
        if event.rule == FLUSHED:
            self._heard_s = event.at_s
            replies = self._replies()
            earlier = [word for result in self._results for word in result]
            self._results.clear()
            return [*replies, self._result([*earlier, *words])]
        if words:
            self._results.append(words)
        return []

    def _replies(self) -> list[Message]:
        """A reply to every message that has been heard: the results that wait, then one partial for all the others, as
        a client may send a message for each sample."""
        heard = 0
        while self._owed and self._owed[0] <= self._heard_s:
            self._owed.popleft()
            heard += 1
        results = [self._result(self._results.popleft()) for _ in range(min(heard, len(self._results)))]
        if heard == len(results):
            return results
        partial = {"partial": " ".join([*(word.text for word in self._said), *self._partial.split()])}
        return [*results, *[partial] * (heard - len(results))]

    def _result(self, words: Sequence[Word]) -> Message:
        text = " ".join(word.text for word in words)
        if self._alternatives > 0:  # one is all there is
            told = [{"start": word.start_s, "end": word.end_s, "word": word.text} for word in words]
            alternative = {"confidence": _confidence(words), "text": text}
            return {"alternatives": [{**alternative, "result": told} if self._show_words and told else alternative]}
        if not (self._show_words and words):
            return {"text": text}
        return {"result": [_word(word) for word in words], "text": text}


def _word(word: Word) -> Message:
    """vosk always tells a confidence; 1 stands for a model that tells none."""
    confidence = 1.0 if word.confidence is None else word.confidence
    return {"conf": confidence, "start": word.start_s, "end": word.end_s, "word": word.text}


def _confidence(words: Sequence[Word]) -> float:
    known = [word.confidence for word in words if word.confidence is not None]
    return sum(known) / len(known) if known else 1.0
