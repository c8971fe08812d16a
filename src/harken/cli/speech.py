"""`harken transcribe`: using a model."""

from pathlib import Path
from typing import Annotated

import typer

from harken.cli.output import complain, counted, note

ModelOption = Annotated[Path, typer.Option("--model", "-m", help="Model folder, such as runs/NAME/model.")]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
LanguageOption = Annotated[
    str | None,
    typer.Option(help="What is spoken, such as uz; for Whisper. Without it: the model's one language, or its guess."),
]
TaskOption = Annotated[
    str | None, typer.Option(help="transcribe, or translate (into English); for Whisper. Without it: what it learnt.")
]


def transcribe(
    files: Annotated[list[str], typer.Argument(help="Audio files of any format, or URLs.", metavar="FILE...")],
    model: ModelOption,
    style: Annotated[str, typer.Option("--format", "-f", help="txt, json, srt, vtt or tsv.")] = "txt",
    out: Annotated[Path | None, typer.Option(help="Folder for one transcript file per audio file.")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    device: DeviceOption = "auto",
    language: LanguageOption = None,
    task: TaskOption = None,
) -> None:
    """Transcribe audio files.

    One file's transcript is printed as it is; with several, each line names its file. A file that cannot be read is
    reported and the others go on; the exit code is 2 then.
    """
    from harken.core import InputError, parse_settings
    from harken.inference.config import EngineConfig
    from harken.inference.engines import load
    from harken.inference.files import transcribe_files
    from harken.inference.formats import FORMATS, render

    style = "json" if json_output else style
    if style not in FORMATS:
        raise InputError(f"--format is {style!r}.", hint=f"Use one of {', '.join(FORMATS)}.")
    targets = _targets(files, out, style) if out is not None else None
    settings = {"device": device, "language": language, "task": task}
    recognizer = load(model, config=parse_settings(EngineConfig, settings, source="harken transcribe"))
    failed = 0
    for number, result in enumerate(transcribe_files(recognizer, files)):
        if result.transcript is None:
            failed += 1
            complain(str(result.error))
            continue
        text = render(result.transcript, style)
        if targets is not None:
            from harken.core.files import write_text

            write_text(targets[number], text)
            note(f"{result.path} -> {targets[number]}")
        else:
            typer.echo(_named(result.path, text, style) if len(files) > 1 else text, nl=False)
    if failed:
        note(f"{counted(failed, 'file')} of {len(files)} could not be transcribed.")
        raise typer.Exit(2)


def _targets(files: list[str], out: Path, style: str) -> list[Path]:
    """One file per input, named after it; refused where two inputs would share a name."""
    from harken.core import InputError

    targets = [out / f"{Path(file).stem}.{style}" for file in files]
    for index, target in enumerate(targets):
        if target in targets[:index]:
            first = files[targets.index(target)]
            raise InputError(
                f"{first} and {files[index]} would both be written to {target}.", hint="Transcribe them separately."
            )
    return targets


def _named(path: str, text: str, style: str) -> str:
    if style == "txt":
        return f"{path}\t{text}"
    if style == "json":
        import json

        return json.dumps({"file": path, **json.loads(text)}, ensure_ascii=False) + "\n"
    return f"# {path}\n{text}\n"
