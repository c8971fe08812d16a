"""`harken data preview`: what a recipe's augmentation does, to listen to and to look at."""

from pathlib import Path
from typing import Annotated

import typer

from harken.cli.output import counted


def preview(
    recipe: Annotated[Path, typer.Argument(help="Recipe (YAML).")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Settings that replace the recipe's, such as augmentation.codec={}.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the examples and their picture.")] = Path(
        "preview"
    ),
    count: Annotated[int, typer.Option(help="Utterances, from short to long.")] = 4,
    epoch: Annotated[int, typer.Option(min=0, help="Epoch of each stage whose draws are shown.")] = 0,
) -> None:
    """Write some training utterances as they are and as every stage of a recipe hears them."""
    from harken.cli.folders import check_output_folder
    from harken.training.preview import PICTURE, preview_augmentation
    from harken.training.recipe import load_recipe

    settings = load_recipe(recipe, overrides or [])
    check_output_folder(out)
    examples = preview_augmentation(settings, out, count=count, epoch=epoch)
    for example in examples:
        drawn = "; ".join(
            f"{name} {', '.join(f'{key} {_short(value)}' for key, value in facts.items())}"
            for name, facts in example.drawn.items()
        )
        typer.echo(f"{example.utterance}  {example.stage}  {drawn or 'unchanged'}")
    typer.echo(f"{out}: {counted(len(examples), 'file')} and {PICTURE}")


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
