"""Real services for tests: PostgreSQL, Redis and an S3 server, each in a temporary folder on a loopback port.

They run as an unprivileged user, end with the process that started them (also when that is killed), and are skipped
with the reason where the program is absent. Load the fixtures with `pytest_plugins = ["tests.services"]`. With xdist
each worker starts its own.
"""

import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.service_processes import Service, find_program, give_to_nobody, run_once, running, service_folder

_NEW_POSTGRES = ["--username=harken", "--auth=scram-sha-256", "--no-sync", "--locale=C.UTF-8", "--encoding=UTF8"]


@contextmanager
def running_postgres() -> Iterator[Service]:
    """A PostgreSQL server with the role `harken`, whose password is `secret`."""
    programs = _postgres_programs()
    with service_folder() as folder:
        password = folder / "password"
        password.write_text("secret\n")
        give_to_nobody(password)
        run_once(
            folder,
            [f"{programs}/initdb", f"--pgdata={folder}/data", f"--pwfile={password}", *_NEW_POSTGRES],
        )
        fast = ["fsync=off", "full_page_writes=off", "max_connections=60"]
        quiet = ["listen_addresses=127.0.0.1", "unix_socket_directories=", "shared_buffers=16MB", "log_timezone=UTC"]

        def command(port: int) -> list[str]:
            options = [part for setting in [*fast, *quiet] for part in ("-c", setting)]
            return [f"{programs}/postgres", "-D", f"{folder}/data", "-p", str(port), *options]

        def is_ready(port: int) -> bool:
            done = subprocess.run(
                [f"{programs}/pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)], check=False, timeout=10
            )
            return done.returncode == 0

        url = "postgresql+psycopg://harken:secret@127.0.0.1:{port}/postgres"
        # SIGQUIT is its immediate shutdown: no farewell to clients, but its shared memory is given back.
        with running("postgres", url, command, folder, is_ready=is_ready, stop_signal=signal.SIGQUIT) as service:
            yield service


@contextmanager
def running_redis() -> Iterator[Service]:
    """A Redis server that keeps nothing on disk."""
    program = find_program("redis-server")
    with service_folder() as folder:

        def command(port: int) -> list[str]:
            return [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]

        with running("redis", "redis://127.0.0.1:{port}/0", command, folder) as service:
            yield service


@contextmanager
def running_s3() -> Iterator[Service]:
    """An S3 server (moto) that keeps its buckets in memory; `s3_environment` holds the credentials."""
    pytest.importorskip("moto.server", reason="needs moto[server]", exc_type=ImportError)
    with service_folder() as folder:

        def command(port: int) -> list[str]:
            return [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]

        # Python itself may live in a home folder that `nobody` cannot read, so this one keeps the user of the tests.
        with running("moto", "http://127.0.0.1:{port}", command, folder, as_nobody=False) as service:
            yield service


def s3_environment(endpoint: str) -> dict[str, str]:
    """The environment variables under which obstore and other S3 clients use an endpoint."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "harken",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
    }


def create_database(server_url: str) -> str:
    """A new empty database on a PostgreSQL server, and its URL."""
    import psycopg

    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server_url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")  # type: ignore[call-overload]
    return f"{server_url.rpartition('/')[0]}/{name}"


def empty_database(url: str) -> None:
    """End what is connected to a PostgreSQL database, and drop all it holds."""
    import psycopg

    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")


def create_bucket(endpoint: str, *, name: str | None = None) -> str:
    """A new empty bucket, and its s3:// URL."""
    import urllib.request

    name = name or f"test-{uuid.uuid4().hex[:12]}"
    request = urllib.request.Request(f"{endpoint}/{name}", method="PUT")
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200
    return f"s3://{name}"


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A PostgreSQL server's URL; its database `postgres` is shared, `database_url` is a new one for each test."""
    with running_postgres() as service:
        yield service.url


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    with running_redis() as service:
        yield service.url


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """An S3 server's address. The credentials are `s3_environment(s3_endpoint)`, which `blob_url` sets."""
    with running_s3() as service:
        yield service.url


_SERVICE = pytest.mark.service


@pytest.fixture(scope="session")
def _emptied_databases() -> list[str]:
    return []


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=_SERVICE)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path, _emptied_databases: list[str]) -> Iterator[str]:
    """The URL of an empty database, of each kind in turn."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/harken.db"
        return
    server = request.getfixturevalue("postgres_url")
    url = _emptied_databases.pop() if _emptied_databases else create_database(server)
    yield url
    empty_database(url)  # and used again: each new one costs the disk 300 files
    _emptied_databases.append(url)


@pytest.fixture(params=["memory", pytest.param("redis", marks=_SERVICE)])
def cache_url(request: pytest.FixtureRequest) -> str | None:
    """Where a cache keeps its values, emptied: None is the memory of the process."""
    if request.param == "memory":
        return None
    import redis

    url: str = request.getfixturevalue("redis_url")
    with redis.Redis.from_url(url) as client:
        client.flushdb()
    return url


@pytest.fixture(params=["file", pytest.param("s3", marks=_SERVICE)])
def blob_url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a new, empty place for stored files."""
    if request.param == "file":
        return (tmp_path / "store").as_uri()
    endpoint: str = request.getfixturevalue("s3_endpoint")
    for name, value in s3_environment(endpoint).items():
        monkeypatch.setenv(name, value)
    return f"{create_bucket(endpoint)}/some/prefix"


def _postgres_programs() -> str:
    """The folder of PostgreSQL's programs, the newest of those installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[4]))
    if found:
        return str(found[-1].parent)
    return str(Path(find_program("initdb")).parent)
