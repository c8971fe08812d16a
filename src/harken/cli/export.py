"""`harken export`: a model folder for other runtimes."""

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harken.cli.output import note, print_json

if TYPE_CHECKING:
    from harken.export.targets import TargetResult

_HEADINGS = ("target", "size", "clips", "max |Δ log p|", "texts differ", "CER", "WER", "made by")


def export(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Model folder, such as runs/NAME/model.")],
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            help="Targets, comma-separated: onnx, onnx-int8, onnx-fp16, onnx-streaming, tokens, triton, tensorrt; for "
            "Whisper onnx, onnx-int8, ctranslate2, ctranslate2-int8, ctranslate2-fp16. Without it onnx, onnx-int8 and "
            "tokens; for Whisper ctranslate2.",
        ),
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="Manifest to check on, and to calibrate int8 with.")
    ] = None,
    audio: Annotated[
        list[Path] | None, typer.Option("--audio", help="Audio file to check on, instead of a manifest; repeatable.")
    ] = None,
    clips: Annotated[int, typer.Option("--clips", help="Utterances of the manifest to check on.")] = 16,
    json_output: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """Export a model, and check each export against the original on real audio.

    An export that does not say what its original says is removed, and the exit code is 4. Without --data or --audio
    the check listens to speech from espeak-ng.
    """
    from harken.core import InputError, parse_settings
    from harken.export.run import export_model
    from harken.export.targets import ExportConfig, default_targets
    from harken.models.description import read_description

    if data is not None and audio:
        raise InputError("--data and --audio are both given.", hint="Use one of them.")
    if to is None:
        to = ",".join(default_targets(read_description(model).family))
    targets = [target.strip() for target in to.split(",") if target.strip()]
    config = parse_settings(ExportConfig, {"clips": clips}, source="harken export")
    results: list[TargetResult] = []
    before = signal.signal(signal.SIGTERM, _leave)
    try:
        for result in export_model(model, targets, manifest=data, files=audio or [], config=config):
            note(f"{result.target}: {result.path}")
            results.append(result)
    finally:
        signal.signal(signal.SIGTERM, before)
        if results:  # those before the one that failed are in their places
            _show(results, json_output)


def _leave(_number: int, _frame: object) -> None:
    """Stop in good order: killed at once, what is half made would stay in the model folder."""
    sys.exit(128 + signal.SIGTERM)


def _show(results: "list[TargetResult]", json_output: bool) -> None:
    from harken.core.tables import text_table
    from harken.core.units import format_bytes

    if json_output:
        print_json({"exports": [_plain(result) for result in results]})
        return
    rows: list[tuple[str, ...]] = [_HEADINGS]
    rows += [(result.target, format_bytes(result.size_bytes), *_figures(result), result.note) for result in results]
    typer.echo(text_table(rows))


def _figures(result: "TargetResult") -> tuple[str, ...]:
    parity = result.parity
    if parity is None:
        return ("", "", "", "", "")
    wer = "" if parity.wer is None or parity.wer_original is None else f"{parity.wer_original:.2%} → {parity.wer:.2%}"
    return (
        str(parity.clips),
        f"{parity.largest_difference:.2g}",
        f"{parity.texts_differing} of {parity.comparisons}",
        f"{parity.cer:.2%}",
        wer,
    )


def _plain(result: "TargetResult") -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "target": result.target,
        "path": str(result.path),
        "bytes": result.size_bytes,
        "parity": None if result.parity is None else asdict(result.parity),
        "note": result.note,
    }
