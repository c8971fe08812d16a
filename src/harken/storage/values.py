"""What users send, made fit for a database, or refused."""

import re
from typing import Any

from harken.core import InputError
from harken.storage.columns import to_json

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")  # PostgreSQL's text takes no NUL, UTF-8 no lone surrogate


def storable(text: str, limit: int) -> str:
    """`text` without what a database refuses, and at most `limit` letters of it."""
    return _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", text[:limit])


def check_name(what: str, name: str, limit: int) -> str:
    """`name`, as it is. Raises InputError for an empty one, one of more than `limit` letters or one with NUL in it."""
    if not name or len(name) > limit or _UNSTORABLE.search(name):
        raise InputError(f"{what} is {name[:limit]!r}; use 1 to {limit} letters, none of them NUL or a lone surrogate.")
    return name


def check_json(what: str, value: Any) -> Any:
    """`value`, as it is. Raises InputError for what JSON has no form for, such as NaN."""
    try:
        to_json(value)
    except (ValueError, TypeError) as err:
        raise InputError(f"{what} cannot be written as JSON: {err}.") from err
    return value
