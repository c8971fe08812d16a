"""Generated pairs, and sclite's rules written out slowly."""

import random
from collections.abc import Callable

import pytest

Path = list[tuple[str, str | None, str | None]]


def _slow_alignment(reference: list[str], hypothesis: list[str], gap: int, substitution: int) -> Path:
    """Dynamic programming over an explicit graph: every node keeps its cost and the edge it was reached by."""
    nodes: dict[tuple[int, int], tuple[int, str]] = {(0, 0): (0, "")}
    for i in range(len(reference) + 1):
        for j in range(len(hypothesis) + 1):
            if i == 0 and j == 0:
                continue
            if i == 0:
                nodes[i, j] = (nodes[i, j - 1][0] + gap, "I")
            elif j == 0:
                nodes[i, j] = (nodes[i - 1, j][0] + gap, "D")
            else:
                equal = reference[i - 1] == hypothesis[j - 1]
                by_sub = nodes[i - 1, j - 1][0] + (0 if equal else substitution)
                by_del = nodes[i - 1, j][0] + gap
                by_ins = nodes[i, j - 1][0] + gap
                if by_sub <= by_del and by_sub <= by_ins:
                    nodes[i, j] = (by_sub, "C" if equal else "S")
                elif by_del < by_ins:
                    nodes[i, j] = (by_del, "D")
                else:
                    nodes[i, j] = (by_ins, "I")
    path: Path = []
    i, j = len(reference), len(hypothesis)
    while (i, j) != (0, 0):
        edge = nodes[i, j][1]
        i, j = i - (edge != "I"), j - (edge != "D")
        path.append((edge, reference[i] if edge != "I" else None, hypothesis[j] if edge != "D" else None))
    return path[::-1]


def _make_pairs(count: int, *, vocabulary: int, error_rate: float, longest: int, seed: int) -> list[tuple[str, str]]:
    """References of 0 to `longest` words and hypotheses with random errors, insertions at the edges among them."""
    draw = random.Random(f"{count} {vocabulary} {error_rate} {seed}")
    pairs = []
    for _ in range(count):
        reference = [f"w{draw.randrange(vocabulary)}" for _ in range(draw.randint(0, longest))]
        hypothesis = []
        for word in [*reference, None]:
            while draw.random() < error_rate / 4:
                hypothesis.append(f"w{draw.randrange(vocabulary)}")
            if word is None or draw.random() < error_rate / 4:
                continue
            hypothesis.append(f"w{draw.randrange(vocabulary)}" if draw.random() < error_rate / 2 else word)
        pairs.append((" ".join(reference), " ".join(hypothesis)))
    return pairs


@pytest.fixture(scope="session")
def slow_alignment() -> Callable[..., Path]:
    return _slow_alignment


@pytest.fixture(scope="session")
def make_pairs() -> Callable[..., list[tuple[str, str]]]:
    return _make_pairs
