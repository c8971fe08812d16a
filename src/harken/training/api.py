"""Training from Python, as in a notebook: `Trainer("recipe.yaml").train(num_epochs=3)`."""

import shutil
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from harken.core import InputError, MissingPart, dump_settings, load_yaml, parse_settings
from harken.models.manager import NEMO_SUFFIX
from harken.models.overview import DESCRIPTION
from harken.models.variants import NEMO, find_variant
from harken.tracking.run import new_run_id, read_metrics, read_record
from harken.training.picture import History, history_of
from harken.training.progress import ProgressView, progress_view
from harken.training.recipe import Recipe, with_absolute_paths
from harken.training.run import TrainingOutcome, plan_run, resume, train
from harken.training.tracked import open_recipe_sinks, recipe_provenance

DEFAULT_NAME = "training"
_RECORD = "run.json"


class Trainer:
    """One run, from settings to a model folder. What it knows of the run it reads from the run folder."""

    def __init__(
        self,
        recipe: Recipe | Mapping[str, Any] | str | Path | None = None,
        *,
        train: str | Path | None = None,
        validation: str | Path | None = None,
        test: str | Path | None = None,
        model: str | Path | None = None,
        out: str | Path | None = None,
    ) -> None:
        """`recipe` is a file, a Recipe, or a mapping of a recipe's blocks; how long to train may be left out of it.

        `train`, `validation` and `test` are manifests. `model` is what to start from: a model folder, a folder or hub
        id of a pretrained model, or the name of a known one (`harken models variants`). All of these take the place of
        what the recipe says. `out` is the run folder, by default a new one below runs/. Relative paths begin where
        Python runs, those in a recipe file at its folder.

        Raises InputError that names every wrong setting.
        """
        is_file = isinstance(recipe, str | Path)
        self._source = str(recipe) if is_file else "recipe"
        self._base = Path(self._source).resolve().parent if is_file else Path.cwd()
        settings = {"name": DEFAULT_NAME, **_as_mapping(recipe)}
        manifests = {"train": train, "validation": validation, "test": test}
        settings["data"] = _block(settings, "data") | {
            name: str(Path(path).resolve()) for name, path in manifests.items() if path is not None
        }
        if model is not None:
            start = {"initial": None, "pretrained": None, **_starting_from(model)}
            settings["model"] = _block(settings, "model") | start
        self._settings = settings
        self._out = None if out is None else Path(out)
        self._folder: Path | None = None
        self._recipe(None if self._has_length() else 1)

    @classmethod
    def open(cls, folder: str | Path) -> "Trainer":
        """The trainer of a run that is there already, finished or not. Raises InputError for other folders."""
        trainer = cls(read_record(Path(folder))["settings"])
        trainer._folder = Path(folder)
        return trainer

    @property
    def folder(self) -> Path:
        """The run folder. Raises InputError before there is one."""
        if self._folder is None:
            raise InputError("There is no run folder yet.", hint="Call train() first, or Trainer.open(folder).")
        return self._folder

    @property
    def model_folder(self) -> Path:
        """What `harken.load` takes. Raises InputError before training, MissingPart before it is finished."""
        folder = self.folder / "model"
        if not (folder / DESCRIPTION).is_file():
            raise MissingPart(f"{self.folder} has no model yet.", hint="Call train() to go on to the end.")
        return folder

    @property
    def history(self) -> dict[str, list[float | None]]:
        """The run so far, as columns of equal length with a row for each evaluation; `pandas.DataFrame` takes it.

        `update`, `epoch`, `train_loss`, `val_loss`, `val_wer`, `val_cer`; error rates are fractions. The first row is
        the model before training. `train_loss` is the mean of the losses logged since the row before, None where there
        are none; all that were logged are in metrics.jsonl.
        """
        metrics = [] if self._folder is None else read_metrics(self._folder)
        return history_columns(history_of(metrics))

    def plan(self, num_epochs: float | None = None) -> dict[str, Any]:
        """What `train` would do, data and settings checked. Writes nothing."""
        return plan_run(self._recipe(num_epochs))

    def train(self, num_epochs: float | None = None, *, view: ProgressView | None = None) -> TrainingOutcome:
        """Train to the end. A run that was interrupted goes on from its last checkpoint, to the same result.

        `num_epochs` takes the place of the recipe's epochs or updates. Progress goes to the terminal, or to the log
        where there is none, unless there is a `view`. Raises what `harken.training.train` and `resume` raise, and
        InputError for a run that is finished.
        """
        with nullcontext(view) if view is not None else progress_view() as shown:
            return self._begin(num_epochs, shown) if self._folder is None else self._go_on(num_epochs, shown)

    def save_pretrained(self, folder: str | Path) -> Path:
        """Copy the model into a new folder, for `harken.load`, and for transformers where it began with one of its own.

        Raises InputError for a folder with contents, and what `model_folder` raises.
        """
        source, target = self.model_folder, Path(folder)
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise InputError(f"{target} exists and is not an empty folder.", hint="Choose a new one.")
        shutil.copytree(source, target, dirs_exist_ok=True)
        return target

    def _begin(self, num_epochs: float | None, view: ProgressView) -> TrainingOutcome:
        recipe = self._recipe(num_epochs)
        run_id = new_run_id(recipe.name)
        folder = self._out or Path("runs") / run_id
        if (folder / _RECORD).exists():
            raise InputError(
                f"{folder} holds a run already.",
                hint=f"Go on with it by Trainer.open({str(folder)!r}).train(), or choose another folder.",
            )
        try:
            return train(
                recipe, folder, run_id=run_id, view=view, sinks=open_recipe_sinks, provenance=recipe_provenance
            )
        finally:
            if (folder / _RECORD).exists():  # not where data or settings were refused before there was anything to do
                self._folder = folder

    def _go_on(self, num_epochs: float | None, view: ProgressView) -> TrainingOutcome:
        record = read_record(self.folder)
        if record["status"] == "finished":
            model = str(self.folder / "model")
            raise InputError(
                f"The run in {self.folder} is finished.",
                hint=f"Train its model further in a new run: Trainer(recipe, model={model!r}).train(num_epochs=1).",
            )
        if num_epochs is not None and num_epochs != record["settings"]["training"]["epochs"]:
            raise InputError(
                f"num_epochs is {num_epochs}, but the run in {self.folder} began with another length.",
                hint="Call train() without it to go on, or begin a new run with a new Trainer.",
            )
        return resume(self.folder, view=view, sinks=open_recipe_sinks)

    def _has_length(self) -> bool:
        training = _block(self._settings, "training")
        return bool(self._settings.get("curriculum") or training.get("epochs") or training.get("updates"))

    def _recipe(self, num_epochs: float | None) -> Recipe:
        """The settings as a checked recipe, `num_epochs` laid over it."""
        settings = self._settings
        if num_epochs is not None:
            if settings.get("curriculum"):
                raise InputError(
                    f"num_epochs is {num_epochs}, but there is a curriculum, whose stages say how long they last.",
                    hint="Leave num_epochs out.",
                )
            length = {"epochs": num_epochs, "updates": None}
            settings = {**settings, "training": _block(settings, "training") | length}
        elif not self._has_length():
            raise InputError("Nothing says how long to train.", hint="Write train(num_epochs=10), for example.")
        return with_absolute_paths(parse_settings(Recipe, settings, source=self._source), self._base)


def history_columns(history: History) -> dict[str, list[float | None]]:
    """A history as the columns that `Trainer.history` describes."""
    names = ("update", "epoch", "train_loss", "val_loss", "val_wer", "val_cer")
    columns: dict[str, list[float | None]] = {name: [] for name in names}
    before = 0
    for row in history.evaluations:
        update = int(row["step"])
        losses = [loss for step, loss in history.train if before < step <= update]
        values = {**row, "update": update, "train_loss": sum(losses) / len(losses) if losses else None}
        for name in names:
            columns[name].append(values.get(name))
        before = update
    return columns


def _as_mapping(recipe: Recipe | Mapping[str, Any] | str | Path | None) -> Mapping[str, Any]:
    if isinstance(recipe, str | Path):
        return load_yaml(Path(recipe))
    if isinstance(recipe, Recipe):
        settings: dict[str, Any] = dump_settings(recipe)
        return settings
    return recipe or {}


def _block(settings: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = settings.get(name) or {}
    if not isinstance(value, Mapping):
        raise InputError(f"{name} is {value!r}, not a block of settings.", hint=f"Use a mapping for {name}.")
    return dict(value)


def _starting_from(model: str | Path) -> dict[str, str]:
    """The setting in a recipe's model block that starts from this model."""
    path = Path(model).expanduser()
    if path.is_dir() or isinstance(model, Path):
        kind = "initial" if (path / DESCRIPTION).is_file() else "pretrained"
        return {kind: str(path.resolve())}
    hub_id: str | None = model
    if path.suffix == NEMO_SUFFIX:
        hub_id = None
    elif "/" not in model:
        known = find_variant(model)
        hub_id = None if known.family == NEMO else known.hub_id
    if hub_id is None:
        raise InputError(f"{model} is a .nemo file.", hint="Import it (harken models import), and name that folder.")
    return {"pretrained": hub_id}
