"""Floor 4: recipes, the training loop, checkpoints, recovery."""

from importlib import import_module
from typing import Any

_HOMES = {
    "Interrupted": "loop",
    "Recipe": "recipe",
    "Trainer": "api",
    "TrainingOutcome": "run",
    "load_recipe": "recipe",
    "plan_run": "run",
    "resume": "run",
    "train": "run",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"harken.training.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'harken.training' has no attribute {name!r}")
