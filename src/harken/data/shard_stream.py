"""Reading shards from front to back in a shuffled order that is a pure function of (seed, epoch, position).

The shards of an epoch are shuffled and read a few at a time, interleaved in proportion to their lengths; that gives a
line of utterances in which every file is read forward. Two rounds of shuffling within blocks follow, the second with
blocks shifted by half. So an utterance can move 1.5 blocks, no more than that has to be in memory, and what comes at a
position follows from arithmetic: resuming needs no record of a buffer and nothing has to be drawn again from the start.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
import numpy.typing as npt

from harken.core import InputError, Utterance, keyed_generator
from harken.data.shard_index import member_table, read_at, split_tar_name

Indices = npt.NDArray[np.int64]


class ShardOrder:
    """Which utterance comes at which position: arithmetic alone, no files.

    `shard_of[i]` is the shard (0, 1, ...) of utterance i; within a shard, utterances are read in the given order.
    """

    def __init__(self, shard_of: npt.ArrayLike, *, seed: int, buffer: int = 1000, interleave: int = 4) -> None:
        """`buffer` is the block length in utterances, `interleave` how many shards are read at a time."""
        for name, value in (("buffer", buffer), ("interleave", interleave)):
            if value < 1:
                raise InputError(f"{name} is {value}.", hint="Use 1 or more.")
        shards = np.asarray(shard_of, dtype=np.int64)
        if shards.ndim != 1 or not len(shards):
            raise InputError("There are no utterances to put in order.", hint="Give at least one.")
        self.seed, self.buffer, self.interleave = int(seed), int(buffer), int(interleave)
        self._by_shard = np.argsort(shards, kind="stable")
        self._counts = np.bincount(shards)
        self._starts = np.concatenate([[0], np.cumsum(self._counts)])
        self._line_of_epoch = lru_cache(maxsize=2)(self._groups)
        self._group = lru_cache(maxsize=4)(self._interleaved)

    def __len__(self) -> int:
        return len(self._by_shard)

    def at(self, epoch: int, start: int, stop: int) -> Indices:
        """The utterances at positions start to stop of an epoch; costs O(stop - start + buffer + a few shards)."""
        return self.in_line(epoch, self.line_positions(epoch, start, stop))

    def line_positions(self, epoch: int, start: int, stop: int) -> Indices:
        """For each position, where in the line (the order of reading) its utterance stands."""
        size, half = self.buffer, self.buffer // 2
        result = np.empty(stop - start, dtype=np.int64)
        at = start
        while at < stop:
            block = 0 if at < half else 1 + (at - half) // size
            low = 0 if block == 0 else half + (block - 1) * size
            high = min(half + block * size, len(self))
            shuffled = low + keyed_generator("shards, second round", self.seed, epoch, block).permutation(high - low)
            end = min(high, stop)
            result[at - start : end - start] = shuffled[at - low : end - low]
            at = end
        return self._first_round(epoch, result)

    def _first_round(self, epoch: int, positions: Indices) -> Indices:
        result = np.empty_like(positions)
        blocks = positions // self.buffer
        for block in np.unique(blocks).tolist():
            low = block * self.buffer
            count = min(self.buffer, len(self) - low)
            shuffled = low + keyed_generator("shards, first round", self.seed, epoch, block).permutation(count)
            chosen = blocks == block
            result[chosen] = shuffled[positions[chosen] - low]
        return result

    def in_line(self, epoch: int, line_positions: Indices) -> Indices:
        """The utterances that stand at these places of the line."""
        order, starts = self._line_of_epoch(epoch)
        groups = np.searchsorted(starts, line_positions, side="right") - 1
        result = np.empty_like(line_positions)
        for group in np.unique(groups).tolist():
            shards = tuple(order[group * self.interleave : (group + 1) * self.interleave].tolist())
            chosen = groups == group
            result[chosen] = self._group(shards)[line_positions[chosen] - starts[group]]
        return result

    def _groups(self, epoch: int) -> tuple[Indices, Indices]:
        """The shards in this epoch's order, and where in the line each group of them begins."""
        order = keyed_generator("shards", self.seed, epoch).permutation(len(self._counts))
        ends = np.cumsum(self._counts[order])
        last = np.minimum(np.arange(self.interleave, len(order) + self.interleave, self.interleave), len(order)) - 1
        return order, np.concatenate([[0], ends[last]])[:-1]

    def _interleaved(self, shards: tuple[int, ...]) -> Indices:
        """Utterances of these shards merged, each shard spread evenly over the whole."""
        parts = [self._by_shard[self._starts[shard] : self._starts[shard + 1]] for shard in shards]
        places = np.concatenate([(np.arange(len(part)) + 0.5) / max(len(part), 1) for part in parts])
        return np.concatenate(parts)[np.argsort(places, kind="stable")]


class ShardStream:
    """(utterance, bytes of its audio file) one after another, in the order of `ShardOrder`; iterating goes through the
    rest of the current epoch, iterating again through the next.

    `state()` is small and taken between two utterances; `restore` of it in another process goes on with exactly the
    same utterances. Files are read forward, a block at a time; up to 1.5 blocks of audio are in memory.
    """

    def __init__(
        self, utterances: Sequence[Utterance], *, seed: int = 0, buffer: int = 1000, interleave: int = 4
    ) -> None:
        """`utterances` as read from the manifest of a folder of shards, or any selection of them.

        Raises InputError for an utterance that is not in a shard, a shard that is missing or lacks a member.
        """
        self._utterances = utterances
        names: dict[Path, int] = {}
        placed = [split_tar_name(utterance.audio) for utterance in utterances]
        shard_of = [names.setdefault(shard, len(names)) for shard, _ in placed]
        self._shards = list(names)
        self._shard_of = np.array(shard_of, dtype=np.int64)
        tables = [member_table(shard) for shard in self._shards]
        for utterance, shard, (_, name) in zip(utterances, shard_of, placed, strict=True):
            if name not in tables[shard]:
                raise InputError(f"{utterance.id!r}: {self._shards[shard]} has no member {name!r}.")
        self._places = [tables[shard][name] for shard, (_, name) in zip(shard_of, placed, strict=True)]
        # Forward in the file, whatever the order of the manifest.
        self._offsets = np.array([offset for offset, _ in self._places], dtype=np.int64)
        self.order = ShardOrder(shard_of, seed=seed, buffer=buffer, interleave=interleave)
        digest = hashlib.sha256("\n".join(f"{utterance.id}\t{name}" for utterance, (_, name) in
                                          zip(utterances, placed, strict=True)).encode())  # fmt: skip
        self._content = digest.hexdigest()[:16]
        self.epoch = self.position = 0

    def __iter__(self) -> Iterator[tuple[Utterance, bytes]]:
        order, held = self.order, dict[int, bytes]()
        with ExitStack() as files:
            handles: dict[int, IO[bytes]] = {}
            while self.position < len(order):
                stop = _block_end(self.position, order.buffer, len(order))
                wanted = order.line_positions(self.epoch, self.position, stop)
                # Read whole blocks of the line, less what earlier positions took: forward, each byte once.
                ahead = _block_end(stop, order.buffer, len(order))
                later = order.line_positions(self.epoch, stop, ahead)
                reach = wanted.max() // order.buffer
                needed = np.concatenate([wanted, later[later // order.buffer <= reach]])
                self._read(np.sort(needed), held, handles, files)
                for place, index in zip(wanted.tolist(), order.in_line(self.epoch, wanted).tolist(), strict=True):
                    self.position += 1
                    yield self._utterances[index], held.pop(place)
        self.epoch, self.position = self.epoch + 1, 0

    def _read(self, places: Indices, held: dict[int, bytes], handles: dict[int, IO[bytes]], files: ExitStack) -> None:
        missing = np.array([place for place in places.tolist() if place not in held], dtype=np.int64)
        if not len(missing):
            return
        indices = self.order.in_line(self.epoch, missing)
        by_file = np.lexsort((self._offsets[indices], self._shard_of[indices]))
        for place, index in zip(missing[by_file].tolist(), indices[by_file].tolist(), strict=True):
            shard = int(self._shard_of[index])
            if shard not in handles:
                handles[shard] = files.enter_context(open(self._shards[shard], "rb"))  # noqa: SIM115
            held[place] = read_at(handles[shard], self._places[index], self._utterances[index].audio)
        done = set(handles) - set(self._shard_of[indices].tolist())
        for shard in done:  # one that comes again is opened again
            handles.pop(shard).close()

    def state(self) -> dict[str, Any]:
        """Where the stream is, ready for JSON."""
        return {**self._identity(), "epoch": self.epoch, "position": self.position}

    def restore(self, state: Mapping[str, Any]) -> Self:
        """Go to where `state` was taken. Raises InputError where it is of other data or settings.

        Take up iteration anew afterwards; an iterator made before goes on from the new place with its old buffer.
        """
        for name, value in self._identity().items():
            if state.get(name) != value:
                raise InputError(
                    f"The state was taken with {name} {state.get(name)!r}, and this stream has {value!r}.",
                    hint="Resume with the same data and settings.",
                )
        epoch, position = state["epoch"], state["position"]
        if not (
            isinstance(epoch, int) and isinstance(position, int) and epoch >= 0 and 0 <= position <= len(self.order)
        ):
            raise InputError(f"The state says epoch {epoch!r}, position {position!r}.", hint="Use one `state()` gave.")
        self.epoch, self.position = epoch, position
        return self

    def _identity(self) -> dict[str, Any]:
        order = self.order
        return {
            "seed": order.seed, "buffer": order.buffer, "interleave": order.interleave, "content": self._content,
        }  # fmt: skip


def _block_end(position: int, buffer: int, count: int) -> int:
    """Where the block of the second round ends that `position` is in."""
    half = buffer // 2
    block = 0 if position < half else 1 + (position - half) // buffer
    return min(half + block * buffer, count)
