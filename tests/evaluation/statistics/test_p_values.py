"""How p-values are written."""

import pytest

from harken.evaluation.statistics.p_values import p_text, p_value_text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "none"), (1.0, "1"), (0.0234, "0.023"), (0.00011, "0.00011"), (0.0001, "< 0.0001"), (0.0, "< 0.0001")],
)
def test_small_values_are_not_told_apart(value: float | None, text: str) -> None:
    assert p_value_text(value) == text


def test_as_part_of_a_sentence() -> None:
    assert (p_text(0.5), p_text(1e-9), p_text(None)) == ("p = 0.5", "p < 0.0001", "p = none")
