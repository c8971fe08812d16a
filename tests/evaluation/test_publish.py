"""A report with everything to look at, in a folder that may hold an earlier one."""

import json
from pathlib import Path

import numpy as np
import pytest

from harken.core import MissingPart, Utterance, Waveform
from harken.evaluation import publish
from harken.evaluation.publish import check_publishing, publish_report
from harken.evaluation.report import EvaluationReport, ReportConfig, build_report
from harken.evaluation.report_files import read_report

UTTERANCES = [
    Utterance(id=f"u{n}", audio=f"/audio/u{n}.wav", duration_s=1.0, text="one two three", speaker=f"s{n % 2}")
    for n in range(4)
]


def load_audio(utterance: Utterance) -> Waveform:
    return np.full(800, int(utterance.id[1:]) / 100, dtype=np.float32)


def report_of(wrong: int) -> EvaluationReport:
    texts = {u.id: "one too three" if n < wrong else "one two three" for n, u in enumerate(UTTERANCES)}
    return build_report(UTTERANCES, texts, config=ReportConfig(samples=20))


def published(report: EvaluationReport, folder: Path, *, figures: bool = True) -> set[str]:
    again = publish_report(report, folder, UTTERANCES, load_audio, sample_rate_hz=8000, title="A on b", figures=figures)
    assert again.summary == read_report(folder).summary
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_the_folder_lists_what_it_holds(tmp_path: Path) -> None:
    found = published(report_of(3), tmp_path)
    assert {"audio/0001.flac", "audio/0003.flac", "figures/errors.png", "hardest.jsonl", "report.html"} < found
    listed = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["files"]
    assert {*listed, "report.json"} == found


def test_a_better_report_leaves_no_audio_and_figures_of_the_worse(tmp_path: Path) -> None:
    published(report_of(3), tmp_path / "a")
    after = published(report_of(0), tmp_path / "a")
    assert after == published(report_of(0), tmp_path / "b")
    assert not {name for name in after if name.startswith(("audio/", "hardest", "figures/errors"))}
    for name in after:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_an_interrupted_report_leaves_the_earlier_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = published(report_of(3), tmp_path)
    page = (tmp_path / "report.html").read_bytes()

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(publish, "write_page", interrupt)
    with pytest.raises(KeyboardInterrupt):
        published(report_of(1), tmp_path)
    assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert (tmp_path / "report.html").read_bytes() == page
    assert read_report(tmp_path).summary["substitutions"] == 3


def test_figures_without_matplotlib_are_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish, "find_spec", lambda name: None)
    with pytest.raises(MissingPart, match=r"pip install 'harken\[eval\]'"):
        check_publishing(tmp_path / "report", UTTERANCES)
    check_publishing(tmp_path / "report", UTTERANCES, figures=False)
    assert not (tmp_path / "report").exists()
