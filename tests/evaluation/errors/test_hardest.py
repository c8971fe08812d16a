from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from harken.core import InputError, Utterance
from harken.data import ValidationConfig, read_manifest, validate_utterances
from harken.evaluation.errors.hardest import export_hardest, hardest

RATE_HZ = 16_000


def test_highest_rate_first_short_utterances_behind(scored) -> None:
    result, utterances = scored(
        [
            ("a b c d", "a b c x"),
            ("yes", "no"),
            ("a b c", "x y z"),
            ("", "boo boo"),
            ("a b c d", "e f g h"),
            ("a b c", "a b c"),
            ("", "boo boo boo"),
            ("a b c", "x y z"),
        ]
    )
    rows = hardest(result, utterances, 20)
    assert [row["id"] for row in rows] == ["u4", "u2", "u7", "u0", "u1", "u6", "u3"]
    assert rows[0] == {"id": "u4", "audio": None, "wer": 1.0, "errors": 4, "words": 4}
    assert rows[-1] == {"id": "u3", "audio": None, "wer": None, "errors": 2, "words": 0}
    assert hardest(result, utterances, 2) == rows[:2]
    assert hardest(result, utterances, 0) == []
    assert hardest(*scored([]), 5) == []
    with pytest.raises(InputError, match="n is -1; use 0 or more"):
        hardest(result, utterances, -1)


def _tone(utterance: Utterance) -> np.ndarray:
    number = int(utterance.id[1:])
    if number == 2:
        raise OSError(f"{utterance.audio} is damaged")
    if number == 3:
        return np.zeros(0, dtype=np.float32)
    seconds = np.arange(8000 + number) / RATE_HZ
    return (0.5 * np.sin(2 * np.pi * (200 + 10 * number) * seconds)).astype(np.float32)


@pytest.fixture
def case(scored) -> tuple[list[dict[str, Any]], list[Utterance]]:
    result, utterances = scored(
        [("раз два три", "раз"), ("раз два три", "раз два"), ("a b c", ""), ("a b c", ""), ("a b c", "a b c")],
        speaker=["s0", "s1", "s2", "s3", "s4"],
        tags=[{"room": "x"}] * 5,
        offset_s=[0.0, 1.5, 0.0, 0.0, 0.0],
        extra=[{"take": n} for n in range(5)],
    )
    return hardest(result, utterances, 9), utterances


def test_export_is_a_manifest_with_audio(case, tmp_path: Path) -> None:
    rows, utterances = case
    exported = export_hardest(rows, utterances, _tone, tmp_path, sample_rate_hz=RATE_HZ, hypotheses={"u0": "раз\ud800"})
    assert [(row["id"], row["audio"], row.get("cause")) for row in exported] == [
        ("u2", None, "OSError: /audio/2.wav is damaged"),
        ("u3", None, "InputError: /audio/3.wav has no audio samples."),
        ("u0", "audio/0003.flac", None),
        ("u1", "audio/0004.flac", None),
    ]
    first, second = read_manifest(tmp_path / "hardest.jsonl")
    assert (first.id, first.text, first.speaker, first.tags, first.offset_s) == (
        "u0",
        "раз два три",
        "s0",
        {"room": "x"},
        0.0,
    )
    assert first.extra == {"take": 0, "wer": 2 / 3, "errors": 2, "source": "/audio/0.wav", "hypothesis": "раз?"}
    assert (second.offset_s, second.duration_s) == (0.0, 8001 / RATE_HZ)
    samples, rate_hz = soundfile.read(second.audio, dtype="float32")
    assert rate_hz == RATE_HZ
    np.testing.assert_allclose(samples, _tone(utterances[1]), atol=1 / 32768)
    assert sorted(path.name for path in (tmp_path / "audio").iterdir()) == ["0003.flac", "0004.flac"]
    assert validate_utterances([first, second], ValidationConfig()).rejected == ()


def test_the_same_bytes_again_and_nothing_left_of_a_larger_export(case, tmp_path: Path) -> None:
    rows, utterances = case
    export_hardest(rows, utterances, _tone, tmp_path, sample_rate_hz=RATE_HZ)
    before = {path.name: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    export_hardest(rows, utterances, _tone, tmp_path, sample_rate_hz=RATE_HZ)
    assert {path.name: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    (tmp_path / "audio" / "notes.txt").write_text("mine")
    export_hardest(rows[2:3], utterances, _tone, tmp_path, sample_rate_hz=RATE_HZ)
    assert sorted(path.name for path in (tmp_path / "audio").iterdir()) == ["0001.flac", "notes.txt"]
    assert [u.id for u in read_manifest(tmp_path / "hardest.jsonl")] == ["u0"]


def test_a_broken_export_leaves_no_manifest(case, tmp_path: Path) -> None:
    rows, utterances = case
    export_hardest(rows, utterances, _tone, tmp_path, sample_rate_hz=RATE_HZ)

    def interrupted(utterance: Utterance) -> np.ndarray:
        if utterance.id == "u1":
            raise KeyboardInterrupt
        return _tone(utterance)

    with pytest.raises(KeyboardInterrupt):
        export_hardest(rows, utterances, interrupted, tmp_path, sample_rate_hz=RATE_HZ)
    assert not (tmp_path / "hardest.jsonl").exists()
    assert not list(tmp_path.rglob("*.tmp"))


def test_what_cannot_be_exported(case, tmp_path: Path) -> None:
    rows, utterances = case
    with pytest.raises(InputError, match=r"'u2' is not among the utterances"):
        export_hardest(rows, utterances[3:], _tone, tmp_path, sample_rate_hz=RATE_HZ)
    own = [Utterance(id="u0", audio=str(tmp_path / "audio" / "0001.flac"), duration_s=1.0)]
    with pytest.raises(InputError, match=r"Audio of the test set lies in .*audio/\. Export into another"):
        export_hardest(rows[2:3], own, _tone, tmp_path, sample_rate_hz=RATE_HZ)
    assert export_hardest(rows[:2], utterances, _tone, tmp_path, sample_rate_hz=RATE_HZ)[0]["audio"] is None
    assert not (tmp_path / "hardest.jsonl").exists()
    assert export_hardest([], utterances, _tone, tmp_path, sample_rate_hz=RATE_HZ) == []


def test_two_words_are_too_few_to_be_among_the_first(scored) -> None:
    rows = hardest(*scored([("a b", "x y"), ("a b c", "a b x")]))
    assert [row["id"] for row in rows] == ["u1", "u0"]
