"""The database: opened by URL, brought up to date, and used in short transactions."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from harken.core import InputError, MissingPart
from harken.storage.calls import Calls
from harken.storage.deadline import Probe
from harken.storage.dialects import POOL_WAIT_S, Dialect, find_dialect
from harken.storage.settings import masked
from harken.storage.tables import HEAD

_THREADS = 6  # fewer than the connections of a pool, of which keys and probes need some
_WAITING = 64


class Database:
    """SQLite or PostgreSQL, one code path. Safe to use from many threads.

    Everything here blocks: an event loop calls it through `calls`.
    """

    def __init__(self, engine: Engine, dialect: Dialect, *, shown: str) -> None:
        self.shown = shown  # the URL without its password
        self._engine = engine
        self._reads = engine.execution_options(**dialect.read_options)
        self._dialect = dialect
        self._probe = Probe(f"The database {shown}", self._ask)
        self.calls = Calls(f"The database {shown}", threads=_THREADS, waiting=_WAITING)

    @classmethod
    def open(cls, url: str, *, migrate: bool = True) -> "Database":
        """The database at an SQLAlchemy URL, with the tables this code needs.

        A new or older database is brought up to date when `migrate`, else refused. Several processes may do so at
        once. Raises InputError for a URL that is not taken and for a database of a newer Harken; MissingPart for one
        that does not answer, that lets us not in, or whose driver is not installed.
        """
        dialect = find_dialect(url)
        database = cls(dialect.engine(), dialect, shown=masked(url))
        try:
            database._bring_up_to_date(migrate=migrate)
        except BaseException:
            database.close()
            raise
        return database

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that is committed when the block ends, rolled back when it raises.

        On SQLite one transaction writes at a time, so keep it short and never nest two. Raises MissingPart where the
        database is down, locked or full.
        """
        with self._explained(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one state and cannot write. Raises MissingPart as `write` does."""
        with self._explained(), self._reads.begin() as connection:
            yield connection

    def ping(self, timeout_s: float) -> None:
        """Return when the database answers a query. Raises MissingPart that names it, within `timeout_s` seconds."""
        self._probe.ask(timeout_s)

    async def answers(self, timeout_s: float) -> None:
        """`ping` for an event loop, which is not blocked."""
        await self._probe.answers(timeout_s)

    def close(self) -> None:
        """Close the connections; the object is not used after that."""
        self.calls.close()
        self._engine.dispose()

    def _ask(self) -> None:
        with self.read() as connection:
            connection.execute(text("SELECT 1"))

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except PoolTimeout as err:
            raise MissingPart(
                f"The database {self.shown} gave no connection for {POOL_WAIT_S:g} s: all are in use.",
                hint="Look for slow queries.",
            ) from err
        except DBAPIError as err:
            known = self._dialect.explain(err, self.shown)
            if known is None:  # a mistake in our own SQL, or a constraint that the caller deals with
                raise
            raise known from err

    def _bring_up_to_date(self, *, migrate: bool) -> None:
        with self.read() as connection:
            found = _revision(connection)
        if found == HEAD:
            return
        if not migrate:
            raise InputError(
                f"The database {self.shown} has {'no tables' if found is None else f'the tables of revision {found}'}, "
                f"this Harken needs {HEAD}.",
                hint="Open it once with migrate=True.",
            )
        with self.write() as connection:
            self._dialect.lock_migrations(connection)
            if _revision(connection) != HEAD:
                self._migrate(connection)

    def _migrate(self, connection: Connection) -> None:
        # Imported here because a database that is up to date, which is nearly every start, needs no Alembic.
        from harken.storage.migrations.run import knows, upgrade

        found = _revision(connection)
        if found is not None and not knows(found):
            raise InputError(
                f"The database {self.shown} was written by a newer Harken (its revision is {found}, this one has "
                f"{HEAD}).",
                hint="Upgrade Harken, or name another database.",
            )
        upgrade(connection)


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found
