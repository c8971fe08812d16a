"""Which figures are written, and that what is drawn is what the report says."""

import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from harken.core import MissingPart
from harken.evaluation.page.figures import _figures, write_figures
from harken.evaluation.report import EvaluationReport, build_report

pytest.importorskip("matplotlib")

NAMES = {
    "conditions", "speakers", "errors", "phonemes-uz", "phonemes-ru", "wer-by-speaker", "wer-by-language",
    "wer-by-duration", "wer-by-snr", "wer-by-accent", "wer-by-device",
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(rich_report: EvaluationReport, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("figures")
    paths = write_figures(rich_report, folder)
    assert sorted(paths) == sorted((folder / "figures").iterdir())
    return folder / "figures"


def texts(path: Path) -> list[str]:
    return ["".join(node.itertext()).strip() for node in ElementTree.parse(path).iter() if node.tag.endswith("}text")]


def test_a_picture_of_each_kind_for_everything_there_is(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == {f"{name}.{kind}" for name in NAMES for kind in ("png", "svg")}
    for path in folder.glob("*.png"):
        assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_conditions_are_drawn_as_they_are(rich_report: EvaluationReport) -> None:
    figure = dict(_figures(rich_report.summary))["conditions"]
    (axes,) = figure.axes
    rates = [part["wer"] for part in rich_report.summary["conditions"].values()]
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([100 * rate["value"] for rate in rates])
    whiskers = [line.get_xdata() for line in axes.lines if line.get_linestyle() == "-"]
    assert [list(limits) for limits in whiskers] == [
        pytest.approx([100 * rate["low"], 100 * rate["high"]]) for rate in rates
    ]


def test_worst_speaker_first_and_lengths_in_their_order(rich_report: EvaluationReport, folder: Path) -> None:
    speakers = rich_report.summary["slices"]["speaker"]
    ordered = sorted(
        (name for name in speakers if speakers[name]["wer"]["value"] is not None),
        key=lambda name: (-speakers[name]["wer"]["value"], name),
    )
    drawn = [text for text in texts(folder / "wer-by-speaker.svg") if text.startswith("speaker-")]
    assert drawn == [name for name in ordered if name.startswith("speaker-")]
    lengths = [text for text in texts(folder / "wer-by-duration.svg") if text.endswith(" s")]
    assert lengths == ["2 to 5 s", "5 to 10 s"]


def test_words_of_any_script_stay_text_in_the_svg(rich_report: EvaluationReport, folder: Path) -> None:
    drawn = texts(folder / "errors.svg")
    for error in [error for error in rich_report.summary["errors"] if error["kind"] == "D"][:15]:
        assert error["reference"] in drawn


def test_phoneme_shares_are_those_of_the_rows(rich_report: EvaluationReport) -> None:
    (axes,) = dict(_figures(rich_report.summary))["phonemes-uz"].axes
    shades = axes.images[0].get_array()
    part = rich_report.summary["phonemes"]["uz"]
    totals = {row: sum(n for r, _, n in part["counts"] if r == row) for row in range(len(part["phonemes"]))}
    wrong = {(r, c): n / totals[r] for r, c, n in part["counts"] if r != c and part["phonemes"][r] != "∅"}
    deepest = max(wrong, key=lambda cell: wrong[cell])
    assert shades[deepest] == pytest.approx(1.0)
    some = sorted(wrong)[7]
    assert shades[some] == pytest.approx((wrong[some] / wrong[deepest]) ** 0.5)
    assert shades[0, 0] == 0


def test_equal_reports_give_equal_bytes(rich_report: EvaluationReport, folder: Path, tmp_path: Path) -> None:
    summary = {key: value for key, value in rich_report.summary.items() if key not in ("phonemes", "slices")}
    again = write_figures(replace(rich_report, summary=summary), tmp_path)
    same = [path for path in again if path.stem in ("conditions", "errors")]
    assert len(same) == 4
    assert all(path.read_bytes() == (folder / path.name).read_bytes() for path in same)


def test_a_small_report_draws_only_what_it_has(small_report: EvaluationReport, tmp_path: Path) -> None:
    assert {path.name for path in write_figures(small_report, tmp_path)} == {
        "errors.png", "errors.svg", "wer-by-duration.png", "wer-by-duration.svg",
    }  # fmt: skip


def test_an_empty_report_draws_nothing(tmp_path: Path) -> None:
    assert write_figures(build_report([], {}), tmp_path / "none") == []


def test_names_cannot_leave_the_folder_or_become_formulas(small_report: EvaluationReport, tmp_path: Path) -> None:
    group = {"wer": {"value": 0.25, "low": None, "high": None}}
    summary = {**small_report.summary, "errors": [], "slices": {"tag:../../etc": {"$x^2$": group, "_": group}}}
    paths = write_figures(replace(small_report, summary=summary), tmp_path)
    assert {path.name for path in paths} == {"wer-by-etc.png", "wer-by-etc.svg"}
    assert "$x^2$" in texts(tmp_path / "figures" / "wer-by-etc.svg")


def test_thirty_of_many_speakers_are_drawn(small_report: EvaluationReport, tmp_path: Path) -> None:
    groups = {f"s{n:03d}": {"wer": {"value": n / 1000, "low": None, "high": None}} for n in range(200)}
    summary = {**small_report.summary, "errors": [], "speakers": {}, "slices": {"speaker": groups}}
    write_figures(replace(small_report, summary=summary), tmp_path)
    drawn = texts(tmp_path / "figures" / "wer-by-speaker.svg")
    assert [text for text in drawn if re.fullmatch(r"s\d{3}", text)] == [f"s{n:03d}" for n in range(199, 169, -1)]
    assert any("the highest 30 of 200" in text for text in drawn)


def test_without_matplotlib_it_says_what_to_install(
    small_report: EvaluationReport, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingPart, match=r"harken\[eval\]"):
        write_figures(small_report, tmp_path)
