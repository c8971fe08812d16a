"""What a plan beside the run says of its memory."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harken.core import InputError
from harken.text.vocabulary import read_json_object

PLAN = "plan.json"
_ROUNDING_S = 1e-3  # of edges


def predicted_peaks(folder: Path, edges_s: Sequence[float]) -> dict[int, int]:
    """Predicted peak bytes of the buckets that end at `edges_s`, by number, from the plan in a run folder.

    A bucket between two of the plan's has the peak of the longer one. Nothing for a run without a plan, and for buckets
    beyond it. Raises InputError for a plan without buckets.
    """
    path = folder / PLAN
    if not path.is_file():
        return {}
    rows = sorted(_rows(read_json_object(path), path))
    places = [bisect_left(rows, (edge - _ROUNDING_S,)) for edge in edges_s]
    return {bucket: rows[place][1] for bucket, place in enumerate(places) if place < len(rows)}


def _rows(plan: Mapping[str, Any], path: Path) -> list[tuple[float, int]]:
    try:
        return [(float(row["upper_edge_s"]), int(row["peak_bytes"])) for row in plan["buckets"]]
    except (KeyError, TypeError, ValueError) as err:
        raise InputError(
            f"{path} is no plan: its buckets have no upper_edge_s and peak_bytes ({err!r}).",
            hint="Write it with `harken plan`, or remove it.",
        ) from err
