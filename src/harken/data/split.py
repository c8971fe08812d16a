"""Parts of a data set (train, val, test) that share no speaker, recording or utterance.

Order comes from a hash of each group's name and the seed, never from the input's order. Each part is a stretch of that
order, so when data is added later the stretches shift a little and few utterances change sides.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import PurePath
from typing import Literal

from harken.core import InputError, Utterance, derive_seed

SplitBy = Literal["speaker", "recording", "utterance"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Named parts, each in the order of the input; `left_over` is what no part asked for."""

    parts: Mapping[str, tuple[Utterance, ...]]
    left_over: tuple[Utterance, ...] = ()


def split_by_ratio(
    utterances: Iterable[Utterance], ratios: Mapping[str, float], *, by: SplitBy = "speaker", seed: int = 0
) -> Split:
    """Divide utterances into parts of about these shares, as {"train": 0.8, "val": 0.1, "test": 0.1}.

    The shares count utterances and are scaled to add up to 1. `by` names what may not be in two parts; with
    "recording" the file stands in for a recording without name. Whole speakers and recordings go to one part, so the
    shares are only as near as those allow, and every part gets at least one. Single utterances (`by="utterance"`) are
    divided however few there are; the last parts may then be empty.

    Raises InputError for shares that are not positive, for utterances without speaker (`by="speaker"`), and for fewer
    speakers or recordings than parts.
    """
    items = list(utterances)
    _check_parts(ratios, "share")
    parts = _divide(items, ratios, by, seed)
    return Split(parts={name: tuple(items[index] for index in sorted(part)) for name, part in parts.items()})


def split_by_count(
    utterances: Iterable[Utterance], counts: Mapping[str, int], *, by: SplitBy = "utterance", seed: int = 0
) -> Split:
    """Parts of at most these numbers of utterances, as {"train": 2000, "val": 400}; the others are left over.

    A set smaller than asked for is used up in the order of `counts`: train gets min(2000, all), val what remains up to
    400. By speaker or recording, groups are first divided in proportion to the counts, then each part is cut to its
    number. Raises InputError like `split_by_ratio`.
    """
    items = list(utterances)
    _check_parts(counts, "number")
    if by == "utterance":
        order = _hash_order([item.id for item in items], seed)
        ends = [min(end, len(order)) for end in accumulate(counts.values())]
        chosen = {name: order[start:end] for name, start, end in zip(counts, [0, *ends[:-1]], ends, strict=True)}
    else:
        parts = _divide(items, counts, by, seed)
        chosen = {}
        for name, part in parts.items():
            order = _hash_order([items[index].id for index in part], seed)
            chosen[name] = [part[position] for position in order[: counts[name]]]
    used = {index for part in chosen.values() for index in part}
    return Split(
        parts={name: tuple(items[index] for index in sorted(part)) for name, part in chosen.items()},
        left_over=tuple(item for index, item in enumerate(items) if index not in used),
    )


def split_by_tag(utterances: Iterable[Utterance], *, tag: str = "split") -> Split:
    """The parts a corpus came with: one for each value of the tag; utterances without it are left over."""
    parts: dict[str, list[Utterance]] = {}
    left_over = []
    for utterance in utterances:
        if tag in utterance.tags:
            parts.setdefault(utterance.tags[tag], []).append(utterance)
        else:
            left_over.append(utterance)
    return Split(parts={name: tuple(part) for name, part in parts.items()}, left_over=tuple(left_over))


def _check_parts(sizes: Mapping[str, float], word: str) -> None:
    if not sizes:
        raise InputError("The split names no parts.", hint="Name them with a size each, as train=0.9 val=0.1.")
    for name, size in sizes.items():
        if not 0 < size < float("inf"):
            raise InputError(f"The {word} of {name!r} is {size}.", hint=f"Use a {word} above 0, or leave the part out.")


def _divide(items: Sequence[Utterance], sizes: Mapping[str, float], by: SplitBy, seed: int) -> dict[str, list[int]]:
    """Part to indices of its utterances, in proportion to `sizes`."""
    groups: dict[str, list[int]] = {}
    for index, item in enumerate(items):
        groups.setdefault(_group(item, by), []).append(index)
    names = list(groups)
    if by != "utterance" and len(names) < len(sizes):
        other = "recording or by utterance" if by == "speaker" else "utterance"
        raise InputError(
            f"There {'is' if len(names) == 1 else 'are'} {len(names)} {by}{'' if len(names) == 1 else 's'} for "
            f"{len(sizes)} parts, and no {by} may be in two.",
            hint=f"Split by {other}, or ask for fewer parts.",
        )
    order = [names[position] for position in _hash_order(names, seed)]
    filled = list(accumulate((len(groups[name]) for name in order), initial=0))
    cuts = _cuts(filled, list(sizes.values()))
    return {
        part: [index for name in order[start:end] for index in groups[name]]
        for part, start, end in zip(sizes, cuts, cuts[1:], strict=False)
    }


def _cuts(filled: list[int], sizes: list[float]) -> list[int]:
    """Where the parts begin and end among the groups: each cut where the sum of group sizes is nearest to its target.

    `filled[n]` is how many utterances the first n groups have. Every part gets a group while there are enough.
    """
    groups, parts = len(filled) - 1, len(sizes)
    cuts = [0]
    for number, share in enumerate(accumulate(sizes), 1):
        target = filled[-1] * share / sum(sizes)
        low = min(cuts[-1] + 1, groups)
        high = max(groups - (parts - number), low)
        cuts.append(min(range(low, high + 1), key=lambda cut: (abs(filled[cut] - target), cut)))
    return cuts


def _group(utterance: Utterance, by: SplitBy) -> str:
    if by == "utterance":
        return utterance.id
    if by == "recording":  # of a file only the name counts, so that moving the folder changes nothing
        return utterance.recording or PurePath(utterance.audio.rpartition("!")[2]).name
    if utterance.speaker is None:
        raise InputError(
            f"The utterance {utterance.id!r} has no speaker.", hint="Split by recording or by utterance instead."
        )
    return utterance.speaker


def _hash_order(names: Sequence[str], seed: int) -> list[int]:
    """Positions of the names in the order of their keyed hashes."""
    return sorted(range(len(names)), key=lambda index: (derive_seed(seed, "split", names[index]), names[index]))
