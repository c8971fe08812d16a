"""How commands speak: results on stdout, everything else on stderr."""

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from harken.data.importers import Rejection


def complain(message: str) -> None:
    """An error, on stderr."""
    typer.secho(f"error: {message}", fg="red" if sys.stderr.isatty() else None, err=True)


def note(message: str) -> None:
    """Something a person may want to know while waiting, on stderr."""
    typer.echo(message, err=True)


def print_json(value: Any) -> None:
    """A result for machines."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


def counted(count: int, one: str, many: str | None = None) -> str:
    """A count with its noun: "1 utterance", "2 utterances"."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def leave_with_rejected(rejected: Sequence["Rejection"], where: str) -> None:
    """Name the first of what was left out, say `where` all of it is listed, and leave with 2; nothing for none."""
    if not rejected:
        return
    for item in rejected[:5]:
        complain(f"{item.item}: {item.reason}")
    note(f"{counted(len(rejected), 'utterance')} left out; {where}")
    raise typer.Exit(2)
