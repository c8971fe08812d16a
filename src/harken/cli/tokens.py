"""`harken tokens`: make, list and revoke the API keys of a server."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harken.cli.output import note, print_json

if TYPE_CHECKING:
    from harken.http.keys import DatabaseKeys, KeyRecord

app = typer.Typer(help="Make, list and revoke the API keys of a server.", no_args_is_help=True)
DatabaseOption = Annotated[
    str | None,
    typer.Option(
        "--database",
        metavar="URL",
        help="The server's database; without it that of HARKEN_SERVE_STORAGE__DATABASE, or Harken's own.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_MOST = 2**31 - 1  # what the database's columns hold


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="Who or what the key is for.")],
    scopes: Annotated[
        list[str],
        typer.Option("--scope", help="What it may do: transcribe, stream, batch, metrics, admin. Repeat for several."),
    ],
    expires: Annotated[
        str | None, typer.Option("--expires", metavar="TIME", help="For how long it is valid: 12h, 30d, 4w.")
    ] = None,
    rate: Annotated[str | None, typer.Option("--rate", help="Requests it may make, such as 60/minute.")] = None,
    audio_s_per_day: Annotated[
        int | None, typer.Option("--audio-s-per-day", help="Seconds of audio it may send in a day.")
    ] = None,
    streams: Annotated[int | None, typer.Option("--streams", help="Live streams it may have open at once.")] = None,
    database: DatabaseOption = None,
    json_output: JsonOption = False,
) -> None:
    """Make a key and print it, this once: only a hash of it is kept. Limits that are not given are the server's."""
    import time

    now_s = time.time()
    limits = _checked_limits(rate=rate, audio_s_per_day=audio_s_per_day, streams=streams)
    expires_s = None if expires is None else now_s + _seconds(expires)
    with _keys(database) as keys:
        record, key = keys.create(
            _checked_name(name), scopes=_checked_scopes(scopes), now_s=now_s, expires_s=expires_s, **limits
        )
    if json_output:
        print_json({**_plain(record), "key": key})
        return
    typer.echo(key)
    note(f"Key {record.id} for {record.name!r}. Keep it now: it cannot be shown again.")


@app.command("list")
def list_keys(database: DatabaseOption = None, json_output: JsonOption = False) -> None:
    """List the keys, the oldest first; never the keys themselves."""
    from harken.core.tables import text_table

    with _keys(database) as keys:
        records = keys.all()
    if json_output:
        print_json([_plain(record) for record in records])
    elif records:
        rows = [_row(record) for record in records]
        head = ("id", "name", "scopes", "state", "expires", "last used", "rate", "audio s/day", "streams")
        typer.echo(text_table([head, *rows]))
    else:
        note("There is no key. Make one with: harken tokens create NAME --scope transcribe.")


@app.command("revoke")
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the key, as `harken tokens list` shows it.")],
    database: DatabaseOption = None,
    json_output: JsonOption = False,
) -> None:
    """End a key for good. Servers refuse it within seconds."""
    import time

    with _keys(database) as keys:
        record = keys.revoke(_id_of(key_id), now_s=time.time())
    if json_output:
        print_json(_plain(record))
    else:
        note(f"Key {record.id} of {record.name!r} is revoked.")


@contextmanager
def _keys(url: str | None) -> "Iterator[DatabaseKeys]":
    from harken.http.keys import DatabaseKeys
    from harken.storage.database import Database
    from harken.storage.settings import StorageSettings

    url = url or os.environ.get("HARKEN_SERVE_STORAGE__DATABASE")  # as the server that the keys are for
    database = Database.open(StorageSettings(database=url).database_url)
    try:
        yield DatabaseKeys(database)
    finally:
        database.close()


def _id_of(text: str) -> str:
    """The id, also where somebody pastes the whole key."""
    from harken.http.keys import split_key

    parts = split_key(text)
    return parts[0] if parts else text


def _checked_name(name: str) -> str:
    from harken.core import InputError

    if not 1 <= len(name) <= 200 or not name.isprintable() or name != name.strip():
        raise InputError(f"The name is {name!r}.", hint="Use 1 to 200 characters that can be printed.")
    return name


def _checked_scopes(scopes: list[str]) -> tuple[str, ...]:
    from harken.core import InputError
    from harken.http.principals import check_scopes

    unique = tuple(dict.fromkeys(scopes))
    try:
        check_scopes(unique, what="--scope")
    except ValueError as err:
        raise InputError(f"{err}.") from err
    return unique


def _checked_limits(*, rate: str | None, audio_s_per_day: int | None, streams: int | None) -> dict[str, Any]:
    from harken.core import InputError
    from harken.http.limits import check_rate

    if rate is not None:
        try:
            check_rate(rate, what="--rate")
        except ValueError as err:
            raise InputError(f"{err}.") from err
    for option, number in (("--audio-s-per-day", audio_s_per_day), ("--streams", streams)):
        if number is not None and not 1 <= number <= _MOST:
            raise InputError(f"{option} is {number}.", hint="Use 1 or more, or leave it out.")
    return {"rate": rate, "audio_s_per_day": audio_s_per_day, "streams": streams}


def _seconds(text: str) -> int:
    from harken.core import InputError

    found = re.fullmatch(r"([1-9][0-9]{0,8})([smhdw])", text)
    seconds = int(found[1]) * _UNITS_S[found[2]] if found else 0
    if not 0 < seconds <= 100 * 366 * 86_400:
        raise InputError(f"--expires is {text!r}.", hint="Use a number and s, m, h, d or w, such as 30d.")
    return seconds


def _plain(record: "KeyRecord") -> dict[str, Any]:
    """What may be shown: everything but the hash."""
    from dataclasses import asdict

    shown = {name: value for name, value in asdict(record).items() if name != "secret_hash"}
    return {**shown, "scopes": list(record.scopes)}


def _row(record: "KeyRecord") -> tuple[object, ...]:
    import time

    ended = "expired" if record.revoked_s is None else "revoked"
    state = "valid" if record.is_valid(time.time()) else ended
    limits = (record.rate, record.audio_s_per_day, record.streams)
    shown = ["-" if limit is None else limit for limit in limits]
    times = (_day(record.expires_s), _day(record.last_used_s))
    return (record.id, record.name, ",".join(record.scopes), state, *times, *shown)


def _day(time_s: float | None) -> str:
    return "-" if time_s is None else f"{datetime.fromtimestamp(time_s, UTC):%Y-%m-%d}"
