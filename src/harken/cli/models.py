"""`harken models`: look at model folders."""

import json
from pathlib import Path
from typing import Annotated

import typer

from harken.cli.output import print_json

app = typer.Typer(help="Look at model folders.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Look at model folders."""


@app.command("show")
def show(
    folder: Annotated[Path, typer.Argument(help="Model folder.")],
    json_output: Annotated[bool, typer.Option("--json", help="Print everything harken.json says.")] = False,
) -> None:
    """Say what a model folder holds."""
    from harken.models.folder import DESCRIPTION, read_description

    description = read_description(folder)
    if json_output:
        print_json(json.loads((folder / DESCRIPTION).read_text(encoding="utf-8")))
        return
    typer.echo(f"family       {description.family}")
    typer.echo(f"parameters   {description.parameters:,}")
    typer.echo(f"sample rate  {description.sample_rate_hz} Hz")
    typer.echo(f"output       {description.vocab_size - 1} units ({description.tokenizer}) and the blank")
    typer.echo(f"languages    {', '.join(description.languages) or 'not stated'}")
    for name, values in description.metrics.items():
        wer = values.get("wer")
        value = wer.get("value") if isinstance(wer, dict) else wer
        typer.echo(f"WER          {'none' if value is None else f'{100 * value:.2f} %'} on {name}")
    typer.echo(f"run          {description.provenance.get('run', 'unknown')}")
