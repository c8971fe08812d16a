"""The `batches` block of a recipe."""

from dataclasses import dataclass

from harken.core import Strict
from harken.data.sampler import BucketPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchConfig(Strict):
    """Batches hold utterances of similar duration. An update may take several batches (gradient accumulation).

    Planned buckets (`edges_s` and `batch_sizes`) are taken as they are; otherwise buckets are made for the data.
    """

    update_s: float | None = None  # seconds of audio per update; None means 32 utterances of mean duration
    update_samples: int | None = None  # the same in utterances, converted with the mean duration
    batch_s: float | None = None  # seconds of audio per batch, padding included; None means one batch per update
    max_batch_size: int = 64  # utterances
    buckets: int = 30
    edges_s: tuple[float, ...] = ()  # the longest utterance of each planned bucket, ascending; a window for Whisper
    batch_sizes: tuple[int, ...] = ()  # utterances per batch of each planned bucket
    accumulate: int | None = None  # batches per update; None takes as many as hold its seconds
    short_first: bool = True  # the first epoch goes from short to long utterances

    def __post_init__(self) -> None:
        if self.update_s is not None and self.update_samples is not None:
            raise ValueError("update_s and update_samples are both given; keep one")
        for name in ("update_s", "update_samples", "batch_s", "max_batch_size", "buckets", "accumulate"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ValueError(f"{name} is {value}; use a number above 0")
        if self.plan is not None:
            self._check_planned()

    def _check_planned(self) -> None:
        """Refuse what would do nothing beside planned buckets."""
        plain = BatchConfig()
        chosen = [name for name in ("batch_s", "max_batch_size", "buckets") if _differ(self, plain, name)]
        if self.accumulate is not None:
            chosen += [name for name in ("update_s", "update_samples") if _differ(self, plain, name)]
        if chosen:
            beside = "edges_s" if self.accumulate is None else "edges_s and accumulate"
            raise ValueError(f"{chosen[0]} does nothing beside {beside}; leave it out")

    @property
    def plan(self) -> BucketPlan | None:
        """The planned buckets, if there are any. Raises ValueError for what is no plan."""
        if not self.edges_s and not self.batch_sizes:
            return None
        return BucketPlan(edges_s=self.edges_s, batch_sizes=self.batch_sizes)

    def target_s(self, mean_duration_s: float) -> float:
        """Seconds of audio per update for a set of this mean duration."""
        if self.update_s is not None:
            return self.update_s
        return (self.update_samples or 32) * mean_duration_s


def _differ(one: object, other: object, name: str) -> bool:
    return bool(getattr(one, name) != getattr(other, name))
