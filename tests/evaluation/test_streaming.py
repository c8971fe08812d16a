"""A listener of streams whose events and computing times are written down, and a screen replayed the slow way."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from harken.core import InputError, Segment, Transcript, Utterance, Waveform, Word
from harken.evaluation.modes import compare_modes, format_modes, single_mode
from harken.evaluation.streaming import Watch, listen, single_pass_times, stream_mode, with_single_pass_texts
from harken.inference.streaming.events import Committed, Endpoint, Final, Partial

RATE_HZ = 100


class Clock:
    """Time that passes only in `wait`."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@dataclass
class Play:
    """Tells what its script says for each chunk, in the seconds the script says; the last line is for `finish`."""

    script: list[tuple[float, list[Any]]]
    clock: Clock
    sample_rate_hz: int = RATE_HZ
    chunks: tuple[int, ...] = ()

    def start(self) -> int:
        self.chunks = ()
        return 0

    def step(self, state: int, chunk: Waveform) -> tuple[int, Sequence[Any]]:
        self.chunks = (*self.chunks, len(chunk))
        return self._tell(state)

    def finish(self, state: int) -> tuple[int, Sequence[Any]]:
        assert state == len(self.script) - 1
        return self._tell(state)

    def _tell(self, state: int) -> tuple[int, Sequence[Any]]:
        took_s, events = self.script[state]
        self.clock.now_s += took_s
        return state + 1, events


def partial(text: str) -> Partial:
    return Partial(text=text, at_s=0.0)


def committed(*words: str) -> Committed:
    return Committed(words=tuple(Word(text=word, start_s=0.0, end_s=0.0) for word in words), at_s=0.0)


PAUSE = Endpoint(rule="pause", silence_s=2.5, at_s=3.0)


def three_words() -> list[tuple[float, list[Any]]]:
    """Of 3.5 s of audio in chunks of 1 s. The second chunk takes longer than it lasts, so that the third waits."""
    return [
        (0.2, [partial("one too")]),  # arrives at 1.2
        (1.5, [committed("one"), partial("two three")]),  # 3.5: "too" is taken back
        (0.1, [committed("two"), PAUSE, partial("four")]),  # heard at 3.0, arrives at 3.6: "three" is taken back
        (0.2, [partial("three")]),  # 3.8: "four" is
        (0.3, [committed("three"), Final(text="one two\nthree", at_s=3.5)]),  # 4.1
    ]


def test_what_a_listener_sees_and_when() -> None:
    clock = Clock()
    play = Play(three_words(), clock)
    heard = listen(play, np.zeros(350, np.float32), chunk_s=1.0, clock=clock, cpu_clock=lambda: 2 * clock())
    assert play.chunks == (100, 100, 100, 50)
    assert [(word.text, word.shown_s, word.committed_s) for word in heard.words] == [
        ("one", pytest.approx(1.2), pytest.approx(3.5)),
        ("two", pytest.approx(3.5), pytest.approx(3.6)),
        ("three", pytest.approx(3.5), pytest.approx(4.1)),  # it came back to where it had been shown
    ]
    assert heard.text == "one two three"
    assert heard.corrections == 3
    assert heard.appeared_s == pytest.approx((1.2, 1.2, 3.5, 3.5, 3.6))
    ((endpoint, told_s),) = heard.endpoints
    assert (endpoint.rule, told_s) == ("pause", pytest.approx(3.6))
    assert (heard.audio_s, heard.final_s) == pytest.approx((3.5, 0.6))
    assert (heard.processing_s, heard.cpu_s) == pytest.approx((2.3, 4.6))


def test_a_chunk_is_heard_when_it_is_over_however_fast_the_stream_is() -> None:
    clock = Clock()
    play = Play([(0.0, [partial("one")]), (0.0, []), (0.0, [committed("one"), Final(text="one", at_s=1.0)])], clock)
    heard = listen(play, np.zeros(75, np.float32), chunk_s=0.5, clock=clock)
    assert [(word.shown_s, word.committed_s) for word in heard.words] == [(0.5, 0.75)]
    assert (heard.final_s, heard.corrections) == (0.0, 0)


def test_silence_and_nothing_at_all() -> None:
    clock = Clock()
    play = Play([(0.25, [Final(text="", at_s=0.0)])], clock)
    heard = listen(play, np.zeros(0, np.float32), clock=clock)
    assert (heard.words, heard.text, heard.appeared_s, heard.corrections) == ((), "", (), 0)
    assert (heard.audio_s, heard.final_s) == (0.0, 0.25)


def slow_screen(told: list[tuple[float, list[Any]]]) -> tuple[int, list[float]]:
    """Corrections, and for each word of the last screen when that place first held it, from all the whole screens."""
    screens: list[tuple[float, list[str]]] = [(0.0, [])]
    fixed: list[str] = []
    open_: list[str] = []
    for at_s, events in told:
        for event in events:
            if isinstance(event, Committed):
                fixed = fixed + [word.text for word in event.words]
                open_ = open_[len(event.words) :]
            else:
                open_ = event.text.split()
        screens.append((at_s, fixed + open_))
    corrections = 0
    for (_, before), (_, after) in pairwise(screens):
        same = 0
        while before[same : same + 1] == after[same : same + 1] != []:
            same += 1
        corrections += len(before) - same
    last = screens[-1][1]
    return corrections, [
        min(at_s for at_s, screen in screens if screen[place : place + 1] == [word]) for place, word in enumerate(last)
    ]


def test_screens_that_are_remembered_whole_say_the_same() -> None:
    generator = random.Random(0)
    for _ in range(200):
        told: list[tuple[float, list[Any]]] = []
        for number in range(12):
            events: list[Any] = []
            if generator.random() < 0.4:
                events.append(committed(*generator.choices("abc", k=generator.randint(1, 2))))
            if generator.random() < 0.7:
                events.append(partial(" ".join(generator.choices("abc", k=generator.randint(0, 4)))))
            told.append((float(number), events))
        told.append((12.0, [committed("a"), partial("")]))
        watch = Watch()
        for at_s, events in told:
            watch.tell(events, at_s)
        assert (watch.corrections, [word.shown_s for word in watch.words]) == slow_screen(told)


def test_what_is_no_event_is_refused() -> None:
    with pytest.raises(TypeError, match="a str is no event of a stream"):
        Watch().tell(["one"], 0.0)


@pytest.mark.parametrize("chunk_s", [0.0, -1.0, 0.001, float("nan"), float("inf")])
def test_a_chunk_of_nothing_is_refused(chunk_s: float) -> None:
    play = Play([], Clock())
    with pytest.raises(InputError, match=r"chunk_s is .*at least one sample of 100 Hz"):
        stream_mode(play, chunk_s=chunk_s)
    with pytest.raises(InputError, match="chunk_s is"):
        listen(play, np.zeros(10, np.float32), chunk_s=chunk_s)


class Once:
    """A recognizer that says "one two three" of everything, each word lasting a second."""

    sample_rate_hz = RATE_HZ

    def __init__(self) -> None:
        self.calls = 0

    def transcribe(self, audio: Any) -> Transcript:
        self.calls += 1
        words = tuple(Word(text=w, start_s=i, end_s=i + 1.0) for i, w in enumerate(("one", "two", "three")))
        segment = Segment(text="one two three", start_s=0.0, end_s=3.0, words=words)
        return Transcript(text="one two three", duration_s=3.5, segments=(segment,))

    def transcribe_batch(self, waveforms: Sequence[Waveform]) -> list[Transcript]:
        return [self.transcribe(waveform) for waveform in waveforms]


UTTERANCES = [Utterance(id=name, audio=f"{name}.wav", duration_s=3.5, text="one two four") for name in ("a", "b")]


def read(utterance: Utterance) -> Waveform:
    return np.zeros(350, np.float32)


def test_a_stream_beside_a_single_pass() -> None:
    clock, once, timer = Clock(), Once(), Once()
    mode = stream_mode(Play(three_words(), clock), chunk_s=1.0, clock=clock, cpu_clock=lambda: 2 * clock())
    single, streaming, again = compare_modes(
        {"single": single_mode(once), "streaming": mode, "again": mode},
        UTTERANCES,
        read,
        clock=clock,
        cpu_clock=clock,
        word_times=single_pass_times(timer),
    )
    assert timer.calls == 2  # once for each utterance
    assert (streaming.wer, streaming.different_count) == (1 / 3, 0)
    assert (streaming.processing_s, streaming.cpu_s, streaming.rtf) == pytest.approx((4.6, 9.2, 4.6 / 7.0))
    assert (streaming.latency_ms["p50"], streaming.first_ms) == pytest.approx((600, 1200))
    # words end at 1, 2 and 3 s: shown 0.2, 1.5 and 0.5 s later, committed 2.5, 1.6 and 1.1 s; twice each
    assert streaming.shown_ms == pytest.approx({"mean": 2200 / 3, "p50": 500, "p95": 1500})
    assert streaming.committed_ms == pytest.approx({"mean": 5200 / 3, "p50": 1600, "p95": 2500})
    assert (streaming.timed_words, streaming.corrections_per_word, streaming.untimed) == (6, 1.0, {})
    assert (again.shown_ms, again.timed_words) == (pytest.approx(streaming.shown_ms), 6)
    assert (single.shown_ms, single.committed_ms, single.timed_words) == (None, None, None)
    assert (single.corrections_per_word, single.first_ms, single.untimed) == (None, None, {})
    lines = format_modes([single, streaming]).splitlines()
    assert lines[3] == ""
    assert lines[4].split("  ")[0] == "mode"
    assert lines[5].split() == ["single", *"-------", "0.00"]
    assert lines[6].split() == [
        "streaming", "1200.0", "500.0", "1500.0", "1600.0", "2500.0", "1.000", "6", "9.20"
    ]  # fmt: skip
    assert len({len(line) for line in lines[4:7]}) == 1
    assert "corrections: per word" in lines[7]
    assert [line for line in format_modes([single]).splitlines() if "shown" in line] == []


def test_without_word_times_there_are_no_latencies_of_words() -> None:
    clock = Clock()
    mode = stream_mode(Play(three_words(), clock), chunk_s=1.0, clock=clock)
    (streaming,) = compare_modes({"streaming": mode}, UTTERANCES, read, clock=clock)
    assert (streaming.shown_ms, streaming.committed_ms, streaming.timed_words) == (None, None, None)
    assert streaming.corrections_per_word == 1.0


def test_utterances_whose_words_cannot_be_timed_are_named() -> None:
    clock = Clock()
    once = Once()

    def times(utterance: Utterance, waveform: Waveform) -> Sequence[Word]:
        if utterance.id == "b":
            raise ValueError("no times here")
        return once.transcribe(waveform).words

    mode = stream_mode(Play(three_words(), clock), chunk_s=1.0, clock=clock)
    (streaming,) = compare_modes({"streaming": mode}, UTTERANCES, read, clock=clock, word_times=times)
    assert (streaming.timed_words, streaming.untimed) == (3, {"b": "ValueError: no times here"})
    assert streaming.failed == {}
    assert "streaming: 1 without word times, the first is b: ValueError" in format_modes([streaming])


def test_a_single_pass_stands_in_for_texts_that_nobody_wrote() -> None:
    bare = [Utterance(id="a", audio="a.wav", duration_s=3.5), Utterance(id="b", audio="b.wav", duration_s=1.0)]
    seen: list[tuple[int, int]] = []
    told = with_single_pass_texts(Once(), bare, read, progress=lambda *at: seen.append(at))
    assert [(u.id, u.text, u.duration_s) for u in told] == [("a", "one two three", 3.5), ("b", "one two three", 1.0)]
    assert seen == [(1, 2), (2, 2)]
