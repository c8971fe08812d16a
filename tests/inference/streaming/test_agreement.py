"""LocalAgreement over a gated buffer, with a recogniser that reads a script and a detector that hears levels."""

from collections.abc import Sequence

import numpy as np
import pytest
from tests.inference.streaming.test_fixed import Scripted

from harken.audio.vad import VadState
from harken.core import Waveform, Word
from harken.inference.streaming.agreement import AgreementPolicy, PlainBuffer, plain, retold
from harken.inference.streaming.config import AgreementConfig, EndpointConfig
from harken.inference.streaming.policy import Progress
from harken.inference.streaming.speech import SpeechTracker
from harken.inference.streaming.words import Found

RATE = 16_000
SPOKEN = [(f"word{number}", 0.5 * number + 0.1, 0.5 * number + 0.4) for number in range(200)]
"""What is said: a word every half second."""


class Level:
    """A detector that hears speech where the audio is not silent."""

    def start(self) -> VadState:
        return VadState(memory=np.zeros((2, 1, 128), np.float32), context=np.zeros(64, np.float32))

    def step(self, state: VadState, window: Waveform) -> tuple[VadState, float]:
        return state, 0.9 if window.any() else 0.1


class Reader:
    """Reads the words that lie in the buffer; each sample tells its place in the stream. The last word is misheard
    while less than 0.3 s follow it."""

    sample_rate_hz = RATE

    def __init__(self, *, stutter: bool = False, silent: bool = False, always: str = "", late_s: float = 0.0) -> None:
        """`always` is said in place of every word; times come `late_s` too late, or too early, in turns."""
        self.buffers: list[tuple[float, float]] = []
        self.prompts: list[str] = []
        self._stutter, self._silent, self._always, self._late_s = stutter, silent, always, late_s

    def transcribe_buffer(self, waveform: Waveform, prompt: str) -> Sequence[Word]:
        places = np.flatnonzero(waveform)
        begin_s = float(waveform[places[0]]) * 1000 - places[0] / RATE
        end_s = begin_s + len(waveform) / RATE
        self.buffers.append((begin_s, end_s))
        self.prompts.append(prompt)
        if self._silent:
            return []
        late_s = self._late_s * (-1) ** len(self.buffers)
        return [
            Word(
                text=(
                    f"{text[:4]}?{len(self.buffers)}" if self._stutter or end_s - last_s < 0.3 else self._always or text
                ),
                start_s=first_s - begin_s + late_s,
                end_s=last_s - begin_s + late_s,
            )
            for text, first_s, last_s in SPOKEN
            if first_s >= begin_s and last_s <= end_s and waveform[int((first_s - begin_s) * RATE) + 800]
        ]


def audio(spans: Sequence[tuple[float, float]], seconds: float) -> Waveform:
    """Samples that tell their place (in 1000 s) within the spans of speech, and silence elsewhere."""
    out = np.zeros(int(seconds * RATE), np.float32)
    for first_s, end_s in spans:
        first, end = int(first_s * RATE), int(end_s * RATE)
        out[first:end] = np.arange(first, end, dtype=np.float32) / RATE / 1000 + 1e-9
    return out


def run(
    reader: Reader, waveform: Waveform, config: AgreementConfig | None = None, pause_s: float | None = 1.2
) -> tuple[list[Found], list[tuple[float, Progress]], int]:
    """Everything found, progress by time, and the longest buffer held, in samples."""
    tracker = SpeechTracker(Level(), threshold=0.5, sample_rate_hz=RATE)  # type: ignore[arg-type]
    policy = AgreementPolicy(
        reader, config=config or AgreementConfig(), endpoint=EndpointConfig(pause_s=pause_s), tracker=tracker
    )
    state, found, log, longest = policy.start(), [], [], 0
    for first in range(0, len(waveform), 512):
        state, progress = policy.step(state, waveform[first : first + 512])
        longest = max(longest, len(state.held))
        log.append(((first + 512) / RATE, progress))
        found += progress.found
    found += policy.finish(state)[1].found
    return found, log, longest


def texts(found: Sequence[Found]) -> list[str]:
    return [word.text for item in found for word in item.words]


def said(first_s: float, end_s: float) -> list[str]:
    return [text for text, begin_s, last_s in SPOKEN if begin_s >= first_s and last_s <= end_s]


def test_what_two_readings_agree_on_is_committed_once() -> None:
    reader = Reader()
    found, log, _ = run(reader, audio([(0, 60)], 62))
    assert texts(found) == said(0, 60)
    first = next(time_s for time_s, progress in log if texts(progress.found))
    assert 2.0 <= first <= 2.1  # the second reading
    tentative = {progress.tentative for time_s, progress in log if 1.05 < time_s < 1.9}
    assert tentative == {"word0 word?1"}  # the last word is misheard, and will not be committed


@pytest.mark.parametrize("late_s", [0.0, 0.2])
def test_a_word_said_again_and_again_counts_each_time(late_s: float) -> None:
    reader = Reader(always="five", late_s=late_s)
    found, _, longest = run(reader, audio([(0, 60)], 62))
    assert texts(found) == ["five"] * len(said(0, 60))
    assert longest <= 15.1 * RATE


@pytest.mark.parametrize(("trim_s", "least_s", "most_s"), [(3.0, 2.9, 4.1), (5.0, 4.9, 6.1), (20.0, 14.9, 15.1)])
def test_a_buffer_is_trimmed_once_it_is_long_and_something_was_committed(
    trim_s: float, least_s: float, most_s: float
) -> None:
    reader = Reader()
    found, _, _ = run(reader, audio([(0, 40)], 42), AgreementConfig(trim_s=trim_s))
    assert texts(found) == said(0, 40)
    assert least_s <= max(end_s - begin_s for begin_s, end_s in reader.buffers) <= most_s


def test_a_trimmed_buffer_begins_with_the_last_committed_words() -> None:
    reader = Reader()
    run(reader, audio([(0, 40)], 42))
    before, after = next(
        (one, other) for one, other in zip(reader.buffers, reader.buffers[1:], strict=False) if other[0] > one[0]
    )
    kept = said(after[0], before[1] - 0.3)
    assert 2 <= len(kept) <= 4  # two committed ones, and what was not agreed on yet
    first_s = next(begin_s for _, begin_s, _ in SPOKEN if begin_s > after[0])
    assert first_s - after[0] == pytest.approx(0.1, abs=2e-3)  # halfway between two words


@pytest.mark.parametrize(
    ("committed", "words", "expected"),
    [
        ("", "a b", 0),
        ("a b", "a b", 2),
        ("a b", "a b c", 2),
        ("a b", "a b b c", 2),  # b is said twice
        ("a b c", "a c d", 2),  # one was not heard this time
        ("a b c", "a x b c d", 4),  # one more was heard
        ("a b c", "a x c d", 3),  # one was heard as another
        ("a b c", "", 0),
        ("a, B", "A b. c", 2),
    ],
)
def test_what_a_reading_tells_again_is_found_by_its_text(committed: str, words: str, expected: int) -> None:
    assert retold(spoken(words), spoken(committed)) == expected


def test_where_the_text_says_nothing_times_do() -> None:
    committed = spoken("a b c")  # ends at 2.5 s
    assert [retold(spoken("x y z w v", step_s=step_s), committed) for step_s in (0.5, 1.0, 2.0)] == [3, 3, 2]
    assert retold(spoken("b b c d"), spoken("b b c")[1:]) == 3  # it begins with the rest of the word before


def spoken(text: str, *, step_s: float = 1.0) -> list[Word]:
    """Words half a second long, one every `step_s`."""
    return [
        Word(text=word, start_s=place * step_s, end_s=place * step_s + 0.5) for place, word in enumerate(text.split())
    ]


def test_times_are_those_of_the_stream() -> None:
    found, _, _ = run(Reader(), audio([(0, 40)], 42))
    words = [word for item in found for word in item.words]
    expected = [(first_s, last_s) for _, first_s, last_s in SPOKEN[: len(words)]]
    np.testing.assert_allclose([(word.start_s, word.end_s) for word in words], expected, atol=2e-3)


def test_memory_and_buffers_are_bounded_and_the_prompt_is_what_was_dropped() -> None:
    reader = Reader()
    _, _, longest = run(reader, audio([(0, 60)], 62))
    assert longest <= 15.1 * RATE
    assert max(end_s - begin_s for begin_s, end_s in reader.buffers) <= 15.1
    later = [(begin_s, prompt) for (begin_s, _), prompt in zip(reader.buffers, reader.prompts, strict=True) if prompt]
    assert later
    for begin_s, prompt in later:
        assert prompt.split()[-1] == said(0, begin_s + 0.01)[-1]
        assert len(prompt) <= 200


def test_a_recogniser_that_never_agrees_with_itself_is_committed_by_force() -> None:
    found, log, longest = run(Reader(stutter=True), audio([(0, 40)], 42))
    assert longest <= 15.1 * RATE
    forced = [time_s for time_s, progress in log if texts(progress.found)]
    assert 15.0 <= forced[0] <= 15.1
    assert len(texts(found)) == len(said(0, 40))


def test_a_recogniser_that_says_nothing_does_not_hold_audio() -> None:
    found, _, longest = run(Reader(silent=True), audio([(0, 40)], 42))
    assert texts(found) == []
    assert longest <= 15.1 * RATE


def test_silence_is_not_read() -> None:
    reader = Reader()
    found, log, longest = run(reader, audio([(10, 13), (100, 102)], 110))
    assert texts(found) == said(10, 13) + said(100, 102)
    assert all(9.5 < begin_s < 15 or 99.5 < begin_s < 105 for begin_s, _ in reader.buffers)
    endpoints = [(time_s, item.silence / RATE) for time_s, p in log for item in p.found if item.rule == "pause"]
    assert [round(silence_s) for _, silence_s in endpoints] == [13, 102]
    assert 14.2 <= endpoints[0][0] <= 14.3
    assert longest <= 5 * RATE
    assert set(reader.prompts) == {""}  # nothing of before the long silence


def test_a_short_pause_keeps_the_context() -> None:
    reader = Reader()
    found, _, _ = run(reader, audio([(0, 3), (4.5, 6)], 8))
    assert texts(found) == said(0, 3) + said(4.5, 6)
    assert reader.prompts[-1] == " ".join(said(0, 3))


def test_without_a_pause_rule_segments_close_without_an_endpoint() -> None:
    found, _, _ = run(Reader(), audio([(0, 3)], 8), pause_s=None)
    assert texts(found) == said(0, 3)
    assert {item.rule for item in found} == {None}


def test_silence_alone_gives_nothing() -> None:
    found, log, longest = run(Reader(), np.zeros(RATE * 5, np.float32))
    assert found == []
    assert longest <= 0.4 * RATE
    assert {progress.tentative for _, progress in log} == {""}


def test_words_are_compared_without_case_and_punctuation() -> None:
    assert plain("Hello,") == plain("hello") == "hello"
    assert plain("...") == "..."


def test_any_recognizer_can_read_a_buffer() -> None:
    buffer = PlainBuffer(Scripted({0.0: "a b"}))
    assert buffer.sample_rate_hz == 100
    assert [word.text for word in buffer.transcribe_buffer(np.zeros(10, np.float32), "unheard")] == ["a", "b"]


@pytest.mark.parametrize("settings", [{"every_s": 0.0}, {"every_s": 20.0}, {"prompt_characters": -1}, {"reset_s": 0.0}])
def test_settings_that_make_no_sense_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        AgreementConfig(**settings)  # type: ignore[arg-type]
