"""A report's folder: exactly the new report afterwards, exactly the old one after a failure, nobody else's files."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from harken.core import InputError, Utterance
from harken.evaluation.report import EvaluationReport, build_report
from harken.evaluation.report_files import read_report, write_report
from harken.evaluation.report_folder import check_report_folder, replacing_report


def report_of(text: str = "one two", *conditions: str) -> EvaluationReport:
    utterances = [Utterance(id="u1", audio="/audio/u1.wav", duration_s=2.0, text="one two")]
    first, *others = (build_report(utterances, {"u1": text}, condition=name) for name in ("clean", *conditions))
    table = {name: rows for report in (first, *others) for name, rows in report.summary["conditions"].items()}
    parts = dict(zip(conditions, others, strict=True))
    return replace(first, summary={**first.summary, "conditions": table}, conditions=parts)


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_smaller_report_leaves_nothing_of_a_larger_one(tmp_path: Path) -> None:
    write_report(report_of("one two", "noise", "room/near"), tmp_path / "a")
    write_report(report_of("one"), tmp_path / "a")
    write_report(report_of("one"), tmp_path / "b")
    assert files(tmp_path / "a") == files(tmp_path / "b")
    assert not (tmp_path / "a" / "conditions").exists()


def test_what_no_report_made_stays(tmp_path: Path) -> None:
    write_report(report_of("one two", "noise"), tmp_path)
    mine = [tmp_path / "notes.txt", tmp_path / "conditions" / "noise" / "notes.txt", tmp_path / "figures" / "own.png"]
    for path in mine:
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine", encoding="utf-8")
    write_report(report_of("one"), tmp_path)
    assert [path.read_text(encoding="utf-8") for path in mine] == ["mine"] * 3
    assert not (tmp_path / "conditions" / "noise" / "report.json").exists()


def replace_with(folder: Path, name: str, error: type[BaseException] | None = None) -> None:
    with replacing_report(folder) as new:
        (new / name).write_text("new", encoding="utf-8")
        if error is not None:
            raise error


def test_a_failure_changes_nothing(tmp_path: Path) -> None:
    write_report(report_of("one two", "noise"), tmp_path)
    before = files(tmp_path)
    for error in (KeyboardInterrupt, OSError):
        with pytest.raises(error):
            replace_with(tmp_path, "report.html", error)
    assert files(tmp_path) == before
    with pytest.raises(KeyboardInterrupt):
        replace_with(tmp_path / "new" / "deep", "report.html", KeyboardInterrupt)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", ["report.html", "audio/0001.flac", "conditions/noise/report.json", "report.json"])
def test_files_of_somebody_else_are_refused_before_and_after_the_work(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text('{"my": "figures"}', encoding="utf-8")
    with pytest.raises(InputError, match=f"{name} is in the way, and no earlier report made it"):
        check_report_folder(tmp_path)
    with pytest.raises(InputError, match="is in the way"):
        write_report(report_of("one"), tmp_path)
    assert files(tmp_path) == {name: b'{"my": "figures"}'}


def test_a_file_with_another_name_in_the_way_stays(tmp_path: Path) -> None:
    (tmp_path / "own.svg").write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match=r"own\.svg is in the way"):
        replace_with(tmp_path, "own.svg")
    assert files(tmp_path) == {"own.svg": b"mine"}


def test_a_report_without_a_list_is_known_by_the_names(tmp_path: Path) -> None:
    path = write_report(report_of("one two", "noise"), tmp_path)
    summary = json.loads(path.read_text(encoding="utf-8"))
    del summary["files"]
    path.write_text(json.dumps(summary), encoding="utf-8")
    for name in ("report.html", "figures/wer-by-speaker.png", "figures/own.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("older", encoding="utf-8")
    write_report(report_of("one"), tmp_path)
    assert sorted(files(tmp_path)) == ["figures/own.png", "report.json", "utterances.jsonl"]


def test_a_list_that_points_outside_removes_nothing_there(tmp_path: Path) -> None:
    outside = tmp_path / "outside.txt"
    outside.write_text("mine", encoding="utf-8")
    path = write_report(report_of("one two"), tmp_path / "report")
    summary = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**summary, "files": ["../outside.txt", str(outside), 7, "gone.txt"]}), encoding="utf-8")
    (path.parent / "utterances.jsonl").unlink()
    write_report(report_of("one"), path.parent)
    assert outside.read_text(encoding="utf-8") == "mine"
    assert read_report(path.parent).rows[0]["hypothesis"] == "one"


def test_a_folder_that_cannot_be_one_is_refused_and_leaves_no_trace(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    for folder in (tmp_path / "file", tmp_path / "file" / "report"):
        with pytest.raises(InputError, match=r"No report can be written to .*file"):
            check_report_folder(folder)
    check_report_folder(tmp_path / "new" / "report")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


def test_audio_of_the_test_set_is_not_replaced(tmp_path: Path) -> None:
    path = write_report(report_of("one two"), tmp_path)
    summary = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**summary, "files": ["audio/0001.flac"]}), encoding="utf-8")
    (tmp_path / "utterances.jsonl").unlink()
    hard = Utterance(id="u1", audio=str(tmp_path / "audio" / "0001.flac"), duration_s=2.0, text="one two")
    with pytest.raises(InputError, match=r"0001\.flac is part of the test set and of the report in"):
        check_report_folder(tmp_path, [hard])
