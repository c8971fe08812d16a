"""`harken tokens`, against a database of its own."""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from harken.cli.tokens import app
from harken.core import HarkenError, InputError
from harken.http.errors import NotFound
from harken.http.keys import DatabaseKeys, hash_secret, holds, split_key
from harken.storage.database import Database

Tokens = Callable[..., Any]


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'keys.db'}"


@pytest.fixture
def tokens(url: str) -> Tokens:
    """Runs a command; an error raised on purpose comes out as it is, for `main` to show."""

    def run(*arguments: str) -> Any:
        result = CliRunner().invoke(app, [*arguments, "--database", url])
        if isinstance(result.exception, HarkenError):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result

    return run


def test_the_key_is_printed_once_and_only_its_hash_is_kept(tokens: Tokens, url: str, tmp_path: Path) -> None:
    made = tokens("create", "phone app", "--scope", "transcribe", "--scope", "stream", "--expires", "30d")
    key = made.stdout.strip()
    assert re.fullmatch(r"hk_[0-9a-f]{12}_[A-Za-z0-9_-]{43}", key)  # 43 characters of base64: 256 bits
    parts = split_key(key)
    assert parts is not None
    database = Database.open(url)
    record = DatabaseKeys(database).find(parts[0])
    database.close()
    assert record is not None
    assert record.secret_hash == hash_secret(parts[1])
    assert holds(record, parts[1])
    assert (record.name, record.scopes) == ("phone app", ("transcribe", "stream"))
    assert record.expires_s == pytest.approx(time.time() + 30 * 86_400, abs=60)
    assert parts[1].encode() not in b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert parts[1] not in tokens("list").stdout + tokens("list", "--json").stdout


def test_json_holds_the_key_the_limits_and_no_hash(tokens: Tokens) -> None:
    options = ("--rate", "60/minute", "--audio-s-per-day", "3600", "--streams", "2", "--json")
    made = json.loads(tokens("create", "batch", "--scope", "batch", *options).stdout)
    assert made["key"].startswith(f"hk_{made['id']}_")
    assert (made["rate"], made["audio_s_per_day"], made["streams"]) == ("60/minute", 3600, 2)
    listed = json.loads(tokens("list", "--json").stdout)
    assert [item["id"] for item in listed] == [made["id"]]
    assert "secret_hash" not in made
    assert not {"key", "secret_hash"} & set(listed[0])


def test_a_revoked_key_is_listed_as_such_and_frees_its_name(tokens: Tokens) -> None:
    first = json.loads(tokens("create", "app", "--scope", "transcribe", "--json").stdout)
    with pytest.raises(InputError, match=f"called 'app' already.*{first['id']}"):
        tokens("create", "app", "--scope", "transcribe")
    revoked = json.loads(tokens("revoke", first["id"], "--json").stdout)
    assert revoked["revoked_s"] == pytest.approx(time.time(), abs=60)
    again = json.loads(tokens("revoke", first["key"], "--json").stdout)  # the whole key names it too
    assert again["revoked_s"] == revoked["revoked_s"]
    tokens("create", "app", "--scope", "transcribe")
    states = [line.split()[3] for line in tokens("list").stdout.splitlines()[1:]]
    assert sorted(states) == ["revoked", "valid"]


def test_an_unknown_id_is_not_found(tokens: Tokens) -> None:
    with pytest.raises(NotFound, match="no key 'nobody'"):
        tokens("revoke", "nobody")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--scope", "everything"), "use some of transcribe, stream"),
        (("--scope", "stream", "--rate", "often"), "--rate is 'often'"),
        (("--scope", "stream", "--rate", "0/minute"), "--rate is '0/minute'"),
        (("--scope", "stream", "--expires", "soon"), "--expires is 'soon'"),
        (("--scope", "stream", "--expires", "0d"), "--expires is '0d'"),
        (("--scope", "stream", "--streams", "0"), "--streams is 0"),
        (("--scope", "stream", "--audio-s-per-day", "-1"), "--audio-s-per-day is -1"),
    ],
)
def test_wrong_options_are_named_and_make_no_key(tokens: Tokens, options: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        tokens("create", "app", *options)
    assert json.loads(tokens("list", "--json").stdout) == []


def test_a_name_with_control_characters_is_refused(tokens: Tokens) -> None:
    with pytest.raises(InputError, match="can be printed"):
        tokens("create", "a\nb", "--scope", "stream")


def test_there_is_a_command_for_each_verb() -> None:
    assert set(typer.main.get_command(app).commands) == {"create", "list", "revoke"}  # type: ignore[attr-defined]


def test_the_database_of_the_server_is_found_as_the_server_finds_it(
    url: str, tokens: Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARKEN_SERVE_STORAGE__DATABASE", url)
    made = CliRunner().invoke(app, ["create", "by environment", "--scope", "stream"])
    assert made.exit_code == 0, made.output
    assert "by environment" in tokens("list").output
