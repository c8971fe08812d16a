"""Fixtures shared by every room's tests."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest_plugins = ["tests.services"]

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared_fsdd() -> Path:
    """The Free Spoken Digit Dataset beside the project; skipped, with the reason, where it is absent."""
    folder = SHARED / "data" / "fsdd"
    if not (folder / "recordings").is_dir():
        pytest.skip("needs real speech in ../shared/data/fsdd")
    return folder


@pytest.fixture(autouse=True)
def loggers_as_they_were() -> Iterator[None]:
    """What a test makes of the loggers of Harken and its server, as a command does that serves, ends with it."""
    loggers = [logging.getLogger(name) for name in ("harken", "uvicorn.error")]
    before = [(item.propagate, item.level, list(item.handlers), list(item.filters)) for item in loggers]
    yield
    for item, (propagate, level, handlers, filters) in zip(loggers, before, strict=True):
        item.propagate, item.handlers, item.filters = propagate, handlers, filters
        item.setLevel(level)
