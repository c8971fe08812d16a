"""Model folders at a glance: what harken.json says about one, read without torch, and the folders below a place."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harken.core import InputError, MissingPart
from harken.core.files import sha256_file

DESCRIPTION = "harken.json"
WEIGHTS = "model.safetensors"
WEIGHTS_HASH = "weights_sha256"

_DEEPEST = 3  # runs/digits/model is two folders down; one more for runs sorted into groups


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """A model's figures on one set. Rates are fractions, None where harken.json has none."""

    on: str
    wer: float | None
    low: float | None
    high: float | None
    cer: float | None
    words: int | None
    utterances: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSummary:
    """What a list of models shows of one. `run_record` is run.json of the run it came from, where that lies beside it.

    `created_at` is when that run finished, else when harken.json was written (ISO 8601, UTC). `weights_sha256` is what
    harken.json says, not looked at again; None when it says nothing.
    """

    name: str
    folder: Path
    family: str
    parameters: int
    sample_rate_hz: int
    languages: list[str]
    normalizer: str
    evaluations: list[Evaluation]
    metrics: dict[str, Any]
    provenance: dict[str, Any]
    run_record: dict[str, Any] | None
    created_at: str
    weights_sha256: str | None

    @property
    def evaluation(self) -> Evaluation | None:
        """The one to show where there is room for one."""
        return main_evaluation(self.evaluations)


def summarize(folder: Path) -> ModelSummary:
    """What harken.json of a model folder says. Raises MissingPart when there is none, InputError for a damaged one."""
    path = folder / DESCRIPTION
    if not path.is_file():
        raise MissingPart(f"{folder} is not a model folder: it has no {DESCRIPTION}.", hint="Check the path.")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        provenance = dict(data["provenance"])
        record = _run_record(folder, provenance)
        return ModelSummary(
            name=str(record["name"]) if record else _name(folder),
            folder=folder.resolve(),
            family=str(data["family"]),
            parameters=int(data["parameters"]),
            sample_rate_hz=int(data["sample_rate_hz"]),
            languages=[str(language) for language in data["languages"]],
            normalizer=str(data["normalizer"]),
            evaluations=evaluations_of(data["metrics"]),
            metrics=dict(data["metrics"]),
            provenance=provenance,
            run_record=record,
            created_at=str((record or {}).get("finished_at") or _written_at(path)),
            weights_sha256=data.get(WEIGHTS_HASH),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as err:
        raise InputError(
            f"{path} does not describe a model ({type(err).__name__}: {err}).", hint="Copy the model folder again."
        ) from err


def evaluations_of(metrics: dict[str, Any]) -> list[Evaluation]:
    """The `metrics` of harken.json, {set: {"wer": {"value", "low", "high"}, ...}}, as rows of a table."""
    rows = []
    for name, values in metrics.items():
        if not isinstance(values, dict):
            continue
        wer, cer = _rate(values.get("wer")), _rate(values.get("cer"))
        rows.append(
            Evaluation(
                on=name,
                wer=wer.get("value"),
                low=wer.get("low"),
                high=wer.get("high"),
                cer=cer.get("value"),
                words=values.get("words"),
                utterances=values.get("utterances"),
            )
        )
    return rows


def main_evaluation(evaluations: Sequence[Evaluation]) -> Evaluation | None:
    """The evaluation on the test set, else the first that has a WER."""
    scored = [item for item in evaluations if item.wer is not None]
    return next((item for item in scored if item.on == "test"), scored[0] if scored else None)


def find_model_folders(place: Path) -> Iterator[Path]:
    """Model folders in `place` and up to three folders below it, in the order of their paths."""
    patterns = ["/".join(["*"] * depth + [DESCRIPTION]) for depth in range(_DEEPEST + 1)]
    found = {path.parent for pattern in patterns for path in place.glob(pattern)}
    yield from sorted(found)


def verified_weights(folder: Path) -> str:
    """SHA-256 of the weights in a model folder, read from the disk now.

    Raises MissingPart when there are none, InputError when harken.json was written for others.
    """
    return check_weights(folder, summarize(folder).weights_sha256)


def check_weights(folder: Path, expected: str | None) -> str:
    """SHA-256 of the weights in a model folder, compared with what harken.json says. Raises as `verified_weights`."""
    # Shapes that fit do not tell weights that were damaged on a disk, or that another run wrote.
    weights = folder / WEIGHTS
    if not weights.is_file():
        raise MissingPart(f"{weights} does not exist.", hint="Copy the model folder again.")
    found = sha256_file(weights)
    if expected is not None and found != expected:
        raise InputError(
            f"{weights} is not what {DESCRIPTION} was written for: its SHA-256 begins with {found[:12]}, "
            f"{DESCRIPTION} says {expected[:12]}.",
            hint=f"Copy the model folder again; if the weights were changed on purpose, remove {WEIGHTS_HASH}.",
        )
    return found


def _run_record(folder: Path, provenance: dict[str, Any]) -> dict[str, Any] | None:
    """run.json beside the model folder, if it is the run that harken.json names: a copied model has another parent."""
    from harken.tracking.run import read_record

    try:
        record = read_record(folder.resolve().parent)
    except InputError:
        return None
    return record if record.get("id") == provenance.get("run") else None


def _name(folder: Path) -> str:
    resolved = folder.resolve()
    return resolved.parent.name if resolved.name == "model" else resolved.name


def _rate(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {"value": value}


def _written_at(path: Path) -> str:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(timespec="seconds")
