"""Fixtures of the tests of `harken.storage`."""

from collections.abc import Iterator

import pytest

from harken.storage.database import Database


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A new database with its tables, on SQLite and on PostgreSQL in turn."""
    opened = Database.open(database_url)
    yield opened
    opened.close()


class Clock:
    """A clock that stands still until it is told to move."""

    def __init__(self) -> None:
        self.now_s = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()
