"""N-gram models in ARPA files (Doug Paul's format, as SRILM and KenLM write it), which hold base-10 logarithms."""

import gzip
import math
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

import numpy as np
import numpy.typing as npt

from harken.core import InputError, MissingPart
from harken.core.files import replacing
from harken.text.ngram_tables import START, UNKNOWN, NgramOrder, NgramTables

_NATURAL = math.log(10.0)
_ROWS_AT_ONCE = 100_000
_NEVER = -99.0  # log10 of a probability of 0, for <s>, which is never said


def write_arpa(path: Path, tables: NgramTables) -> None:
    """Write an ARPA file, gzip where the name ends in .gz, all or nothing."""
    with replacing(path) as file:
        if path.suffix == ".gz":
            with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as packed:
                _write(cast(IO[bytes], packed), tables)
        else:
            _write(file, tables)


def _write(file: IO[bytes], tables: NgramTables) -> None:
    counts = "".join(f"ngram {k}={len(order.keys_N)}\n" for k, order in enumerate(tables.orders, 1))
    file.write(f"\\data\\\n{counts}".encode())
    shorter = [""]
    for k, order in enumerate(tables.orders, 1):
        file.write(f"\n\\{k}-grams:\n".encode())
        longest = k == len(tables.orders)
        texts: list[str] = []
        for first in range(0, len(order.keys_N), _ROWS_AT_ONCE):
            rows = slice(first, first + _ROWS_AT_ONCE)
            before, last = (part.tolist() for part in np.divmod(order.keys_N[rows], len(tables.words)))
            found = [f"{shorter[p]} {tables.words[w]}".lstrip() for p, w in zip(before, last, strict=True)]
            file.write(_lines(found, order.log_probs_N[rows], None if longest else order.backoffs_N[rows]))
            texts += [] if longest else found
        shorter = texts
    file.write(b"\n\\end\\\n")


def _lines(texts: list[str], log_probs: npt.NDArray[np.float32], backoffs: npt.NDArray[np.float32] | None) -> bytes:
    shown = [_NEVER if text == START else x for text, x in zip(texts, (log_probs / _NATURAL).tolist(), strict=True)]
    weights = [""] * len(texts) if backoffs is None else [f"\t{x:.8g}" for x in (backoffs / _NATURAL).tolist()]
    rows = zip(shown, texts, weights, strict=True)
    return "".join(f"{log_prob:.8g}\t{text}{weight}\n" for log_prob, text, weight in rows).encode()


def read_arpa(path: Path) -> NgramTables:
    """The n-grams of an ARPA file, plain or .gz. Memory: about 16 bytes an n-gram and 150 a word, and up to 70 bytes an
    n-gram while reading; 2 µs an n-gram.

    Raises MissingPart for an absent file; InputError that names the line for one that is not ARPA, and for a model that
    lacks the shorter n-grams its longer ones are made of.
    """
    lines = _Lines(path)
    counts = _header(lines)
    tables = NgramTables(words=(), orders=())
    for k, count in enumerate(counts, 1):
        tables = _read_order(lines, tables, k, count)
    lines.expect("\\end\\")
    return tables


def read_arpa_order(path: Path) -> int:
    """How many words the longest n-grams of an ARPA file have. Raises as `read_arpa` does."""
    return len(_header(_Lines(path)))


def read_arpa_words(path: Path) -> dict[str, float]:
    """ln p of each word alone, from the first section of an ARPA file. Raises as `read_arpa` does."""
    lines = _Lines(path)
    order = _read_order(lines, NgramTables(words=(), orders=()), 1, _header(lines)[0])
    return dict(zip(order.words, order.orders[0].log_probs_N.tolist(), strict=True))


class _Lines:
    """Lines of a file that are not blank, with their numbers."""

    def __init__(self, path: Path) -> None:
        self.path, self.number = path, 0
        self._lines = self._read()
        self._again: bytes | None = None

    def _read(self) -> Iterator[bytes]:
        try:
            with cast(IO[bytes], gzip.open(self.path) if self.path.suffix == ".gz" else open(self.path, "rb")) as file:
                for line in file:
                    self.number += 1
                    if not line.isspace():
                        yield line.strip()
        except FileNotFoundError as err:
            raise MissingPart(f"{self.path} does not exist.", hint="Check the path of the language model.") from err
        except (OSError, EOFError) as err:
            raise InputError(f"{self.path} cannot be read: {err}.") from err

    def next(self) -> bytes:
        line, self._again = self._again, None
        if line is None:
            line = next(self._lines, None)
        if line is None:
            raise InputError(f"{self.path} ends after line {self.number}, too early.", hint="Copy the file again.")
        return line

    def put_back(self, line: bytes) -> None:
        self._again = line

    def expect(self, text: str) -> None:
        if (found := self.next()) != text.encode():
            raise self.error(f"'{found[:40].decode(errors='replace')}' stands where '{text}' belongs")

    def error(self, what: str) -> InputError:
        return InputError(f"{self.path}, line {self.number}: {what}.", hint="Use a language model in ARPA format.")


def _header(lines: _Lines) -> list[int]:
    """Numbers of n-grams by order."""
    lines.expect("\\data\\")
    counts: list[int] = []
    while (line := lines.next()).startswith(b"ngram"):
        name, _, count = line.partition(b"=")
        if name.split() != [b"ngram", b"%d" % (len(counts) + 1)] or not count.strip().isdigit():
            raise lines.error(f"'ngram {len(counts) + 1}=' and a count belong here")
        counts.append(int(count))
    lines.put_back(line)
    if not counts:
        raise lines.error("'ngram 1=' and a count belong here")
    return counts


def _read_order(lines: _Lines, tables: NgramTables, k: int, count: int) -> NgramTables:
    """The tables with the section of n-grams of order k."""
    lines.expect(f"\\{k}-grams:")
    ids = {word.encode(): id_ for id_, word in enumerate(tables.words)}
    if UNKNOWN in tables.words:
        ids[b"<UNK>"] = ids[UNKNOWN.encode()]
    flat, numbers = array("i"), (array("f"), array("f"))
    for _ in range(count):
        fields = lines.next().split()
        if not k < len(fields) < k + 3:
            raise lines.error(f"a probability, {k} words and maybe a back-off weight belong here")
        words = fields[1 : k + 1]
        try:
            numbers[0].append(float(fields[0]) * _NATURAL)
            numbers[1].append(float(fields[-1]) * _NATURAL if len(fields) > k + 1 else 0.0)
            flat.extend([ids.setdefault(words[0], len(ids))] if k == 1 else [ids[word] for word in words])
        except ValueError as err:
            raise lines.error("a probability or a back-off weight is not a number") from err
        except KeyError as err:
            raise lines.error(f"{err.args[0].decode(errors='replace')!r} is not among the 1-grams") from err
    rows_NK = np.frombuffer(flat, dtype=np.int32).reshape(-1, k).astype(np.int64)
    log_probs_N, backoffs_N = (np.frombuffer(column, dtype=np.float32) for column in numbers)
    if k == 1:
        if len(ids) < count:
            raise lines.error("some 1-gram before this line is there twice")
        words_read = tuple(_word(word, lines) for word in ids)
        first = NgramOrder(keys_N=np.arange(count), log_probs_N=log_probs_N, backoffs_N=backoffs_N)
        return NgramTables(words=words_read, orders=(first,))
    return _longer(lines, tables, rows_NK, log_probs_N, backoffs_N)


def _longer(
    lines: _Lines,
    tables: NgramTables,
    rows_NK: npt.NDArray[np.int64],
    log_probs_N: npt.NDArray[np.float32],
    backoffs_N: npt.NDArray[np.float32],
) -> NgramTables:
    before_N = tables.places(rows_NK[:, :-1])
    for part, places_N in (("begin", before_N), ("end", tables.places(rows_NK[:, 1:]))):
        if (places_N < 0).any():
            example = " ".join(tables.words[id_] for id_ in rows_NK[int((places_N < 0).argmax())])
            raise lines.error(f"the shorter n-gram is missing that {example!r} {part}s with")
    keys_N = before_N * len(tables.words) + rows_NK[:, -1]
    order_N = np.argsort(keys_N, kind="stable")
    if (np.diff(keys_N[order_N]) == 0).any():
        raise lines.error("some n-gram before this line is there twice")
    order = NgramOrder(keys_N=keys_N[order_N], log_probs_N=log_probs_N[order_N], backoffs_N=backoffs_N[order_N])
    return NgramTables(words=tables.words, orders=(*tables.orders, order))


def _word(word: bytes, lines: _Lines) -> str:
    try:
        text = word.decode()
    except UnicodeDecodeError as err:
        raise lines.error(f"the word {word!r} is not UTF-8") from err
    return UNKNOWN if text == "<UNK>" else text  # SRILM's spelling
