"""`harken transcribe`: using a model."""

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harken.cli.output import complain, counted, note
from harken.cli.progress import progress_on_stderr
from harken.cli.remote import check_server_options, server_results

if TYPE_CHECKING:
    from harken.core import Recognizer, Transcript, Word
    from harken.inference.config import EngineConfig

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
    from harken.core import InputError
    from harken.inference.engines import load
    from harken.inference.files import transcribe_files
    from harken.inference.formats import FORMATS, render

    settings = {"device": device, "precision": precision, "threads": threads, "language": language, "task": task}
    ctc = {"lm": lm, "lm_weight": lm_weight, "hotwords": hotwords}
    whisper = {"word_times": word_times}
    kept = {"language", "hotwords"}
    local = {"routes": routes, "engine": engine, "beam": beam, **settings, **ctc, **whisper}
    check_server_options(server, api_key_env, {name: local[name] for name in local if name not in kept})
    if server is None and (model is None) == (routes is None):
        what = "There is no model." if model is None else "--model and --routes exclude each other."
        raise InputError(what, hint="Give one of --model and --routes.")
    style = "json" if json_output else style
    if style not in FORMATS:
        raise InputError(f"--format is {style!r}.", hint=f"Use one of {', '.join(FORMATS)}.")
    if resume and out is None:
        raise InputError("--resume needs --out.", hint="Only transcripts that were written can be left out.")
    named = [found for file in files for found in _files_of(file)]
    targets = _targets(named, out, style)
    left = [
        (file, target) for (file, _), target in zip(named, targets, strict=True) if not (resume and _is_file(target))
    ]
    if len(left) < len(named):
        note(f"{counted(len(named) - len(left), 'file')} of {len(named)} have a transcript already.")
    if not left:
        return
    paths = [file for file, _ in left]
    if server is not None:
        results = server_results(
            server, paths, api_key_env=api_key_env, model=model, language=language, hotwords=hotwords
        )
    elif model is None:
        assert routes is not None
        recognizer = _router(routes, {"engine": engine, **settings, "beam": beam, **ctc, **whisper})
        results = transcribe_files(recognizer, paths)
    else:
        config = engine_config(model, settings, beam=beam, ctc=ctc, whisper=whisper)
        results = transcribe_files(load(model, engine=engine, config=config), paths)
    failed = 0
    with progress_on_stderr("transcribing") as progress:
        for number, (result, (_, target)) in enumerate(zip(results, left, strict=True), start=1):
            if result.transcript is None:
                failed += 1
                complain(str(result.error))
            else:
                text = render(_tidied(result.transcript) if tidy else result.transcript, style)
                heard = (result.transcript.language or "") if routes is not None else None
                _give(result.path, text, style, target, several=len(named) > 1, language=heard)
            progress(number, len(left))
    if failed:
        note(f"{counted(failed, 'file')} of {len(named)} could not be transcribed.")
        raise typer.Exit(2)


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


def _tidied(transcript: "Transcript") -> "Transcript":
    from dataclasses import replace

    from harken.text import tidy_transcript

    def tidied(text: str) -> str:
        return tidy_transcript(text, capitalize=True)

    segments = tuple(
        replace(segment, text=tidied(segment.text), words=_tidied_words(segment.words, tidied))
        for segment in transcript.segments
    )
    return replace(transcript, text=tidied(transcript.text), segments=segments)


def _tidied_words(words: Sequence["Word"], tidied: Callable[[str], str]) -> tuple["Word", ...]:
    """Words as they are written in the tidied text; a stop that was a word of its own joins the word before it."""
    from dataclasses import replace

    text = " ".join(word.text for word in words)
    tidy = tidied(text)
    closed = _gaps(text) - _gaps(tidy)
    # Tidying changes letters one for one, and otherwise spaces only.
    letters = [index for index, letter in enumerate(tidy) if not letter.isspace()]
    found: list[Word] = []
    place = 0
    for word in words:
        length = len("".join(word.text.split()))
        written = tidy[letters[place] : letters[place + length - 1] + 1] if length else ""
        if place in closed:
            found[-1] = replace(found[-1], text=found[-1].text + written, end_s=max(found[-1].end_s, word.end_s))
        else:
            found.append(replace(word, text=written))
        place += length
    return tuple(found)


def _gaps(text: str) -> set[int]:
    """How many letters stand before the end of each word."""
    return set(accumulate(map(len, text.split())))


def _give(path: str, text: str, style: str, target: Path | None, *, several: bool, language: str | None) -> None:
    """Print a transcript, or write it to its file. `language` is shown where it was to be detected, "" in doubt."""
    if target is None:
        typer.echo(_named(path, text, style, language) if several else text, nl=False)
        return
    from harken.core.files import write_text

    write_text(target, text)
    note(f"{path} -> {target}" + (f" ({language})" if language else ""))


def _files_of(file: str) -> list[tuple[str, Path]]:
    """The file itself, or the audio files anywhere below a folder, in the order of their names. With each, what its
    transcript is called but for the ending: the file's name, within a folder its path from there.
    """
    from harken.core import InputError

    folder = Path(file)
    if not folder.is_dir():
        return [(file, Path(Path(file).stem))]
    from harken.data.importers.candidates import audio_files

    found = [(str(path), path.relative_to(folder).with_suffix("")) for path in audio_files(folder)]
    if not found:
        raise InputError(f"{file} holds no audio files.", hint="Name the files, or another folder.")
    return found


def _targets(named: Sequence[tuple[str, Path]], out: Path | None, style: str) -> list[Path | None]:
    """A transcript file for each input, None without `out`; refused where two inputs would share one."""
    from harken.core import InputError

    if out is None:
        return [None] * len(named)
    firsts: dict[Path, str] = {}
    for file, name in named:
        target = out / name.with_name(f"{name.name}.{style}")
        if target in firsts:
            raise InputError(
                f"{firsts[target]} and {file} would both be written to {target}.",
                hint="Transcribe one of them by itself, with another folder for --out.",
            )
        firsts[target] = file
    return list(firsts)


def _is_file(target: Path | None) -> bool:
    return target is not None and target.is_file()


def _named(path: str, text: str, style: str, language: str | None) -> str:
    if style == "txt":
        return f"{path}\t{text}" if language is None else f"{path}\t{language}\t{text}"
    if style == "json":
        import json

        return json.dumps({"file": path, **json.loads(text)}, ensure_ascii=False) + "\n"
    return f"# {path}\n{text}\n"
