"""`harken compare`: verdicts, exit codes, where output goes, and what it says to wrong arguments."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harken.evaluation.report import EvaluationReport
from harken.evaluation.report_files import write_report
from harken.evaluation.scoring.metrics import score

Harken = Callable[..., Any]
WORDS = [f"w{number}" for number in range(20)]


def make_report(lost: float, *, utterances: int, seed: int, alignment: str = "sclite") -> EvaluationReport:
    """A report of `utterances` of twenty words by 25 speakers, of which a share `lost` was not recognised."""
    draw = np.random.default_rng(seed)
    ids = [f"u{number:04d}" for number in range(utterances)]
    texts = {id_: " ".join(w for w, chance in zip(WORDS, draw.random(20), strict=True) if chance > lost) for id_ in ids}
    result = score(dict.fromkeys(ids, " ".join(WORDS)), texts, normalizer="none", alignment=alignment)
    rows = [
        {
            "id": id_,
            "reference": " ".join(WORDS),
            "hypothesis": texts[id_],
            "words": 20,
            "alignment": result.alignments.letters(row),
            "duration_s": 3.0,
            "speaker": f"s{row % 25}",
            "language": "uz" if row % 2 else "ru",
        }
        for row, id_ in enumerate(ids)
    ]
    summary = {
        "cer": {"value": result.cer},
        "normalizer": dict(result.normalizer),
        "alignment": result.alignment,
        "units": result.units,
        "conditions": {"clean": {}},
        "utterance_file": "utterances.jsonl",
    }
    return EvaluationReport(summary=summary, rows=rows)


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders baseline, worse, better (500 utterances); small and small-too (50); other (another alignment)."""
    folder = tmp_path_factory.mktemp("reports")
    for name, lost, utterances, seed, alignment in (
        ("baseline", 0.10, 500, 1, "sclite"),
        ("worse", 0.13, 500, 2, "sclite"),
        ("better", 0.07, 500, 3, "sclite"),
        ("small", 0.10, 50, 4, "sclite"),
        ("small-too", 0.11, 50, 8, "sclite"),
        ("other", 0.10, 500, 1, "levenshtein"),
    ):
        write_report(make_report(lost, utterances=utterances, seed=seed, alignment=alignment), folder / name)
    return folder


@pytest.mark.parametrize(
    ("pair", "options", "verdict", "code"),
    [
        (("baseline", "better"), [], "pass", 0),
        (("baseline", "baseline"), ["--strict"], "pass", 0),
        (("baseline", "worse"), [], "regression", 1),
        (("baseline", "worse"), ["--max-regression", "10", "--slices", "none", "--strict"], "pass", 0),
        (("small", "small-too"), [], "inconclusive", 0),
        (("small", "small-too"), ["--strict"], "inconclusive", 6),
    ],
)
def test_verdicts_and_exit_codes(
    harken: Harken, reports: Path, pair: tuple[str, str], options: list[str], verdict: str, code: int
) -> None:
    paths = [reports / name for name in pair]
    answer = harken("compare", *paths, *options)
    assert answer.code == code
    assert answer.out.startswith(f"{verdict.upper()}: ")
    assert answer.err == ""
    data = harken("compare", *paths, *options, "--json")
    assert (data.code, data.json["verdict"], data.json["gate"]["verdict"]) == (code, verdict, verdict)
    assert data.json["comparison"]["difference"]["unit"] == "speaker"
    assert ("INCONCLUSIVE: " in data.err) == (verdict == "inconclusive")  # a script's user should see it as well


def test_what_a_person_reads(harken: Harken, reports: Path) -> None:
    text = harken("compare", reports / "baseline", reports / "worse", "--changed", 1).out
    assert "points worse where 0.5 is allowed, and beyond chance (p < 0.0001)" in text
    assert "Test: sign flips over 25 speakers (10,000 swaps, seed 42); normaliser none 1, alignment sclite." in text
    assert "MAPSSWE p" in text
    assert "language uz" in text
    assert text.count("said") == 2  # one for the worse, one for the better
    small = harken("compare", reports / "small", reports / "small-too").out
    assert "like these to settle a difference of 0.5 points; there are 50 utterances." in small


def test_slices_units_and_samples(harken: Harken, reports: Path) -> None:
    paths = [reports / "baseline", reports / "better"]
    data = harken("compare", *paths, "--slices", "language, duration", "--samples", 99, "--unit", "utterance", "--json")
    found = data.json["comparison"]
    assert [(part["dimension"], part["label"]) for part in found["slices"]] == [
        ("language", "ru"),
        ("language", "uz"),
        ("duration", "2 to 5 s"),
    ]
    assert (found["difference"]["samples"], found["difference"]["units"]) == (99, 500)
    assert harken("compare", *paths, "--slices", "none", "--json").json["comparison"]["slices"] == []


def test_reports_are_found_in_runs_and_by_file(harken: Harken, reports: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "report").symlink_to(reports / "better")
    first = harken("compare", reports / "baseline", reports / "better", "--json")
    assert harken("compare", reports / "baseline" / "report.json", tmp_path / "run", "--json").json == first.json


def test_markdown(harken: Harken, reports: Path, tmp_path: Path) -> None:
    paths = [reports / "baseline", reports / "worse"]
    answer = harken("compare", *paths, "--markdown", tmp_path / "new" / "summary.md")
    text = (tmp_path / "new" / "summary.md").read_text(encoding="utf-8")
    assert answer.code == 1
    assert text.startswith("### Word error rate: regression\n")
    assert "| baseline | " in text
    assert harken("compare", *paths, "--markdown", "-").out == text
    both = harken("compare", *paths, "--markdown", "-", "--json")
    assert (both.code, both.out) == (2, "")
    assert "both go to standard output" in both.err


def test_without_a_candidate_it_says_what_the_set_can_show(harken: Harken, reports: Path) -> None:
    answer = harken("compare", reports / "baseline")
    assert answer.code == 0
    assert answer.out.startswith("500 utterances, 25 speakers: a true difference is found in 80 % of comparisons")
    data = harken("compare", reports / "baseline", "--json").json
    assert [one["correlation"] for one in data] == [0.0, 0.5, 0.8]
    assert f"{100 * data[0]['value']:.2f} points if the errors of the two correlate by 0;" in answer.out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["absent", "better"], 3, "absent does not exist. Make a report first"),
        (["baseline", "empty"], 3, "empty holds no report.json"),
        (["baseline", "broken"], 2, "report.json cannot be read"),
        (["baseline", "other"], 2, "alignment is sclite in the baseline and levenshtein in the candidate"),
        (["baseline", "small"], 2, "'u0050' and 449 more is in the baseline only"),
        (["baseline", "better", "--max-regression", "-1"], 2, "max_regression is -1.0; use points of WER"),
        (["baseline", "better", "--samples", "0"], 2, "samples is 0; use 1 or more"),
        (["baseline", "better", "--unit", "word"], 2, "unit is 'word'"),
        (["baseline", "better", "--unit", "recording"], 2, "not every utterance names its recording"),
        (["baseline", "better", "--slices", "colour"], 2, "There is no slice 'colour'"),
    ],
)
def test_refusals(harken: Harken, reports: Path, arguments: list[str], code: int, message: str) -> None:
    (reports / "empty").mkdir(exist_ok=True)
    (reports / "broken").mkdir(exist_ok=True)
    (reports / "broken" / "report.json").write_text("{", encoding="utf-8")
    names = [reports / name if not name.startswith("-") else name for name in arguments[:2]]
    answer = harken("compare", *names, *arguments[2:])
    assert (answer.code, answer.out) == (code, "")
    assert message in answer.err


def test_the_same_input_gives_the_same_bytes(harken: Harken, reports: Path) -> None:
    call = ("compare", reports / "baseline", reports / "worse", "--json")
    assert harken(*call).out == harken(*call).out
    json.loads(harken(*call).out)
