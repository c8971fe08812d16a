import numpy as np
import numpy.typing as npt
import pytest

from harken.data import near_duplicates
from harken.data.near_duplicates import TOLERANCE_S, find_near_duplicates

Prints = list[npt.NDArray[np.float16]]


@pytest.fixture
def prints() -> Prints:
    """300 random directions, of which some are repeated with a little noise: 7 is also 8 and 250, 20 is also 10."""
    generator = np.random.default_rng(0)
    rows = generator.standard_normal((300, 384))
    for copy, original in ((8, 7), (250, 7), (20, 10)):
        rows[copy] = rows[original] + 0.03 * generator.standard_normal(384)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return list(rows.astype(np.float16))


def test_the_first_of_several_is_named(prints: Prints) -> None:
    found = find_near_duplicates(prints, [1.0] * 300, similarity=0.995)
    assert [(one, other) for one, other, _ in found] == [(7, 8), (10, 20), (7, 250)]
    assert all(0.995 <= similarity <= 1.01 for _, _, similarity in found)


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (7, 13), (300, 300)])
def test_blocks_do_not_matter(prints: Prints, monkeypatch: pytest.MonkeyPatch, rows: int, columns: int) -> None:
    durations = np.random.default_rng(1).uniform(1, 1.3, 300)
    durations[[7, 8, 250, 10, 20]] = 1.1, 1.12, 1.06, 1.0, 1.2
    whole = find_near_duplicates(prints, durations.tolist(), similarity=0.995)
    assert [(one, other) for one, other, _ in whole] == [(7, 8), (7, 250)]  # 10 and 20 differ in length
    monkeypatch.setattr(near_duplicates, "_ROWS", rows)
    monkeypatch.setattr(near_duplicates, "_COLUMNS", columns)
    assert [pair[:2] for pair in find_near_duplicates(prints, durations.tolist(), similarity=0.995)] == [
        (7, 8),
        (7, 250),
    ]


def test_every_pair_against_a_plain_loop() -> None:
    generator = np.random.default_rng(3)
    rows = generator.standard_normal((60, 384)) + 3 * generator.standard_normal(384)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    durations = generator.uniform(1, 1.5, 60).tolist()
    prints = list(rows.astype(np.float16))
    expected = {}
    for other in range(60):
        for one in range(other):
            alike = float(prints[one].astype(np.float32) @ prints[other].astype(np.float32))
            if abs(durations[one] - durations[other]) <= TOLERANCE_S and alike >= 0.9 and other not in expected:
                expected[other] = one
    found = {other: one for one, other, _ in find_near_duplicates(prints, durations, similarity=0.9)}
    assert found == expected
    assert len(found) > 10


def test_none_and_one() -> None:
    assert find_near_duplicates([], [], similarity=0.9) == []
    assert find_near_duplicates([np.ones(384, np.float16)], [1.0], similarity=0.9) == []
