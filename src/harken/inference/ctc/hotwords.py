"""Hotwords: phrases that are made more probable wherever they are said as whole words.

A text gains `boost` nats for each unit that the tokenizer spells a hotword with (a letter, a piece or a word; spaces
not counted), so that a beam keeps the phrase while it is being spelled, and loses them again where the match breaks
off. What remains at the end is, for each occurrence of each hotword as whole words, its boost times its units. The
units count because each is one decision of the acoustic model: by the letter, a single word unit would gain so much in
one frame that it is heard everywhere. One automaton follows all phrases at once: Aho and Corasick 1975, "Efficient
String Matching", over letters rather than ids, because pieces spell a word in several ways. So a unit's boost is
shared among its letters, and another spelling of the phrase gains the same in all.
"""

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harken.core import InputError, MissingPart, Tokenizer
from harken.inference.ctc.units import joined, unit_strings

_START, _EDGE = 0, " "


@dataclass(frozen=True, slots=True, kw_only=True)
class Hotword:
    """A phrase as the model writes it; `boost` in nats a unit, None for the decoder's."""

    text: str
    boost: float | None = None

    def __post_init__(self) -> None:
        if not self.text.strip():
            raise ValueError("text is empty; use a word or phrase")
        if self.boost is not None and not (math.isfinite(self.boost) and self.boost > 0):
            raise ValueError(f"boost is {self.boost}; use nats above 0")


def read_hotwords(path: Path, tokenizer: Tokenizer) -> list[Hotword]:
    """The hotwords of a UTF-8 file: a phrase a line, and after a tab a boost of its own where it has one.

    Blank lines and lines that begin with # are passed over. Raises MissingPart for an absent file; InputError that
    names the line for a phrase the tokenizer cannot spell, one that is there twice, and a boost not above 0.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError as err:
        raise MissingPart(f"{path} does not exist.", hint="Check the path of the hotwords.") from err
    except (OSError, UnicodeDecodeError) as err:
        raise InputError(f"{path} cannot be read as UTF-8 text: {err}.") from err
    first_lines: dict[tuple[int, ...], int] = {}
    hotwords = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        place = f"{path}, line {number}"
        hotword = _parse(line, place)
        ids = tuple(_spell(hotword.text, tokenizer, place))
        if (first := first_lines.setdefault(ids, number)) != number:
            raise InputError(f"{place}: {hotword.text!r} is on line {first} already.", hint="Keep one of them.")
        hotwords.append(hotword)
    if not hotwords:
        raise InputError(f"{path} holds no hotword.", hint="Write one phrase a line, or leave the file out.")
    return hotwords


def _parse(line: str, place: str) -> Hotword:
    text, tab, boost = line.partition("\t")
    try:
        return Hotword(text=text.strip(), boost=float(boost) if tab else None)
    except ValueError as err:
        message = f"boost is {boost.strip()!r}; use nats above 0" if "could not" in str(err) else str(err)
        raise InputError(f"{place}: {message}.") from err


def _spell(text: str, tokenizer: Tokenizer, place: str) -> list[int]:
    try:
        ids = tokenizer.encode(text)
    except InputError as err:
        raise InputError(
            f"{place}: the model cannot write {text!r}: {err.message}",
            hint="Write it as the model's transcripts would, usually in small letters and numbers as words.",
        ) from err
    if not tokenizer.decode(ids):
        raise InputError(f"{place}: {text!r} has nothing the model writes.", hint="Leave it out.")
    return ids


class HotwordMatcher:
    """Follows a text letter by letter. A state is a number; `step` gives the next one and the nats gained by it, which
    are below 0 where a match breaks off.
    """

    def __init__(
        self,
        hotwords: Iterable[Hotword],
        tokenizer: Tokenizer,
        *,
        boost: float,
        strings: Sequence[str] | None = None,
    ) -> None:
        """`boost` is for hotwords without one of their own; `strings` are `unit_strings(tokenizer)`, where known.

        Raises InputError for a phrase the tokenizer cannot spell.
        """
        strings = unit_strings(tokenizer) if strings is None else strings
        self._children: list[dict[str, int]] = [{}]
        self._fail = [_START]
        self._letter = [""]
        self._paid = [0.0]  # for the hotwords that end here
        self._hope = [0.0]  # for the one that would be gained by going on, as far as it has come
        for hotword in hotwords:
            ids = _spell(hotword.text, tokenizer, "hotwords")
            self._add([strings[id_] for id_ in ids], hotword.boost or boost)
        self._link()
        self.start = self._children[_START][_EDGE]

    def step(self, state: int, string: str) -> tuple[int, float]:
        """The state after the string of a unit, and what is gained by it."""
        gained = -self._hope[state]
        for letter in string:
            if letter == _EDGE == self._letter[state]:
                continue  # two edges in a row are one
            while letter not in self._children[state] and state != _START:
                state = self._fail[state]
            state = self._children[state].get(letter, _START)
            gained += self._paid[state]
        return state, gained + self._hope[state]

    def finish(self, state: int) -> float:
        """What is gained where the text ends: the hotword it ends with, without what was only hoped for."""
        state, gained = self.step(state, _EDGE)
        return gained - self._hope[state]

    def _add(self, units: Sequence[str], boost: float) -> None:
        spelled = [unit.replace(_EDGE, "") for unit in units]
        gains = iter([boost / len(letters) for letters in spelled for _ in letters])
        state, gained = _START, 0.0
        for letter in joined(units):
            if letter not in self._children[state]:
                self._children[state][letter] = len(self._children)
                self._children.append({})
                self._fail.append(_START)
                self._letter.append(letter)
                self._paid.append(0.0)
                self._hope.append(0.0)
            # The phrase's last state promises nothing: what it is worth is paid there.
            self._hope[state] = max(self._hope[state], gained)
            state = self._children[state][letter]
            gained += next(gains) if letter != _EDGE else 0.0
        self._paid[state] += gained

    def _link(self) -> None:
        """Where each state goes on from when no letter fits; parents are linked before their children."""
        queue = deque(self._children[_START].values())
        while queue:
            state = queue.popleft()
            shorter = self._fail[state]
            self._paid[state] += self._paid[shorter]
            self._hope[state] = max(self._hope[state], self._hope[shorter])
            for letter, child in self._children[state].items():
                target = shorter
                while letter not in self._children[target] and target != _START:
                    target = self._fail[target]
                self._fail[child] = self._children[target].get(letter, _START)
                queue.append(child)
