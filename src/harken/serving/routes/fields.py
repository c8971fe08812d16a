"""The text fields of a form, read strictly: what is not known, doubled or out of range is named and refused."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from harken.core import InputError
from harken.serving.shapes.languages import LANGUAGE_NAMES, primary

LONGEST_NAME = 200
LONGEST_PROMPT = 4000
MOST_HOTWORDS = 200
LONGEST_HOTWORD = 100

_TRUTHS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
_TAG = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{1,8})*")
T = TypeVar("T", bound=str)


class BadParameter(InputError):
    """A parameter whose value is not accepted. `parameter` is its name."""

    def __init__(self, parameter: str, problem: str, *, hint: str) -> None:
        super().__init__(problem, hint=hint)
        self.parameter = parameter


class MissingParameter(BadParameter):
    """A parameter that has to be given is not there."""

    def __init__(self, parameter: str, *, hint: str) -> None:
        super().__init__(parameter, f"{parameter} is missing.", hint=hint)


class UnknownParameter(BadParameter):
    """A parameter nothing reads."""

    def __init__(self, parameter: str, known: Iterable[str]) -> None:
        name = quoted(parameter)
        super().__init__(name[1:-1], f"{name} is not a parameter here.", hint=f"Known are {', '.join(known)}.")


class Fields:
    """Fields by name, each with its values in order. An empty value is one not given, as web forms send it."""

    def __init__(self, values: Mapping[str, Sequence[str]]) -> None:
        self._values = {name: [value for value in given if value.strip()] for name, given in values.items()}

    def only(self, known: Sequence[str]) -> None:
        """Raises UnknownParameter for a field that is not in `known`; a list may carry PHP's brackets, `name[]`."""
        for name in self._values:
            if name not in known and name.removesuffix("[]") not in known:
                raise UnknownParameter(name, known)

    def given(self, name: str) -> bool:
        return bool(self.many(name))

    def many(self, name: str) -> tuple[str, ...]:
        """The values of `name` and `name[]`."""
        values = (*self._values.get(name, ()), *self._values.get(f"{name}[]", ()))
        if not all(map(_is_text, values)):
            raise BadParameter(name, f"{name} holds what is not text.", hint="Send UTF-8 without NUL characters.")
        return values

    def text(self, name: str, *, longest: int = LONGEST_NAME) -> str | None:
        """The one value of `name`, None where it is not given."""
        values = self.many(name)
        if len(values) > 1:
            raise BadParameter(name, f"{name} is given {len(values)} times.", hint="Give it once.")
        if values and len(values[0]) > longest:
            raise BadParameter(
                name, f"{name} has {len(values[0])} characters.", hint=f"Use at most {longest} characters."
            )
        return values[0] if values else None

    def choice(self, name: str, choices: Sequence[T], default: T) -> T:
        """One of `choices`."""
        value = self.text(name)
        if value is None:
            return default
        return _one_of(name, value, choices)

    def choices(self, name: str, choices: Sequence[T]) -> tuple[T, ...]:
        """Any of `choices`, each once."""
        return tuple(dict.fromkeys(_one_of(name, value, choices) for value in self.many(name)))

    def flag(self, name: str) -> bool:
        """A yes or no; no where it is not given."""
        value = self.text(name)
        if value is None:
            return False
        if value.strip().lower() not in _TRUTHS:
            raise BadParameter(name, f"{name} is {quoted(value)}.", hint="Use true or false.")
        return _TRUTHS[value.strip().lower()]

    def number(self, name: str, low: float, high: float) -> float | None:
        """A number from `low` to `high`, None where it is not given."""
        value = self.text(name)
        if value is None:
            return None
        hint = f"Use a number from {low:g} to {high:g}."
        try:
            number = float(value)
        except ValueError as err:
            raise BadParameter(name, f"{name} is {quoted(value)}, not a number.", hint=hint) from err
        if not (math.isfinite(number) and low <= number <= high):
            raise BadParameter(name, f"{name} is {number:g}.", hint=hint)
        return number

    def hotwords(self, name: str) -> tuple[str, ...]:
        """Words or phrases, one a value, a line or between commas; each once."""
        pieces = (piece.strip() for value in self.many(name) for piece in re.split(r"[,\r\n]", value))
        words = tuple(dict.fromkeys(piece for piece in pieces if piece))
        if len(words) > MOST_HOTWORDS:
            raise BadParameter(name, f"{name} holds {len(words)} phrases.", hint=f"Give at most {MOST_HOTWORDS}.")
        if long := next((word for word in words if len(word) > LONGEST_HOTWORD), None):
            hint = f"Use at most {LONGEST_HOTWORD} characters a phrase."
            raise BadParameter(name, f"{name} holds a phrase of {len(long)} characters.", hint=hint)
        return words

    def language(self, name: str) -> str | None:
        """A BCP-47 tag whose language is in the table, such as en or pt-BR."""
        value = self.text(name)
        if value is None:
            return None
        tag = value.strip()
        if not _TAG.fullmatch(tag) or primary(tag) not in LANGUAGE_NAMES:
            hint = "Use a BCP-47 tag that starts with an ISO 639-1 code, such as en, hi or pt-BR."
            raise BadParameter(name, f"{name} is {quoted(value)}, which is no language.", hint=hint)
        return tag


def quoted(value: str) -> str:
    """What a client sent, as it may stand in a message: short, and without control characters."""
    return repr(value if len(value) <= 60 else f"{value[:60]}...")


def _is_text(value: str) -> bool:
    """Without NUL, which databases refuse, and without the halves of characters that JSON can hold."""
    return not any(letter == "\0" or "\ud800" <= letter <= "\udfff" for letter in value)


def _one_of(name: str, value: str, choices: Sequence[T]) -> T:
    for choice in choices:
        if choice == value:
            return choice
    raise BadParameter(name, f"{name} is {quoted(value)}.", hint=f"Use one of {', '.join(choices)}.")
