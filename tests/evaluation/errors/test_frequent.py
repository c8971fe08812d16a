from collections import Counter

import pytest

from harken.core import InputError
from harken.evaluation.errors.frequent import frequent_errors


def test_errors_with_their_places(scored) -> None:
    result, _ = scored(
        [
            ("we saw their old house", "we saw there old house"),
            ("their car", "there car"),
            ("it was his", "it was"),
            ("hello", "oh hello you"),
        ]
    )
    assert frequent_errors(result) == [
        {
            "kind": "S",
            "reference": "their",
            "hypothesis": "there",
            "count": 2,
            "contexts": [
                {"id": "u0", "before": "we saw", "after": "old house"},
                {"id": "u1", "before": "", "after": "car"},
            ],
        },
        {
            "kind": "D",
            "reference": "his",
            "hypothesis": None,
            "count": 1,
            "contexts": [{"id": "u2", "before": "it was", "after": ""}],
        },
        {
            "kind": "I",
            "reference": None,
            "hypothesis": "oh",
            "count": 1,
            "contexts": [{"id": "u3", "before": "", "after": "hello"}],
        },
        {
            "kind": "I",
            "reference": None,
            "hypothesis": "you",
            "count": 1,
            "contexts": [{"id": "u3", "before": "hello", "after": ""}],
        },
    ]


def test_counts_match_a_loop_over_operations(scored, make_pairs) -> None:
    pairs = make_pairs(300, vocabulary=30, error_rate=0.4, longest=12, seed=3)
    result, _ = scored(pairs)
    counted = Counter(
        (step.kind, step.reference, step.hypothesis)
        for row in range(result.utterances)
        for step in result.alignments.operations(row)
        if step.kind != "C"
    )
    found = frequent_errors(result, most=10**6)
    assert {(e["kind"], e["reference"], e["hypothesis"]): e["count"] for e in found} == counted
    shorter = frequent_errors(result, most=7)
    for kind in "SDI":
        expected = sorted(
            (-count, reference or "", hypothesis or "")
            for (name, reference, hypothesis), count in counted.items()
            if name == kind
        )[:7]
        assert [
            (-e["count"], e["reference"] or "", e["hypothesis"] or "") for e in shorter if e["kind"] == kind
        ] == expected


def test_every_context_holds_its_error(scored, make_pairs) -> None:
    pairs = make_pairs(200, vocabulary=20, error_rate=0.3, longest=9, seed=4)
    result, _ = scored(pairs)
    for error in frequent_errors(result, contexts=4):
        ids = [context["id"] for context in error["contexts"]]
        assert len(set(ids)) == len(ids) <= 4
        for context in error["contexts"]:
            reference = f" {pairs[int(context['id'][1:])][0]} "
            span = " ".join(filter(None, [context["before"], error["reference"], context["after"]]))
            assert f" {span} " in reference or span == ""


def test_order_does_not_depend_on_the_order_of_utterances(scored, make_pairs) -> None:
    pairs = make_pairs(100, vocabulary=9, error_rate=0.5, longest=9, seed=5)
    one, other = (frequent_errors(scored(order)[0], contexts=0) for order in (pairs, pairs[::-1]))
    assert one == other


def test_nothing_to_list(scored) -> None:
    assert frequent_errors(scored([])[0]) == []
    assert frequent_errors(scored([("नमस्ते दुनिया", "नमस्ते दुनिया")])[0]) == []
    assert frequent_errors(scored([("a", "b")])[0], most=0) == []
    [error] = frequent_errors(scored([("a", "b")])[0], contexts=0)
    assert error["contexts"] == []
    for name in ("most", "contexts"):
        with pytest.raises(InputError, match=f"{name} is -1; use 0 or more"):
            frequent_errors(scored([("a", "b")])[0], **{name: -1})
