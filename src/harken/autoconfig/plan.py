"""A plan: the settings of a training run, what it will take, and the reason for each value.

Its JSON (`training_config.json`) uses the names that users of Transformers know. The same inputs give the same bytes.
"""

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

from harken.core import InputError, Strict, dump_settings, parse_settings
from harken.core.files import write_json

DEFAULT_PLAN_PATH = Path("configs/training_config.json")
FORMAT = 1
_DIGITS = 9  # of a float in the file: below them, sums differ from machine to machine
_NOT_DECIDED = ("decisions", "hardware", "dataset", "model", "versions", "format")
_SHOWN = 12  # values of a list in an explanation


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision(Strict):
    """Why a value is what it is: the rule that decided, in one sentence, and the numbers it was computed from."""

    name: str
    value: Any
    rule: str
    inputs: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketPlanRow(Strict):
    """Utterances of similar duration that share a batch size.

    A bucket holds what is longer than the edge of the one before, up to its own. `tokens` is the length of the longest
    labels expected there. `peak_bytes` is the predicted peak of a full batch, `memory` its parts. `saturated`: one row
    more would not fit, so that memory is the bound and not the size of an update.
    """

    upper_edge_s: float
    batch_size: int
    tokens: int
    utterances: int
    peak_bytes: int
    memory: Mapping[str, int]
    saturated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedUtterance(Strict):
    """An utterance that is left out, and the memory that training on it alone would take.

    None where that makes no sense: it is longer than the window of the model.
    """

    id: str
    duration_s: float
    needed_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected(Strict):
    """Utterances longer than `max_audio_duration_seconds`; `longest` names the longest of them."""

    utterances: int
    seconds: float
    longest: tuple[RejectedUtterance, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan(Strict):
    """Settings of a run. `decisions` has exactly one entry for each value that was decided.

    Batch sizes are in utterances of one device; `per_device_train_batch_size` is that of the bucket that holds the
    median utterance. Steps are counted in updates. `effective_batch_size` and `update_audio_s` are what an update holds
    on average. Seconds are of audio where the name says so, else of wall time; `epoch_s` and `training_s` do not count
    validation. `memory` is the peak of the bucket that takes most, in bytes by kind. `cost` is in the currency of the
    price. `hardware`, `dataset` and `model` are the profiles the plan was made for.
    """

    per_device_train_batch_size: int
    gradient_accumulation_steps: int
    effective_batch_size: int
    fp16: bool
    bf16: bool
    gradient_checkpointing: bool
    max_audio_duration_seconds: float
    dataloader_num_workers: int
    use_streaming: bool
    cache_audio: bool
    eval_steps: int
    save_steps: int
    logging_steps: int
    num_epochs: int
    learning_rate: float
    safety_margin: float
    target_audio_s: float
    update_audio_s: float
    evaluation_batch_size: int
    updates_per_epoch: int
    epoch_s: float
    training_s: float
    cost: float | None
    budget_bytes: int
    rejected: Rejected
    preset: str | None
    buckets: tuple[BucketPlanRow, ...]
    memory: Mapping[str, int]
    hardware: Mapping[str, Any]
    dataset: Mapping[str, Any]
    model: Mapping[str, Any]
    versions: Mapping[str, str]
    decisions: tuple[Decision, ...]
    format: int = FORMAT

    def __post_init__(self) -> None:
        if self.format != FORMAT:
            raise ValueError(f"format is {self.format}; this version of Harken reads {FORMAT}")
        edges_s = [row.upper_edge_s for row in self.buckets]
        if not edges_s or edges_s != sorted(set(edges_s)):
            raise ValueError(f"buckets has the upper edges {edges_s}; use ascending ones, at least one")
        names = [decision.name for decision in self.decisions]
        if sorted(names) != sorted(decided_names()):
            odd = sorted({*names} ^ {*decided_names()}) or sorted(name for name in names if names.count(name) > 1)
            raise ValueError(f"decisions has none, or several, for {', '.join(odd)}; give each value one")

    @property
    def precision(self) -> str:
        """The number format as a recipe names it."""
        return "bf16" if self.bf16 else "fp16" if self.fp16 else "fp32"

    @property
    def peak_bytes(self) -> int:
        """Predicted peak of the bucket that takes most."""
        return max(row.peak_bytes for row in self.buckets)

    def as_json(self) -> dict[str, Any]:
        """The plan as plain values, floats rounded to nine digits."""
        plain: dict[str, Any] = rounded(dump_settings(self))
        return plain

    def write(self, path: Path | str) -> None:
        """Write the plan as JSON, all or nothing; missing folders are made."""
        write_json(Path(path), self.as_json())

    def decision(self, name: str) -> Decision:
        """The decision about one value. Raises InputError for a name that the plan does not have."""
        for decision in self.decisions:
            if decision.name == name:
                return decision
        near = difflib.get_close_matches(name, decided_names(), n=3)
        hint = f"Did you mean {' or '.join(near)}?" if near else f"It decides {', '.join(decided_names())}."
        raise InputError(f"The plan decides nothing called {name!r}.", hint=hint)

    def explain(self, name: str) -> list[str]:
        """Lines for people: the value, the rule, and each input of it. Raises what `decision` raises."""
        found = self.decision(name)
        inputs = [f"  {key}: {_shown(value)}" for key, value in found.inputs.items()]
        return [f"{name} = {_shown(found.value)}", found.rule, *inputs]


def decided_names() -> list[str]:
    """Keys of a plan that hold a decided value, in order."""
    return [item.name for item in fields(Plan) if item.name not in _NOT_DECIDED]


def read_plan(path: Path | str) -> Plan:
    """A plan that `Plan.write` wrote. Raises InputError that names the file and every wrong key."""
    path = Path(path)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as err:
        raise InputError(f"{path} does not exist.", hint="Make one with harken plan.") from err
    except (OSError, ValueError) as err:
        raise InputError(f"{path} cannot be read as JSON: {err}.", hint="Name a file that harken plan wrote.") from err
    return parse_settings(Plan, data, source=str(path))


def planning_versions() -> dict[str, str]:
    """Versions of what decides the predictions: Harken, and PyTorch without the name of its build."""
    return {name: version(name).partition("+")[0] for name in ("harken", "torch")}


def check_same(
    plan: Plan, model: Mapping[str, Any], dataset_sha256: str, *, versions: Mapping[str, str] | None = None
) -> None:
    """Refuse a plan that was made for something else.

    `model` is the profile's JSON; `versions` are those of `planning_versions` where none are given. Raises InputError
    that names each difference.
    """
    versions = planning_versions() if versions is None else versions
    differences = []
    if plan.model.get("sha256") != model.get("sha256"):
        keys = [key for key in sorted({*plan.model, *model}) if plan.model.get(key) != model.get(key)]
        differences += [f"model {key} (plan: {plan.model.get(key)}, now: {model.get(key)})" for key in keys]
    if plan.dataset.get("sha256") != dataset_sha256:
        differences.append(
            f"dataset (plan: {plan.dataset.get('source')}, sha256 {_short(plan.dataset.get('sha256'))}, "
            f"now: {_short(dataset_sha256)})"
        )
    differences += [
        f"{name} (plan: {was}, now: {versions.get(name)})"
        for name, was in plan.versions.items()
        if was != versions.get(name)
    ]
    if differences:
        raise InputError(
            f"The plan was made for something else: {'; '.join(differences)}.", hint="Make a new one with harken plan."
        )


def rounded(value: Any) -> Any:
    """A JSON value with its floats rounded to nine significant digits."""
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}")
    if isinstance(value, Mapping):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    return value


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_shown(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        shown = ", ".join(_shown(item) for item in value[:_SHOWN])
        return shown + (f" and {len(value) - _SHOWN} more" if len(value) > _SHOWN else "")
    return str(value)


def _short(sha256: Any) -> str:
    return str(sha256)[:12]
