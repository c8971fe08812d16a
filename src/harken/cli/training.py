"""`harken train`: run a recipe, or go on with a run."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harken.cli.output import counted, note, print_json

if TYPE_CHECKING:
    from harken.training.recipe import Recipe
    from harken.training.run import TrainingOutcome


def train(
    recipe: Annotated[Path | None, typer.Argument(help="Recipe (YAML).", show_default=False)] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(help="Settings that replace the recipe's: training.epochs=3", metavar="KEY=VALUE"),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder; by default a new one below runs/.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Run folder to go on with.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check recipe and data, print the plan, train nothing.")
    ] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Train or fine-tune a model.

    Ctrl-C stops after the current update with a checkpoint; `--resume RUN` goes on from there, and after a crash or
    a kill from the last checkpoint, with the same result as an undisturbed run.
    """
    from harken.core import InputError

    if recipe is None and resume is None:
        raise InputError("There is no recipe.", hint="Write harken train RECIPE, or harken train --resume RUN.")
    if resume is not None:
        if recipe or overrides or out or dry_run:
            raise InputError(
                "--resume goes on with the run's own recipe.",
                hint="Leave out the recipe, KEY=VALUE, --out and --dry-run.",
            )
        _report(_resume(resume), json_output)
    elif recipe is not None:
        from harken.training.recipe import load_recipe

        loaded = load_recipe(recipe, overrides or [])
        if dry_run:
            _dry_run(loaded, json_output)
        else:
            _report(run_recipe(loaded, out), json_output)


def run_recipe(recipe: "Recipe", out: Path | None) -> "TrainingOutcome":
    """Train with progress on stderr, provenance and the recipe's sinks."""
    from harken.tracking.run import new_run_id
    from harken.training.progress import progress_view
    from harken.training.run import train as run
    from harken.training.tracked import open_recipe_sinks, recipe_provenance

    run_id = new_run_id(recipe.name)
    folder = out or Path("runs") / run_id
    note(f"run folder: {folder}")
    with progress_view() as view:
        return run(recipe, folder, run_id=run_id, view=view, sinks=open_recipe_sinks, provenance=recipe_provenance)


def _resume(folder: Path) -> "TrainingOutcome":
    from harken.training.progress import progress_view
    from harken.training.run import resume
    from harken.training.tracked import open_recipe_sinks

    with progress_view() as view:
        return resume(folder, view=view, sinks=open_recipe_sinks)


def _dry_run(recipe: "Recipe", json_output: bool) -> None:
    from harken.training.run import plan_run

    plan = plan_run(recipe)
    if json_output:
        print_json(plan)
        return
    for key, value in plan.items():
        typer.echo(f"{key}: {value}")


def _report(outcome: "TrainingOutcome", json_output: bool) -> None:
    state = outcome.state
    if json_output:
        print_json(
            {
                "run": str(outcome.folder),
                "model": str(outcome.model_folder),
                "updates": state.update,
                "best_update": state.best_update,
                "best_wer": state.best_wer,
                "cpu_s": round(outcome.cpu_s, 2),
                "wall_s": round(outcome.wall_s, 2),
                "data_wait_share": round(outcome.data_wait_share, 4),
                "rejected": outcome.rejected,
            }
        )
        return
    wer = "none" if state.best_wer is None else f"{100 * state.best_wer:.2f} % at update {state.best_update}"
    typer.echo(f"best validation WER  {wer}")
    typer.echo(f"updates              {state.update}{' (stopped early)' if state.stopped_early else ''}")
    typer.echo(f"time                 {outcome.wall_s:.0f} s, {outcome.cpu_s:.0f} s of CPU")
    if outcome.rejected:
        left_out = sum(outcome.rejected.values())
        reasons = ", ".join(f"{count} {reason}" for reason, count in outcome.rejected.items())
        typer.echo(
            f"left out             {counted(left_out, 'utterance')} ({reasons}); see rejected-*.jsonl in the run"
        )
    typer.echo(f"picture              {outcome.folder / 'training.png'}")
    typer.echo(f"model                {outcome.model_folder}")
