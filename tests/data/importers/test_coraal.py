from collections.abc import Callable
from pathlib import Path

import pytest

from harken.core import InputError
from harken.data.importers.coraal import import_coraal
from harken.data.importers.coraal_text import clean_line, is_pause
from harken.testing import check_importer

SaveTone = Callable[..., Path]
FILE = "DCB_se1_ag1_f_01_1"
WHO, INT = "DCB_se1_ag1_f_01", "DCB_int_01"
LINES = (
    (INT, 0.0, "Where did you grow up?", 1.0),
    (WHO, 1.2, "Well, <laugh> I", 2.0),
    (WHO, 2.0, "(pause 0.30)", 2.3),
    (WHO, 2.3, "grew up /here/ (laughing) on th- the hill.", 4.0),
    (WHO, 5.0, "And then", 5.5),  # a second of silence parts it
    (WHO, 6.0, "[Yes.]", 6.5),
    (INT, 6.2, "[Oh.]", 6.6),
    (WHO, 7.0, "with /RD-NAME-2/ there", 7.5),
    (WHO, 7.6, "<cough>", 7.8),
    (WHO, 8.0, "the end", 7.9),
    (WHO, 9.0, "beyond the file", 99.0),
)


@pytest.fixture
def corpus(tmp_path: Path, save_tone: SaveTone) -> Path:
    save_tone(tmp_path / "audio" / f"{FILE}.wav", seconds=10.0, rate=8_000)
    header = "Line\tSpkr\tStTime\tContent\tEnTime\n"
    rows = (f"{n}\t{who}\t{start}\t{text}\t{end}\n" for n, (who, start, text, end) in enumerate(LINES, 1))
    (tmp_path / "transcripts").mkdir()
    (tmp_path / "transcripts" / f"{FILE}.txt").write_text(header + "".join(rows) + "12\tbroken\n")
    (tmp_path / "transcripts" / "DCB_se1_ag1_m_02_1.txt").write_text(header + f"1\t{WHO}\t0\tno audio\t1\n")
    (tmp_path / "DCB_metadata_2018.10.06.txt").write_text(
        f"CORAAL.Sub\tCORAAL.Spkr\tCORAAL.File\tGender\tAge\tAge.Group\tOther\nDCB\t{WHO}\t{FILE}\tFemale\t23\t-19\tx\n"
    )
    (tmp_path / "README.txt").write_text("no transcript\n")
    return tmp_path


def test_segments(corpus: Path) -> None:
    utterances, rejections = check_importer(import_coraal, corpus, 11)
    assert [(item.text, item.offset_s, round(item.duration_s, 3), item.speaker) for item in utterances] == [
        ("Where did you grow up?", 0.0, 1.0, INT),
        ("Well, I grew up here on th- the hill.", 1.2, 2.8, WHO),
        ("And then", 5.0, 0.5, WHO),
    ]
    assert utterances[1].tags == {
        "accent": "AAL", "role": "interviewee", "component": "DCB", "gender": "Female", "age": "23", "age_group": "-19",
    }  # fmt: skip
    assert utterances[0].tags == {"accent": "AAL", "role": "interviewer"}
    assert {(item.recording, item.language) for item in utterances} == {(FILE, "en")}
    assert utterances[1].id == f"{FILE}-00001200-{WHO}"
    reasons = dict(rejections)
    assert reasons[f"{FILE}.txt:7"] == reasons[f"{FILE}.txt:8"] == "another person speaks at the same time"
    assert reasons[f"{FILE}.txt:9"] == "some of its words were not understood or were taken out"
    assert reasons[f"{FILE}.txt:10"] == "it has no words"
    assert "no usable times" in reasons[f"{FILE}.txt:11"]
    assert "ends at 99.000 s" in reasons[f"{FILE}.txt:12"]
    assert reasons[f"{FILE}.txt:13"] == "the row has 2 columns, not 5"
    assert "no audio file called" in reasons["DCB_se1_ag1_m_02_1.txt:2"]


def test_options(corpus: Path) -> None:
    kept, _ = check_importer(import_coraal, corpus, 11, overlaps=True)
    assert [(item.text, item.offset_s) for item in kept[3:]] == [("Yes.", 6.0), ("Oh.", 6.2)]
    lines, _ = check_importer(import_coraal, corpus, 12, max_segment_s=0)
    assert [item.text for item in lines] == [
        "Where did you grow up?", "Well, I", "grew up here on th- the hill.", "And then",
    ]  # fmt: skip
    joined, _ = check_importer(import_coraal, corpus, 10, max_pause_s=2.0)
    assert [item.text for item in joined][1:] == ["Well, I grew up here on th- the hill. And then"]
    alone, rejections = check_importer(import_coraal, corpus, 11, speakers="interviewees")
    assert {item.speaker for item in alone} == {WHO}
    assert dict(rejections)[f"{FILE}.txt:2"] == f"{INT} is not the interviewee"
    for options, message in (({"speakers": "x"}, "speakers is 'x'"), ({"max_pause_s": -1}, "max_pause_s is -1")):
        with pytest.raises(InputError, match=message):
            check_importer(import_coraal, corpus, 0, **options)


def test_other_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a text\n")
    with pytest.raises(InputError, match="no transcripts with the columns"):
        check_importer(import_coraal, tmp_path, 0)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("I-I know <breath> /that/, [right]?", "I-I know that, right?"),
        ("yeah (pause 0.5) {sound} mm", "yeah mm"),
        ("<ts>", ""), ("...", ""), ("/unintelligible/ yes", ""), ("my /??/ car", ""), ("/RD-SCHOOL-3/", ""),
        ("a // b", ""),
    ],
)  # fmt: skip
def test_marks(content: str, text: str) -> None:
    cleaned, problem = clean_line(content)
    assert (cleaned, bool(problem)) == (text, not text)


def test_pauses() -> None:
    assert is_pause("(pause 0.53)")
    assert is_pause(" (Pause) ")
    assert not is_pause("so (pause 0.53)")
    assert not is_pause("")
