"""Strict settings: where text becomes checked values.

Settings are frozen dataclasses that check themselves. Text enters at three doors only (command line, YAML, HTTP) and
is checked there by the same class; pydantic is imported at the door, never in the core.
"""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar, get_args, get_type_hints

from harken.core.errors import InputError

T = TypeVar("T")


class Strict:
    """Base of every settings class: unknown keys are refused where settings enter."""

    __slots__ = ()
    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}


def parse_settings(kind: type[T], data: Any, *, source: str) -> T:
    """`data` (nested mappings, as YAML or JSON gives them) as a checked `kind`.

    Raises InputError that names `source`, the path of every field that is wrong, its value, and the nearest known
    key for a misspelled one.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(kind).validate_python(data)
    except ValidationError as err:
        problems = [_explain(kind, dict(problem)) for problem in err.errors(include_url=False)]
        text = "; ".join(problems)
        raise InputError(f"{source}: {text}" + ("" if text.endswith("?") else ".")) from err


def dump_settings(value: Any) -> Any:
    """Settings as plain nested dicts and lists, ready for YAML or JSON; `parse_settings` takes them back."""
    from pydantic import TypeAdapter

    return TypeAdapter(type(value)).dump_python(value, mode="json")


def load_yaml(path: Path) -> dict[str, Any]:
    """The mapping a YAML file holds. Raises InputError that names the file (and the line, where YAML gives one)."""
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as err:
        raise InputError(f"{path} does not exist.", hint="Check the path.") from err
    except IsADirectoryError as err:
        raise InputError(f"{path} is a folder.", hint="Name the YAML file inside it.") from err
    except (OSError, UnicodeDecodeError) as err:
        raise InputError(f"{path} cannot be read as UTF-8 text: {err}.", hint="Name a YAML file.") from err
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as err:
        raise InputError(f"{path} is not valid YAML: {' '.join(str(err).split())}.") from err
    if not isinstance(data, dict):
        what = "is empty" if data is None else f"holds {type(data).__name__}, not a mapping"
        raise InputError(f"{path} {what}.", hint="Write `key: value` lines.")
    return data


def apply_overrides(data: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """A copy of `data` with `dotted.key=value` settings laid over it; values are read as YAML.

    Raises InputError for an override without `=` or one that steps into something that is not a mapping.
    """
    import copy

    import yaml

    result: dict[str, Any] = copy.deepcopy(dict(data))
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key.strip():
            raise InputError(f"{override!r} is not an override.", hint="Write key=value, such as training.steps=100.")
        try:
            value = yaml.safe_load(text) if text else ""
        except yaml.YAMLError as err:
            raise InputError(f"{override!r}: the value is not valid YAML.") from err
        *path, last = key.strip().split(".")
        node = result
        for step in path:
            if node.get(step) is None:  # absent, or an empty block in the file
                node[step] = {}
            node = node[step]
            if not isinstance(node, dict):
                raise InputError(f"{override!r}: {step!r} is a value, not a block of settings.")
        node[last] = _float_where_yaml_says_text(value)
    return result


def _float_where_yaml_says_text(value: Any) -> Any:
    """YAML 1.1 reads 3e-4 as text (it wants 3.0e-4); people write 3e-4."""
    if isinstance(value, str) and "e" in value.lower():
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _explain(kind: Any, problem: dict[str, Any]) -> str:
    path = [str(part) for part in problem["loc"]]
    where = ".".join(path) or "the settings"
    if problem["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        known = _keys_at(kind, path[:-1])
        near = difflib.get_close_matches(path[-1], known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known) or 'nothing'}"
        return f"{where} is not a setting; {hint}"
    if problem["type"] in ("missing", "missing_argument"):
        return f"{where} is missing"
    message = str(problem["msg"]).removeprefix("Value error, ").removeprefix("Assertion failed, ").rstrip(".")
    if problem["type"] == "value_error":  # our own words, which carry the value already
        return f"{where}: {message}" if path else message
    if problem["type"] in ("tuple_type", "list_type"):
        message = "use a list, such as [a, b]"
    return f"{where} is {problem['input']!r}; {message[0].lower()}{message[1:]}"


def _keys_at(kind: Any, path: list[str]) -> list[str]:
    """Names of the settings below `path`, walking dataclass fields; union members that are dataclasses count."""
    found = [kind]
    for step in path:
        inner: list[Any] = []
        for item in found:
            if not (isinstance(item, type) and is_dataclass(item)):
                continue
            hint = get_type_hints(item, include_extras=False).get(step)
            inner += [part for part in (hint, *get_args(hint)) if isinstance(part, type)]
        found = inner or found  # pydantic puts a union member's name into the path: stay where we are
    names = [f.name for item in found if isinstance(item, type) and is_dataclass(item) for f in fields(item)]
    return sorted(set(names))
