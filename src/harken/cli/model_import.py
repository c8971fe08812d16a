"""`harken models import`: a checkpoint of another toolkit as a model folder."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harken.cli.output import print_json

if TYPE_CHECKING:
    from harken.models.description import ModelDescription


def import_model(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="NeMo checkpoint (.nemo), a folder of transformers (config.json, weights), or a hub id: owner/name.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="Model folder to write; new or empty.", show_default=False)],
    normalizer: Annotated[
        str, typer.Option("--normalizer", help="Text profile its training labels went through.")
    ] = "none",
    language: Annotated[
        list[str] | None, typer.Option("--language", help="A language it is for, such as uz; repeatable.")
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Write the model folder of another toolkit's model, to transcribe with, export and fine-tune.

    Whisper, wav2vec 2.0, HuBERT and WavLM as transformers saves them; Conformer-CTC and FastConformer-CTC from .nemo
    files, without NeMo. A .nemo model that would not give the scores it has in NeMo is refused.
    """
    from harken.cli.folders import check_output_folder
    from harken.core import InputError, dump_settings
    from harken.models.manager import NEMO_SUFFIX
    from harken.models.nemo.importer import convert_nemo
    from harken.models.pretrained_import import import_pretrained
    from harken.text.normalize import find_profile

    find_profile(normalizer)
    check_output_folder(out)
    if out.exists() and any(out.iterdir()):
        raise InputError(f"{out} is not empty.", hint="Choose a new folder with --out.")
    if source.endswith(NEMO_SUFFIX):
        if language:
            raise InputError("--language is given for a .nemo file, which does not take it.", hint="Leave it out.")
        description = convert_nemo(Path(source), out, normalizer=normalizer)
    else:
        description = import_pretrained(source, out, normalizer=normalizer, languages=language or [])
    if json_output:
        print_json({"folder": str(out), **dump_settings(description)})
    else:
        typer.echo(_summary(description))
        typer.echo(f"model        {out}")


def _summary(description: "ModelDescription") -> str:
    features, whisper = description.features, description.family == "whisper"
    units = f"{description.vocab_size:,} units" if whisper else f"{description.vocab_size - 1} units and the blank"
    heard = "samples" if features["kind"] == "waveform" else f"{features['dimensions']} log-mel energies"
    lines = {
        "family": description.family,
        "parameters": f"{description.parameters:,}",
        "tokenizer": f"{description.tokenizer}, {units}",
        "features": f"{heard} at {description.sample_rate_hz} Hz, normalised {features['normalize']}",
        "normalizer": description.normalizer,
        "languages": ", ".join(description.languages) or "not stated",
    }
    return "\n".join(f"{name:<13}{value}" for name, value in lines.items())
