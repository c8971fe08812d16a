"""Utterances packed into windows of a fixed length, as a pure function of (seed, epoch, step, rank).

A model that reads windows of 30 s, as Whisper does, spends most of its time on padding when each short utterance has a
window of its own. Here every window holds several, joined end to end.

The windows are slots, fitted together once: best-fit decreasing (Johnson 1974) by duration, with a bound on the tokens
of a window. A slot is as large as the largest of a few utterances of similar duration, and in each epoch these are
dealt to their slots anew. So every epoch has the same windows with other company in them, nothing can overflow, and any
step of any epoch is answered without looking at another.
"""

import hashlib
from bisect import bisect_left, insort
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harken.core import InputError, derive_seed
from harken.data.sampler import Sampler, permute

SIMILAR = 8  # utterances that share their slots, at most
_SIMILARITY = 0.95  # the shortest of them by the longest, at least: beyond that their slots would waste too much
_TRIED = 50  # windows looked at for a slot whose tokens do not fit into the best one


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """What each utterance takes of a window: seconds and tokens at most, and what only its like may share it with.

    `kind` is for example the language, where a window is transcribed in one.
    """

    durations_s: npt.NDArray[np.float64]
    tokens: npt.NDArray[np.int64]
    kinds: Sequence[Hashable]


class PackedSampler(Sampler):
    """Which utterances share which windows, and which windows make up each step.

    In one epoch every utterance comes exactly once, on exactly one rank. Windows of one epoch are dealt into
    ceil(windows / (world_size * batch_size)) steps whose sizes differ by at most one, each shared out among the ranks.
    """

    def __init__(
        self,
        sizes: Sizes,
        *,
        window_s: float,
        longest_tokens: int,
        batch_size: int,
        seed: int,
        world_size: int = 1,
        rank: int = 0,
    ) -> None:
        """`batch_size` is in windows of one rank. Raises InputError for an utterance that fits no window."""
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; use 1 or more windows")
        if not 0 <= rank < world_size:
            raise ValueError(f"rank is {rank} of {world_size}; use 0 to below world_size")
        self.window_s, self.longest_tokens = window_s, longest_tokens
        self.batch_size, self.seed, self.world_size, self.rank = batch_size, int(seed), world_size, rank
        self._sizes = sizes
        self._check()
        self._sharers = _sharers(sizes)
        self._windows = self._fit()

    def _check(self) -> None:
        sizes = self._sizes
        if not len(sizes.durations_s):
            raise InputError("There are no utterances to pack.", hint="Check that the manifest is not empty.")
        for what, values, bound in (
            ("s", sizes.durations_s, self.window_s),
            ("tokens", sizes.tokens, self.longest_tokens),
        ):
            beyond = np.flatnonzero(~(values <= bound))
            if beyond.size:
                raise InputError(
                    f"Utterance number {beyond[0]} takes {values[beyond[0]]:g} {what} of a window of {bound:g}.",
                    hint="Leave it out, or cut it into pieces.",
                )

    def _fit(self) -> list[list[tuple[int, int]]]:
        """Windows as lists of slots, each (group of sharers, place in it)."""
        windows: list[list[tuple[int, int]]] = []
        slots = [
            (float(self._sizes.durations_s[group].max()), int(self._sizes.tokens[group].max()), number)
            for number, group in enumerate(self._sharers)
        ]
        kinds = [self._sizes.kinds[int(group[0])] for group in self._sharers]
        for kind in dict.fromkeys(kinds):
            chosen = sorted((slot for slot in slots if kinds[slot[2]] == kind), reverse=True)
            windows += _best_fit(chosen, self._sharers, window_s=self.window_s, longest_tokens=self.longest_tokens)
        return windows

    @property
    def utterances(self) -> int:
        return len(self._sizes.durations_s)

    @property
    def windows(self) -> int:
        """Windows of one epoch."""
        return len(self._windows)

    @property
    def steps_per_epoch(self) -> int:
        return -(-len(self._windows) // (self.batch_size * self.world_size))

    def items(self, epoch: int, step: int) -> list[list[int]]:
        """The windows this rank takes at `step` of `epoch`, each the indices of its utterances in their order."""
        if not 0 <= step < self.steps_per_epoch:
            raise ValueError(f"step is {step}; use 0 to {self.steps_per_epoch - 1}, the steps of an epoch")
        count, steps = len(self._windows), self.steps_per_epoch
        positions = np.arange(step * count // steps + self.rank, (step + 1) * count // steps, self.world_size)
        numbers = permute(positions, count, self._key(epoch, "windows", 0))
        return [self._filled(epoch, number) for number in numbers.tolist()]

    def _filled(self, epoch: int, number: int) -> list[int]:
        slots = self._windows[number]
        order = permute(np.arange(len(slots)), len(slots), self._key(epoch, "order", number))
        return [self._holder(epoch, *slots[place]) for place in order.tolist()]

    def _holder(self, epoch: int, group: int, place: int) -> int:
        members = self._sharers[group]
        chosen = permute(np.array([place]), len(members), self._key(epoch, "slots", group))
        return int(members[chosen[0]])

    def bucket(self, epoch: int, step: int) -> int:
        """0: all windows are of one size."""
        return 0

    def padding_share(self, epoch: int = 0) -> float:
        return 1.0 - float(self._sizes.durations_s.sum()) / (len(self._windows) * self.window_s)

    def identity(self) -> dict[str, object]:
        sizes = self._sizes
        kinds = {kind: number for number, kind in enumerate(dict.fromkeys(sizes.kinds))}
        table = np.stack([sizes.durations_s, sizes.tokens, [kinds[kind] for kind in sizes.kinds]])
        return {
            "seed": self.seed,
            "world_size": self.world_size,
            "window_s": self.window_s,
            "longest_tokens": self.longest_tokens,
            "batch_size": self.batch_size,
            "utterances": self.utterances,
            "sizes_sha256": hashlib.sha256(table.astype("<f8").tobytes()).hexdigest(),
        }

    def _key(self, epoch: int, purpose: str, number: int) -> int:
        return derive_seed("packed-sampler", self.seed, int(epoch), purpose, int(number))


def _sharers(sizes: Sizes) -> list[npt.NDArray[np.int64]]:
    """Utterances of one kind and similar duration, up to `SIMILAR` at a time; together they are all."""
    groups: list[npt.NDArray[np.int64]] = []
    number_of = {kind: number for number, kind in enumerate(dict.fromkeys(sizes.kinds))}
    kinds = np.array([number_of[kind] for kind in sizes.kinds])
    for kind in range(len(number_of)):
        members = np.flatnonzero(kinds == kind)
        ordered = members[np.lexsort((members, -sizes.durations_s[members]))]
        start = 0
        while start < len(ordered):
            durations_s = sizes.durations_s[ordered[start : start + SIMILAR]]
            end = start + int((durations_s >= _SIMILARITY * durations_s[0]).sum())
            groups.append(ordered[start:end])
            start = end
    return groups


def _best_fit(
    slots: Sequence[tuple[float, int, int]],
    sharers: Sequence[npt.NDArray[np.int64]],
    *,
    window_s: float,
    longest_tokens: int,
) -> list[list[tuple[int, int]]]:
    """Windows of slots (seconds, tokens, group), longest first: each goes where the least room is left over."""
    windows: list[list[tuple[int, int]]] = []
    left: list[tuple[float, int]] = []  # (seconds, window), ascending
    tokens: list[int] = []
    for seconds, count, group in slots:
        for place in range(len(sharers[group])):
            at = _place_for(left, tokens, seconds, count, longest_tokens)
            if at is None:
                number, room_s = len(windows), window_s
                windows.append([])
                tokens.append(0)
            else:
                room_s, number = left.pop(at)
            windows[number].append((group, place))
            tokens[number] += count
            insort(left, (room_s - seconds, number))
    return windows


def _place_for(
    left: Sequence[tuple[float, int]], tokens: Sequence[int], seconds: float, count: int, longest_tokens: int
) -> int | None:
    first = bisect_left(left, (seconds, -1))
    for at in range(first, min(len(left), first + _TRIED)):
        if tokens[left[at][1]] + count <= longest_tokens:
            return at
    return None
