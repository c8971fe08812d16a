"""How transcripts are written, and where they go."""

from pathlib import Path

import pytest

from harken.cli.transcripts import audio_files_of, targets, tidied, with_name
from harken.core import InputError, Segment, Transcript, Word


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["hello", "i", "go"], ["Hello", "i", "go"]),
        (["hello", ",", "you", ".", "bye"], ["Hello,", "you.", "Bye"]),
        ([",", "hello", "?", "!", "ǆ"], [",", "hello?!", "ǅ"]),
        (["我", "在", "straße.", "ß"], ["我", "在", "straße.", "ß"]),
        (["10\u00a0000", "ja\u202f!", "", "so"], ["10 000", "ja!", "", "So"]),
        ([], []),
    ],
)
def test_tidy_words(words: list[str], expected: list[str]) -> None:
    timed = tuple(Word(text=text, start_s=place, end_s=place + 0.5) for place, text in enumerate(words))
    segment = Segment(text=" ".join(words), start_s=0.0, end_s=9.0, words=timed)
    found = tidied(Transcript(text=segment.text, duration_s=9.0, segments=(segment,)))
    assert [word.text for word in found.words] == expected
    assert " ".join(filter(None, expected)) == found.segments[0].text == found.text
    starts = {word.start_s for word in timed}
    assert all(word.start_s in starts for word in found.words)
    assert [word.end_s for word in found.words][-1:] == [word.end_s for word in timed][-1:]


def test_transcripts_go_where_the_audio_lies(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("b.wav", "in/a.flac", "notes.txt"):
        (tmp_path / name).write_bytes(b"")
    named = audio_files_of(str(tmp_path))
    assert named == [(str(tmp_path / "b.wav"), Path("b")), (str(tmp_path / "in" / "a.flac"), Path("in/a"))]
    assert targets(named, Path("out"), "srt") == [Path("out/b.srt"), Path("out/in/a.srt")]
    assert targets(named, None, "srt") == [None, None]
    with pytest.raises(InputError, match=r"x/a\.wav and y/a\.mp3 would both be written to out/a\.txt"):
        targets([("x/a.wav", Path("a")), ("y/a.mp3", Path("a"))], Path("out"), "txt")


def test_one_among_several_names_its_file() -> None:
    assert with_name("a.wav", "so\n", "txt", None) == "a.wav\tso\n"
    assert with_name("a.wav", "so\n", "txt", "") == "a.wav\t\tso\n"
    assert with_name("a.wav", '{"text": "so"}\n', "json", None) == '{"file": "a.wav", "text": "so"}\n'
    assert with_name("a.wav", "1\n", "srt", "en") == "# a.wav\n1\n\n"
