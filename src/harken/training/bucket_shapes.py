"""The largest batch of each planned bucket, and how its memory grows with its rows."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harken.data.batch import Batch
from harken.data.sampler import BucketPlan

CALIBRATION_SHARES = (0.3, 0.6)  # of the budget
_ROUNDING_S = 1e-3  # of edges


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketShape:
    """The largest batch of a bucket: its rows, feature frames and labels of the longest, and the planned peak."""

    bucket: int
    rows: int
    frames: int
    labels: int
    predicted_peak_bytes: int


def bucket_shapes(
    plan: BucketPlan, rows: Iterable[Mapping[str, Any]], frames_of: Callable[[float], int]
) -> list[BucketShape]:
    """The shapes of a run's buckets, by the rows of the plan (`buckets` of plan.json) with their edge and batch size.

    `frames_of` gives the feature frames of so many seconds. Buckets that the plan does not have are left out: it
    predicts nothing of them.
    """
    rows = list(rows)
    return [
        BucketShape(
            bucket=bucket,
            rows=size,
            frames=frames_of(edge_s),
            labels=int(row["tokens"]),
            predicted_peak_bytes=int(row["peak_bytes"]),
        )
        for bucket, (edge_s, size) in enumerate(zip(plan.edges_s, plan.batch_sizes, strict=True))
        for row in rows
        if abs(row["upper_edge_s"] - edge_s) <= _ROUNDING_S and row["batch_size"] == size
    ]


def adversarial_order(shapes: Sequence[BucketShape]) -> list[BucketShape]:
    """The largest predicted peak, then the longest, the shortest, the second longest and so on.

    Changing sizes are what leaves holes in an allocator's memory.
    """
    if not shapes:
        return []
    first = max(shapes, key=lambda shape: (shape.predicted_peak_bytes, shape.frames))
    left = sorted((shape for shape in shapes if shape is not first), key=lambda shape: -shape.frames)
    return [first, *(left[place // 2] if place % 2 == 0 else left[-1 - place // 2] for place in range(len(left)))]


def synthetic_batch(shape: BucketShape, rows: int, dimensions: int) -> Batch:
    """Silence at the bucket's upper edges. Its labels are 1, which every vocabulary has: no size depends on values."""
    return Batch(
        ids=tuple(f"bucket-{shape.bucket}-row-{row}" for row in range(rows)),
        features_BFM=np.zeros((rows, shape.frames, dimensions), np.float32),
        frames_B=np.full(rows, shape.frames),
        labels_BT=np.ones((rows, max(1, shape.labels)), np.int64),
        label_lengths_B=np.full(rows, shape.labels),
        duration_s=0.0,
        padded_s=0.0,
    )


def predicted_at(shape: BucketShape, rows: int, none_bytes: int) -> int:
    """The predicted peak of fewer rows, on the line from what there is without any."""
    return none_bytes + (shape.predicted_peak_bytes - none_bytes) * rows // shape.rows


def calibration_rows(shape: BucketShape, none_bytes: int, budget_bytes: int) -> list[int]:
    """Rows whose predicted peaks are near the shares of the budget; fewer than the batch has, each once."""
    per_row = (shape.predicted_peak_bytes - none_bytes) / shape.rows
    if per_row <= 0:
        return []
    rows = {round((share * budget_bytes - none_bytes) / per_row) for share in CALIBRATION_SHARES}
    return sorted(count for count in rows if 0 < count < shape.rows)


def affordable(points: Sequence[tuple[int, int]], budget_bytes: int, most: int) -> int:
    """Rows, from 1 to `most`, whose peak is within the budget on the line through the last two of (rows, peak)."""
    (fewer, low), (more, high) = points[-2:]
    if high <= low:
        return most
    return min(most, max(1, more + math.floor((budget_bytes - high) * (more - fewer) / (high - low))))
