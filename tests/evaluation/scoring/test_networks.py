"""Alternations against all readings written out, and against sclite's rules on an explicit graph."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from harken.core import InputError
from harken.evaluation.scoring import networks
from harken.evaluation.scoring.lattice import COSTS
from harken.evaluation.scoring.metrics import score
from harken.evaluation.scoring.networks import NOTHING, Network, align_network, connect, parse_alternations

Step = tuple[str, int | None, int | None]

# References, hypotheses, and what sclite (SCTK 2.4.12) makes of them: its operations, and the reading it takes.
BY_SCLITE = [
    ("i { uh / @ } think { it's / it is } so", "i think it is so", "CCCCC", "i think it is so"),
    ("i { uh / @ } think", "i um think", "CIC", "i think"),
    ("{ a / b c / @ }", "", "", ""),
    ("{ a b / @ / c }", "c d", "CI", "c"),
    ("x { a / b } y", "x c y", "CSC", "x a y"),
    ("go { to the / ta } { store / shop / @ } now", "go ta shop now now", "CCCIC", "go ta shop now"),
    ("{ one { two / @ } / three } four", "one four", "CC", "one four"),
    ("{ one { two / @ } / three } four", "two four", "DCC", "one two four"),
    ("{ a / b } { a / b } { a / b }", "b a", "CDC", "b a a"),
    ("@ yes @", "yes", "C", "yes"),
    ("and/or { x/y }", "and/or y", "CC", "and/or y"),
    ("{gonna/going to}leave", "going to leave", "CCC", "going to leave"),
]


@pytest.mark.parametrize(("reference", "hypothesis", "kinds", "reading"), BY_SCLITE)
def test_as_sclite_does(reference: str, hypothesis: str, kinds: str, reading: str) -> None:
    result = score({"u": reference}, {"u": hypothesis}, normalizer="none", alternations=True)
    operations = result.alignments.operations(0)
    assert "".join(operation.kind for operation in operations) == kinds
    assert [operation.reference for operation in operations if operation.reference is not None] == reading.split()
    assert result.words == len(reading.split())


def _make(draw: random.Random, vocabulary: int, depth: int = 0) -> str:
    words = []
    for _ in range(draw.randint(1, 6 if depth == 0 else 2)):
        if depth < 2 and draw.random() < 0.3:
            readings = ["@" if draw.random() < 0.3 else _make(draw, vocabulary, depth + 1) for _ in range(2)]
            words.append("{ " + " / ".join(readings) + " }")
        else:
            words.append(str(draw.randrange(vocabulary)))
    return " ".join(words)


def _network(text: str) -> Network:
    parsed = parse_alternations(text, "u")
    return connect(parsed, [[int(word) for word in piece.text.split()] for piece in parsed.pieces])


def _readings(network: Network) -> list[list[int]]:
    """Ids on every path from the beginning to an end, NOTHING included."""

    def to(node: int) -> list[list[int]]:
        if node == 0:
            return [[]]
        return [[*path, network.ids[node - 1]] for before in network.after[node - 1] for path in to(before)]

    return [path for node in network.last for path in to(node)]


def _slow(network: Network, hypothesis: list[int], gap: int, substitution: int) -> list[Step]:
    """sclite's rules, cell by cell; costs are (errors' cost, empty readings)."""
    ids, after = (NOTHING, *network.ids), ((), *network.after)
    cost: dict[tuple[int, int], tuple[int, int]] = {(0, 0): (0, 0)}
    edge: dict[tuple[int, int], tuple[int, int, str]] = {}
    for node in range(len(ids)):
        for j in range(len(hypothesis) + 1):
            if node == j == 0:
                continue
            ways: list[tuple[tuple[int, int], tuple[int, int, str]]] = []  # diagonal, insertion, deletion: first wins
            empty = node > 0 and ids[node] == NOTHING
            if node > 0 and j > 0 and not empty:
                before = min(after[node], key=lambda other: cost[other, j - 1])
                same = ids[node] == hypothesis[j - 1]
                base, nothings = cost[before, j - 1]
                ways.append(((base + (0 if same else substitution), nothings), (before, j - 1, "C" if same else "S")))
            if j > 0:
                base, nothings = cost[node, j - 1]
                ways.append(((base + gap, nothings), (node, j - 1, "I")))
            if node > 0:
                before = min(after[node], key=lambda other: cost[other, j])
                base, nothings = cost[before, j]
                ways.append(((base + (0 if empty else gap), nothings + empty), (before, j, "" if empty else "D")))
            cost[node, j], edge[node, j] = min(ways, key=lambda way: way[0])
    steps: list[Step] = []
    node, j = min(network.last, key=lambda last: cost[last, len(hypothesis)]), len(hypothesis)
    while (node, j) != (0, 0):
        before, column, kind = edge[node, j]
        if kind:
            steps.append((kind, ids[node] if kind != "I" else None, hypothesis[j - 1] if kind != "D" else None))
        node, j = before, column
    return steps[::-1]


@pytest.mark.parametrize("alignment", ["sclite", "levenshtein"])
@pytest.mark.parametrize("vocabulary", [2, 6, 50])
def test_the_best_of_all_readings_with_sclites_path(
    vocabulary: int, alignment: str, slow_alignment: Callable[..., Any]
) -> None:
    draw = random.Random(f"{vocabulary} {alignment}")
    costs = COSTS[alignment]
    weights = {"C": 0, "S": costs.substitution, "D": costs.gap, "I": costs.gap}
    checked = 0
    while checked < 250:
        network = _network(_make(draw, vocabulary))
        readings = _readings(network)
        if len(readings) > 60:
            continue
        checked += 1
        kept = [word for word in draw.choice(readings) if word != NOTHING and draw.random() > 0.2]
        hypothesis = [draw.randrange(vocabulary) if draw.random() < 0.3 else word for word in kept]
        words, codes = align_network(network, np.array(hypothesis, dtype=np.int32), costs)
        steps = _slow(network, hypothesis, costs.gap, costs.substitution)
        assert [chr(code) for code in codes] == [kind for kind, _, _ in steps]
        assert words == [word for _, word, _ in steps if word is not None]
        alone = {}
        for reading in readings:
            spoken = [str(word) for word in reading if word != NOTHING]
            path = slow_alignment(spoken, [str(word) for word in hypothesis], costs.gap, costs.substitution)
            alone[tuple(spoken)] = sum(weights[kind] for kind, _, _ in path)
        assert sum(weights[chr(code)] for code in codes) == min(alone.values()) == alone[tuple(map(str, words))]


def test_many_empty_readings_weigh_less_than_one_error() -> None:
    network = _network(" ".join(["{ @ / 1 }"] * 1200))
    words, codes = align_network(network, np.zeros(0, dtype=np.int32), COSTS["sclite"])
    assert (words, len(codes)) == ([], 0)


def test_deep_braces() -> None:
    depth = 3000
    network = _network("{ 1 / " * depth + "2" + " }" * depth)
    words, _ = align_network(network, np.array([2], dtype=np.int32), COSTS["sclite"])
    assert words == [2]


@pytest.mark.parametrize(
    ("reference", "what"),
    [
        ("a { b / c", "leaves a brace open"),
        ("a b / c }", "closes a brace"),
        ("a { b / }", "without words"),
        ("a { / b }", "without words"),
        ("{ }", "without words"),
        ("} {", "closes a brace"),
    ],
)
def test_bad_braces_name_the_utterance(reference: str, what: str) -> None:
    with pytest.raises(InputError, match=f"'utt-7' .*{what}"):
        score({"utt-7": reference}, {"utt-7": "a"}, alternations=True)


def test_readings_are_normalised_and_those_that_vanish_are_empty() -> None:
    result = score({"u": "Well, { OK / O.K. / ... } Go-go!"}, {"u": "well go go"}, alternations=True)
    assert (result.wer, result.words) == (0, 3)


def test_readings_in_scripts_without_spaces() -> None:
    result = score({"u": "今天{天气/天}好"}, {"u": "今天天好"}, alternations=True)
    assert (result.wer, result.words) == (0, 4)


def test_braces_are_text_unless_asked_for() -> None:
    result = score({"u": "{ a / b }"}, {"u": "{ a / b }"}, normalizer="none")
    assert (result.words, result.wer) == (5, 0)


def test_a_network_too_large_for_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "LARGEST_NETWORK_CELLS", 10)
    with pytest.raises(InputError, match="too long to align"):
        score({"u": "{ a / b } c d"}, {"u": "a c d"}, alternations=True)
