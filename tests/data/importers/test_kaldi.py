from collections.abc import Callable
from pathlib import Path

import pytest

from harken.core import InputError
from harken.data.importers.kaldi import import_kaldi
from harken.testing import check_importer

SaveTone = Callable[..., Path]


def test_without_segments(tmp_path: Path, save_tone: SaveTone) -> None:
    save_tone(tmp_path / "a b.wav")
    (tmp_path / "wav.scp").write_text(f"u1 {tmp_path}/a b.wav\nu2 a b.wav\nu3 a b.wav\nu4 none.wav\nu1 x.wav\n\n")
    (tmp_path / "text").write_text("u1 one  two\nu2\nu4 x\nu5 lost\n")
    (tmp_path / "utt2spk").write_text("u1 s1\nu2 s2\n")
    (tmp_path / "spk2gender").write_text("s1 f\n")
    (tmp_path / "utt2lang").write_text("u2 de\n")
    utterances, rejections = check_importer(import_kaldi, tmp_path, 6, language="en")
    assert [(u.id, u.text, u.speaker, u.language, dict(u.tags), u.duration_s) for u in utterances] == [
        ("u1", "one  two", "s1", "en", {"gender": "f"}, 0.5),
        ("u2", "", "s2", "de", {}, 0.5),
    ]
    assert {item: reason.split(str(tmp_path))[0] for item, reason in rejections} == {
        "wav.scp:5": "u1 has a line already",
        "u3": "the file 'text' has no line for it",
        "u4": "",
        "u5": "it has a transcript but no line in wav.scp",
    }


def test_segments(tmp_path: Path, save_tone: SaveTone) -> None:
    save_tone(tmp_path / "audio" / "r.wav", seconds=3)
    data = tmp_path / "data"
    data.mkdir()
    (data / "wav.scp").write_text("r audio/r.wav\nunused audio/r.wav\n")
    (data / "segments").write_text(
        "a r 0.5 1.25\nb r 2.0 -1\nc r 2.5 3.04\nd r 2.0 9\ne q 0 1\nf r 2 1\ng r x 1\nh r -1 1\ni r 0 nan\nj r\nk\n"
    )
    utterances, rejections = check_importer(import_kaldi, data, 11, root=tmp_path)
    assert [(u.id, u.offset_s, u.duration_s, u.recording, u.text) for u in utterances] == [
        ("a", 0.5, 0.75, "r", None),
        ("b", 2.0, 1.0, "r", None),
        ("c", 2.5, 0.5, "r", None),
    ]
    assert sorted(item for item, _ in rejections) == list("defghijk")


def test_commands_are_refused_and_never_run(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    (tmp_path / "wav.scp").write_text(f"a touch {mark} |\nb | touch {mark}\nc -\nd raw.ark:123\ne $(touch {mark})\nf\n")
    utterances, rejections = check_importer(import_kaldi, tmp_path, 6)
    assert not utterances
    assert not mark.exists()
    reasons = dict(rejections)
    assert "never runs commands" in reasons["a"]
    assert "never runs commands" in reasons["b"]
    assert "position in a Kaldi archive" in reasons["d"]
    assert set(reasons) == set("abcdef")


def test_other_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no wav\.scp"):
        check_importer(import_kaldi, tmp_path, 0)
    (tmp_path / "wav.scp").write_bytes(b"a \xff.wav\n")
    with pytest.raises(InputError, match=r"wav\.scp, line 1: not UTF-8"):
        check_importer(import_kaldi, tmp_path, 0)
