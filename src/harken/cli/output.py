"""How commands speak: results on stdout, everything else on stderr."""

import json
import sys
from collections.abc import Iterable, Sequence
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


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Columns padded to their widest cell; the first is left-aligned, the others right."""
    cells = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    lines = []
    for row in cells:
        first = row[0].ljust(widths[0])
        lines.append("  ".join([first, *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))]).rstrip())
    return "\n".join(lines)


def counted(count: int, one: str, many: str | None = None) -> str:
    """A count with its noun: "1 utterance", "2 utterances"."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
