"""Transcripts as text, JSON, subtitles and tables, letter by letter."""

import json

import pytest

from harken.core import InputError, Segment, Transcript, Word
from harken.inference.formats import CUE_S, CUE_WORDS, FORMATS, render


def word(text: str, start_s: float, end_s: float) -> Word:
    return Word(text=text, start_s=start_s, end_s=end_s, confidence=0.5)


WORDS = (word("naïve", 0.04, 0.5), word("café", 3661.5, 3662.0004))
TRANSCRIPT = Transcript(
    text="naïve café",
    duration_s=3700.0,
    language="en",
    segments=tuple(Segment(text=w.text, start_s=w.start_s, end_s=w.end_s, words=(w,)) for w in WORDS),
)
NOTHING = Transcript(text="", duration_s=1.5)


def counted_words(count: int, spacing_s: float) -> Transcript:
    words = tuple(word(f"w{i}", i * spacing_s, i * spacing_s + 0.1) for i in range(count))
    text = " ".join(w.text for w in words)
    return Transcript(
        text=text, duration_s=100.0, segments=(Segment(text=text, start_s=0.0, end_s=words[-1].end_s, words=words),)
    )


def test_text() -> None:
    assert render(TRANSCRIPT, "txt") == "naïve café\n"
    assert render(NOTHING, "txt") == "\n"


def test_json_is_one_line_and_keeps_letters() -> None:
    text = render(NOTHING, "json")
    assert text == '{"text": "", "duration_s": 1.5, "segments": [], "language": null}\n'
    line = render(TRANSCRIPT, "json")
    assert line.count("\n") == 1
    assert "naïve café" in line
    data = json.loads(line)
    assert data["segments"][1] == {
        "text": "café",
        "start_s": 3661.5,
        "end_s": 3662.0004,
        "words": [{"text": "café", "start_s": 3661.5, "end_s": 3662.0004, "confidence": 0.5}],
        "speaker": None,
        "language": None,
    }


def test_srt() -> None:
    assert render(TRANSCRIPT, "srt") == (
        "1\n00:00:00,040 --> 00:00:00,500\nnaïve\n\n2\n01:01:01,500 --> 01:01:02,000\ncafé\n"
    )
    assert render(NOTHING, "srt") == ""


def test_vtt() -> None:
    assert render(TRANSCRIPT, "vtt") == (
        "WEBVTT\n\n1\n00:00:00.040 --> 00:00:00.500\nnaïve\n\n2\n01:01:01.500 --> 01:01:02.000\ncafé\n"
    )
    assert render(NOTHING, "vtt") == "WEBVTT\n"


def test_vtt_escapes_what_would_be_markup() -> None:
    segment = Segment(text="<a> & b", start_s=0.0, end_s=1.0)
    transcript = Transcript(text=segment.text, duration_s=1.0, segments=(segment,))
    assert render(transcript, "vtt").splitlines()[-1] == "&lt;a&gt; &amp; b"
    assert render(transcript, "srt").splitlines()[-1] == "<a> & b"


@pytest.mark.parametrize(
    ("style", "line"),
    [
        ("srt", "a 9 00:00:00,000 -- > 00:00:09,000 b"),
        ("vtt", "a 9 00:00:00,000 --&gt; 00:00:09,000 b"),
    ],
)
def test_text_cannot_end_its_cue_or_begin_another(style: str, line: str) -> None:
    text = "a\n\n9\n00:00:00,000 --> 00:00:09,000\u2028b\r\n"
    spans = [(text, 0.0), (" \n ", 1.0), ("c", 2.0)]
    segments = tuple(Segment(text=said, start_s=start_s, end_s=start_s + 0.5) for said, start_s in spans)
    shown = render(Transcript(text=text, duration_s=3.0, segments=segments), style).removeprefix("WEBVTT\n\n")
    first, second = shown.split("\n\n")
    assert first.split("\n") == ["1", first.split("\n")[1], line]
    assert second.split("\n")[::2] == ["2", "c"]
    assert shown.count("-->") == 2


@pytest.mark.parametrize(("end_s", "clock"), [(59.9996, "00:01:00"), (3599.9996, "01:00:00"), (360000.0, "100:00:00")])
def test_rounding_carries_into_minutes_and_hours(end_s: float, clock: str) -> None:
    segment = Segment(text="a", start_s=0.0, end_s=end_s)
    transcript = Transcript(text="a", duration_s=end_s, segments=(segment,))
    assert f"--> {clock},000\n" in render(transcript, "srt")
    assert f"--> {clock}.000\n" in render(transcript, "vtt")


def test_tsv() -> None:
    assert render(TRANSCRIPT, "tsv") == "start_s\tend_s\ttext\n0.040\t0.500\tnaïve\n3661.500\t3662.000\tcafé\n"
    assert render(NOTHING, "tsv") == "start_s\tend_s\ttext\n"


def test_a_tab_or_a_line_end_in_a_text_cannot_break_a_row() -> None:
    segment = Segment(text="a\tb\nc", start_s=0.0, end_s=1.0)
    transcript = Transcript(text=segment.text, duration_s=1.0, segments=(segment,))
    assert render(transcript, "tsv").splitlines()[1] == "0.000\t1.000\ta b c"


def test_milliseconds_are_rounded_once() -> None:
    segment = Segment(text="a", start_s=59.9996, end_s=3599.9999)
    transcript = Transcript(text="a", duration_s=3600.0, segments=(segment,))
    assert render(transcript, "srt").splitlines()[1] == "00:01:00,000 --> 01:00:00,000"


def test_cues_are_short_enough_to_read() -> None:
    by_words = render(counted_words(CUE_WORDS + 1, 0.2), "tsv").splitlines()[1:]
    assert [len(row.split("\t")[2].split()) for row in by_words] == [CUE_WORDS, 1]
    by_time = render(counted_words(8, 2.0), "tsv").splitlines()[1:]
    assert [row.split("\t")[2] for row in by_time] == ["w0 w1 w2", "w3 w4 w5", "w6 w7"]
    exactly = render(counted_words(3, (CUE_S - 0.1) / 2), "tsv").splitlines()[1:]
    assert exactly == ["0.000\t6.000\tw0 w1 w2"]


def test_a_cue_ends_before_the_word_that_would_make_it_too_long() -> None:
    words = (word("one", 0.0, 0.4), word("long", 5.0, 5.9), word("pause", 6.5, 7.4), word("loong", 8.0, 16.0))
    segment = Segment(text="one long pause loong", start_s=0.0, end_s=16.0, words=words)
    rows = render(Transcript(text=segment.text, duration_s=16.0, segments=(segment,)), "tsv").splitlines()[1:]
    assert rows == ["0.000\t5.900\tone long", "6.500\t7.400\tpause", "8.000\t16.000\tloong"]


@pytest.mark.parametrize(("style", "mark"), [("srt", ","), ("vtt", ".")])
def test_a_cue_ends_after_it_starts(style: str, mark: str) -> None:
    segment = Segment(text="a", start_s=59.9996, end_s=60.0)
    lines = render(Transcript(text="a", duration_s=60.0, segments=(segment,)), style).splitlines()
    assert f"00:01:00{mark}000 --> 00:01:00{mark}001" in lines


def test_unknown_formats_are_refused_with_the_known_ones() -> None:
    assert FORMATS == ("txt", "json", "srt", "vtt", "tsv")
    with pytest.raises(InputError, match=r"'doc' is not a transcript format\. Use one of txt, json, srt, vtt, tsv"):
        render(NOTHING, "doc")
