"""Fixtures shared by every room's tests."""

import gc
import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest_plugins = ["tests.services"]

SLOW_S, OTHER_S = 15.0, 0.1  # what a test of each kind is taken to last
SHARED = Path(__file__).resolve().parents[2] / "shared"


def pytest_configure(config: pytest.Config) -> None:
    # pytest-xdist would hand out the files with many tests first, which leaves the longest tests for the end.
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With several workers the longest files come first, so that none of them works on alone at the end."""
    if not hasattr(config, "workerinput"):
        return
    expected_s: Counter[Path] = Counter()
    for item in items:
        expected_s[item.path] += SLOW_S if item.get_closest_marker("slow") else OTHER_S  # type: ignore[assignment]
    items.sort(key=lambda item: -expected_s[item.path])


def pytest_collection_finish() -> None:
    # Ten thousand modules and as many tests stay to the end: a collection of garbage need not visit them each time.
    gc.collect()
    gc.freeze()


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
