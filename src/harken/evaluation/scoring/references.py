"""References in the form a scorer works on: encoded once, with alternatives, for any number of systems."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from harken.evaluation.scoring.alignment import align_encoded
from harken.evaluation.scoring.encode import EncodedTexts, Offsets, WordTable, take
from harken.evaluation.scoring.lattice import CORRECT, Codes, Costs
from harken.evaluation.scoring.networks import (
    Network,
    Pieces,
    align_network,
    connect,
    has_alternations,
    parse_alternations,
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EncodedReferences:
    """One or more candidates for every utterance, those of one utterance together and in the order given.

    Candidate n is text n, or network n where there is one (its text is empty then). `owners` is (candidates,) the
    utterance each belongs to; None where every utterance has one plain text.
    """

    texts: EncodedTexts
    owners: Offsets | None = None
    networks: Mapping[int, Network] | None = None


def encode_references(
    references: Mapping[str, str | Sequence[str]], table: WordTable, *, alternations: bool = False
) -> EncodedReferences:
    """Normalise references; each is a text, or several of which any may be matched.

    With `alternations`, braces within a text mark alternations; see `networks`. Every reading is normalised alone.

    Raises InputError for braces that do not match.
    """
    plain = all(isinstance(texts, str) for texts in references.values())
    if plain and not (alternations and any(map(has_alternations, references.values()))):  # type: ignore[arg-type]
        return EncodedReferences(texts=table.encode(references.values()))  # type: ignore[arg-type]
    candidates: list[str] = []
    owners: list[int] = []
    parsed: dict[int, Pieces] = {}
    for owner, (id_, texts) in enumerate(references.items()):
        for text in (texts,) if isinstance(texts, str) else texts:
            if alternations and has_alternations(text):
                parsed[len(candidates)] = parse_alternations(text, id_)
                text = ""
            candidates.append(text)
            owners.append(owner)
    return EncodedReferences(
        texts=table.encode(candidates),
        owners=np.array(owners, dtype=np.int64),
        networks=_encode_networks(parsed, table),
    )


def _encode_networks(parsed: Mapping[int, Pieces], table: WordTable) -> dict[int, Network]:
    runs = table.encode([piece.text for pieces in parsed.values() for piece in pieces.pieces])
    networks: dict[int, Network] = {}
    done = 0
    for candidate, pieces in parsed.items():
        ends = runs.offsets[done : done + len(pieces.pieces) + 1].tolist()
        ids = runs.ids[ends[0] : ends[-1]].tolist()
        networks[candidate] = connect(pieces, [ids[start - ends[0] : end - ends[0]] for start, end in pairwise(ends)])
        done += len(pieces.pieces)
    return networks


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AlignedReferences:
    """The readings that were chosen, and their alignment with the hypotheses, as in `CorpusAlignment`.

    `alternatives` is (utterances,) which of its references each utterance was scored against, from 0; None where
    every utterance has one.
    """

    texts: EncodedTexts
    codes: Codes
    offsets: Offsets
    alternatives: npt.NDArray[np.int64] | None = None


def align_references(references: EncodedReferences, hypotheses: EncodedTexts, costs: Costs) -> AlignedReferences:
    """Align hypothesis n with the reference n that gives the fewest errors; of several such, the first."""
    if references.owners is None:
        codes, offsets = align_encoded(references.texts, hypotheses, costs)
        return AlignedReferences(texts=references.texts, codes=codes, offsets=offsets)
    owners = references.owners
    texts, aligned = _align_candidates(references, take(hypotheses, owners), costs)
    wrong = np.concatenate(([0], np.cumsum(aligned.ids != CORRECT)))
    errors = np.diff(wrong[aligned.offsets])
    places = np.arange(len(owners))
    order = np.lexsort((places, errors, owners))
    _, firsts = np.unique(owners, return_index=True)
    chosen = order[firsts]  # candidates of one owner are neighbours before and after sorting
    kept = take(aligned, chosen)
    several = len(owners) > len(firsts)
    return AlignedReferences(
        texts=take(texts, chosen),
        codes=kept.ids.astype(np.uint8),
        offsets=kept.offsets,
        alternatives=chosen - firsts if several else None,
    )


def _align_candidates(
    references: EncodedReferences, hypotheses: EncodedTexts, costs: Costs
) -> tuple[EncodedTexts, EncodedTexts]:
    """The texts of all candidates, with the best path of each network; and their codes, in the form of texts."""
    networks = references.networks or {}
    of_networks = np.array(sorted(networks), dtype=np.int64)
    plain = np.setdiff1d(np.arange(len(references.texts)), of_networks)
    plain_texts = take(references.texts, plain)
    codes, offsets = align_encoded(plain_texts, take(hypotheses, plain), costs)
    paths = [
        align_network(networks[n], hypotheses.ids[hypotheses.offsets[n] : hypotheses.offsets[n + 1]], costs)
        for n in of_networks.tolist()
    ]
    back = np.argsort(np.concatenate((plain, of_networks)))
    texts = _join(plain_texts, [np.array(words, dtype=np.int32) for words, _ in paths])
    joined = _join(EncodedTexts(codes.astype(np.int32), offsets), [path.astype(np.int32) for _, path in paths])
    return take(texts, back), take(joined, back)


def _join(texts: EncodedTexts, more: Sequence[npt.NDArray[np.int32]]) -> EncodedTexts:
    lengths = np.fromiter(map(len, more), np.int64, len(more))
    return EncodedTexts(
        np.concatenate([texts.ids, *more]), np.concatenate((texts.offsets, texts.offsets[-1] + np.cumsum(lengths)))
    )
