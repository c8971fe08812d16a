"""References that allow several readings at one place: NIST alternations, as in `i { uh / @ } think { it's / it is }`.

`/` parts the readings, `@` is the empty one, and a reading may hold further braces. Such a reference is a network of
words. The cheapest of all its paths is found together with the alignment, under the costs and tie rules of `lattice`;
an empty reading costs a thousandth of an error, as in sclite (SCTK, src/sclite/word.c and net_dp.c), and of equally
good predecessors the one that is written first is taken.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harken.core import InputError
from harken.evaluation.scoring.encode import Ids
from harken.evaluation.scoring.lattice import CORRECT, DELETED, INSERTED, SUBSTITUTED, Codes, Costs

LARGEST_NETWORK_CELLS = 1 << 26
"""Words of a network times words of its hypothesis: 256 MiB."""

NOTHING = -1
"""Stands for a word in an empty reading."""

_TOKENS = re.compile(r"[{}/]|[^\s{}/]+")
_THOUSAND = 1000


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of words in a reference, and the pieces it may follow, by index; -1 is the beginning."""

    text: str
    after: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Pieces:
    """A reference with alternations, cut where readings part and meet: its pieces in order, and the last ones."""

    pieces: tuple[Piece, ...]
    last: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Network:
    """A reference as a network of words, numbered from 1; node 0 is the beginning.

    Node n holds word `ids[n - 1]` (or NOTHING) and may follow the nodes `after[n - 1]`; a path ends in one of `last`.
    """

    ids: tuple[int, ...]
    after: tuple[tuple[int, ...], ...]
    last: tuple[int, ...]


def has_alternations(text: str) -> bool:
    """Whether a reference has to be parsed: it holds a brace, or the sign of an empty reading."""
    return "{" in text or "}" in text or "@" in text


def parse_alternations(text: str, name: str) -> Pieces:
    """Cut a reference into its pieces. Outside of braces `/` is a letter like others.

    Raises InputError for braces that do not match and for a reading without words or `@`; `name` says which
    reference it was.
    """
    pieces: list[Piece] = []
    words: list[str] = []
    current: tuple[int, ...] = (-1,)
    open_: list[tuple[tuple[int, ...], list[int]]] = []  # where the readings start; where those read so far end
    fresh = False  # whether a reading has just begun

    def close_run() -> None:
        nonlocal current
        if words:
            pieces.append(Piece(" ".join(words), current))
            current = (len(pieces) - 1,)
            words.clear()

    for token in _tokens(text):
        if token == "{":
            close_run()
            open_.append((current, []))
        elif token in ("/", "}") and open_:
            close_run()
            if fresh:
                raise _bad(name, text, "has a reading without words", "Write @ for an empty reading.")
            start, ends = open_[-1]
            ends.extend(current)
            current = start
            if token == "}":
                open_.pop()
                current = tuple(ends)
        elif token == "}":
            raise _bad(name, text, "closes a brace that is not open", "Braces mark alternations, { a / b }.")
        elif token == "@":
            close_run()
            pieces.append(Piece("", current))
            current = (len(pieces) - 1,)
        else:
            words.append(token)
        fresh = token == "{" or (token == "/" and bool(open_))
    close_run()
    if open_:
        raise _bad(name, text, "leaves a brace open", "Braces mark alternations, { a / b }.")
    return Pieces(tuple(pieces), current)


def _tokens(text: str) -> list[str]:
    """Words, braces and the slashes inside braces."""
    tokens: list[str] = []
    depth = 0
    for part in re.split(r"([{}])", text):
        depth += (part == "{") - (part == "}")
        tokens += _TOKENS.findall(part) if depth > 0 else part.split()
    return tokens


def _bad(name: str, text: str, what: str, hint: str) -> InputError:
    shown = text if len(text) <= 120 else text[:117] + "..."
    return InputError(f"The reference of {name!r} {what}: {shown!r}.", hint=hint)


def connect(parsed: Pieces, runs: Sequence[Sequence[int]]) -> Network:
    """The network of a parsed reference, given the word ids of each piece after normalisation."""
    ids: list[int] = []
    after: list[tuple[int, ...]] = []
    ends: dict[int, int] = {-1: 0}
    for index, (piece, run) in enumerate(zip(parsed.pieces, runs, strict=True)):
        before = tuple(ends[other] for other in piece.after)
        for id_ in run or (NOTHING,):  # words may vanish in normalisation
            ids.append(id_)
            after.append(before)
            before = (len(ids),)
        ends[index] = len(ids)
    return Network(tuple(ids), tuple(after), tuple(ends[index] for index in parsed.last))


def align_network(network: Network, hypothesis_J: Ids, costs: Costs) -> tuple[list[int], Codes]:
    """Word ids of the best path, and the operations that turn it into the hypothesis."""
    cells = (len(network.ids) + 1) * (len(hypothesis_J) + 1)
    if cells > LARGEST_NETWORK_CELLS:
        raise InputError(
            f"A reference of {len(network.ids):,} words with alternations and a hypothesis of {len(hypothesis_J):,} "
            "words are too long to align.",
            hint="Cut the recording into utterances and score those.",
        )
    # Empty readings only decide between paths of equal cost.
    unit = max(_THOUSAND, network.ids.count(NOTHING) + 1)
    gap, substitution = unit * costs.gap, unit * costs.substitution
    lattice_NJ = _fill(network, hypothesis_J, gap, substitution)
    return _trace(lattice_NJ, network, hypothesis_J.tolist(), gap, substitution)


def _fill(network: Network, hypothesis_J: Ids, gap: int, substitution: int) -> npt.NDArray[np.signedinteger]:
    """(nodes + 1, words + 1) cheapest cost from the beginning, less `gap` for every word of the hypothesis."""
    nodes, columns = len(network.ids) + 1, len(hypothesis_J) + 1
    kind = np.int32 if gap * (nodes + columns) < np.iinfo(np.int32).max else np.int64
    lattice_NJ = np.zeros((nodes, columns), dtype=kind)
    for node, (id_, after) in enumerate(zip(network.ids, network.after, strict=True), start=1):
        above_J = lattice_NJ[after[0]] if len(after) == 1 else lattice_NJ[list(after)].min(axis=0)
        here_J = lattice_NJ[node]
        if id_ == NOTHING:
            np.add(above_J, 1, out=here_J)
        else:
            np.add(above_J, gap, out=here_J)
            diagonal_J = (hypothesis_J != id_) * kind(substitution)
            diagonal_J += above_J[:-1]
            diagonal_J -= kind(gap)
            np.minimum(here_J[1:], diagonal_J, out=here_J[1:])
        np.minimum.accumulate(here_J, out=here_J)
    return lattice_NJ


def _trace(
    lattice_NJ: npt.NDArray[np.signedinteger], network: Network, hypothesis: list[int], gap: int, substitution: int
) -> tuple[list[int], Codes]:
    """Read the path from its end; the tie rules are those of `lattice`."""
    words: list[int] = []
    codes = bytearray()
    j = len(hypothesis)
    node = _cheapest(lattice_NJ, network.last, j)
    while node > 0 or j > 0:
        if node == 0:
            codes.append(INSERTED)
            j -= 1
            continue
        here, id_, after = int(lattice_NJ[node, j]), network.ids[node - 1], network.after[node - 1]
        if j > 0 and id_ != NOTHING:
            same = hypothesis[j - 1] == id_
            corner = _cheapest(lattice_NJ, after, j - 1)
            if int(lattice_NJ[corner, j - 1]) + (0 if same else substitution) - gap == here:
                codes.append(CORRECT if same else SUBSTITUTED)
                words.append(id_)
                node, j = corner, j - 1
                continue
        if j == 0 or here < lattice_NJ[node, j - 1]:
            if id_ != NOTHING:
                codes.append(DELETED)
                words.append(id_)
            node = _cheapest(lattice_NJ, after, j)
        else:
            codes.append(INSERTED)
            j -= 1
    return words[::-1], np.frombuffer(bytes(codes), dtype=np.uint8)[::-1]


def _cheapest(lattice_NJ: npt.NDArray[np.signedinteger], nodes: tuple[int, ...], j: int) -> int:
    """Of some nodes the one of the lowest cost in a column; the first of several."""
    return nodes[0] if len(nodes) == 1 else min(nodes, key=lambda node: int(lattice_NJ[node, j]))
