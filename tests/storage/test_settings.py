"""Settings name every place, refuse what is not taken, and never show a password."""

from pathlib import Path

import pytest

from harken.core import InputError, parse_settings
from harken.storage.settings import StorageSettings, masked


def test_everything_has_a_place_that_needs_no_service(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HARKEN_HOME", str(tmp_path / "my%20home"))
    settings = StorageSettings()
    assert settings.database_url == f"sqlite:///{tmp_path}/my%2520home/harken.db"
    assert settings.blobs_url == f"file://{tmp_path}/my%2520home/store"
    assert settings.redis is None


@pytest.mark.parametrize(
    ("field", "url", "offered"),
    [
        ("database", "mysql://root:hunter2@db/x", "postgresql+psycopg://"),
        ("database", "sqlite:harken.db", "sqlite:///PATH"),
        ("blobs", "ftp://me:hunter2@files/x", "s3://BUCKET"),
        ("blobs", "s3://", "s3://BUCKET"),
        ("redis", "http://:hunter2@cache", "redis://HOST"),
    ],
)
def test_another_scheme_is_refused_with_what_is_taken(field: str, url: str, offered: str) -> None:
    with pytest.raises(ValueError, match=f"{field} is ") as refused:
        StorageSettings(**{field: url})
    assert offered in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_the_refusal_of_a_file_shows_no_password() -> None:
    with pytest.raises(InputError) as refused:
        parse_settings(StorageSettings, {"database": "mysql://root:hunter2@db/x"}, source="serve.yaml")
    assert "database is 'mysql://root:***@db/x'" in str(refused.value)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(("field", "value"), [("cache_bytes", -1), ("job_attempts", 0)])
def test_numbers_out_of_range_are_refused(field: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"{field} is {value}; use"):
        StorageSettings(**{field: value})


def test_settings_are_shown_without_passwords() -> None:
    settings = StorageSettings(database="postgresql+psycopg://u:hunter2@h/d", redis="redis://:hunter2@c:1/0")
    assert "hunter2" not in repr(settings) + str(settings) + str(settings.shown())
    assert settings.shown()["database"] == "postgresql+psycopg://u:***@h/d"
    assert settings.shown()["redis"] == "redis://:***@c:1/0"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:////var/lib/harken.db", "sqlite:////var/lib/harken.db"),
        ("postgresql+psycopg://u@h:5432/d", "postgresql+psycopg://u@h:5432/d"),
        (
            "postgresql+psycopg://u:pw@h/d?sslmode=require&password=pw",
            "postgresql+psycopg://u:***@h/d?sslmode=require&password=***",
        ),
        ("redis://u:p/w#?@h/0", "redis://u:***@h/0"),
        ("redis://u:p@w@[::1/0", "redis://u:***@[::1/0"),
        ("u:pw@h", "u:***@h"),
        ("s3://bucket/prefix?secret_access_key=pw", "s3://bucket/prefix?secret_access_key=***"),
        ("s3://bucket/a\r\nlog: x", "s3://bucket/a\\r\\nlog: x"),
        ("file:///a/b", "file:///a/b"),
    ],
)
def test_masked_urls(url: str, shown: str) -> None:
    assert masked(url) == shown
