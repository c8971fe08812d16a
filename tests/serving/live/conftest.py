"""A tiny Conformer that says something about noise, for streams."""

import pytest
from tests.inference.streaming.conftest import WORDS, Make, parts

from harken.inference.ctc_recognizer import CtcRecognizer

__all__ = ["parts", "pausing", "speaker"]


@pytest.fixture(scope="session")
def speaker(parts: Make) -> CtcRecognizer:
    return parts(WORDS).recognizer()


@pytest.fixture(scope="session")
def pausing(parts: Make) -> CtcRecognizer:
    """One that says nothing in digital silence, so that its streams have endpoints."""
    return parts(WORDS, chunked=False, seed=1).recognizer()
