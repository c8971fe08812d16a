"""Figures of the benchmark of inference, in the form that `benchmarks.run` keeps.

A figure with a target has it as `at_most` or `at_least`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from benchmarks.harness import Timing

Clock = Literal["cpu_s", "wall_s"]


def cost_ratio(timings: Mapping[str, Timing], ours: str, rival: str, at_most: float | None = None) -> dict[str, Any]:
    """Our CPU time over a rival's: of the medians, and the smallest and largest of a round."""
    return _ratio(timings[ours], timings[rival], "cpu_s", "times its CPU time", at_most=at_most)


def gain(
    timings: Mapping[str, Timing], ours: str, rival: str, clock: Clock, at_least: float | None = None
) -> dict[str, Any]:
    """Our throughput over a rival's by CPU or wall time: of the medians, and the smallest and largest of a round."""
    return _ratio(timings[rival], timings[ours], clock, "times the throughput", at_least=at_least)


def _ratio(upper: Timing, lower: Timing, clock: Clock, unit: str, **limits: float | None) -> dict[str, Any]:
    uppers_s, lowers_s = (np.array(getattr(timing, clock)) for timing in (upper, lower))
    rounds = uppers_s / lowers_s
    return {
        "value": round(float(np.median(uppers_s) / np.median(lowers_s)), 3),
        "unit": unit,
        "spread": [round(float(rounds.min()), 3), round(float(rounds.max()), 3)],
        "rounds": len(rounds),
        **{name: limit for name, limit in limits.items() if limit is not None},
    }


def cost(timing: Timing, audio_s: float) -> dict[str, Any]:
    """CPU time for each second of audio."""
    low, middle, high = (
        round(spent_s / audio_s, 5) for spent_s in (min(timing.cpu_s), timing.median_cpu_s, max(timing.cpu_s))
    )
    return {"value": middle, "unit": "s CPU a second of audio", "spread": [low, high], **timing.as_json()}


def equal_texts(ours: Sequence[str], theirs: Sequence[str], *, needed: bool) -> dict[str, Any]:
    """How many texts have the same words; all must, where `needed`."""
    equal = sum(a.split() == b.split() for a, b in zip(ours, theirs, strict=True))
    figure = {"value": equal, "unit": f"of {len(ours)} texts"}
    return figure | {"at_least": len(ours)} if needed else figure


def missed(figures: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Names of the figures that are beyond their target."""
    return [
        name
        for name, figure in figures.items()
        if figure["value"] > figure.get("at_most", figure["value"])
        or figure["value"] < figure.get("at_least", figure["value"])
    ]
