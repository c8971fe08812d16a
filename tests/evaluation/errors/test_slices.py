import time

import numpy as np
import pytest

from harken.core import InputError, Utterance
from harken.evaluation.errors.slices import SliceConfig, band_names, large_tags, slice_groups, speaker_distribution
from harken.evaluation.scoring.metrics import score

PAIRS = [("a b c d", "a b x d"), ("a b", "a b c"), ("a b c", ""), ("e f", "e f"), ("", "g")]


def test_groups_of_every_dimension(scored) -> None:
    result, utterances = scored(
        PAIRS,
        speaker=["anna", "anna", "boris", "boris", None],
        language=["ru", "uz", "uz", "ru", "ru"],
        duration_s=[1.99, 2.0, 7.0, 25.0, 3.0],
        tags=[{"accent": "north"}, {"accent": "south", "device": "phone"}, {"accent": "north"}, {}, {}],
    )
    found = slice_groups(result, utterances, snr_db={"u0": 12.0, "u1": -3.0, "u2": None})
    assert list(found) == ["speaker", "language", "duration", "snr", "tag:accent", "tag:device"]
    assert {name: list(groups) for name, groups in found.items()} == {
        "speaker": ["anna", "boris"],
        "language": ["ru", "uz"],
        "duration": ["under 2 s", "2 to 5 s", "5 to 10 s", "20 s or more"],
        "snr": ["under 0 dB", "10 to 15 dB"],
        "tag:accent": ["north", "south"],
        "tag:device": ["phone"],
    }
    anna = dict(found["speaker"]["anna"])
    wer = anna.pop("wer")
    assert anna == {
        "words": 6,
        "errors": 2,
        "substitutions": 1,
        "deletions": 0,
        "insertions": 1,
        "utterances": 2,
    }
    assert wer["value"] == pytest.approx(2 / 6)
    assert (wer["low"], wer["high"], wer["unit"], wer["units"]) == (0.25, 0.5, "utterance", 2)
    north, ru = found["tag:accent"]["north"]["wer"], found["language"]["ru"]["wer"]
    assert (north["unit"], north["units"], north["value"]) == ("speaker", 2, pytest.approx(4 / 7))
    assert (ru["unit"], ru["units"]) == ("utterance", 3)  # one of them names no speaker
    assert found["duration"]["2 to 5 s"]["utterances"] == 2
    assert found["tag:device"]["phone"]["wer"]["note"].startswith("One utterance says nothing")


def test_groups_add_up_to_the_whole(scored, make_pairs) -> None:
    pairs = make_pairs(400, vocabulary=40, error_rate=0.3, longest=12, seed=11)
    draw = np.random.default_rng(11)
    columns = {
        "speaker": [f"s{n}" for n in draw.integers(0, 30, size=400)],
        "duration_s": (draw.random(400) * 30 + 0.1).tolist(),
        "tags": [{"room": f"r{n}"} for n in draw.integers(0, 4, size=400)],
    }
    result, utterances = scored(pairs, **columns)
    found = slice_groups(
        result, utterances, snr_db={u.id: float(x) for u, x in zip(utterances, draw.normal(10, 9, 400), strict=True)}
    )
    assert list(found) == ["speaker", "duration", "snr", "tag:room"]
    for groups in found.values():
        for key in ("words", "errors", "substitutions", "deletions", "insertions", "utterances"):
            assert sum(group[key] for group in groups.values()) == getattr(result, key)
        for group in groups.values():
            assert group["wer"]["low"] <= group["wer"]["value"] <= group["wer"]["high"]
    for name, group in found["tag:room"].items():
        rows = [row for row, u in enumerate(utterances) if u.tags["room"] == name]
        assert group["words"] == sum(result.counts.words[rows])
        assert group["wer"]["unit"] == "speaker"
        assert group["wer"]["units"] == len({utterances[row].speaker for row in rows})


def test_tags_that_name_utterances_are_left_out_and_said(scored) -> None:
    result, utterances = scored(PAIRS, tags=[{"file": f"f{n}", "room": "r"} for n in range(5)])
    config = SliceConfig(tag_values=4)
    assert list(slice_groups(result, utterances, config)) == ["duration", "tag:room"]
    assert large_tags(utterances, config) == [
        {"dimension": "tag:file", "values": 5, "reason": "more than 4 different values"}
    ]
    assert large_tags(utterances) == []


def test_how_speakers_spread(scored) -> None:
    result, utterances = scored(
        [("a b c d", "a b c x"), ("a b", "a b"), ("a b", "x y"), ("a", "b"), ("", "z")],
        speaker=["q", "p", "o", "n", "m"],
    )
    found = speaker_distribution(slice_groups(result, utterances)["speaker"], most=3)
    assert found == {
        "speakers": 4,
        "without_words": 1,
        "min": 0.0,
        "q1": pytest.approx(0.1875),
        "median": pytest.approx(0.625),
        "q3": 1.0,
        "max": 1.0,
        "mean": pytest.approx(2.25 / 4),
        "worst": [
            {"speaker": "o", "wer": 1.0, "words": 2},
            {"speaker": "n", "wer": 1.0, "words": 1},
            {"speaker": "q", "wer": 0.25, "words": 4},
        ],
    }
    assert speaker_distribution({}) is None


def test_empty_set_and_names_of_bands(scored) -> None:
    assert slice_groups(*scored([])) == {}
    assert band_names((0.5,), "s") == ["under 0.5 s", "0.5 s or more"]


def test_thousands_of_speakers_are_quick() -> None:
    count = 25_000
    draw = np.random.default_rng(12)
    utterances = [
        Utterance(id=str(n), audio="/a", duration_s=3.0, speaker=str(speaker))
        for n, speaker in enumerate(draw.integers(0, 5000, size=count).tolist())
    ]
    wrong = draw.random((count, 4)) < 0.15
    texts = [" ".join("x" if bad else "a" for bad in row) for row in wrong.tolist()]
    result = score(["a a a a"] * count, texts, normalizer="none")
    start = time.process_time()
    groups = slice_groups(result, utterances)["speaker"]
    assert time.process_time() - start < 6  # one call of bootstrap_interval per speaker takes longer
    assert len(groups) == len({u.speaker for u in utterances})
    assert all(group["wer"]["samples"] == 1000 for group in groups.values())


def test_wrong_input_is_refused(scored) -> None:
    result, utterances = scored(PAIRS)
    with pytest.raises(InputError, match=r"ratio of 'u1' is nan; use dB, or None"):
        slice_groups(result, utterances, snr_db={"u1": float("nan")})
    with pytest.raises(InputError, match="give both in the same order"):
        slice_groups(result, utterances[::-1])
    for name, value in {
        "duration_edges_s": (),
        "snr_edges_db": (5.0, 5.0),
        "tag_values": 0,
        "samples": 0,
        "confidence": 1.0,
    }.items():
        with pytest.raises(ValueError, match=rf"{name} is .*; use"):
            SliceConfig(**{name: value})
