"""Duration-bucketed batches as a pure function of (seed, epoch, step, rank).

Utterances of similar duration share a bucket, each bucket has its own batch size, and every question about an epoch
("what is in step 100,000?") is answered by arithmetic: nothing is stored between steps, so resuming costs nothing and
no state can be lost. Two keyed permutations make an epoch: one over the members of each bucket, so that the company an
utterance keeps changes every epoch, and one over all batches of all buckets. Both can be evaluated for a few positions
without writing the rest down.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from harken.core import InputError, Strict, derive_seed

Order = Literal["shuffled", "short-first-epoch"]

_GRID_POINTS = 512  # candidate bucket edges
_LEAST_BATCHES_PER_BUCKET = 4  # below that, buckets end in many small batches
_LEAST_SHARE = 0.25  # of the mean bucket's duration, so that no bucket is a handful that always meets again
_SORTED_UP_TO = 2048  # positions; above it a Feistel network is both cheaper and random enough
_FEISTEL_ROUNDS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketPlan(Strict):
    """Duration buckets and the number of utterances one device takes at once from each.

    Bucket k holds durations in (edges_s[k-1], edges_s[k]], compared in single precision, the first one everything down
    to 0. `batch_sizes` are per rank: a step takes up to `world_size * batch_sizes[k]` utterances.
    """

    edges_s: tuple[float, ...]
    batch_sizes: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.edges_s:
            raise ValueError("edges_s is empty; give the upper edge of at least one bucket, in seconds")
        if len(self.edges_s) != len(self.batch_sizes):
            raise ValueError(
                f"batch_sizes is {len(self.batch_sizes)} long; use one size for each of the {len(self.edges_s)} edges_s"
            )
        lower = (0.0, *self.edges_s[:-1])
        if not all(low < edge < np.inf for low, edge in zip(lower, self.edges_s, strict=True)):
            raise ValueError(f"edges_s is {list(self.edges_s)}; use ascending upper edges in seconds, above 0")
        if min(self.batch_sizes) < 1:
            raise ValueError(f"batch_sizes is {list(self.batch_sizes)}; use 1 or more utterances for each bucket")


def plan_buckets(
    durations_s: npt.ArrayLike,
    *,
    buckets: int = 30,
    batch_seconds: float,
    max_batch_size: int | None = None,
    quadratic_s: float | None = None,
) -> BucketPlan:
    """The bucket edges that pad least, and the batch size each bucket's budget allows.

    `batch_seconds` is the budget of one device for one step, in seconds of padded audio. With `quadratic_s` = Q an
    utterance of d seconds counts d + d²/Q, the growth of attention (Q of 15 to 40 s fits Transformers; the law is the
    one of lhotse's time constraint). An utterance beyond the budget still gets a batch of one.

    Fewer than `buckets` are made where the data would not fill a few batches in each, or has fewer distinct durations.
    Edges are rounded up to milliseconds. Raises InputError for durations that are empty or not above 0.
    """
    if buckets < 1:
        raise ValueError(f"buckets is {buckets}; use 1 or more")
    if not 0 < batch_seconds < np.inf:
        raise ValueError(f"batch_seconds is {batch_seconds}; use seconds of audio per batch, above 0")
    if max_batch_size is not None and max_batch_size < 1:
        raise ValueError(f"max_batch_size is {max_batch_size}; use 1 or more, or leave it out")
    if quadratic_s is not None and not quadratic_s > 0:
        raise ValueError(f"quadratic_s is {quadratic_s}; use seconds above 0, or leave it out")
    sorted_s = np.sort(_checked_durations(durations_s))
    worth = float(_effective(sorted_s, quadratic_s).sum()) / batch_seconds / _LEAST_BATCHES_PER_BUCKET
    edges_s = _least_padding_edges(sorted_s, min(buckets, max(1, int(worth))))
    largest = sorted_s.size if max_batch_size is None else min(max_batch_size, sorted_s.size)
    fitting = np.clip(batch_seconds // _effective(edges_s, quadratic_s), 1, largest).astype(np.int64)
    return BucketPlan(edges_s=tuple(edges_s.tolist()), batch_sizes=tuple(fitting.tolist()))


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochOrder:
    """A whole epoch written out, for all ranks together.

    Step s takes `indices[starts[s]:starts[s + 1]]`, of which rank r of W gets every W-th from its r-th on.
    """

    indices: npt.NDArray[np.int64]  # (utterances,)
    starts: npt.NDArray[np.int64]  # (steps + 1,)
    buckets: npt.NDArray[np.int64]  # (steps,)


class Sampler(ABC):
    """Which items make up each step of each epoch, as a pure function. An epoch has the same number of steps always."""

    @property
    @abstractmethod
    def utterances(self) -> int:
        """Number of utterances, the length of an epoch."""

    @property
    @abstractmethod
    def steps_per_epoch(self) -> int:
        """Micro-batches in one epoch, the same number for every rank and every epoch."""

    @abstractmethod
    def items(self, epoch: int, step: int) -> Sequence[Any]:
        """What a batch is made of, an item for each row: an utterance's index, or those of several that share a row."""

    @abstractmethod
    def bucket(self, epoch: int, step: int) -> int:
        """Number of the group of similar size that every rank draws from at `step` of `epoch`."""

    @abstractmethod
    def padding_share(self, epoch: int = 0) -> float:
        """Share of the seconds processed in `epoch`, all ranks together, that are padding: 0 (none) to below 1."""

    @abstractmethod
    def identity(self) -> dict[str, object]:
        """What the order depends on, ready for JSON: a checkpoint keeps it, and a resume compares it."""

    def updates_per_epoch(self, accumulate: int) -> int:
        """Optimiser updates in one epoch when each takes up to `accumulate` consecutive micro-batches."""
        if accumulate < 1:
            raise ValueError(f"accumulate is {accumulate}; use 1 or more micro-batches per update")
        return -(-self.steps_per_epoch // accumulate)

    def update_steps(self, update: int, accumulate: int) -> range:
        """Micro-batches of an update, both counted from the start of training (`divmod` gives epoch and step).

        Updates do not cross the border of an epoch; the micro-batches of an epoch are dealt out evenly, so that sizes
        differ by at most one and no epoch ends in a very small update.
        """
        steps, updates = self.steps_per_epoch, self.updates_per_epoch(accumulate)
        if update < 0:
            raise ValueError(f"update is {update}; use 0 or more")
        epoch, number = divmod(update, updates)
        first = epoch * steps
        return range(first + number * steps // updates, first + (number + 1) * steps // updates)


class BucketSampler(Sampler):
    """Which utterances make up each step: a pure function of (seed, epoch, step, rank).

    In one epoch every utterance comes exactly once, on exactly one rank, and all ranks work on the same bucket at the
    same step. A bucket of n utterances is dealt into ceil(n / (world_size * batch_size)) batches whose sizes differ by
    at most one, instead of full ones and a remnant; each is shared out so that the ranks' parts differ by at most one
    too. A rank gets nothing in a step (an empty array) only where a bucket holds fewer utterances than there are ranks.

    The batch all ranks together take depends on `world_size * batch_size` alone: two devices with half the batch size
    see the same batches as one.

    With order "short-first-epoch", epoch 0 goes through the buckets from short to long (CTC leaves its plateau sooner
    on short utterances); later epochs are shuffled.
    """

    def __init__(
        self,
        durations_s: npt.ArrayLike,
        plan: BucketPlan,
        *,
        seed: int,
        world_size: int = 1,
        rank: int = 0,
        order: Order = "shuffled",
    ) -> None:
        """Sorts the durations once. Raises InputError for one that is not above 0 or is beyond the last bucket."""
        if world_size < 1:
            raise ValueError(f"world_size is {world_size}; use 1 or more")
        if not 0 <= rank < world_size:
            raise ValueError(f"rank is {rank}; use 0 to {world_size - 1}, below world_size")
        if order not in ("shuffled", "short-first-epoch"):
            raise ValueError(f"order is {order!r}; use 'shuffled' or 'short-first-epoch'")
        # Keys are told apart by how they print, and NumPy's integers print otherwise than Python's.
        self.plan, self.seed, self.world_size, self.rank, self.order = plan, int(seed), world_size, rank, order
        self._durations_s = _checked_durations(durations_s).astype(np.float32)
        self._by_length, sorted_s = _sort(self._durations_s)
        longest = int(self._by_length[-1])
        edges_s = np.array(plan.edges_s, dtype=np.float32)
        if sorted_s[-1] > edges_s[-1]:
            raise InputError(
                f"Utterance number {longest} lasts {self._durations_s[longest]:.3f} s, "
                f"and the last bucket ends at {plan.edges_s[-1]:.3f} s.",
                hint="Leave longer utterances out, or plan the buckets for this data.",
            )
        ends = np.searchsorted(sorted_s, edges_s, side="right")
        self._first = np.concatenate([[0], ends[:-1]]).astype(np.int64)  # (buckets,) where members begin in _by_length
        self._members = np.diff(ends, prepend=0).astype(np.int64)  # (buckets,)
        together = world_size * np.array(plan.batch_sizes, dtype=np.int64)
        self._batches = -(-self._members // together)  # (buckets,) rounded up
        self._batch_ends = np.cumsum(self._batches)

    @property
    def utterances(self) -> int:
        """Number of utterances, the length of an epoch."""
        return int(self._durations_s.size)

    @property
    def steps_per_epoch(self) -> int:
        """Micro-batches in one epoch, the same number for every rank and every epoch."""
        return int(self._batch_ends[-1])

    def batch(self, epoch: int, step: int) -> npt.NDArray[np.int64]:
        """Indices of the utterances this rank takes at `step` (0 to steps_per_epoch - 1) of `epoch`; may be empty."""
        return self._take(epoch, step, self.rank, self.world_size)

    def global_batch(self, epoch: int, step: int) -> npt.NDArray[np.int64]:
        """Indices of the utterances all ranks together take at `step` of `epoch`."""
        return self._take(epoch, step, 0, 1)

    def bucket(self, epoch: int, step: int) -> int:
        """Number of the bucket in `plan` that every rank draws from at `step` of `epoch`."""
        return self._locate(epoch, step)[0]

    def items(self, epoch: int, step: int) -> list[int]:
        """`batch` as the loader takes it."""
        indices: list[int] = self.batch(epoch, step).tolist()
        return indices

    def epoch_order(self, epoch: int) -> EpochOrder:
        """The whole of `epoch` at once: what calling `global_batch` for every step would give, much faster."""
        members = [
            self._by_length[first + permute(np.arange(count), count, self._key(epoch, "members", bucket))]
            for bucket, (first, count) in enumerate(zip(self._first.tolist(), self._members.tolist(), strict=True))
            if count
        ]
        bucket_of = np.repeat(np.arange(len(self._batches)), self._batches)
        number = np.arange(bucket_of.size) - (self._batch_ends - self._batches)[bucket_of]
        share = self._members[bucket_of], self._batches[bucket_of]
        begin = number * share[0] // share[1]
        sizes = (number + 1) * share[0] // share[1] - begin
        places = self._places(np.arange(bucket_of.size), epoch)
        starts = np.concatenate([[0], np.cumsum(sizes[places])])
        offsets = (self._first[bucket_of] + begin)[places] - starts[:-1]
        indices = np.concatenate(members)[np.repeat(offsets, sizes[places]) + np.arange(starts[-1])]
        return EpochOrder(indices=indices.astype(np.int64), starts=starts, buckets=bucket_of[places])

    def padding_share(self, epoch: int = 0) -> float:
        """Share of the seconds processed in `epoch`, all ranks together, that are padding: 0 (none) to below 1."""
        order = self.epoch_order(epoch)
        lengths_s = self._durations_s[order.indices].astype(np.float64)
        step = np.repeat(np.arange(order.buckets.size), np.diff(order.starts))
        part = step * self.world_size + (np.arange(step.size) - order.starts[step]) % self.world_size
        longest_s = np.zeros(order.buckets.size * self.world_size)
        np.maximum.at(longest_s, part, lengths_s)
        processed_s = float(longest_s @ np.bincount(part, minlength=longest_s.size))
        return 1.0 - float(lengths_s.sum()) / processed_s

    def identity(self) -> dict[str, object]:
        """What the order depends on, ready for JSON: a checkpoint keeps it, and a resume compares it."""
        return {
            "seed": self.seed,
            "world_size": self.world_size,
            "order": self.order,
            "edges_s": list(self.plan.edges_s),
            "batch_sizes": list(self.plan.batch_sizes),
            "utterances": self.utterances,
            "durations_sha256": hashlib.sha256(self._durations_s.astype("<f4").tobytes()).hexdigest(),
        }

    def _take(self, epoch: int, step: int, rank: int, ranks: int) -> npt.NDArray[np.int64]:
        bucket, number = self._locate(epoch, step)
        count, batches = int(self._members[bucket]), int(self._batches[bucket])
        positions = np.arange(number * count // batches + rank, (number + 1) * count // batches, ranks)
        members = permute(positions, count, self._key(epoch, "members", bucket))
        indices: npt.NDArray[np.int64] = self._by_length[self._first[bucket] + members].astype(np.int64)
        return indices

    def _locate(self, epoch: int, step: int) -> tuple[int, int]:
        """Bucket, and which of its batches."""
        if epoch < 0:
            raise ValueError(f"epoch is {epoch}; use 0 or more")
        if not 0 <= step < self.steps_per_epoch:
            raise ValueError(f"step is {step}; use 0 to {self.steps_per_epoch - 1}, the steps of an epoch")
        place = int(self._places(np.array([step]), epoch)[0])
        bucket = int(np.searchsorted(self._batch_ends, place, side="right"))
        return bucket, place - int(self._batch_ends[bucket] - self._batches[bucket])

    def _places(self, steps: npt.NDArray[np.int64], epoch: int) -> npt.NDArray[np.int64]:
        """For steps of an epoch, which batch of the bucket-by-bucket list comes there."""
        if self.order == "short-first-epoch" and epoch == 0:
            return steps
        return permute(steps, self.steps_per_epoch, self._key(epoch, "batches", 0))

    def _key(self, epoch: int, purpose: str, bucket: int) -> int:
        return derive_seed("bucket-sampler", self.seed, int(epoch), purpose, bucket)


def _checked_durations(durations_s: npt.ArrayLike) -> npt.NDArray[np.float64]:
    values = np.array(durations_s, dtype=np.float64)
    if values.ndim != 1 or values.size == 0:
        raise InputError(
            f"There are no utterances to sample from (durations have the shape {values.shape}).",
            hint="Check that the manifest is not empty.",
        )
    bad = np.flatnonzero(~((values > 0) & (values < np.inf)))
    if bad.size:
        raise InputError(f"Utterance number {bad[0]} has a duration of {values[bad[0]]} s.", hint="Validate the data.")
    return values


def _sort(durations_s: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.float32]]:
    """Indices by (duration, index), and the durations in that order.

    The bits of positive floats sort as integers; with the index below them no two keys are equal, so that the fastest
    sort is as good as a stable one (and takes a sixth of its time).
    """
    keys = durations_s.view(np.uint32).astype(np.uint64) << np.uint64(32)
    keys |= np.arange(keys.size, dtype=np.uint64)
    keys.sort()
    return keys.astype(np.uint32), (keys >> np.uint64(32)).astype(np.uint32).view(np.float32)


def _effective(seconds: npt.NDArray[np.float64], quadratic_s: float | None) -> npt.NDArray[np.float64]:
    return seconds if quadratic_s is None else seconds + seconds**2 / quadratic_s


def _least_padding_edges(sorted_s: npt.NDArray[np.float64], buckets: int) -> npt.NDArray[np.float64]:
    """Upper edges that minimise the sum over utterances of (edge of its bucket - its duration), no bucket very small.

    Optimal one-dimensional segmentation by dynamic programming (the recurrence of Bellman's 1961 curve approximation
    and Fisher's 1958 grouping), over candidate edges that cut the total duration into equal parts. Equal-duration
    edges themselves, the usual choice, pad up to a quarter more when batches are large.
    """
    total_s = np.cumsum(sorted_s)
    cuts = np.searchsorted(total_s, total_s[-1] * np.arange(1, _GRID_POINTS + 1) / _GRID_POINTS)
    grid = np.unique(np.ceil(np.append(sorted_s[np.minimum(cuts, sorted_s.size - 1)], sorted_s[-1]) * 1000) / 1000)
    below = np.searchsorted(sorted_s, grid, side="right")
    # cost[i, j]: padded seconds of a bucket that ends at candidate j and follows one that ends at candidate i.
    cost = np.where(np.tri(grid.size, dtype=bool), np.inf, (below[None, :] - below[:, None]) * grid[None, :])
    held_s = total_s[below - 1]
    fewest_s, forbidding = _LEAST_SHARE * total_s[-1] / buckets, 1e6 * total_s[-1]
    cost += forbidding * (held_s[None, :] - held_s[:, None] < fewest_s)
    least = below * grid + forbidding * (held_s < fewest_s)
    previous: list[npt.NDArray[np.int64]] = []
    for _ in range(min(buckets, grid.size) - 1):
        totals = least[:, None] + cost
        previous.append(totals.argmin(axis=0))
        least = totals.min(axis=0)
    edge = grid.size - 1
    chosen = [edge]
    for step in reversed(previous):
        edge = int(step[edge])
        chosen.append(edge)
    edges_s: npt.NDArray[np.float64] = grid[chosen[::-1]]
    return edges_s


def permute(positions: npt.NDArray[np.int64], count: int, key: int) -> npt.NDArray[np.int64]:
    """Images of `positions` (each below `count`) under the permutation of 0..count-1 that `key` names.

    Short ones come from sorting keyed random numbers, which makes every permutation equally likely. Longer ones come
    from an alternating Feistel network over the next power of two (Luby and Rackoff 1988), walked until it lands below
    `count` (cycle walking: Black and Rogaway 2002), at a cost that does not depend on `count`.
    """
    if count <= _SORTED_UP_TO:
        draws = _mix(np.uint64(key) ^ _mix(np.arange(1, count + 1, dtype=np.uint64)))
        order: npt.NDArray[np.int64] = np.argsort(draws, kind="stable")
        return order[positions]
    keys = _mix(np.uint64(key) ^ _mix(np.arange(1, _FEISTEL_ROUNDS + 1, dtype=np.uint64)))
    images = _feistel(positions.astype(np.uint64), count, keys)
    outside = np.flatnonzero(images >= count)
    while outside.size:  # a cycle of the network that starts below count comes back below it
        images[outside] = _feistel(images[outside], count, keys)
        outside = outside[images[outside] >= count]
    return images.astype(np.int64)


def _feistel(values: npt.NDArray[np.uint64], count: int, keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    bits = (count - 1).bit_length()
    low_bits = bits // 2
    low_mask, high_mask = np.uint64((1 << low_bits) - 1), np.uint64((1 << (bits - low_bits)) - 1)
    low, high = values & low_mask, values >> np.uint64(low_bits)
    for even, odd in zip(keys[::2], keys[1::2], strict=True):
        high = high ^ (_mix(low ^ even) & high_mask)
        low = low ^ (_mix(high ^ odd) & low_mask)
    return (high << np.uint64(low_bits)) | low


def _mix(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The finaliser of SplitMix64 (Steele, Lea and Flood 2014; variant 13 of Stafford): 64 bits in, 64 bits out."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
