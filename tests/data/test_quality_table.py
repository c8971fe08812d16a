import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile

from harken.core import InputError, Utterance
from harken.data.quality_table import COLUMNS, quality_rows, write_quality_table
from harken.data.validate import ValidationConfig, ValidationReport, validate_utterances

Make = Callable[..., Utterance]
SaveTone = Callable[..., Path]
OPEN = ValidationConfig(min_snr_db=None, min_bandwidth_hz=None)


@pytest.fixture
def checked(tmp_path: Path, save_tone: SaveTone, make_utterance: Make) -> tuple[list[Utterance], ValidationReport]:
    """A good one, one with a warning, one with a note, a silent one, and one whose file is absent."""
    audio = [str(save_tone(tmp_path / f"{n}.wav", hz=300 + 100 * n, seconds=0.5)) for n in range(3)]
    samples, _ = soundfile.read(audio[1])
    soundfile.write(audio[1], samples + 0.1, 16_000)
    soundfile.write(tmp_path / "zero.wav", 0 * samples, 16_000)
    items = [
        make_utterance("good", audio=audio[0], duration_s=0.5, speaker="s", text='oʻn\tbesh\n"ha", хўп'),
        make_utterance("moved", audio=audio[1], duration_s=0.5, text="two"),
        make_utterance("twin", audio=audio[2], duration_s=0.5, speaker="s", text='oʻn\tbesh\n"ha", хўп'),
        make_utterance("zero", audio=str(tmp_path / "zero.wav"), duration_s=0.5, text=None),
        make_utterance("gone", audio=str(tmp_path / "gone.wav"), duration_s=0.5, text=""),
    ]
    return items, validate_utterances(items, OPEN)


def test_what_to_drop_to_look_at_and_to_keep(checked: tuple[list[Utterance], ValidationReport]) -> None:
    items, report = checked
    rows = quality_rows(items, report)
    assert [(row["id"], row["decision"]) for row in rows] == [
        ("moved", "look"), ("twin", "keep"), ("zero", "drop"), ("gone", "drop"),
    ]  # fmt: skip
    reasons = {row["id"]: row["reasons"] for row in rows}
    assert reasons["moved"] == ["dc_offset: the mean of its samples is 0.100"]
    assert reasons["twin"] == ["same_text_and_length: like good"]
    assert reasons["zero"] == ["silent: every sample is 0", "missing_text: the manifest gives no text"]
    everything = quality_rows(items, report, every=True)
    assert [row["id"] for row in everything] == [item.id for item in items]
    assert (everything[0]["decision"], everything[0]["reasons"]) == ("keep", [])


def test_promoted_checks_drop(checked: tuple[list[Utterance], ValidationReport]) -> None:
    items, _ = checked
    report = validate_utterances(
        items, ValidationConfig(min_snr_db=None, min_bandwidth_hz=None, also_reject=("dc_offset",))
    )
    assert quality_rows(items, report)[0]["decision"] == "drop"


def test_measures_are_rounded_and_none_where_unknown(checked: tuple[list[Utterance], ValidationReport]) -> None:
    rows = {row["id"]: row for row in quality_rows(*checked, every=True)}
    good, zero, gone = rows["good"], rows["zero"], rows["gone"]
    assert set(good) == set(COLUMNS)
    assert (good["sample_rate_hz"], good["bandwidth_hz"]) == (16_000, pytest.approx(300, abs=100))
    assert isinstance(good["bandwidth_hz"], int)
    assert good["peak_db"] == pytest.approx(-10.4, abs=0.1)  # a tone at 0.3
    assert good["loudness_lufs"] == pytest.approx(-13.5, abs=1.0)
    assert good["characters_per_s"] == round(len('oʻnbesh"ha",хўп') / 0.5, 2)
    assert (zero["peak_db"], zero["loudness_lufs"], zero["characters_per_s"]) == (None, None, None)
    assert (gone["sample_rate_hz"], gone["peak_db"], gone["duration_s"]) == (None, None, 0.5)


@pytest.mark.parametrize(("name", "delimiter"), [("t.tsv", "\t"), ("T.CSV", ",")])
def test_a_table_for_a_spreadsheet(
    tmp_path: Path, checked: tuple[list[Utterance], ValidationReport], name: str, delimiter: str
) -> None:
    rows = quality_rows(*checked, every=True)
    assert write_quality_table(tmp_path / name, rows) == 5
    with open(tmp_path / name, encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file, delimiter=delimiter))
    assert list(found[0]) == list(COLUMNS)
    assert [row["id"] for row in found] == [row["id"] for row in rows]
    assert found[0]["text"] == rows[0]["text"]  # with its tab, line end and quotes
    assert found[3]["reasons"] == "silent: every sample is 0; missing_text: the manifest gives no text"
    assert (found[3]["peak_db"], found[3]["text"]) == ("", "")
    assert float(found[0]["peak_db"]) == rows[0]["peak_db"]


def test_a_table_for_a_program(tmp_path: Path, checked: tuple[list[Utterance], ValidationReport]) -> None:
    rows = quality_rows(*checked, every=True)
    write_quality_table(tmp_path / "t.jsonl", rows)
    lines = (tmp_path / "t.jsonl").read_text(encoding="utf-8").split("\n")
    assert [json.loads(line) for line in lines if line] == rows
    assert "oʻn" in lines[0]


def test_an_empty_table_and_a_wrong_ending(tmp_path: Path) -> None:
    assert write_quality_table(tmp_path / "t.tsv", []) == 0
    assert (tmp_path / "t.tsv").read_text(encoding="utf-8").split("\t")[:2] == ["id", "decision"]
    with pytest.raises(InputError, match=r"t\.xlsx\. Use a name that ends in \.tsv, \.csv, \.jsonl"):
        write_quality_table(tmp_path / "t.xlsx", [])
    assert not (tmp_path / "t.xlsx").exists()
