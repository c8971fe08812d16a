"""Events of a stream: the same for any split of the audio, committed text never taken back, bad input refused."""

import copy
import itertools
import pickle
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.inference.streaming.conftest import LETTERS, WORDS, Make, noise

from harken.audio.vad import VadState
from harken.core import InputError, Tokenizer, Waveform, Word
from harken.inference.streaming.build import StreamParts, build_streamer
from harken.inference.streaming.config import EndpointConfig, StreamingConfig, WindowConfig
from harken.inference.streaming.events import Committed, Endpoint, Final, Partial, StreamEvent, event_json
from harken.inference.streaming.policy import Progress
from harken.inference.streaming.stream import Streamer, with_line
from harken.inference.streaming.words import Found

POLICIES = ("cached", "windowed", "fixed", "local-agreement")


class Level:
    """A detector that hears speech where the audio is loud."""

    def start(self) -> VadState:
        return VadState(memory=np.zeros((2, 1, 128), np.float32), context=np.zeros(64, np.float32))

    def step(self, state: VadState, window: Waveform) -> tuple[VadState, float]:
        return state, 0.9 if np.abs(window).max() > 0.01 else 0.1


def streamer(parts: Make, policy: str, tokenizer: Tokenizer = LETTERS, **settings: object) -> Streamer:
    made = parts(tokenizer)
    config = StreamingConfig(policy=policy, window=WindowConfig(left_s=0.8, chunk_s=0.32, right_s=0.32), **settings)  # type: ignore[arg-type]
    name, _, found = build_streamer(StreamParts(recognizer=made.recognizer()), config, detector=Level())  # type: ignore[arg-type]
    assert name == policy
    return found


def run(stream: Streamer, waveform: Waveform, cuts: Sequence[int] = ()) -> list[StreamEvent]:
    state, events = stream.start(), []
    for piece in np.split(waveform, sorted(min(cut, len(waveform)) for cut in cuts)):
        state, more = stream.step(state, piece)
        events += more
    return [*events, *stream.finish(state)[1]]


def with_pauses() -> Waveform:
    quiet = np.zeros(32_000, np.float32)
    return np.concatenate([noise(1.3, 1), quiet, noise(0.9, 2), quiet[:20_000], noise(1.1, 3)])


@pytest.mark.parametrize("policy", POLICIES)
@settings(max_examples=8, deadline=None)
@given(cuts=st.lists(st.integers(0, 110_000), max_size=10))
def test_events_do_not_depend_on_the_split(parts: Make, policy: str, cuts: list[int]) -> None:
    stream = streamer(parts, policy)
    waveform = with_pauses()
    assert run(stream, waveform, cuts) == run(stream, waveform)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("tokenizer", [LETTERS, WORDS])
def test_committed_text_only_grows_and_the_final_event_has_all_of_it(
    parts: Make, policy: str, tokenizer: Tokenizer
) -> None:
    stream = streamer(parts, policy, tokenizer)
    state, committed, at_s, last_word_s = stream.start(), "", 0.0, 0.0
    waveform = with_pauses()
    for first in range(0, len(waveform), 700):
        state, events = stream.step(state, waveform[first : first + 700])
        for event in events:
            assert event.at_s >= at_s
            at_s = event.at_s
            if isinstance(event, Committed):
                committed = f"{committed} {event.text}".strip()
                assert all(word.start_s <= word.end_s for word in event.words)
                assert event.words[0].start_s >= last_word_s - (0.6 if policy in ("fixed", "local-agreement") else 0)
                last_word_s = event.words[-1].start_s
    _, events = stream.finish(state)
    committed = " ".join([committed, *(event.text for event in events if isinstance(event, Committed))]).strip()
    assert isinstance(events[-1], Final)
    assert sum(isinstance(event, Final) for event in events) == 1
    assert events[-1].text.split() == committed.split()
    assert events[-1].at_s == len(waveform) / 16_000
    assert len(committed.split()) > 3


@pytest.mark.parametrize("tokenizer", [LETTERS, WORDS])
def test_the_cached_policy_says_what_the_whole_says(parts: Make, tokenizer: Tokenizer) -> None:
    never = EndpointConfig(pause_s=None, silence_s=None, longest_s=None)
    stream = streamer(parts, "cached", tokenizer, endpoint=never)
    recognizer = parts(tokenizer).recognizer()
    for seed in range(5):
        waveform = noise(2.7, seed)
        whole = recognizer.transcribe(waveform)
        events = run(stream, waveform, [1, 2, 3, 9_999, 30_000])
        assert isinstance(events[-1], Final)
        assert events[-1].text == whole.text
        words = [word for event in events if isinstance(event, Committed) for word in event.words]
        assert [word.text for word in words] == [word.text for word in whole.words]
        # Offline a word may reach into the silence around it, which a stream does not know yet.
        np.testing.assert_allclose([w.start_s for w in words], [w.start_s for w in whole.words], atol=0.3)


@pytest.mark.parametrize("source", ["blank", "vad"])
def test_pauses_end_segments(parts: Make, source: str) -> None:
    endpoint = EndpointConfig(source=source, pause_s=0.8, silence_s=None)  # type: ignore[arg-type]
    stream = streamer(parts, "cached", WORDS, endpoint=endpoint)
    # A random model says things in silence; a level that it takes for a pause is found by what it says offline.
    events = run(stream, with_pauses())
    ends = [event for event in events if isinstance(event, Endpoint)]
    if source == "vad":
        assert [(end.rule, round(end.silence_s, 1)) for end in ends] == [("pause", 1.3), ("pause", 4.2)]
        assert all(0.78 <= end.at_s - end.silence_s <= 0.9 for end in ends)  # silence counts in frames of 40 ms
    final = events[-1]
    assert isinstance(final, Final)
    assert len(final.text.splitlines()) == 1 + len(ends)


def test_partial_text_is_told_when_it_changes(parts: Make) -> None:
    events = run(streamer(parts, "windowed"), noise(3))
    partial = [event.text for event in events if isinstance(event, Partial)]
    assert len(partial) > 3
    assert all(one != other for one, other in itertools.pairwise(partial))


class Script:
    """A policy that tells one entry for each block."""

    def __init__(self, script: Sequence[Progress]) -> None:
        self._script = script

    def start(self) -> int:
        return 0

    def step(self, state: int, block: Waveform) -> tuple[int, Progress]:
        return state + 1, self._script[state]

    def finish(self, state: int) -> tuple[int, Progress]:
        return state, Progress()


def scripted(script: Sequence[Progress]) -> Streamer:
    return Streamer(Script(script), sample_rate_hz=16_000, frame_s=0.04)


def blocks(count: int) -> Waveform:
    return np.zeros(count * 512, np.float32)


def said(*words: str, rule: str | None = None) -> Found:
    return Found(words=tuple(Word(text=word, start_s=0.0, end_s=0.1) for word in words), rule=rule)


def test_a_listener_always_shows_what_is_tentative() -> None:
    script = [
        Progress(tentative="one"),
        Progress(found=[said("one")], tentative="one"),  # said twice
        Progress(found=[said("one")], tentative="two three"),
        Progress(found=[said("two", rule="pause"), said("three")], tentative=""),
        Progress(tentative="four five"),
        Progress(found=[said("for")], tentative="five"),
    ]
    stream = scripted(script)
    state, shown, partials = stream.start(), "", 0
    for wanted in script:
        state, events = stream.step(state, blocks(1))
        for event in events:
            if isinstance(event, Committed):
                shown = " ".join(shown.split()[len(event.words) :])
            elif isinstance(event, Partial):
                shown, partials = event.text, partials + 1
        assert shown == wanted.tentative
    assert partials == 4  # none where committed words have left what is tentative now


def test_a_state_of_many_segments_is_copied_and_pickled() -> None:
    count = 20_000
    stream = scripted([Progress(found=[said("word", str(number), rule="pause")]) for number in range(count)])
    early, _ = stream.step(stream.start(), blocks(count // 2))
    state, _ = stream.step(early, blocks(count // 2))
    wanted = [f"word {number}" for number in range(count)]
    for found in (state, copy.deepcopy(state), pickle.loads(pickle.dumps(state))):
        assert repr(found)
        assert stream.finish(found)[1][-1].text.splitlines() == wanted  # type: ignore[union-attr]
    assert stream.finish(early)[1][-1].text.splitlines() == wanted[: count // 2]  # type: ignore[union-attr]


@pytest.mark.parametrize("longest", [1, 2000])
def test_a_segment_more_costs_the_same_after_many(longest: int) -> None:
    lengths = np.random.default_rng(0).integers(1, longest + 1, 20_000)
    pieces: tuple[str, ...] = ()
    copied, most = 0, 0
    for length in lengths:
        before, pieces = pieces, with_line(pieces, "x" * int(length))
        copied += len(pieces[-1])
        most = max(most, len(pieces))
        assert pieces[:-1] == before[: len(pieces) - 1]
    total = int(lengths.sum()) + len(lengths) - 1
    assert len("\n".join(pieces)) == total
    assert most <= np.log2(total) + 1
    assert copied <= total * np.log2(total)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_state_of_every_policy_is_copied_and_pickled(parts: Make, policy: str) -> None:
    stream, audio = streamer(parts, policy), noise(3)
    state, events = stream.step(stream.start(), audio[:30_000])
    for found in (copy.deepcopy(state), pickle.loads(pickle.dumps(state))):
        found, more = stream.step(found, audio[30_000:])
        assert [*events, *more, *stream.finish(found)[1]] == run(stream, audio)


@pytest.mark.parametrize("policy", POLICIES)
def test_bad_input_is_refused_and_empty_chunks_are_not(parts: Make, policy: str) -> None:
    stream = streamer(parts, policy)
    state, events = stream.step(stream.start(), np.zeros(0, np.float32))
    assert events == []
    for bad, message in (
        (np.full(10, np.nan, np.float32), "NaN"),
        (np.zeros(10), "float64"),
        (np.zeros((2, 10), np.float32), "shape"),
    ):
        with pytest.raises(InputError, match=message):
            stream.step(state, bad)
    state, events = stream.finish(state)
    assert events == [Final(text="", at_s=0.0)]
    with pytest.raises(InputError, match="has ended"):
        stream.step(state, noise(0.1))
    with pytest.raises(InputError, match="has ended"):
        stream.finish(state)


@pytest.mark.parametrize("samples", [1, 160, 511, 512, 513])
@pytest.mark.parametrize("policy", POLICIES)
def test_very_short_audio(parts: Make, policy: str, samples: int) -> None:
    events = run(streamer(parts, policy), noise(0.1)[:samples])
    assert isinstance(events[-1], Final)
    assert events[-1].at_s == samples / 16_000


def test_events_as_json(parts: Make) -> None:
    events = run(streamer(parts, "cached", WORDS), with_pauses())
    told = [event_json(event) for event in events]
    assert told[-1] == {"type": "final", "text": events[-1].text, "at_s": events[-1].at_s}  # type: ignore[union-attr]
    first = next(item for item in told if item["type"] == "committed")
    assert first["text"] == first["words"][0]["text"]
    assert set(first["words"][0]) == {"text", "start_s", "end_s", "confidence"}
    assert {item["type"] for item in told} <= {"partial", "committed", "endpoint", "final"}
