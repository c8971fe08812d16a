"""OpenAI's shapes, where its package does not look: what the package reads is tested with the routes."""

import json
import zlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.serving.route_server import RESULT

from harken.core import Segment, Transcript, Word
from harken.serving.shapes.openai import brief, event_bytes, stream_events, usage, verbose, verbose_segment

texts = st.text(alphabet="ab \n", max_size=5)


@given(st.lists(texts, max_size=6), texts)
def test_deltas_are_the_whole_text_and_done_comes_once_and_last(pieces: list[str], other: str) -> None:
    for text in (" ".join(pieces), "".join(pieces), other):
        segments = tuple(Segment(text=piece, start_s=0.0, end_s=1.0) for piece in pieces)
        *deltas, done = stream_events(
            replace(RESULT, transcript=Transcript(text=text, duration_s=1.0, segments=segments))
        )
        assert "".join(event["delta"] for event in deltas if event["type"] == "transcript.text.delta") == text
        assert all(event["type"] == "transcript.text.delta" and event["delta"] for event in deltas)
        assert done["type"] == "transcript.text.done"
        assert done["text"] == text


@pytest.mark.parametrize(("duration_s", "seconds"), [(0.0, 0), (0.01, 1), (1.0, 1), (2.25, 3)])
def test_usage(duration_s: float, seconds: int) -> None:
    assert usage(Transcript(text="", duration_s=duration_s)) == {"type": "duration", "seconds": seconds}


def test_the_numbers_of_a_segment() -> None:
    words = tuple(Word(text="ja", start_s=0.0, end_s=0.1, confidence=c) for c in (0.0, 1.0, None))
    view = verbose_segment(4, Segment(text="ja " * 100, start_s=2.004, end_s=3.0, words=words), temperature=0.25)
    assert (view["id"], view["seek"], view["temperature"]) == (4, 200, 0.25)
    assert view["avg_logprob"] == pytest.approx(-11.5129, abs=1e-4)  # half of ln 1e-10: never minus infinity
    assert view["compression_ratio"] == 300 / len(zlib.compress(b"ja " * 100))
    assert verbose_segment(0, Segment(text="", start_s=0.0, end_s=0.0), temperature=0.0)["compression_ratio"] == 0.0


def test_a_translation_does_not_tell_languages() -> None:
    assert "languages" not in brief(RESULT, "translate")
    assert verbose(RESULT, "translate", words=False, segments=False, temperature=0.0)["language"] == "english"


def test_an_event_is_one_line() -> None:
    line = event_bytes({"type": "transcript.text.delta", "delta": "a\n\ndata: x\r\u2028\u0085 é"})
    assert line.endswith(b"\n\n")
    assert line.isascii()
    assert line.decode().splitlines() == [line.decode().strip(), ""]
    assert json.loads(line.removeprefix(b"data: "))["delta"] == "a\n\ndata: x\r\u2028\u0085 é"
