"""What the model of the killed workers says."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def texts(onnx_model: Path, recordings: list[Path]) -> list[str]:
    """What the model says to each recording, without any server."""
    from harken.inference import load

    recognizer = load(onnx_model, engine="onnx")
    found = [recognizer.transcribe(path).text for path in recordings]
    assert all(found)
    assert len(set(found)) > 4
    return found
