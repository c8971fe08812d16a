"""The variables that set a server's settings, by their names."""

import difflib
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any, get_args, get_origin, get_type_hints

from harken.core import InputError


def check_variable(name: str, kind: type[Any], *, prefix: str) -> None:
    """Raises InputError where `name` sets nothing of the dataclass `kind`, with the nearest variable that does."""
    known = dict(_variables(kind, prefix))
    if name in known or any(is_open and name.startswith(f"{other}__") for other, is_open in known.items()):
        return
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else "harken serve --show-settings prints them all."
    raise InputError(f"{name} is not a setting;", hint=hint)


def _variables(kind: type[Any], prefix: str) -> Iterator[tuple[str, bool]]:
    """The variables of a dataclass and of those in it, each with whether names of the user's own may follow."""
    hints = get_type_hints(kind)
    for field in fields(kind):
        name, hint = f"{prefix}{field.name.upper()}", hints[field.name]
        parts = (hint, *get_args(hint))
        yield name, any(get_origin(part) is dict for part in parts)
        for part in parts:
            if isinstance(part, type) and is_dataclass(part):
                yield from _variables(part, f"{name}__")
