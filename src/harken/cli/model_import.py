"""`harken models import`: a checkpoint of another toolkit as a model folder."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harken.cli.output import print_json

if TYPE_CHECKING:
    from harken.models.description import ModelDescription


def import_model(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="NeMo checkpoint (.nemo).", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="Model folder to write; new or empty.", show_default=False)],
    normalizer: Annotated[
        str, typer.Option("--normalizer", help="Text profile its training labels went through.")
    ] = "none",
    json_output: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Write the model folder of a .nemo file with a Conformer-CTC or FastConformer-CTC model.

    NeMo need not be installed. A model that would not give the scores it has in NeMo is refused.
    """
    from harken.cli.folders import check_output_folder
    from harken.core import InputError, dump_settings
    from harken.models.nemo.importer import convert_nemo
    from harken.text.normalize import find_profile

    find_profile(normalizer)
    check_output_folder(out)
    if out.exists() and any(out.iterdir()):
        raise InputError(f"{out} is not empty.", hint="Choose a new folder with --out.")
    description = convert_nemo(path, out, normalizer=normalizer)
    if json_output:
        print_json({"folder": str(out), **dump_settings(description)})
    else:
        typer.echo(_summary(description))
        typer.echo(f"model        {out}")


def _summary(description: "ModelDescription") -> str:
    features = description.features
    lines = {
        "family": description.family,
        "parameters": f"{description.parameters:,}",
        "tokenizer": f"{description.tokenizer}, {description.vocab_size - 1} units and the blank",
        "features": f"{features['dimensions']} log-mel energies at {description.sample_rate_hz} Hz, "
        f"normalised {features['normalize']}",
        "normalizer": description.normalizer,
        "languages": ", ".join(description.languages) or "not stated",
    }
    return "\n".join(f"{name:<13}{value}" for name, value in lines.items())
