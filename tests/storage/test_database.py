"""The database: opening, transactions, and what happens when it is not there."""

import sqlite3
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import quote

import pytest
from sqlalchemy import delete, func, insert, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from tests.services import running_postgres

from harken.core import InputError, MissingPart
from harken.storage.database import Database
from harken.storage.tables import HEAD, api_keys

KEY = {"id": "a", "name": "n", "secret_hash": "h", "scopes": ["transcribe"], "created_s": 1.5}


def count_keys(database: Database) -> int:
    with database.read() as connection:
        return connection.execute(select(func.count()).select_from(api_keys)).scalar_one()


def test_a_write_stays_and_is_read_back(database: Database) -> None:
    with database.write() as connection:
        connection.execute(insert(api_keys).values(KEY))
    with database.read() as connection:
        row = connection.execute(select(api_keys)).one()
    assert (row.id, row.scopes, row.created_s, row.revoked_s) == ("a", ["transcribe"], 1.5, None)


def test_a_block_that_raises_writes_nothing(database: Database) -> None:
    def write_and_break() -> None:
        with database.write() as connection:
            connection.execute(insert(api_keys).values(KEY))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_and_break()
    assert count_keys(database) == 0


def test_a_reading_transaction_cannot_write(database: Database) -> None:
    with pytest.raises((MissingPart, DBAPIError), match=r"readonly|read-only"), database.read() as connection:
        connection.execute(insert(api_keys).values(KEY))
    with database.write() as connection:  # and the same connection writes again
        connection.execute(insert(api_keys).values(KEY))
    assert count_keys(database) == 1


def test_a_broken_constraint_is_left_to_the_caller(database: Database) -> None:
    with database.write() as connection:
        connection.execute(insert(api_keys).values(KEY))
    with pytest.raises(IntegrityError) as broken, database.write() as connection:
        connection.execute(insert(api_keys).values(KEY))
    assert "transcribe" not in str(broken.value)  # values do not reach logs


def test_threads_write_without_losing_one(database: Database) -> None:
    failures: list[BaseException] = []

    def write(thread: int) -> None:
        try:
            for number in range(20):
                with database.write() as connection:
                    connection.execute(insert(api_keys).values({**KEY, "id": f"{thread}-{number}"}))
        except BaseException as err:  # noqa: BLE001 - shown below
            failures.append(err)

    threads = [threading.Thread(target=write, args=(thread,)) for thread in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert count_keys(database) == 160


def test_foreign_keys_hold(database: Database) -> None:
    with pytest.raises(IntegrityError), database.write() as connection:
        connection.execute(
            text(
                "INSERT INTO deliveries (id, job_id, url, body, state, attempts, created_s)"
                " VALUES ('d', 'no such job', 'u', 'b', 'waiting', 0, 0)"
            )
        )


def test_opening_again_keeps_what_is_there(database_url: str) -> None:
    first = Database.open(database_url)
    with first.write() as connection:
        connection.execute(insert(api_keys).values(KEY))
    first.close()
    second = Database.open(database_url, migrate=False)
    assert count_keys(second) == 1
    second.close()


def test_an_empty_database_is_refused_where_it_may_not_be_changed(database_url: str) -> None:
    with pytest.raises(InputError, match=f"has no tables, this Harken needs {HEAD}"):
        Database.open(database_url, migrate=False)


def test_a_database_of_a_newer_harken_is_refused_and_left_alone(database_url: str) -> None:
    database = Database.open(database_url)
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for migrate in (True, False):
        with pytest.raises(InputError, match=r"9999"):
            Database.open(database_url, migrate=migrate)
    with database.read() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == "9999"
    database.close()


def test_processes_that_open_a_new_database_at_once_all_succeed(database_url: str) -> None:
    code = (
        "import sys, time\nfrom harken.storage.database import Database\nimport harken.storage.migrations.run\n"
        "print('ready', flush=True)\nsys.stdin.readline()\n"
        "Database.open(sys.argv[1]).close()\nprint('opened')\n"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, database_url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in started:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    ends = [process.communicate(timeout=60) for process in started]
    assert [out for out, _ in ends] == ["opened\n"] * 4, ends
    database = Database.open(database_url, migrate=False)
    with database.read() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all() == [HEAD]
    database.close()


def test_a_new_file_belongs_to_its_user_only_and_uses_a_write_ahead_log(tmp_path: Path) -> None:
    path = tmp_path / "new folder %20" / "harken.db"
    database = Database.open(f"sqlite:///{quote(str(path))}")
    database.ping(5.0)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with database.read() as connection:
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        assert connection.execute(text("PRAGMA foreign_keys")).scalar() == 1
    database.close()


def test_a_locked_file_is_a_missing_part_after_a_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harken.storage.dialects.BUSY_S", 0.2)
    database = Database.open(f"sqlite:///{tmp_path}/harken.db")
    other = sqlite3.connect(tmp_path / "harken.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    with pytest.raises(MissingPart, match="locked by another program"), database.write():
        pass
    assert 0.15 < time.monotonic() - began < 2
    assert count_keys(database) == 0  # reading goes on
    other.execute("ROLLBACK")
    other.close()
    with database.write() as connection:
        connection.execute(delete(api_keys))
    database.close()


def test_a_file_that_is_no_database_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a database, but long enough to look at " * 30)
    with pytest.raises(InputError, match=r"notes\.txt is not a readable SQLite database"):
        Database.open(f"sqlite:///{tmp_path}/notes.txt")


def test_a_folder_that_cannot_be_made_is_a_missing_part(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MissingPart, match=r"cannot be opened"):
        Database.open(f"sqlite:///{tmp_path}/file/harken.db")


@pytest.mark.parametrize("url", ["mysql://u:hunter2@h/d", "sqlite://", "sqlite:///:memory:", "nonsense", "://:@"])
def test_urls_that_are_not_taken(url: str) -> None:
    with pytest.raises(InputError) as refused:
        Database.open(url)
    assert "hunter2" not in str(refused.value)
    assert "sqlite:////PATH/harken.db" in refused.value.hint


def test_nobody_at_the_address_is_a_missing_part_without_the_password() -> None:
    with pytest.raises(MissingPart, match=r"u:\*\*\*@127\.0\.0\.1:1/d cannot be used") as refused:
        Database.open("postgresql://u:hunter2@127.0.0.1:1/d")
    assert "hunter2" not in str(refused.value)


def test_an_option_that_postgres_does_not_know_is_an_input_error() -> None:
    with pytest.raises(InputError, match="not a usable address"):
        Database.open("postgresql://u:hunter2@127.0.0.1:1/d?colour=blue")


def test_without_the_driver_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingPart, match=r"harken\[postgres\]"):
        Database.open("postgresql://u@127.0.0.1:1/d")


@pytest.mark.service
def test_a_wrong_password_is_a_missing_part(postgres_url: str) -> None:
    with pytest.raises(MissingPart, match="password authentication failed") as refused:
        Database.open(postgres_url.replace(":secret@", ":hunter2@"))
    assert "hunter2" not in str(refused.value)


@pytest.mark.service
def test_a_statement_that_takes_too_long_is_ended(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harken.storage.dialects.STATEMENT_MS", 200)
    database = Database.open(postgres_url)
    with pytest.raises(MissingPart, match="took longer than"), database.read() as connection:
        connection.execute(text("SELECT pg_sleep(10)"))
    database.close()


@pytest.mark.service
def test_a_server_that_stops_is_reported_and_used_again_when_it_is_back() -> None:
    with running_postgres() as service:
        database = Database.open(service.url)
        database.ping(5.0)
        service.stop()
        began = time.monotonic()
        for _ in range(3):
            with pytest.raises(MissingPart, match=r"harken:\*\*\*@127"):
                database.ping(2.0)
        with pytest.raises(MissingPart, match="cannot be used"):
            count_keys(database)
        assert time.monotonic() - began < 5
        service.start()
        database.ping(5.0)
        assert count_keys(database) == 0
        database.close()
