"""`harken transcribe`: using a model."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from harken.cli.output import complain, counted, note
from harken.cli.progress import progress_on_stderr
from harken.cli.remote import check_server_options, server_results
from harken.cli.transcripts import audio_files_of, targets, tidied, with_name

if TYPE_CHECKING:
    from harken.core import Recognizer, Transcript
    from harken.inference.config import EngineConfig
    from harken.inference.files import FileResult

_Task: TypeAlias = tuple[str, Path | None]  # an audio file, and the file for its transcript
_TOLD_TO_SERVERS = {"language", "hotwords"}

ModelOption = Annotated[Path, typer.Option("--model", "-m", help="Model folder, such as runs/NAME/model.")]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
EngineOption = Annotated[
    str, typer.Option(help="torch, onnx or ctranslate2; auto: the fastest that the model was exported for.")
]
PrecisionOption = Annotated[str, typer.Option(help="auto, fp32, fp16 or int8: which export runs.")]
ThreadsOption = Annotated[int | None, typer.Option(help="CPU threads. Without it: the engine's own choice.")]
LanguageOption = Annotated[
    str | None,
    typer.Option(help="What is spoken, such as uz; for Whisper. Without it: the model's one language, or its guess."),
]
TaskOption = Annotated[
    str | None, typer.Option(help="transcribe, or translate (into English); for Whisper. Without it: what it learnt.")
]


def transcribe(
    files: Annotated[
        list[str], typer.Argument(help="Audio files of any format, folders of them, or URLs.", metavar="FILE...")
    ],
    model: Annotated[
        Path | None,
        typer.Option(
            "--model",
            "-m",
            help="Model folder, such as runs/NAME/model. This or --routes. With --server: a model's name.",
        ),
    ] = None,
    routes: Annotated[
        Path | None, typer.Option(help="YAML file that names a model for each language; the language is detected.")
    ] = None,
    style: Annotated[str, typer.Option("--format", "-f", help="txt, json, srt, vtt or tsv.")] = "txt",
    out: Annotated[Path | None, typer.Option(help="Folder for one transcript file per audio file.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="With --out: leave out files that have a transcript.")
    ] = False,
    json_output: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    engine: EngineOption = "auto",
    precision: PrecisionOption = "auto",
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    beam: Annotated[int | None, typer.Option(help="Texts followed at a time; 1 is greedy.")] = None,
    lm: Annotated[str | None, typer.Option("--lm", help="Language model (ARPA or KenLM), for CTC models.")] = None,
    lm_weight: Annotated[float | None, typer.Option(help="Weight of the language model.")] = None,
    hotwords: Annotated[
        str | None, typer.Option(help="File with a phrase a line to listen for, for CTC models.")
    ] = None,
    language: LanguageOption = None,
    task: TaskOption = None,
    word_times: Annotated[
        bool, typer.Option("--word-times", help="Time each word; for Whisper, others always do.")
    ] = False,
    tidy: Annotated[bool, typer.Option("--tidy", help="Begin sentences with capitals, no space before stops.")] = False,
    server: Annotated[
        str | None, typer.Option(help="Address of a Harken server that does the work, such as http://127.0.0.1:8000.")
    ] = None,
    api_key_env: Annotated[
        str | None,
        typer.Option(help="Environment variable that holds the server's key.", show_default="HARKEN_API_KEY"),
    ] = None,
) -> None:
    """Transcribe audio files of any length.

    One file's transcript is printed as it is; with several, each line names its file, and with --routes the language.
    A file that cannot be read is reported and the others go on; the exit code is 2 then.
    """
    local = {"device": device, "precision": precision, "threads": threads, "language": language, "task": task}
    ctc = {"lm": lm, "lm_weight": lm_weight, "hotwords": hotwords}
    whisper = {"word_times": word_times}
    given = {"routes": routes, "engine": engine, "beam": beam, **local, **ctc, **whisper}
    check_server_options(server, api_key_env, {name: given[name] for name in given if name not in _TOLD_TO_SERVERS})
    _check_choice(model, routes, server)
    style = _checked_style("json" if json_output else style)
    named, left = _left_to_do(files, out, style, resume)
    if not left:
        return
    paths = [file for file, _ in left]
    if server is not None:
        results = server_results(
            server, paths, api_key_env=api_key_env, model=model, language=language, hotwords=hotwords
        )
    else:
        results = _heard_here(paths, model, routes, given, local=local, ctc=ctc, whisper=whisper)
    give = partial(_give, style=style, tidy=tidy, several=named > 1, detected=routes is not None)
    failed = _give_all(results, left, give)
    if failed:
        note(f"{counted(failed, 'file')} of {named} could not be transcribed.")
        raise typer.Exit(2)


def _check_choice(model: Path | None, routes: Path | None, server: str | None) -> None:
    """On this machine exactly one of a model and routes transcribes."""
    from harken.core import InputError

    if server is None and (model is None) == (routes is None):
        what = "There is no model." if model is None else "--model and --routes exclude each other."
        raise InputError(what, hint="Give one of --model and --routes.")


def _checked_style(style: str) -> str:
    from harken.core import InputError
    from harken.inference.formats import FORMATS

    if style not in FORMATS:
        raise InputError(f"--format is {style!r}.", hint=f"Use one of {', '.join(FORMATS)}.")
    return style


def _left_to_do(files: Sequence[str], out: Path | None, style: str, resume: bool) -> tuple[int, list[_Task]]:
    """How many audio files are named, and those left to transcribe, each with the file for its transcript if any."""
    from harken.core import InputError

    if resume and out is None:
        raise InputError("--resume needs --out.", hint="Only transcripts that were written can be left out.")
    named = [found for file in files for found in audio_files_of(file)]
    tasks = [(file, target) for (file, _), target in zip(named, targets(named, out, style), strict=True)]
    left = [(file, target) for file, target in tasks if not (resume and target is not None and target.is_file())]
    if len(left) < len(named):
        note(f"{counted(len(named) - len(left), 'file')} of {len(named)} have a transcript already.")
    return len(named), left


def _heard_here(
    paths: Sequence[str],
    model: Path | None,
    routes: Path | None,
    given: Mapping[str, Any],
    *,
    local: Mapping[str, Any],
    ctc: Mapping[str, Any],
    whisper: Mapping[str, Any],
) -> "Iterator[FileResult]":
    """The results of a model or of a router on this machine."""
    from harken.inference.engines import load
    from harken.inference.files import transcribe_files

    if model is None:
        assert routes is not None
        return transcribe_files(_router(routes, {name: given[name] for name in given if name != "routes"}), paths)
    config = engine_config(model, local, beam=given["beam"], ctc=ctc, whisper=whisper)
    return transcribe_files(load(model, engine=given["engine"], config=config), paths)


def _give_all(
    results: "Iterable[FileResult]", left: Sequence[_Task], give: "Callable[[str, Transcript, Path | None], None]"
) -> int:
    """Give every transcript as it comes, complain of every file without one, and return how many those are."""
    failed = 0
    with progress_on_stderr("transcribing") as progress:
        for number, (result, (_, target)) in enumerate(zip(results, left, strict=True), start=1):
            if result.transcript is None:
                failed += 1
                complain(str(result.error))
            else:
                give(result.path, result.transcript, target)
            progress(number, len(left))
    return failed


def _give(
    path: str, transcript: "Transcript", target: Path | None, *, style: str, tidy: bool, several: bool, detected: bool
) -> None:
    """Print a transcript, or write it to its file. The language is told where it was `detected`, "" in doubt."""
    from harken.inference.formats import render

    text = render(tidied(transcript) if tidy else transcript, style)
    language = (transcript.language or "") if detected else None
    if target is None:
        typer.echo(with_name(path, text, style, language) if several else text, nl=False)
        return
    from harken.core.files import write_text

    write_text(target, text)
    note(f"{path} -> {target}" + (f" ({language})" if language else ""))


def _router(routes: Path, options: Mapping[str, Any]) -> "Recognizer":
    """The router of a file, which has its models' settings: `options` that were given would do nothing."""
    from harken.core import InputError
    from harken.inference.routing import LanguageRouter

    told = next((name for name, value in options.items() if value not in (None, False, "auto")), None)
    if told is not None:
        raise InputError(
            f"--{told.replace('_', '-')} does nothing with --routes.", hint=f"Set it for a model in {routes}."
        )
    return LanguageRouter.load(routes)


def engine_config(
    model: Path, settings: Mapping[str, Any], *, beam: int | None, ctc: Mapping[str, Any], whisper: Mapping[str, Any]
) -> "EngineConfig":
    """Settings from options. Only those that were given are set, so that one for another kind of model is refused."""
    from harken.core import parse_settings
    from harken.inference.config import EngineConfig
    from harken.models.description import read_description

    blocks = {"ctc": _given(ctc), "whisper": _given(whisper)}
    if beam is not None:
        blocks["whisper" if read_description(model).family == "whisper" else "ctc"]["beam_size"] = beam
    return parse_settings(EngineConfig, {**settings, **blocks}, source="harken transcribe")


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value not in (None, False)}
