"""How commands speak: results on stdout, everything else on stderr."""

import json
import sys
from typing import Any

import typer


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
