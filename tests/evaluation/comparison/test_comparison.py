"""Comparing reports and scores: figures by hand, parts of the set, and everything that makes two incomparable."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from harken.core import InputError, Utterance
from harken.evaluation.comparison.comparison import compare, compare_scores, set_resolution
from harken.evaluation.comparison.config import ComparisonConfig
from harken.evaluation.report import EvaluationReport, build_report
from harken.evaluation.scoring.metrics import score
from harken.evaluation.statistics.mapsswe import mapsswe
from harken.evaluation.statistics.paired_tests import holm, paired_bootstrap, paired_t_test, sign_flip_test

REFERENCES = {
    "u1": "one two three",
    "u2": "four five",
    "u3": "oʻrmon гўзал नमस्ते",
    "u4": "seven eight nine zero",
}
BASELINE = {"u1": "one too three", "u2": "four five", "u3": "oʻrmon гўзал", "u4": "seven eight nine zero"}
CANDIDATE = {"u1": "one two three", "u2": "four", "u3": "oʻrmon гўзал नमस्ते", "u4": "seven ate nine zero oh"}


def utterance(id_: str, **facts: Any) -> Utterance:
    given = {"audio": f"/audio/{id_}.wav", "duration_s": 1.0, "text": REFERENCES.get(id_, "a b c"), **facts}
    return Utterance(id=id_, **given)


def report(texts: Mapping[str, str], utterances: list[Utterance] | None = None, **options: Any) -> EvaluationReport:
    """What a comparison reads of a report."""
    made = utterances or [utterance(id_) for id_ in REFERENCES]
    result = score({one.id: one.text or "" for one in made}, texts, **options)
    rows = [
        {
            "id": one.id,
            "reference": " ".join(step.reference for step in steps if step.reference is not None),
            "hypothesis": " ".join(step.hypothesis for step in steps if step.hypothesis is not None),
            "words": int(result.counts.words[row]),
            "alignment": result.alignments.letters(row),
            "duration_s": one.duration_s,
            "speaker": one.speaker,
            "recording": one.recording,
            "language": one.language,
            "tags": dict(one.tags),
        }
        for row, one in enumerate(made)
        for steps in [result.alignments.operations(row)]
    ]
    summary = {
        "cer": {"value": result.cer},
        "normalizer": dict(result.normalizer),
        "alignment": result.alignment,
        "units": result.units,
    }
    return EvaluationReport(summary=summary, rows=rows)


def speech(count: int, rate: float, seed: int, *, speakers: int = 10) -> tuple[list[Utterance], dict[str, str]]:
    """Utterances of ten words, some deleted."""
    draw = np.random.default_rng(seed)
    words = [f"w{number}" for number in range(10)]
    utterances = [
        utterance(
            f"u{number:04d}",
            text=" ".join(words),
            speaker=f"s{number % speakers}",
            recording=f"r{number % (4 * speakers)}",
            language="uz" if number % 2 else "ru",
            duration_s=1.5 if number % 4 else 6.0,
            tags={"accent": "north"} if number % 3 else {},
        )
        for number in range(count)
    ]
    texts = {
        one.id: " ".join(word for word, lost in zip(words, draw.random(10) < rate, strict=True) if not lost)
        for one in utterances
    }
    return utterances, texts


# Figures


def test_figures_by_hand() -> None:
    found = compare(report(BASELINE), report(CANDIDATE))
    assert (found.utterances, found.alignment, found.normalizer["name"]) == (4, "sclite", "basic")
    ours, theirs = found.baseline, found.candidate
    assert (ours.errors, ours.substitutions, ours.deletions, ours.insertions, ours.words) == (2, 1, 1, 0, 12)
    assert (theirs.errors, theirs.substitutions, theirs.deletions, theirs.insertions) == (3, 1, 1, 1)
    assert (ours.wer, theirs.wer) == (pytest.approx(2 / 12), pytest.approx(3 / 12))
    assert ours.cer == report(BASELINE).summary["cer"]["value"]
    assert found.difference.value == pytest.approx(1 / 12)
    # Changes of -1, +1, -1 and +2 errors: every sum of these with any signs is odd, and half of them are 1 or more.
    assert (found.difference.p_value, found.difference.p_worse) == (1.0, 0.5)
    assert (found.difference.unit, found.difference.units) == ("utterance", 4)
    assert found.mapsswe is not None
    assert (found.mapsswe.segments, found.mapsswe.mean) == (5, 0.2)  # two in "seven ate nine zero oh"
    assert (found.improved, found.worsened) == (2, 2)
    assert [(one.id, one.change) for one in found.changed] == [("u4", 2), ("u2", 1), ("u1", -1), ("u3", -1)]
    worst = found.changed[0]
    assert (worst.reference, worst.candidate) == ("seven eight nine zero", "seven ate nine zero oh")
    assert worst.words == 4


def test_the_parts_are_those_of_the_functions_they_come_from() -> None:
    utterances, first = speech(200, 0.2, 1)
    _, second = speech(200, 0.25, 2)
    ours, theirs = report(first, utterances), report(second, utterances)
    found = compare(ours, theirs, config=ComparisonConfig(slices=(), samples=500))
    errors = [np.array([row["alignment"].count("D") for row in one.rows]) for one in (ours, theirs)]
    words, speakers = np.full(200, 10), [one.speaker for one in utterances]
    assert found.difference == sign_flip_test(errors[0], words, errors[1], words, speakers, unit="speaker", samples=500)
    assert found.bootstrap == paired_bootstrap(errors[0], words, errors[1], words, speakers, unit="speaker")
    assert found.t_test == paired_t_test(errors[0], words, errors[1], words)
    scores = [score({one.id: one.text or "" for one in utterances}, texts) for texts in (first, second)]
    aligned = [one.alignments for one in scores]
    assert found.mapsswe == mapsswe(aligned[0].codes, aligned[0].offsets, aligned[1].codes, aligned[1].offsets)
    assert (found.slices, found.notes) == ((), ())
    assert found.detectable.measured
    again = compare_scores(*scores, speakers, config=ComparisonConfig(slices=(), samples=500))
    assert again.as_json() == found.as_json()


def test_json_has_no_surprises() -> None:
    utterances, first = speech(60, 0.2, 1)
    found = compare(report(first, utterances), report(speech(60, 0.2, 2)[1], utterances))
    values = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert values["difference"]["unit"] == "speaker"
    assert values["slices"][0]["dimension"] == "language"
    empty = compare(report(dict.fromkeys(REFERENCES, "")), report(dict.fromkeys(REFERENCES, "")))
    json.dumps(empty.as_json(), allow_nan=False)


def test_a_built_report_has_what_it_takes() -> None:
    made = [build_report([utterance(id_) for id_ in REFERENCES], texts) for texts in (BASELINE, CANDIDATE)]
    assert compare(*made).as_json() == compare(report(BASELINE), report(CANDIDATE)).as_json()


# Units


def test_speakers_are_drawn_where_there_are_enough() -> None:
    for speakers, unit, note in (
        (10, "speaker", ""),
        (3, "recording", "3 speakers are too few to draw, so recordings were drawn"),
        (1, "utterance", "There is one speaker, so utterances were drawn"),
    ):
        utterances, texts = speech(40, 0.2, 1, speakers=speakers)
        found = compare(report(texts, utterances), report(speech(40, 0.2, 2)[1], utterances))
        assert found.difference.unit == unit
        assert [line for line in found.notes if line.startswith(note or "?")] == [*found.notes]


def test_the_unit_can_be_named() -> None:
    utterances, texts = speech(40, 0.2, 1, speakers=3)
    ours, theirs = report(texts, utterances), report(speech(40, 0.2, 2)[1], utterances)
    for unit, count in (("speaker", 3), ("recording", 12), ("utterance", 40)):
        found = compare(ours, theirs, config=ComparisonConfig(unit=unit))  # type: ignore[arg-type]
        assert (found.difference.unit, found.difference.units, found.notes) == (unit, count, ())
    with pytest.raises(InputError, match="not every utterance names its speaker"):
        compare(report(BASELINE), report(CANDIDATE), config=ComparisonConfig(unit="speaker"))
    some = [replace(one, speaker=None if one.id == "u0000" else one.speaker, recording=None) for one in utterances]
    found = compare(report(texts, some), report(texts, some))
    assert found.notes == (
        "Not every utterance names its speaker, so utterances were drawn as if they were independent.",
    )


# Parts of the set


def test_slices_are_the_same_test_on_fewer_utterances() -> None:
    utterances, first = speech(240, 0.2, 1)
    _, second = speech(240, 0.25, 2)
    found = compare(report(first, utterances), report(second, utterances))
    assert [(part.dimension, part.label, part.utterances) for part in found.slices] == [
        ("language", "ru", 120),
        ("language", "uz", 120),
        ("duration", "under 2 s", 180),
        ("duration", "5 to 10 s", 60),
        ("tag:accent", "north", 160),
    ]
    russian = [one for one in utterances if one.language == "ru"]
    alone = compare(
        report({one.id: first[one.id] for one in russian}, russian),
        report({one.id: second[one.id] for one in russian}, russian),
        config=ComparisonConfig(unit="speaker"),
    )
    assert found.slices[0].difference == alone.difference
    assert replace(found.slices[0].candidate, cer=0.0) == replace(alone.candidate, cer=0.0)
    p_values = [part.difference.p_value for part in found.slices]
    assert [part.adjusted_p for part in found.slices] == holm([p for p in p_values if p is not None])
    assert [part.adjusted_p_worse for part in found.slices] == holm([part.difference.p_worse for part in found.slices])


def test_conditions_are_parts_too() -> None:
    utterances, first = speech(60, 0.1, 1)
    noise, rooms = (report(speech(60, rate, seed)[1], utterances) for rate, seed in ((0.3, 3), (0.4, 4)))
    ours = replace(report(first, utterances), conditions={"noise-5dB": noise, "old": rooms})
    theirs = replace(report(first, utterances), conditions={"noise-5dB": rooms, "new": noise})
    found = compare(ours, theirs, config=ComparisonConfig(slices=("condition",)))
    assert [(part.dimension, part.label) for part in found.slices] == [("condition", "noise-5dB")]
    assert found.slices[0].difference == compare(noise, rooms).difference
    assert found.difference.value == 0
    assert found.notes == ("Conditions in one of the reports only, left out: old, new.",)


def test_slices_are_chosen_by_name() -> None:
    utterances, first = speech(60, 0.2, 1)
    ours = report(first, utterances)
    chosen = compare(ours, ours, config=ComparisonConfig(slices=("tag:accent", "language")))
    assert [part.label for part in chosen.slices] == ["north", "ru", "uz"]
    with pytest.raises(
        InputError, match=r"no slice 'colour'\. Use some of: language, duration, tag:accent, condition, all"
    ):
        compare(ours, ours, config=ComparisonConfig(slices=("colour",)))
    many = compare(ours, ours, config=ComparisonConfig(slice_values=1))
    assert [part.label for part in many.slices] == ["north"]
    assert many.notes[0] == "language has 2 different labels, too many to compare one by one."


def test_scores_take_labels_of_parts() -> None:
    ours, theirs = score(REFERENCES, BASELINE), score(REFERENCES, CANDIDATE)
    found = compare_scores(ours, theirs, slices={"topic": ["a", "a", None, "b"]})
    assert [(part.label, part.utterances, part.difference.value) for part in found.slices] == [
        ("a", 2, 0.0),
        ("b", 1, 0.5),
    ]
    assert found.slices[1].adjusted_p is None  # one utterance is no test
    with pytest.raises(InputError, match="topic: 1 labels for 4 utterances"):
        compare_scores(ours, theirs, slices={"topic": ["a"]})


# What cannot be compared


def test_hypotheses_in_another_order_are_put_in_order() -> None:
    turned = [utterance(id_) for id_ in reversed(REFERENCES)]
    assert compare(report(BASELINE), report(CANDIDATE, turned)).as_json() == (
        compare(report(BASELINE), report(CANDIDATE)).as_json()
    )
    ours, theirs = score(REFERENCES, BASELINE), score(dict(reversed(REFERENCES.items())), CANDIDATE)
    assert compare_scores(ours, theirs).as_json() == compare_scores(ours, score(REFERENCES, CANDIDATE)).as_json()


def test_the_first_difference_is_named() -> None:
    ours = report(BASELINE)
    fewer = [utterance(id_) for id_ in list(REFERENCES)[:3]]
    other = [replace(one, text="one two tree") if one.id == "u1" else one for one in map(utterance, REFERENCES)]
    for theirs, message in (
        (
            report(CANDIDATE, normalizer="none"),
            r"normalizer is basic \S+ in the baseline and none \S+ in the candidate",
        ),
        (report(CANDIDATE, alignment="levenshtein"), "alignment is sclite in the baseline and levenshtein in the cand"),
        (report({id_: BASELINE[id_] for id_ in list(REFERENCES)[:3]}, fewer), "'u4' is in the baseline only"),
        (report(CANDIDATE, other), "the reference of 'u1' is 'one two three' in the baseline and 'one two tree' in"),
    ):
        with pytest.raises(InputError, match=message):
            compare(ours, theirs)
    with pytest.raises(InputError, match="'u4' is in the candidate only"):
        compare(report({id_: BASELINE[id_] for id_ in list(REFERENCES)[:3]}, fewer), ours)
    with pytest.raises(InputError, match="Condition noise: The two cannot be compared: alignment"):
        compare(
            replace(ours, conditions={"noise": ours}),
            replace(ours, conditions={"noise": report(CANDIDATE, alignment="levenshtein")}),
        )
    clean, noisy, other = (
        replace(ours, summary={**ours.summary, "conditions": made})
        for made in (
            {"clean": {}, "noise": {"condition": {"snr_db": 5}}},
            {"noise": {"condition": {"snr_db": 5}}},
            {"clean": {}, "noise": {"condition": {"snr_db": 10}}},
        )
    )
    with pytest.raises(InputError, match="the first condition is clean in the baseline and noise in the candidate"):
        compare(clean, noisy)
    with pytest.raises(InputError, match=r"condition noise is \{'snr_db': 5\} in the baseline and \{'snr_db': 10\}"):
        compare(clean, other)
    with pytest.raises(InputError, match="normalizer is"):
        compare_scores(score(REFERENCES, BASELINE), score(REFERENCES, CANDIDATE, normalizer="none"))


def test_damaged_reports_are_refused() -> None:
    ours = report(BASELINE)

    def changed(**values: Any) -> EvaluationReport:
        return replace(ours, rows=[{**ours.rows[0], **values}, *ours.rows[1:]])

    for theirs, message in (
        (changed(alignment="CXC"), "In the candidate, the alignment of 'u1' is 'CXC'"),
        (changed(alignment=None), "the alignment of 'u1' is None"),
        (changed(alignment="CC"), "'u1' states 3 words and its alignment has 2"),
        (changed(id=7), "In the candidate, 'id' of utterance 1 is 7"),
        (changed(id="u2"), "The candidate has the id 'u2' twice"),
        (replace(ours, summary={**ours.summary, "alignment": None}), "The candidate does not state its alignment"),
    ):
        with pytest.raises(InputError, match=message):
            compare(ours, theirs)
    with pytest.raises(InputError, match="no utterances to compare"):
        compare(replace(ours, rows=[]), replace(ours, rows=[]))


@pytest.mark.parametrize(
    ("field", "value"),
    [("samples", 0), ("bootstrap_samples", 0), ("confidence", 1.0), ("unit", "word"), ("changed", -1)],
)
def test_settings_are_checked(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{field} is {value!r}; use"):
        ComparisonConfig(**{field: value})


# Before there is a second system


def test_what_a_set_can_show() -> None:
    utterances, texts = speech(100, 0.2, 1)
    found = set_resolution(report(texts, utterances), correlations=(0.0, 0.75))
    assert [one.correlation for one in found] == [0.0, 0.75]
    assert found[0].value == pytest.approx(2 * found[1].value)
    assert (found[0].unit, found[0].units, found[0].utterances) == ("speaker", 10, 100)
