import random
from typing import Any

import pytest

from harken.core import InputError
from harken.evaluation.errors.hallucinations import HallucinationConfig, find_hallucinations, hallucinations


def _kinds(scored: Any, reference: str, hypothesis: str, duration_s: float = 10.0, **config: Any) -> dict[str, tuple]:
    result, utterances = scored([(reference, hypothesis)], duration_s=[duration_s])
    found = find_hallucinations(result, utterances, HallucinationConfig(**config))
    return {one.kind: (one.detail, one.words) for one in found}


def test_a_run_of_insertions(scored) -> None:
    assert _kinds(scored, "turn it on", "turn it on thanks for watching this") == {
        "insertion-run": ("4 words inserted in a row: thanks for watching this", 4)
    }
    assert _kinds(scored, "turn it on", "turn it on thanks for watching") == {}
    long = " ".join(f"w{n}" for n in range(40))
    detail, words = _kinds(scored, "hello", f"hello {long}")["insertion-run"]
    assert words == 40
    assert detail.endswith("w11 ...")


def test_loops(scored) -> None:
    assert _kinds(scored, "я иду домой", "я иду домой домой домой", insertion_run=9) == {
        "repetition": ("'домой' 3 times in a row", 2)
    }
    assert _kinds(scored, "so i think", "i think i think i think i think so", insertion_run=9) == {
        "repetition": ("'i think' 4 times in a row", 6)
    }
    assert _kinds(scored, "a", "a a", insertion_run=9) == {}
    # Only the shortest form of a loop is one: six times "a" is neither three times "a a" nor twice "a a a".
    assert list(_kinds(scored, "a", "a a a a a a", insertion_run=9)) == ["repetition"]


def test_what_was_said_is_no_loop(scored) -> None:
    assert _kinds(scored, "no no no no", "no no no no") == {}
    assert _kinds(scored, "no no no", "no no no no") == {}  # one more than said
    assert "repetition" in _kinds(scored, "no no", "no no no no")
    # The reference may begin the loop with another of its words.
    assert _kinds(scored, "la di la di la", "di la di la di la") == {}


def test_loops_match_a_slow_search(scored) -> None:
    draw = random.Random(7)
    for _ in range(600):
        words = [draw.choice("ab" if draw.random() < 0.5 else "abc") for _ in range(draw.randrange(14))]
        expected = any(
            words[start : start + size] * 3 == words[start : start + 3 * size]
            for size in range(1, 6)
            for start in range(len(words) - 3 * size + 1)
        )
        assert ("repetition" in _kinds(scored, "x", " ".join(words))) == expected, words


def test_words_where_there_are_none(scored) -> None:
    assert _kinds(scored, "", "thank you") == {"on-empty": ("2 words where the reference has none: thank you", 2)}
    assert _kinds(scored, "", "") == {}


def test_more_letters_than_can_be_said(scored) -> None:
    text = " ".join(["abcdefghij"] * 5)  # 50 letters
    assert list(_kinds(scored, "abcdefghij", text, duration_s=1.0, repeats=9, insertion_run=9)) == ["speaking-rate"]
    assert _kinds(scored, "abcdefghij", text, duration_s=2.0, repeats=9, insertion_run=9) == {}
    # Where the reference is as long, the audio was cut wrongly, and nothing was made up.
    assert _kinds(scored, text, text, duration_s=1.0) == {}


def test_summary_counts_utterances_and_lists_the_longest(scored) -> None:
    result, utterances = scored([("", "a b"), ("x", "x y y y y y"), ("", "c"), ("ok", "ok")])
    found = hallucinations(result, utterances, HallucinationConfig(listed=2))
    assert {key: found[key] for key in ("insertion_runs", "repetitions", "on_empty", "speaking_rate")} == {
        "insertion_runs": 1,
        "repetitions": 1,
        "on_empty": 2,
        "speaking_rate": 0,
    }
    assert [(one["id"], one["kind"], one["words"]) for one in found["utterances"]] == [
        ("u1", "insertion-run", 5),
        ("u1", "repetition", 4),
    ]


def test_each_kind_once_for_an_utterance(scored) -> None:
    result, utterances = scored([("x z", "a b c d x e f g h i z")])
    [found] = find_hallucinations(result, utterances)
    assert (found.kind, found.words) == ("insertion-run", 5)


def test_empty_sets_and_wrong_settings(scored) -> None:
    result, utterances = scored([])
    assert hallucinations(result, utterances)["utterances"] == []
    with pytest.raises(InputError, match="2 utterances and 0 scored"):
        hallucinations(result, scored([("a", "a"), ("b", "b")])[1])
    for name, value in {
        "insertion_run": 0,
        "repeats": 1,
        "longest_loop": 0,
        "listed": -1,
        "characters_per_s": 0.0,
        "rate_ratio": 0.5,
    }.items():
        with pytest.raises(ValueError, match=f"{name} is {value}; use"):
            HallucinationConfig(**{name: value})


def test_what_was_said_in_other_words_is_no_loop(scored) -> None:
    assert _kinds(scored, "call five five five one", "call 5 5 5 one") == {}
    assert _kinds(scored, "哈哈哈", "呵呵呵") == {}
    assert _kinds(scored, "na na hey hey na na hey hey na na", "la la hey hey la la hey hey la la") == {}
    # Elsewhere in the sentence it is no excuse, and neither is less of it.
    assert "repetition" in _kinds(scored, "no no no i do not know", "no no no you you you you")
    assert "repetition" in _kinds(scored, "five five", "5 5 5 5")
