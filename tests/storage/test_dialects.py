"""What only one kind of database needs."""

import sqlite3
from typing import Any, cast

import pytest

from harken.storage.dialects import _use_wal


class Contested:
    """A connection to a file whose journal another process changes at the same moment, for the first few tries.

    Six processes that open a new file at once meet this in one of twenty cases, which is too seldom for a test.
    """

    def __init__(self, tries: int, code: int) -> None:
        self.tries = tries
        self.code = code
        self.asked = 0

    def execute(self, statement: str) -> None:
        assert statement == "PRAGMA journal_mode = WAL"
        self.asked += 1
        if self.asked <= self.tries:
            error = sqlite3.OperationalError("database is locked")
            error.sqlite_errorcode = self.code
            raise error


def use_wal(connection: Contested) -> None:
    _use_wal(cast(Any, connection))


def test_a_journal_that_another_changes_is_tried_again() -> None:
    connection = Contested(3, sqlite3.SQLITE_BUSY)
    use_wal(connection)
    assert connection.asked == 4


def test_it_is_not_tried_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harken.storage.dialects.BUSY_S", 0.05)
    with pytest.raises(sqlite3.OperationalError):
        use_wal(Contested(10_000, sqlite3.SQLITE_BUSY))


def test_another_failure_is_not_tried_again() -> None:
    connection = Contested(1, sqlite3.SQLITE_IOERR)
    with pytest.raises(sqlite3.OperationalError):
        use_wal(connection)
    assert connection.asked == 1
