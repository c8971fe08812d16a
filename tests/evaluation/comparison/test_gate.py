"""The gate's three verdicts, on differences made up for each."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from harken.core import InputError
from harken.evaluation.comparison.comparison import Comparison, compare_scores
from harken.evaluation.comparison.gate import GateConfig, explain, judge, judge_difference
from harken.evaluation.scoring.metrics import score
from harken.evaluation.statistics.paired_tests import PairedDifference

WORDS = [f"w{number}" for number in range(20)]


def difference(value: float | None, upper: float | None, p_worse: float | None = 0.5) -> PairedDifference:
    return PairedDifference(
        value=value,
        upper=upper,
        p_worse=p_worse,
        method="sign-flip",
        unit="speaker",
        units=20,
        samples=1000,
        seed=42,
        confidence=0.95,
        note="" if value is not None else "There are no reference words, so there is no rate.",
    )


def comparison(change: float, *, utterances: int = 600, part: float = 0.0, seed: int = 1) -> Comparison:
    """Systems that lose words at 10 % and 10 % + `change`; in every tenth utterance another `part` is lost."""
    draw = np.random.default_rng(seed)
    references, first, second = {}, {}, {}
    for number in range(utterances):
        id_ = f"u{number:05d}"
        references[id_] = " ".join(WORDS)
        chance = draw.random(20)
        worse = 0.1 + change + (part if number % 10 == 0 else 0.0)
        first[id_] = " ".join(word for word, one in zip(WORDS, chance, strict=True) if one > 0.1)
        own = np.where(draw.random(20) < 0.5, chance, draw.random(20))
        second[id_] = " ".join(word for word, one in zip(WORDS, own, strict=True) if one > worse)
    labels = [f"s{number % 31}" for number in range(utterances)]
    topics = ["rare" if number % 10 == 0 else "usual" for number in range(utterances)]
    return compare_scores(score(references, first), score(references, second), labels, slices={"topic": topics})


@pytest.mark.parametrize(
    ("value", "upper", "p_worse", "verdict"),
    [
        (0.012, 0.018, 0.004, "regression"),
        (0.012, 0.018, 0.01, "regression"),  # the level itself counts
        (0.012, 0.018, 0.011, "inconclusive"),
        (0.005, 0.009, 0.0001, "inconclusive"),  # 0.5 points are allowed; not more than that
        (0.004, 0.0049, 0.0001, "pass"),  # surely worse, and surely within what is allowed
        (0.0, 0.005, 0.5, "pass"),
        (0.0, 0.0051, 0.5, "inconclusive"),
        (-0.02, -0.01, 1.0, "pass"),
        (-0.02, 0.02, 0.9, "inconclusive"),
        (0.0, 0.0, 1.0, "pass"),
        (0.3, None, 0.12, "inconclusive"),
        (None, None, None, "inconclusive"),
    ],
)
def test_verdicts(value: float | None, upper: float | None, p_worse: float | None, verdict: str) -> None:
    one = difference(value, upper, p_worse)
    assert judge_difference(one, p_worse, 0.01, 0.5) == verdict
    assert explain(one, p_worse, 0.01, 0.5).endswith(".")


@pytest.mark.parametrize(
    ("value", "upper", "p_worse", "sentence"),
    [
        (0.012, 0.018, 0.004, "1.20 points worse where 0.5 is allowed, and beyond chance (p = 0.004)."),
        (0.012, 0.018, 0.03, "1.20 points worse where 0.5 is allowed, but chance is not ruled out (p = 0.03)."),
        (0.001, 0.004, 0.4, "0.10 points worse, and no more than 0.40 points worse at 95 % confidence."),
        (-0.02, -0.01, 1.0, "2.00 points better, and at least 1.00 points better at 95 % confidence."),
        (-0.001, 0.009, 0.6, "0.10 points better, but up to 0.90 points worse cannot be ruled out at 95 % confidence."),
        (0.0, 0.0, 1.0, "no difference."),
        (0.1, None, 0.2, "10.00 points worse, but 20 speakers are too few to tell."),
        (None, None, None, "There are no reference words, so there is no rate."),
    ],
)
def test_reasons(value: float | None, upper: float | None, p_worse: float | None, sentence: str) -> None:
    assert explain(difference(value, upper, p_worse), p_worse, 0.01, 0.5) == sentence


def test_one_unit_is_counted_in_the_singular() -> None:
    one = replace(difference(0.1, None, 0.5), units=1)
    assert explain(one, 0.5, 0.01, 0.5) == "10.00 points worse, but 1 speaker is too few to tell."


def test_a_whole_comparison() -> None:
    worse = judge(comparison(0.03))
    assert (worse.verdict, worse.level, worse.needed) == ("regression", 0.01, None)
    better = judge(comparison(-0.03))
    assert better.verdict == "pass"
    unclear = comparison(0.0, utterances=62, seed=2)
    result = judge(unclear)
    assert result.verdict == "inconclusive"
    assert result.needed is not None
    assert result.needed.utterances > 600
    # It is what the same spread of differences takes at the gate's level, one-sided 1 %.
    assert result.needed == replace(unclear.detectable, alpha=0.02).needed(0.005)
    assert judge(unclear, GateConfig(max_regression=0.0)).needed is None
    assert judge(unclear, GateConfig(max_regression=20.0)).verdict == "pass"
    assert result.as_json()["slices"][0]["dimension"] == "topic"


def test_a_part_that_regresses_is_a_regression() -> None:
    found = comparison(-0.005, utterances=1200, part=0.2)
    result = judge(found, GateConfig(max_regression=3.0))
    assert [(part.label, part.verdict) for part in result.slices] == [("rare", "regression"), ("usual", "pass")]
    assert judge_difference(found.difference, found.difference.p_worse, 0.01, 3.0) == "pass"
    assert result.verdict == "regression"
    assert result.reason.startswith("In topic rare: ")
    assert "The whole set: " in result.reason


def test_a_part_that_cannot_tell_changes_nothing() -> None:
    found = comparison(-0.03, utterances=300)
    parts = tuple(replace(part, difference=difference(0.3, None, 0.2)) for part in found.slices)
    result = judge(replace(found, slices=parts))
    assert (result.verdict, {part.verdict for part in result.slices}) == ("pass", {"inconclusive"})


def test_a_part_of_a_few_speakers_is_said_to_be_blind() -> None:
    draw = np.random.default_rng(3)
    references = {f"u{number:04d}": " ".join(WORDS) for number in range(1200)}
    speakers = [f"s{number % 30}" for number in range(1200)]
    parts = ["few" if number % 30 < 6 else "many" for number in range(1200)]

    def recognise(rates: dict[str, float]) -> dict[str, str]:
        chances = [draw.random(20) < rates[part] for part in parts]
        return {
            id_: " ".join(word for word, right in zip(WORDS, chance, strict=True) if right)
            for id_, chance in zip(references, chances, strict=True)
        }

    first, second = recognise({"few": 0.9, "many": 0.9}), recognise({"few": 0.8, "many": 0.9})
    found = compare_scores(score(references, first), score(references, second), speakers, slices={"topic": parts})
    few, many = judge(found).slices
    assert few.verdict == "inconclusive"
    assert few.reason.endswith("In a part of 6 speakers no rise counts as beyond chance.")
    assert "In a part" not in many.reason


def test_without_parts_the_whole_set_gets_every_false_alarm() -> None:
    alone = replace(comparison(0.0, utterances=60), slices=())
    assert judge(alone).level == 0.02
    assert judge(alone, GateConfig(false_alarms=0.1)).level == 0.1


@pytest.mark.parametrize(
    ("field", "value"),
    [("max_regression", -0.1), ("max_regression", 100.0), ("false_alarms", 0.0), ("false_alarms", 0.5)],
)
def test_settings_are_checked(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{field} is {value!r}; use"):
        GateConfig(**{field: value})


def test_exactly_what_is_allowed_is_allowed() -> None:
    assert 100 * 0.007 > 0.7  # in binary
    assert judge_difference(difference(0.007, 0.009, 0.001), 0.001, 0.01, 0.7) == "inconclusive"
    assert judge_difference(difference(0.0, 0.007), 0.5, 0.01, 0.7) == "pass"


def test_a_gate_that_could_never_stop_anything_is_refused() -> None:
    found = replace(comparison(0.1), slices=())
    few = replace(found, difference=replace(found.difference, samples=23))
    with pytest.raises(InputError, match=r"no p-value below 0\.021, and the gate needs 0\.02\. .* samples 25 or more"):
        judge(few)
    assert judge(replace(few, difference=replace(few.difference, samples=25))).verdict == "regression"
    with pytest.raises(InputError, match=r"gate needs 5e-06\. Compare with samples 200,000 or more"):
        judge(comparison(0.1), GateConfig(false_alarms=0.00001))  # for its two parts
