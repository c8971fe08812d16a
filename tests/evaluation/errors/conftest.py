"""Scored test sets from pairs of texts."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from harken.core import Utterance
from harken.evaluation.scoring.metrics import Score, score


def _scored(
    pairs: Sequence[tuple[str, str]], normalizer: str = "none", **columns: Sequence[Any]
) -> tuple[Score, list[Utterance]]:
    """The score of (reference, hypothesis) pairs, and utterances u0, u1, ... whose fields `columns` gives."""
    utterances = [
        Utterance(
            id=f"u{row}",
            audio=f"/audio/{row}.wav",
            text=reference,
            **{"duration_s": 10.0, **{name: values[row] for name, values in columns.items()}},
        )
        for row, (reference, _) in enumerate(pairs)
    ]
    hypotheses = {f"u{row}": hypothesis for row, (_, hypothesis) in enumerate(pairs)}
    return score({u.id: u.text or "" for u in utterances}, hypotheses, normalizer=normalizer), utterances


@pytest.fixture(scope="session")
def scored() -> Callable[..., tuple[Score, list[Utterance]]]:
    return _scored
