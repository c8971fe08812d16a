"""Language models of words for decoding: KenLM where it is installed, else a reader of ARPA files of our own.

All scores are natural logarithms, as those of the acoustic model; files and KenLM speak base 10.
"""

import math
import mmap
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from harken.core import InputError, MissingPart, Tokenizer
from harken.inference.ctc.units import unit_strings
from harken.text.ngram_arpa import read_arpa, read_arpa_order, read_arpa_words
from harken.text.ngram_tables import END, START, UNKNOWN, NgramTables

_NATURAL = math.log(10.0)
_KENLM_MAGIC = b"mmap lm http://kheafield.com/code"
_ABSENT = -100.0 * _NATURAL  # of <unk> where a model has none, as KenLM has it
_LEAST_SHARE = 0.5
_MOST_WORDS = 10_000  # that are looked at; the rest weighs little
_EXAMPLES = 5


class NgramModel(Protocol):
    """A model of sentences as sequences of words. A state stands for the words so far."""

    def start(self) -> Any:
        """The state at the beginning of a sentence."""
        ...

    def score(self, state: Any, word: str) -> tuple[float, Any]:
        """ln p(word | state), that of <unk> for a word it does not know, and the state after it."""
        ...

    def end(self, state: Any) -> float:
        """ln p(</s> | state)."""
        ...

    def __contains__(self, word: str) -> bool:
        """Whether the word is known."""
        ...

    def words(self) -> Mapping[str, float]:
        """ln p of each known word alone; empty where the model's file does not list its words."""
        ...


class KenlmModel:
    """An ARPA or binary file run by the `kenlm` package (Heafield 2011)."""

    def __init__(self, path: Path) -> None:
        """Raises MissingPart without the package or the file, InputError for a file that KenLM cannot read."""
        if find_spec("kenlm") is None:
            raise MissingPart(f"{path} needs the package kenlm.", hint="Run: pip install kenlm")
        if not path.is_file():
            raise MissingPart(f"{path} does not exist.", hint="Check the path of the language model.")
        kenlm: Any = import_module("kenlm")
        config = kenlm.Config()
        config.show_progress = False
        config.arpa_complain = kenlm.ARPALoadComplain.NONE
        try:
            self._model = kenlm.Model(str(path), config)
        except OSError as err:
            reason = " ".join(str(err).split())
            raise InputError(f"{path} is not a language model KenLM can read: {reason}") from err
        self._state, self._path = kenlm.State, path

    def start(self) -> Any:
        state = self._state()
        self._model.BeginSentenceWrite(state)
        return state

    def score(self, state: Any, word: str) -> tuple[float, Any]:
        after = self._state()
        return self._model.BaseScore(state, word, after) * _NATURAL, after

    def end(self, state: Any) -> float:
        return self.score(state, END)[0]

    def __contains__(self, word: str) -> bool:
        return word in self._model

    def words(self) -> Mapping[str, float]:
        if not _is_binary(self._path):
            return _spoken(read_arpa_words(self._path))
        state, found = self._state(), {}
        self._model.NullContextWrite(state)
        for word in _binary_words(self._path):
            found[word] = self.score(state, word)[0]
        return _spoken(found)


class ArpaModel:
    """An ARPA file without the `kenlm` package: the same scores, several times slower. Memory as `read_arpa` says."""

    def __init__(self, path: Path) -> None:
        """Raises MissingPart for an absent file, InputError for one that is not ARPA."""
        tables: NgramTables = read_arpa(path)
        self._ids = {word: id_ for id_, word in enumerate(tables.words)}
        if START not in self._ids or END not in self._ids:
            raise InputError(f"{path} has no {START} or {END}.", hint="Build it from sentences.")
        self._unknown = self._ids.get(UNKNOWN)
        self._tables = tables

    def start(self) -> tuple[int, ...]:
        return (self._ids[START],) if len(self._tables.orders) > 1 else ()

    def score(self, state: tuple[int, ...], word: str) -> tuple[float, tuple[int, ...]]:
        """A state holds the places of the last 1, 2, ... words among the n-grams of those orders."""
        id_ = self._ids.get(word, self._unknown)
        if id_ is None:
            return _ABSENT, ()
        orders, count = self._tables.orders, len(self._tables.words)
        found = [id_]
        for order, place in zip(orders[1:], state, strict=False):
            key = place * count + id_
            at = int(order.keys_N.searchsorted(key))
            if at == len(order.keys_N) or order.keys_N[at] != key:
                break
            found.append(at)
        score = float(orders[len(found) - 1].log_probs_N[found[-1]])
        for order, place in islice(zip(orders, state, strict=False), len(found) - 1, None):
            score += float(order.backoffs_N[place])
        return score, tuple(found[: len(orders) - 1])

    def end(self, state: tuple[int, ...]) -> float:
        return self.score(state, END)[0]

    def __contains__(self, word: str) -> bool:
        return word in self._ids and word != UNKNOWN

    def words(self) -> Mapping[str, float]:
        return _spoken(dict(zip(self._tables.words, self._tables.orders[0].log_probs_N.tolist(), strict=True)))


def load_language_model(path: str | Path) -> NgramModel:
    """The language model in an ARPA (plain or .gz) or KenLM binary file.

    Raises MissingPart for an absent file, and for a binary file without the `kenlm` package; InputError for a file that
    is neither.
    """
    path = Path(path)
    if path.is_file() and _is_binary(path):
        return KenlmModel(path)
    # KenLM takes models of two words and more only.
    return KenlmModel(path) if find_spec("kenlm") is not None and read_arpa_order(path) > 1 else ArpaModel(path)


def check_vocabulary(lm: NgramModel, tokenizer: Tokenizer) -> None:
    """Raise InputError for a language model of other texts than the tokenizer writes: another script, other case.

    Half of what the model expects to read, by probability, has to be something the tokenizer can write. For a tokenizer
    of whole words it is enough that half of those are known. For a binary file that does not list its words, one unit
    of the tokenizer has to be a known word.
    """
    words = _most_probable(lm.words())
    strings = [string for string in unit_strings(tokenizer) if string.strip()]
    units = sorted({string.strip() for string in strings})
    known = [unit for unit in units if unit in lm]
    closed = all(string.startswith(" ") and string.endswith(" ") for string in strings)
    if (closed and len(known) >= _LEAST_SHARE * len(units)) or (not words and known):
        return
    strange = [word for word in words if not _can_write(tokenizer, word)]
    share = 1 - sum(math.exp(words[word]) for word in strange) / max(sum(map(math.exp, words.values())), 1e-30)
    if words and share >= _LEAST_SHARE:
        return
    what = (
        f"{share:.0%} of what it expects can be written, and not {_shown(strange)}"
        if words
        else "it does not list its words"
    )
    raise InputError(
        f"The language model is of other texts than the recogniser writes: {what}. As words it knows {len(known)} of "
        f"the recogniser's {len(units)} units, such as {_shown(units)}.",
        hint="Build one from texts normalised as those of the training were: harken lm build.",
    )


def _most_probable(words: Mapping[str, float]) -> dict[str, float]:
    ranked = sorted(words, key=lambda word: (-words[word], word))
    return {word: words[word] for word in ranked[:_MOST_WORDS]}


def _shown(words: list[str]) -> str:
    return ", ".join(repr(word) for word in words[:_EXAMPLES])


def _can_write(tokenizer: Tokenizer, word: str) -> bool:
    try:
        return tokenizer.decode(tokenizer.encode(word)) == word
    except InputError:
        return False


def _spoken(log_probs: Mapping[str, float]) -> dict[str, float]:
    return {word: log_prob for word, log_prob in log_probs.items() if word not in (START, END, UNKNOWN)}


def _is_binary(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(len(_KENLM_MAGIC)) == _KENLM_MAGIC


def _binary_words(path: Path) -> list[str]:
    """The words at the end of a binary file, a zero byte after each and <unk> first; none if it was built without."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        first = content.rfind(b"\0" + UNKNOWN.encode() + b"\0")
        listed = content[first + 1 :] if first >= 0 else b""
    return [word.decode(errors="replace") for word in listed.split(b"\0")[:-1]]
