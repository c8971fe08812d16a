from collections import Counter

import pytest

from harken.core import InputError
from harken.evaluation.errors.vocabulary import BANDS, vocabulary_accuracy


def test_bands_and_worst_words(scored) -> None:
    result, _ = scored([("да да да нет", "да да но нет"), ("кот спит", "код спит"), ("нет нет кит", "нет но кит")])
    found = vocabulary_accuracy(result)
    assert found["known"] is None
    assert found["types"] == 5
    assert [(b["name"], b["types"], b["words"], b["correct"], b["accuracy"]) for b in found["bands"]] == [
        ("1", 3, 3, 2, 2 / 3),
        ("2 to 9", 2, 6, 4, 4 / 6),
        ("10 to 99", 0, 0, 0, None),
        ("100 to 999", 0, 0, 0, None),
        ("1000 or more", 0, 0, 0, None),
    ]
    assert found["worst"] == [
        {"word": "да", "count": 3, "correct": 2, "accuracy": 2 / 3},
        {"word": "нет", "count": 3, "correct": 2, "accuracy": 2 / 3},
    ]


def test_by_training_frequency(scored) -> None:
    result, _ = scored([("new common rare common", "knew common rare come on")])
    known = vocabulary_accuracy(result, known={"common": 1000, "rare": 2, "other": 5})["known"]
    assert (known["types"], known["unseen_types"], known["unseen_words"]) == (3, 1, 1)
    filled = {b["name"]: (b["lowest"], b["highest"], b["words"], b["correct"]) for b in known["bands"] if b["words"]}
    assert filled == {"unseen": (0, 0, 1, 0), "2 to 9": (2, 9, 1, 1), "1000 or more": (1000, None, 2, 1)}


def test_bands_add_up_and_match_a_loop(scored, make_pairs) -> None:
    result, _ = scored(make_pairs(400, vocabulary=150, error_rate=0.3, longest=15, seed=6))
    occurring, correct = Counter(), Counter()
    for row in range(result.utterances):
        for step in result.alignments.operations(row):
            if step.reference is not None:
                occurring[step.reference] += 1
                correct[step.reference] += step.kind == "C"
    training = {f"w{n}": n**2 for n in range(0, 150, 2)}
    found = vocabulary_accuracy(result, known=training, most=10**6)
    for bands, frequency in ((found["bands"], occurring), (found["known"]["bands"], training)):
        assert sum(band["words"] for band in bands) == result.words
        assert sum(band["correct"] for band in bands) == result.correct
        for band in bands:
            inside = [
                word
                for word in occurring
                if band["lowest"] <= frequency.get(word, 0) <= (band["highest"] or (10**9 if band["lowest"] else 0))
            ]
            assert (band["types"], band["words"]) == (len(inside), sum(occurring[word] for word in inside))
            assert band["correct"] == sum(correct[word] for word in inside)
    expected = sorted(
        (correct[word] / count, -count, word)
        for word, count in occurring.items()
        if count >= 3 and correct[word] < count
    )
    assert [(w["accuracy"], -w["count"], w["word"]) for w in found["worst"]] == expected


def test_empty_sets_and_bad_counts(scored) -> None:
    result, _ = scored([])
    found = vocabulary_accuracy(result, known={})
    assert (found["types"], found["worst"], len(found["bands"])) == (0, [], len(BANDS))
    assert all(band["accuracy"] is None for band in found["known"]["bands"])
    for count in (-1, 1.5):
        with pytest.raises(InputError, match=r"training count of 'a' is .*; use a whole number"):
            vocabulary_accuracy(result, known={"a": count})
