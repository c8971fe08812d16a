"""What a run started by a person carries along: the sinks its recipe names, and where it comes from."""

from pathlib import Path
from typing import Any

from harken.core import MetricSink, dump_settings
from harken.core.home import home_folder
from harken.tracking.provenance import collect_provenance
from harken.tracking.run import RunFolder
from harken.tracking.sinks import open_sinks
from harken.training.recipe import Recipe


def open_recipe_sinks(run: RunFolder, recipe: Recipe) -> list[MetricSink]:
    """The sinks a recipe names, started."""
    if not recipe.tracking.sinks:
        return []
    place = recipe.tracking
    options: dict[str, dict[str, Any]] = {
        "mlflow": {"experiment": place.experiment, "tracking_uri": place.tracking_uri},
        "wandb": {"project": place.experiment},
    }
    sinks = open_sinks(
        place.sinks,
        home=home_folder(),
        run_folder=run.path,
        options={name: value for name, value in options.items() if name in place.sinks},
        on_failure=lambda name, err: run.log_event("sink-failed", sink=name, error=str(err)),
    )
    for sink in sinks:
        sink.start(run.id, recipe.name, dump_settings(recipe), {"kind": "training"})
    return sinks


def recipe_provenance(recipe: Recipe, folder: Path) -> dict[str, Any]:
    """Code, packages and machine; changes that are not committed go into code.diff of the run folder."""
    return collect_provenance(
        repository=Path.cwd(), data={}, seeds={"recipe": recipe.seed}, diff_file=folder / "code.diff"
    )
