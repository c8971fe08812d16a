"""Floor 4: recipes, the training loop, checkpoints, recovery."""

from harken.core.lazy import lazy_names

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
__getattr__ = lazy_names(__name__, _HOMES)
