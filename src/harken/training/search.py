"""Search for settings of a recipe: trials in this process, the bad ones stopped early.

Settings are proposed by a tree-structured Parzen estimator (Bergstra et al. 2011). A trial is stopped when, at an
evaluation, it is not among the best third of those that got as far: asynchronous successive halving (Li et al. 2020,
"A system for massively parallel hyperparameter tuning"), here with one worker.
"""

import json
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

from harken.core import HarkenError, InputError, MissingPart, Strict, derive_seed
from harken.core.files import replacing, write_json
from harken.core.tables import text_table
from harken.data.manifest import read_manifest
from harken.training.loop import Interrupted
from harken.training.progress import ProgressView, SilentView, Standing
from harken.training.recipe import Recipe
from harken.training.run import train

if TYPE_CHECKING:
    import optuna

logger = logging.getLogger(__name__)

JOURNAL = "search.log"
RESULTS = "search.json"
PICTURE = "search.png"
FACTS = "facts"
_COLOURS = {"finished": "#2f6fb0", "stopped": "#c3d3e4", "failed": "#d1495b"}
REDUCTION = 3
"""One in so many trials goes on from each evaluation level of successive halving."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter(Strict):
    """The values one setting may take: `choices`, or every number from `low` to `high`, whole ones with `whole`.

    With `log` equal factors are equally likely, which suits learning rates.
    """

    choices: tuple[Any, ...] = ()
    low: float | None = None
    high: float | None = None
    log: bool = False
    whole: bool = False

    def __post_init__(self) -> None:
        if bool(self.choices) == (self.low is not None or self.high is not None):
            raise ValueError("give choices, or low and high")
        if self.choices:
            if self.log or self.whole:
                raise ValueError("log and whole belong to low and high, not to choices")
            return
        if self.low is None or self.high is None or not -math.inf < self.low < self.high < math.inf:
            raise ValueError(f"low is {self.low} and high {self.high}; use two numbers, low below high")
        if self.log and self.low <= 0:
            raise ValueError(f"low is {self.low}; use a number above 0 with log")
        if self.whole and (self.low != int(self.low) or self.high != int(self.high)):
            raise ValueError(f"low is {self.low} and high {self.high}; use whole numbers with whole")


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchConfig(Strict):
    """What is searched: `parameters` maps settings, such as `optimizer.learning_rate`, to their values.

    `early_stopping: false` lets every trial run to its end.
    """

    parameters: dict[str, Parameter]
    trials: int = 20
    seed: int = 0
    early_stopping: bool = True

    def __post_init__(self) -> None:
        if not self.parameters:
            raise ValueError("parameters is empty; name at least one setting, such as optimizer.learning_rate")
        if self.trials < 1:
            raise ValueError(f"trials is {self.trials}; use 1 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One trial. `wer` is its lowest validation WER so far as it went; None where it failed before it had one.

    `state` is "finished", "stopped" (early) or "failed", with the `cause`.
    """

    number: int
    settings: dict[str, Any]
    state: str
    wer: float | None
    updates: int
    cause: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """All trials in order, and the one of the lowest WER among the finished; None where none finished."""

    trials: tuple[Trial, ...]
    folder: Path
    best: Trial | None


class _Stopped(Interrupted):
    """A trial that is not worth going on with."""


class _Watch(SilentView):
    """Reports every evaluation of a trial, and stops it when it falls behind."""

    def __init__(self, view: ProgressView, trial: "optuna.Trial", *, stops: bool) -> None:
        self.view, self.trial, self.stops = view, trial, stops
        self.best: float | None = None
        self.update = 0
        self._seen = 0  # update of the last evaluation that was reported; the one before training says nothing
        self._evaluations = 0

    def show(self, standing: Standing) -> None:
        self.view.show(standing)
        self.update = standing.update
        if standing.wer is None or standing.evaluated_at <= self._seen:
            return
        self._seen = standing.evaluated_at
        self._evaluations += 1
        self.best = standing.wer if self.best is None else min(self.best, standing.wer)
        self.trial.report(self.best, self._evaluations)
        if self.stops and self.trial.should_prune():
            raise _Stopped(f"Stopped after the evaluation at update {self._seen}: other trials were better there.")

    def say(self, message: str) -> None:
        self.view.say(message)


def search(
    make_recipe: Callable[[Sequence[str]], Recipe],
    config: SearchConfig,
    folder: Path,
    *,
    view: ProgressView | None = None,
    on_trial: Callable[[Trial], None] | None = None,
) -> SearchResult:
    """Run trials until there are `config.trials` of them; a search that was broken off goes on.

    `make_recipe` gives the recipe with `key=value` settings laid over it. FOLDER gets `trial-000/` and so on (run
    folders), `search.log` (Optuna's journal), `search.json` and `search.png`. A trial that fails is listed with its
    cause and the search goes on. Raises MissingPart without optuna, InputError for settings no recipe has, for
    manifests that cannot be used and for a folder that holds a search of other parameters, Interrupted after Ctrl-C.
    """
    try:
        import optuna
    except ImportError as err:
        raise MissingPart(
            "Searching needs the package optuna.", hint="Install it with: pip install 'harken[search]'."
        ) from err
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    first = {name: _first_value(parameter) for name, parameter in config.parameters.items()}
    data = make_recipe(_overrides(first)).data
    for manifest in (data.train, data.validation):  # else every trial would fail of the same
        read_manifest(Path(manifest))
    folder.mkdir(parents=True, exist_ok=True)
    study = _open_study(optuna, config, folder)
    for left in study.get_trials(deepcopy=False):
        if left.state == optuna.trial.TrialState.RUNNING:  # its process is gone
            study.tell(left.number, state=optuna.trial.TrialState.FAIL)
    distributions = {name: _distribution(optuna, parameter) for name, parameter in config.parameters.items()}
    while len(study.get_trials(deepcopy=False)) < config.trials:
        trial = study.ask(distributions)
        watch = _Watch(view or SilentView(), trial, stops=config.early_stopping)
        done = _run_trial(optuna, study, trial, make_recipe, folder, watch)
        if on_trial is not None:
            on_trial(done)
    result = _result(study, folder)
    write_json(folder / RESULTS, {"trials": [asdict(trial) for trial in result.trials], "best": _number(result)})
    draw_search(result, folder / PICTURE)
    return result


def _number(result: SearchResult) -> int | None:
    return None if result.best is None else result.best.number


def _open_study(library: ModuleType, config: SearchConfig, folder: Path) -> "optuna.Study":
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    _check_journal(folder / JOURNAL)
    pruner = library.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=REDUCTION)
    study = library.create_study(
        storage=JournalStorage(JournalFileBackend(str(folder / JOURNAL))),
        study_name="harken",
        direction="minimize",
        sampler=library.samplers.TPESampler(seed=derive_seed("search", config.seed) % 2**32),
        pruner=pruner if config.early_stopping else library.pruners.NopPruner(),
        load_if_exists=True,
    )
    before = study.user_attrs.get("parameters")
    now = sorted(config.parameters)
    if before is not None and before != now:
        raise InputError(
            f"{folder} holds a search over {', '.join(before)}, not over {', '.join(now)}.",
            hint="Name another folder.",
        )
    kinds = json.loads(json.dumps({name: _kind(parameter) for name, parameter in config.parameters.items()}))
    if (known := study.user_attrs.get("kinds", kinds)) != kinds:
        changed = [name for name, kind in kinds.items() if known.get(name) != kind]
        raise InputError(
            f"{folder} holds a search with other values of {', '.join(changed)}.", hint="Name another folder."
        )
    study.set_user_attr("parameters", now)
    study.set_user_attr("kinds", kinds)
    return cast("optuna.Study", study)


def _kind(parameter: Parameter) -> Any:
    """What optuna wants to be the same in every trial of a search; bounds may move."""
    return list(parameter.choices) or {"whole": parameter.whole, "log": parameter.log}


def _check_journal(path: Path) -> None:
    """Raise InputError for a file of that name that is no journal: optuna would write to it and then fail."""
    if not path.exists():
        return
    *lines, _ = path.read_bytes().split(b"\n")  # the last one may have been broken off
    try:
        whole = bool(lines) and all("op_code" in json.loads(line) for line in lines)
    except (ValueError, TypeError):
        whole = False
    if not whole:
        raise InputError(f"{path} is not the journal of a search.", hint="Name another folder, or remove it.")


def _run_trial(
    library: ModuleType,
    study: "optuna.Study",
    trial: "optuna.Trial",
    make_recipe: Callable[[Sequence[str]], Recipe],
    folder: Path,
    watch: "_Watch",
) -> Trial:
    states = library.trial.TrialState
    state, cause, told = "finished", "", states.COMPLETE
    try:
        outcome = train(make_recipe(_overrides(trial.params)), folder / f"trial-{trial.number:03d}", view=watch)
        watch.best, watch.update = outcome.state.best_wer, outcome.state.update
    except _Stopped as err:
        state, cause, told = "stopped", str(err), states.PRUNED
    except Interrupted:
        study.tell(trial, state=states.FAIL)
        raise
    except HarkenError as err:
        state, cause, told = "failed", str(err), states.FAIL
        logger.warning("trial %d failed: %s", trial.number, cause)
    trial.set_user_attr(FACTS, {"state": state, "wer": watch.best, "updates": watch.update, "cause": cause})
    study.tell(trial, watch.best if told == states.COMPLETE else None, state=told)
    return _trial(trial.number, trial.params, trial.user_attrs[FACTS])


def _trial(number: int, settings: Mapping[str, Any], facts: Mapping[str, Any] | None) -> Trial:
    if facts is None:
        return Trial(
            number=number, settings=dict(settings), state="failed", wer=None, updates=0, cause="its process ended"
        )
    return Trial(number=number, settings=dict(settings), **facts)


def _result(study: "optuna.Study", folder: Path) -> SearchResult:
    trials = tuple(
        _trial(frozen.number, frozen.params, frozen.user_attrs.get(FACTS))
        for frozen in study.get_trials(deepcopy=False)
    )
    finished = [trial for trial in trials if trial.state == "finished" and trial.wer is not None]
    best = min(finished, key=lambda trial: (trial.wer, trial.number), default=None)
    return SearchResult(trials=trials, folder=folder, best=best)


def _first_value(parameter: Parameter) -> Any:
    if parameter.choices:
        return parameter.choices[0]
    return int(parameter.low or 0) if parameter.whole else parameter.low


def _overrides(settings: Mapping[str, Any]) -> list[str]:
    return [f"{name}={json.dumps(value)}" for name, value in settings.items()]


def _distribution(library: ModuleType, parameter: Parameter) -> Any:
    kinds = library.distributions
    if parameter.choices:
        return kinds.CategoricalDistribution(parameter.choices)
    if parameter.whole:
        return kinds.IntDistribution(int(parameter.low or 0), int(parameter.high or 0), log=parameter.log)
    return kinds.FloatDistribution(parameter.low, parameter.high, log=parameter.log)


def search_table(result: SearchResult) -> str:
    """The trials, best first, then the stopped and the failed ones."""
    order = {"finished": 0, "stopped": 1, "failed": 2}
    names = list(dict.fromkeys(name for trial in result.trials for name in trial.settings))
    ranked = sorted(
        result.trials, key=lambda t: (order[t.state], t.wer if t.wer is not None else float("inf"), t.number)
    )
    rows: list[Sequence[object]] = [("trial", "state", "WER %", "updates", *names)]
    for trial in ranked:
        wer = "" if trial.wer is None else f"{100 * trial.wer:.2f}"
        rows.append((trial.number, trial.state, wer, trial.updates, *(_shown(trial.settings.get(n)) for n in names)))
    return text_table(rows)


def _shown(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else "" if value is None else str(value)


def draw_search(result: SearchResult, path: Path) -> None:
    """Save a picture: WER of each trial with the best so far, and WER over each setting. Raises MissingPart without
    matplotlib.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as err:
        raise MissingPart(
            "Drawing needs the package matplotlib.", hint="Install it with: pip install 'harken[train]'."
        ) from err
    scored = [trial for trial in result.trials if trial.wer is not None]
    names = list(dict.fromkeys(name for trial in scored for name in trial.settings))
    figure = Figure(figsize=(4.2 * (1 + len(names)), 3.6), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    first, *others = figure.subplots(1, 1 + len(names), sharey=True, squeeze=False)[0]
    numbers, rates = [t.number for t in scored], [100 * (t.wer or 0.0) for t in scored]
    colours = [_COLOURS[trial.state] for trial in scored]
    first.scatter(numbers, rates, c=colours, s=28)
    best = [min(rates[: place + 1]) for place in range(len(rates))]
    first.step(numbers, best, where="post", color=_COLOURS["finished"], linewidth=1)
    first.set_xlabel("trial (pale: stopped early)")
    first.set_ylabel("lowest validation WER, %")
    for axes, name in zip(others, names, strict=True):
        values = [trial.settings[name] for trial in scored]
        if all(isinstance(value, float) and value > 0 for value in values) and max(values) > 20 * min(values):
            axes.set_xscale("log")
        plain = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
        axes.scatter(values if plain else list(map(str, values)), rates, c=colours, s=28)
        axes.set_xlabel(name)
    for axes in (first, *others):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#e4e8ec", linewidth=0.6)
        axes.set_axisbelow(True)
    with replacing(path) as file:
        figure.savefig(file, format="png", metadata={"Software": None})
