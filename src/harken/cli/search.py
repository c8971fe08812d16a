"""`harken search`: settings of a recipe, tried and compared."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harken.cli.output import note, print_json

if TYPE_CHECKING:
    from harken.training.recipe import Recipe
    from harken.training.search import Trial


def search(
    recipe: Annotated[Path, typer.Argument(help="Recipe (YAML) to start from.")],
    space: Annotated[Path, typer.Argument(help="What to try (YAML): parameters, trials, seed.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Settings for every trial, such as training.updates=200.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the trials, their table and picture.")] = Path(
        "search"
    ),
    json_output: Annotated[bool, typer.Option("--json", help="Print the trials as JSON.")] = False,
) -> None:
    """Try settings of a recipe, stop bad trials early, and rank them. The same command again goes on."""
    from dataclasses import asdict

    from harken.cli.folders import check_output_folder
    from harken.core import InputError, RunFailed, load_yaml, parse_settings
    from harken.training.progress import progress_view
    from harken.training.recipe import load_recipe
    from harken.training.search import PICTURE, SearchConfig, search_table
    from harken.training.search import search as run_search

    config = parse_settings(SearchConfig, load_yaml(space), source=str(space))
    common = overrides or []

    def make_recipe(settings: Sequence[str]) -> "Recipe":
        try:
            return load_recipe(recipe, [*common, *settings])
        except InputError as err:
            load_recipe(recipe, common)  # a mistake in the recipe itself is told without the space
            raise InputError(f"{space}: with {' '.join(settings)}, {err.message}", hint=err.hint) from err

    def tell(trial: "Trial") -> None:
        wer = "" if trial.wer is None else f", WER {100 * trial.wer:.2f} %"
        note(f"trial {trial.number} {trial.state} after {trial.updates} updates{wer}")

    check_output_folder(out)
    with progress_view() as view:
        result = run_search(make_recipe, config, out, view=view, on_trial=tell)
    if json_output:
        print_json(
            {
                "trials": [asdict(trial) for trial in result.trials],
                "best": None if result.best is None else result.best.number,
            }
        )
    else:
        typer.echo(search_table(result))
    if result.best is None:
        cause = next((trial.cause for trial in result.trials if trial.cause), "")
        raise RunFailed(
            f"None of the {len(result.trials)} trials in {out} finished{': ' if cause else '.'}{cause}",
            hint="Mend that, then search in another folder (--out): these trials are not tried again.",
        )
    if not json_output:
        typer.echo(f"\nbest: {out / f'trial-{result.best.number:03d}'}; picture: {out / PICTURE}")
