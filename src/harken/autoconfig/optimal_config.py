"""A plan in the hands of a script: its values by name, its file, and its TrainingArguments."""

from pathlib import Path
from typing import Any

from harken.autoconfig.plan import DEFAULT_PLAN_PATH, Plan
from harken.autoconfig.training_arguments import training_arguments
from harken.core import InputError

_SHOWN = (
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "fp16",
    "bf16",
    "gradient_checkpointing",
    "max_audio_duration_seconds",
    "num_epochs",
    "learning_rate",
)


class OptimalConfig:
    """The values of a plan: `config.fp16` and `config["fp16"]` are the same; `dict(config)` are all of them.

    `plan` is the plan itself. `constant_batch_size` is the batch size of a loader whose batches all have one, as the
    Trainer of transformers makes them; the plan's buckets have one each. `length_column` is the column of the data set
    that holds durations, None where there is none.
    """

    def __init__(self, plan: Plan, *, constant_batch_size: int, length_column: str | None = None) -> None:
        self.plan = plan
        self.constant_batch_size = constant_batch_size
        self.length_column = length_column

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "plan":  # copy and pickle ask before there is a plan
            raise AttributeError(name)
        return getattr(self.plan, name)

    def __getitem__(self, name: str) -> Any:
        values = self.to_dict()
        if name not in values:
            raise InputError(f"The plan has no value called {name!r}.", hint=f"It has {', '.join(values)}.")
        return values[name]

    def __contains__(self, name: object) -> bool:
        return name in self.to_dict()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self.plan, name)!r}' for name in _SHOWN)})"

    def keys(self) -> list[str]:
        """Names of the plan's values."""
        return list(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """The plan as plain values, as its file holds them."""
        return self.plan.as_json()

    def save(self, path: Path | str = DEFAULT_PLAN_PATH) -> Path:
        """Write the plan as JSON; missing folders are made. Returns where it is."""
        self.plan.write(path)
        return Path(path)

    def explain(self, name: str) -> str:
        """The value, the rule that decided it and the rule's inputs, a line each. Raises InputError for other names."""
        return "\n".join(self.plan.explain(name))

    def to_training_arguments(self, output_dir: Path | str, *, bucketed: bool = False, **overrides: Any) -> Any:
        """Seq2SeqTrainingArguments for Whisper, TrainingArguments for CTC models: see `training_arguments`.

        `bucketed` is for loaders with a `planned_batch_sampler`. Evaluation, checkpoints and logs come at the plan's
        intervals, for which the Trainer needs an eval_dataset; `eval_strategy="no"` is for scripts without one.
        """
        return training_arguments(
            self.plan,
            output_dir,
            batch_size=self.constant_batch_size,
            bucketed=bucketed,
            length_column=self.length_column,
            overrides=overrides,
        )
