"""What differs between SQLite and PostgreSQL: the only place that asks which one it is."""

import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Protocol

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError, ProgrammingError

from harken.core import HarkenError, InputError, MissingPart
from harken.storage.settings import DATABASE_SCHEMES, masked

BUSY_S = 5.0  # how long a write waits for another's
CONNECT_S = 5
STATEMENT_MS = 30_000
ANSWER_S = 35.0  # a server that could still say that a statement took too long has said so by then
POOL_WAIT_S = 5.0

_MIGRATION_LOCK = 0x6861726B656E  # "harken"; an advisory lock is a number that all agree on


class Dialect(Protocol):
    """One kind of database."""

    read_options: ClassVar[dict[str, Any]]

    def engine(self) -> Engine:
        """A pool of connections, none opened yet. Raises MissingPart or InputError."""
        ...

    def lock_migrations(self, connection: Connection) -> None:
        """Wait until no other process changes tables; held to the end of the transaction."""
        ...

    def explain(self, err: DBAPIError, shown: str) -> HarkenError | None:
        """What a user can do something about, in words; None for a broken constraint or a mistake in our SQL."""
        ...


def find_dialect(address: str) -> Dialect:
    """The dialect of an SQLAlchemy URL. Raises InputError for one that is not taken."""
    try:
        url = make_url(address)
    except (ArgumentError, ValueError) as err:
        raise _refused(address) from err
    if url.drivername not in DATABASE_SCHEMES:
        raise _refused(address)
    return Sqlite(url) if url.drivername == "sqlite" else Postgres(url)


class Sqlite:
    """A file in WAL mode: readers never wait, writers take turns."""

    read_options: ClassVar[dict[str, Any]] = {"harken_reads": True}

    def __init__(self, url: URL) -> None:
        if url.database in (None, "", ":memory:") or "mode" in url.query or "uri" in url.query:
            raise InputError(
                f"{masked(url.render_as_string())} is a database in memory, which each connection has for itself.",
                hint="Name a file: sqlite:////PATH/harken.db.",
            )
        self._url = url
        self._path = Path(str(url.database))

    def engine(self) -> Engine:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))  # it holds the hashes of keys
        except OSError as err:
            raise MissingPart(
                f"The database {self._path} cannot be opened: {err.strerror}.",
                hint="Name a file in a folder that this user may write to, or set HARKEN_HOME to such a folder.",
            ) from err
        engine = create_engine(
            self._url, hide_parameters=True, pool_timeout=POOL_WAIT_S, connect_args={"timeout": BUSY_S}
        )
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine

    def lock_migrations(self, connection: Connection) -> None:
        """Nothing to do: a write transaction is the only one already."""

    def explain(self, err: DBAPIError, shown: str) -> HarkenError | None:
        code = getattr(err.orig, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return MissingPart(
                f"The database {shown} is locked by another program for more than {BUSY_S:g} s.",
                hint="End the program that holds it, or try again.",
            )
        if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            return InputError(
                f"{shown} is not a readable SQLite database: {err.orig}.", hint="Name another file, or restore a copy."
            )
        return _unusable(err, shown)


class Postgres:
    """A PostgreSQL server, by psycopg."""

    read_options: ClassVar[dict[str, Any]] = {"postgresql_readonly": True}

    def __init__(self, url: URL) -> None:
        self._url = url.set(drivername="postgresql+psycopg")

    def engine(self) -> Engine:
        arguments: dict[str, Any] = {
            "connect_timeout": CONNECT_S,
            # A network that swallows packets must not hold a thread for ever, nor may a connection nobody speaks on.
            "tcp_user_timeout": STATEMENT_MS,
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "application_name": "harken",
            "options": f"-c statement_timeout={STATEMENT_MS} -c idle_in_transaction_session_timeout={STATEMENT_MS}",
        }
        try:
            engine = create_engine(
                self._url,
                hide_parameters=True,
                pool_pre_ping=True,
                pool_timeout=POOL_WAIT_S,
                pool_recycle=1800,
                connect_args={name: value for name, value in arguments.items() if name not in self._url.query},
            )
            event.listen(engine, "do_connect", _patient_connection())
        except ImportError as err:
            raise MissingPart(
                "PostgreSQL needs the package psycopg.", hint="Install it with: pip install 'harken[postgres]'."
            ) from err
        return engine

    def lock_migrations(self, connection: Connection) -> None:
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK})

    def explain(self, err: DBAPIError, shown: str) -> HarkenError | None:
        state = getattr(err.orig, "sqlstate", None) or ""
        if state in ("57014", "55P03"):  # query_canceled, lock_not_available
            return MissingPart(
                f"The database {shown} took longer than {STATEMENT_MS // 1000} s to answer.",
                hint="Look for a program that holds its locks, or give it more room.",
            )
        if isinstance(err, ProgrammingError) and not state:  # refused by psycopg, before any server saw it
            return InputError(f"{shown} is not a usable address: {_first_line(err)}.", hint="Check what follows the ?.")
        return _unusable(err, shown)


def _patient_connection() -> Callable[..., Any]:
    """How SQLAlchemy connects to PostgreSQL: to connections that give up after ANSWER_S.

    All of libpq's own bounds are of the network or of the server. One that is stopped, or waits for its disk, still
    takes what it is sent, and would be waited for without end.
    """
    import psycopg
    from psycopg import abc, errors

    class Connection(psycopg.Connection[Any]):
        def wait(self, gen: "abc.PQGen[abc.RV]", interval: float = 0.1, timeout: float | None = None) -> "abc.RV":
            try:
                return super().wait(gen, interval, ANSWER_S if timeout is None else timeout)
            except errors._WaitTimeout as err:
                if timeout is not None:
                    raise
                self.pgconn.finish()  # nobody knows what its next answer would belong to
                raise psycopg.OperationalError(f"no answer within {ANSWER_S:g} s") from err

    def connect(_dialect: object, _record: object, arguments: list[Any], named: dict[str, Any]) -> Any:
        return Connection.connect(*arguments, **named)

    return connect


def _set_up_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # BEGIN is ours, see _begin_sqlite
    _use_wal(connection)
    connection.execute("PRAGMA synchronous = NORMAL")  # whole after a crash; a power cut may take the last commits
    connection.execute("PRAGMA foreign_keys = ON")


def _use_wal(connection: sqlite3.Connection) -> None:
    """The first to open a file changes its journal, for which SQLite fails at once where another does the same."""
    deadline = time.monotonic() + BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as err:
            if err.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        time.sleep(0.01)


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that reads first and writes later may find that another wrote in between, and then fails without
    # waiting; one that says at once that it will write waits for its turn.
    reads = connection.get_execution_options().get("harken_reads", False)
    connection.exec_driver_sql(f"PRAGMA query_only = {int(reads)}")
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


def _unusable(err: DBAPIError, shown: str) -> MissingPart | None:
    if not isinstance(err, (OperationalError, InterfaceError)):
        return None
    return MissingPart(
        f"The database {shown} cannot be used: {_first_line(err)}.",
        hint="Check that it runs, its address and its password, and that its disk has room.",
    )


def _first_line(err: DBAPIError) -> str:
    lines = str(err.orig).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(err.orig).__name__


def _refused(address: str) -> InputError:
    return InputError(
        f"{masked(address)} is not a database that is known.",
        hint="Use sqlite:////PATH/harken.db or postgresql+psycopg://USER@HOST/NAME.",
    )
