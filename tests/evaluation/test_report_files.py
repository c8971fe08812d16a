"""Reports on disk: written whole, read as they were."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from harken.core import InputError, MissingPart, Utterance
from harken.evaluation.report import EvaluationReport, ReportConfig, build_report
from harken.evaluation.report_files import read_report, write_report


def utterance(id_: str, text: str) -> Utterance:
    return Utterance(id=id_, audio=f"/audio/{id_}.wav", duration_s=2.0, text=text)


@pytest.fixture
def report() -> EvaluationReport:
    return build_report([utterance("u1", "one two"), utterance("u2", "three")], {"u1": "one too", "u2": "three"})


def test_written_and_read_again(tmp_path: Path, report: EvaluationReport) -> None:
    assert write_report(report, tmp_path / "report") == tmp_path / "report" / "report.json"
    again = read_report(tmp_path / "report")
    assert again.summary == json.loads(json.dumps(dict(report.summary)))
    assert json.loads((tmp_path / "report" / "report.json").read_text("utf-8"))["files"] == ["utterances.jsonl"]
    assert list(again.rows) == json.loads(json.dumps(list(report.rows)))
    assert sorted(path.name for path in (tmp_path / "report").iterdir()) == ["report.json", "utterances.jsonl"]


def test_texts_of_any_script_survive(tmp_path: Path) -> None:
    text = "नमस्ते दुनिया\u2028\x85 \ud800"  # line separators of Unicode are no line ends of JSON Lines
    report = build_report([utterance("u", text)], {"u": text}, config=ReportConfig(normalizer="none"))
    write_report(report, tmp_path)
    assert read_report(tmp_path).rows[0]["reference"] == report.rows[0]["reference"]
    assert read_report(tmp_path).rows[0].get("reference_raw") == report.rows[0].get("reference_raw")


def test_what_is_no_report_is_refused(tmp_path: Path, report: EvaluationReport) -> None:
    with pytest.raises(MissingPart, match=r"holds no report\.json\. Make a report first"):
        read_report(tmp_path)
    for text in ("{", "\x00", "[]", "{}", '{"wer": 1}'):
        (tmp_path / "report.json").write_text(text, encoding="utf-8")
        with pytest.raises(
            InputError, match=r"report\.json (cannot be read|does not hold|is not an evaluation report)"
        ):
            read_report(tmp_path)
    (tmp_path / "report.json").unlink()
    write_report(report, tmp_path)
    (tmp_path / "utterances.jsonl").unlink()
    with pytest.raises(MissingPart, match=r"utterances\.jsonl does not exist"):
        read_report(tmp_path)


def test_conditions_have_folders_of_their_own(tmp_path: Path, report: EvaluationReport) -> None:
    noisy = build_report([utterance("u1", "one two")], {"u1": "one"}, condition="noise-5db")
    table = {**report.summary["conditions"], **noisy.summary["conditions"]}
    both = replace(report, summary={**report.summary, "conditions": table}, conditions={"noise-5db": noisy})
    write_report(both, tmp_path)
    assert (tmp_path / "conditions" / "noise-5db" / "utterances.jsonl").is_file()
    again = read_report(tmp_path)
    assert list(again.conditions) == ["noise-5db"]
    assert again.conditions["noise-5db"].rows[0]["hypothesis"] == "one"
    (tmp_path / "conditions" / "noise-5db" / "report.json").unlink()
    with pytest.raises(MissingPart, match=r"noise-5db holds no report\.json"):
        read_report(tmp_path)


def test_the_file_itself_or_a_run_may_be_named(tmp_path: Path, report: EvaluationReport) -> None:
    assert read_report(write_report(report, tmp_path / "run" / "report")).summary["words"] == 3
    assert read_report(tmp_path / "run").summary["words"] == 3
    with pytest.raises(InputError, match=r"utterances\.jsonl is not an evaluation report\. Name its folder"):
        read_report(tmp_path / "run" / "report" / "utterances.jsonl")
    with pytest.raises(MissingPart, match=r"nowhere does not exist"):
        read_report(tmp_path / "nowhere")
