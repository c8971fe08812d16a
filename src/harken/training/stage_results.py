"""What each stage of a curriculum brought, from the events of a run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harken.tracking.run import read_events

BEFORE_STAGES, STAGE_ENDED = "before-stages", "stage-ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class StageResult:
    """Error rates as fractions on the validation set after `step` updates, `wer` over all and by language.

    Step 0 is the model before its first stage. `switch_f1` is None where the set does not say which word is of which
    language.
    """

    name: str
    step: int
    wer: float
    languages: Mapping[str, float]
    switch_f1: float | None


def stage_results(run: Path) -> list[StageResult]:
    """`results_in` of the events of a run folder. Raises as `read_events` does."""
    return results_in(read_events(run))


def results_in(events: Sequence[Mapping[str, Any]]) -> list[StageResult]:
    """The model before the first stage and after each one, in their order; none where a run has no stages."""
    ends: dict[int, StageResult] = {}
    for event in events:
        if event["event"] == "resumed":
            # What came after the checkpoint is trained again; as in `read_metrics`, it no longer counts.
            ends = {step: end for step, end in ends.items() if step <= event["step"]}
        elif event["event"] in (BEFORE_STAGES, STAGE_ENDED):
            ends[event["step"]] = _result(event)
    return list(ends.values())


def _result(event: Mapping[str, Any]) -> StageResult:
    return StageResult(
        name="before training" if event["event"] == BEFORE_STAGES else event["stage"],
        step=event["step"],
        wer=event["wer"],
        languages=event["languages"],
        switch_f1=event["switch_f1"],
    )


def stage_rows(results: Sequence[StageResult]) -> list[tuple[str, ...]]:
    """A heading, and a row for each result: rates in percent, a dash for what the run could not tell."""
    languages = sorted({language for result in results for language in result.languages})
    heading = ("", *(f"WER {language}" for language in languages), "WER", "switch F1")
    rows = [
        (
            result.name if result.step == 0 else f"after {result.name}",
            *(_percent(result.languages.get(language)) for language in languages),
            _percent(result.wer),
            "-" if result.switch_f1 is None else f"{result.switch_f1:.3f}",
        )
        for result in results
    ]
    return [heading, *rows]


def _percent(rate: float | None) -> str:
    return "-" if rate is None else f"{100 * rate:.1f} %"
