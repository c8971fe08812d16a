"""Shapes of planned buckets, the order they are tried in, and the lines through measured peaks."""

from itertools import pairwise

import pytest

from harken.data.sampler import BucketPlan
from harken.training.bucket_shapes import (
    BucketShape,
    adversarial_order,
    affordable,
    bucket_shapes,
    calibration_rows,
    predicted_at,
    synthetic_batch,
)

PLAN = BucketPlan(edges_s=(2.0, 5.0, 9.0), batch_sizes=(30, 12, 6))
ROWS = [
    {"upper_edge_s": 2.0, "batch_size": 30, "tokens": 20, "peak_bytes": 1000, "memory": {}},
    {"upper_edge_s": 5.0004, "batch_size": 12, "tokens": 50, "peak_bytes": 1100, "memory": {}},
    {"upper_edge_s": 9.0, "batch_size": 6, "tokens": 90, "peak_bytes": 1200, "memory": {}},
]


def shape(frames: int, *, rows: int = 8, peak: int = 1000, bucket: int = 0) -> BucketShape:
    return BucketShape(bucket=bucket, rows=rows, frames=frames, labels=3, predicted_peak_bytes=peak)


def test_a_shape_has_the_upper_edges_of_its_bucket() -> None:
    shapes = bucket_shapes(PLAN, ROWS, lambda seconds: 1 + round(100 * seconds))
    assert shapes[1] == BucketShape(bucket=1, rows=12, frames=501, labels=50, predicted_peak_bytes=1100)
    assert [(item.bucket, item.rows) for item in shapes] == [(0, 30), (1, 12), (2, 6)]


def test_nothing_is_known_of_buckets_that_the_plan_has_not() -> None:
    other = BucketPlan(edges_s=(2.0, 6.0, 9.0), batch_sizes=(29, 12, 6))  # another size, another edge
    assert [item.bucket for item in bucket_shapes(other, ROWS, round)] == [2]
    assert bucket_shapes(PLAN, [], round) == []


@pytest.mark.parametrize(
    ("frames", "order"),
    [([], []), ([7], [7]), ([1, 2], [2, 1]), ([1, 2, 3, 4, 5, 6], [6, 5, 1, 4, 2, 3])],
)
def test_sizes_alternate_after_the_largest_peak(frames: list[int], order: list[int]) -> None:
    assert [item.frames for item in adversarial_order([shape(count) for count in frames])] == order


def test_the_largest_peak_need_not_be_of_the_longest() -> None:
    shapes = [shape(10, peak=900), shape(20, peak=1000), shape(30, peak=950), shape(40, peak=950)]
    assert [item.frames for item in adversarial_order(shapes)] == [20, 40, 10, 30]


def test_every_row_of_a_synthetic_batch_is_as_long_as_the_longest() -> None:
    batch = synthetic_batch(shape(50), 4, 6)
    assert batch.features_BFM.shape == (4, 50, 6)
    assert batch.frames_B.tolist() == [50] * 4
    assert batch.labels_BT.tolist() == [[1, 1, 1]] * 4
    assert batch.label_lengths_B.tolist() == [3] * 4


def test_predictions_of_fewer_rows_are_on_a_line() -> None:
    values = [predicted_at(shape(50, rows=8, peak=1000), rows, 200) for rows in range(9)]
    assert (values[0], values[8]) == (200, 1000)
    assert {b - a for a, b in pairwise(values)} == {100}


@pytest.mark.parametrize(
    ("rows", "budget", "expected"),
    [
        (8, 1000, [1, 4]),  # 300 and 600 of 1000 bytes; 100 a row beside 200
        (80, 1000, [10, 40]),
        (8, 2400, [5]),  # 720 and 1440, where all of it takes 1000
        (1, 1000, []),
        (8, 500, [1]),  # 30 % is below what there is without any row
    ],
)
def test_calibration_is_near_shares_of_the_budget(rows: int, budget: int, expected: list[int]) -> None:
    assert calibration_rows(shape(50, rows=rows), 200, budget) == expected


def test_no_calibration_where_more_is_there_than_was_predicted() -> None:
    assert calibration_rows(shape(50, peak=150), 200, 1000) == []


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([(0, 200), (4, 600)], 8),  # 100 a row: 8 rows are exactly the budget
        ([(0, 200), (2, 300), (4, 600)], 6),  # 150 a row at the end
        ([(0, 200), (4, 680)], 6),
        ([(0, 200), (4, 5000)], 1),
        ([(0, 200), (4, 201)], 20),
        ([(0, 200), (4, 200)], 20),
    ],
)
def test_rows_that_a_line_affords(points: list[tuple[int, int]], expected: int) -> None:
    assert affordable(points, 1000, 20) == expected
