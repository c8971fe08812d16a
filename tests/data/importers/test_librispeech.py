from collections.abc import Callable
from pathlib import Path

import pytest

from harken.core import InputError
from harken.data.importers.librispeech import import_librispeech
from harken.testing import check_importer

SaveTone = Callable[..., Path]


@pytest.fixture
def corpus(tmp_path: Path, save_tone: SaveTone) -> Path:
    chapter = tmp_path / "LibriSpeech" / "dev-clean" / "1272" / "128104"
    for number in (0, 1, 3, 5):
        save_tone(chapter / f"1272-128104-000{number}.flac")
    (chapter / "1272-128104.trans.txt").write_text(
        "1272-128104-0000 MISTER QUILTER IS\n1272-128104-0001 IT'S\n1272-128104-0002 NO AUDIO\n1272-128104-0003\n"
        "1272-128104-0001 TWICE\n\n"
    )
    other = tmp_path / "LibriSpeech" / "dev-clean" / "84" / "1"
    save_tone(other / "84-1-0000.flac")
    (tmp_path / "LibriSpeech" / "SPEAKERS.TXT").write_text(";ID |SEX| SUBSET\n1272 | M | dev-clean | 8.02 | A Name\n")
    return tmp_path / "LibriSpeech"


def test_lines_and_files_are_matched(corpus: Path) -> None:
    utterances, rejections = check_importer(import_librispeech, corpus, 2 + 3 + 2)
    assert [(item.id, item.text, item.speaker, item.recording, dict(item.tags)) for item in utterances] == [
        ("1272-128104-0000", "MISTER QUILTER IS", "1272", "1272-128104", {"subset": "dev-clean", "gender": "M"}),
        ("1272-128104-0001", "IT'S", "1272", "1272-128104", {"subset": "dev-clean", "gender": "M"}),
    ]
    assert dict(rejections) == {
        "1272-128104.trans.txt:3": "there is no audio file called 1272-128104-0002 beside it",
        "1272-128104.trans.txt:4": "the line has a name but no text",
        "1272-128104.trans.txt:5": "1272-128104-0001 has a transcript already",
        "dev-clean/1272/128104/1272-128104-0005.flac": "no .trans.txt beside it has a line for this file",
        "dev-clean/84/1/84-1-0000.flac": "no .trans.txt beside it has a line for this file",
    }


@pytest.mark.parametrize("inside", ["dev-clean", "dev-clean/1272", "dev-clean/1272/128104"])
def test_parts_of_the_corpus_give_the_same_utterances(corpus: Path, inside: str) -> None:
    whole, _ = check_importer(import_librispeech, corpus, 7)
    part, _ = check_importer(import_librispeech, corpus / inside, 7 if inside == "dev-clean" else 6)
    assert part == whole


def test_a_folder_without_transcripts_is_refused(tmp_path: Path, save_tone: SaveTone) -> None:
    save_tone(tmp_path / "a.flac")
    with pytest.raises(InputError, match=r"no \.trans\.txt"):
        check_importer(import_librispeech, tmp_path, 1)
