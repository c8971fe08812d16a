"""The memory that a plan predicts against steps followed on fake tensors, at shapes that no fit has seen.

Every model is trained in every way; precision and gradient checkpointing take turns, so that each pair of them comes
with each way. The rival is a fit of total peaks, peak = a + B (b0 + b1 T + b2 T^2), to four followed steps: B rows, T
seconds, or T labels for Whisper, whose windows are always as long. It gets steps of its own, far apart, which suits it
better than the small ones that Harken follows.
"""

import math
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.dry_runs import Setup, error_percent, predicted_peak, step_shape
from harken.autoconfig.dry_run import DryStep
from harken.autoconfig.frames import Frames
from harken.autoconfig.hardware import find_hardware
from harken.autoconfig.model import WAYS
from harken.autoconfig.plan_inputs import PrecisionName

NAME = "plan_accuracy"
CARD = "a100-80gb"
MODELS = (
    "stt_en_conformer_ctc_small",
    "stt_hi_conformer_ctc_medium",
    "facebook/wav2vec2-base",
    "facebook/wav2vec2-xls-r-300m",
    "facebook/wav2vec2-xls-r-1b",
    "openai/whisper-tiny",
    "openai/whisper-base",
    "openai/whisper-small",
    "openai/whisper-medium",
)
POINTS = 4  # of each setup
MOST_ERROR, MOST_UNDER = 3.0, 1.0  # percent
LARGEST_BATCH, LONGEST_S, TOKENS = 64, 30.0, (4, 400)
NAIVE_PROBES = ((4, 5.0), (4, 15.0), (4, 30.0), (16, 15.0))  # rows, seconds
NAIVE_TOKENS_PER_S = 14  # about those of letters in speech; for Whisper a third
_WHISPER_SHARE = 3


@dataclass(frozen=True, kw_only=True)
class Point:
    """A batch: rows, seconds of the longest, labels of the longest."""

    batch: int
    duration_s: float
    tokens: int

    def __str__(self) -> str:
        return f"{self.batch} rows of {self.duration_s:.2f} s and {self.tokens} labels"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What was predicted at a point, by Harken and by the naive fit, and what the followed step took, in bytes."""

    setup: Setup
    point: Point
    predicted: int
    naive: float
    true: int

    @property
    def error(self) -> float:
        return error_percent(self.predicted, self.true)

    @property
    def naive_error(self) -> float:
        return error_percent(self.naive, self.true)


def run() -> dict[str, Any]:
    return summary(list(outcomes(setups())))


def setups(models: Sequence[str] = MODELS) -> list[Setup]:
    """One setup for each model and way."""
    precisions: tuple[PrecisionName, ...] = ("bf16", "fp32")
    hows = list(product(precisions, (False, True)))
    chosen = []
    for (place, model), (turn, way) in product(enumerate(models), enumerate(WAYS)):
        precision, checkpointing = hows[(place + turn) % len(hows)]
        chosen.append(Setup(model=model, way=way, precision=precision, checkpointing=checkpointing))
    return chosen


def outcomes(chosen: Iterable[Setup], *, count: int = POINTS) -> Iterator[Outcome]:
    """Each setup's points, predicted and followed."""
    hardware = find_hardware(CARD)
    for number, setup in enumerate(chosen):
        planned = setup.planned()
        law, frames, step = setup.law(planned, hardware), planned.frames, setup.dry_step(planned, hardware)
        naive = NaiveFit(step, frames)
        for point in points(frames, planned.profile.longest_tokens, count=count, seed=number):
            outcome = Outcome(
                setup=setup,
                point=point,
                predicted=predicted_peak(law, **asdict(point)),
                naive=naive.peak(point),
                true=step.trace(step_shape(frames, **asdict(point))).peak(),
            )
            print(f"{setup}: {point}: {outcome.error:+.3f} %, naive {outcome.naive_error:+.1f} %", flush=True)
            yield outcome


def points(frames: Frames, longest_tokens: int | None, *, count: int, seed: int) -> list[Point]:
    """Points that spread over all shapes: a Latin hypercube (McKay et al. 1979) on logarithmic scales.

    A CTC model has at most as many labels as positions.
    """
    generator = np.random.default_rng(seed)
    strata = np.stack([generator.permutation(count) for _ in range(3)])
    batches, durations, tokens = (strata + generator.random((3, count))) / count
    found = []
    for batch, duration, token in zip(batches.tolist(), durations.tolist(), tokens.tolist(), strict=True):
        duration_s = _between(1.0, LONGEST_S, duration)
        most = longest_tokens or frames.positions(math.ceil(duration_s * frames.per_s))
        labels = round(_between(TOKENS[0], min(TOKENS[1], most), token))
        found.append(Point(batch=round(_between(1, LARGEST_BATCH, batch)), duration_s=duration_s, tokens=labels))
    return found


class NaiveFit:
    """One polynomial for the peak, least squares on the total peaks of four steps."""

    def __init__(self, step: DryStep, frames: Frames) -> None:
        self._of_tokens = frames.window is not None
        rate = NAIVE_TOKENS_PER_S / (_WHISPER_SHARE if self._of_tokens else 1)
        probes = [
            Point(batch=batch, duration_s=seconds, tokens=round(rate * seconds)) for batch, seconds in NAIVE_PROBES
        ]
        peaks = [step.trace(step_shape(frames, **asdict(point))).peak() for point in probes]
        self._coefficients = fit(np.array([self._terms(point) for point in probes]), np.array(peaks, np.float64))

    def peak(self, point: Point) -> float:
        """Predicted bytes."""
        return float(np.dot(self._terms(point), self._coefficients))

    def _terms(self, point: Point) -> list[float]:
        size = float(point.tokens) if self._of_tokens else point.duration_s
        return [1.0, point.batch, point.batch * size, point.batch * size**2]


def fit(terms: npt.NDArray[np.float64], peaks: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(terms,) least squares, each column scaled to its largest value first."""
    scale = np.abs(terms).max(0)
    solution: npt.NDArray[np.float64] = np.linalg.lstsq(terms / scale, peaks, rcond=None)[0] / scale
    return solution


def summary(found: Sequence[Outcome]) -> dict[str, Any]:
    """The result as the docs show it."""
    over, under = max(found, key=lambda one: one.error), min(found, key=lambda one: one.error)
    rivals = [one.naive_error for one in found]
    median = statistics.median(abs(one.error) for one in found)
    return {
        "name": NAME,
        "title": "Predicted memory against followed steps",
        "target": f"no error beyond {MOST_ERROR:g} %, none below -{MOST_UNDER:g} %",
        "met": over.error <= MOST_ERROR and under.error >= -MOST_UNDER,
        "note": f"Peaks of a training step on CUDA, weights and the optimiser's states apart, at {len(found)} shapes "
        f"that were not fitted: 1 to {LARGEST_BATCH} rows, 1 to {LONGEST_S:g} s, {TOKENS[0]} to {TOKENS[1]} labels. "
        f"Too much by most: {_case(over)}. Too little by most: {_case(under)}. The naive fit is one polynomial in rows "
        "and seconds (Whisper: labels) for the peaks of four steps; it is right where one phase holds the peak "
        "everywhere.",
        "figures": {
            "shapes": {"value": len(found), "unit": f"in {len({one.setup for one in found})} configurations"},
            "error": {
                "value": median,
                "unit": "% median, sign left out",
                "spread": [under.error, over.error],
                "worst": [_plain(under), _plain(over)],
            },
        },
        "rivals": {
            "naive fit": {
                "value": statistics.median(map(abs, rivals)),
                "unit": f"% median, {min(rivals):+.1f} to {max(rivals):+.1f} %",
                "worst": [_plain(choose(found, key=lambda one: one.naive_error)) for choose in (min, max)],
            }
        },
        "table": _table(found),
    }


def _table(found: Sequence[Outcome]) -> dict[str, Any]:
    """A row for each setup."""
    rows = []
    for setup in dict.fromkeys(one.setup for one in found):
        here = [one for one in found if one.setup == setup]
        columns = [[one.error for one in here], [one.naive_error for one in here]]
        cells = [
            text
            for errors in columns
            for text in (f"{min(errors):+.2f}", f"{statistics.median(errors):+.2f}", f"{max(errors):+.2f}")
        ]
        rows.append([setup.model, setup.how, len(here), *cells])
    errors = ("lowest error, %", "median", "highest")
    return {
        "columns": ["Model", "Trained", "Shapes", *errors, *(f"naive fit: {name}" for name in errors)],
        "rows": rows,
    }


def _case(one: Outcome) -> str:
    return f"{one.error:+.2f} % for {one.setup} with {one.point} ({one.true / 2**30:.2f} GiB)"


def _plain(one: Outcome) -> dict[str, Any]:
    numbers = {"predicted": one.predicted, "naive": round(one.naive), "true": one.true}
    return {**asdict(one.setup), **asdict(one.point), **numbers}


def _between(low: float, high: float, share: float) -> float:
    """That share of the way from low to high on a logarithmic scale."""
    return float(low * (high / low) ** share)
