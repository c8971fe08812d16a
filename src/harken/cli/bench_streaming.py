"""`harken bench streaming`: one model in batches, in a single pass, and as a stream by each policy it can follow."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harken.cli.output import counted, note, print_json
from harken.cli.progress import progress_on_stderr
from harken.cli.scoring import audio_reader
from harken.cli.speech import EngineOption, PrecisionOption

if TYPE_CHECKING:
    from harken.core import Recognizer, Utterance
    from harken.evaluation.modes import ModeResult
    from harken.inference.streaming.build import StreamParts
    from harken.inference.streaming.stream import Streamer

BATCH, SINGLE = "batch", "single pass"


def streaming(
    model: Annotated[Path, typer.Argument(help="Model folder.")],
    sources: Annotated[
        list[str],
        typer.Argument(help="A manifest, or audio files and folders of them.", metavar="MANIFEST_OR_AUDIO..."),
    ],
    policy: Annotated[
        list[str] | None,
        typer.Option(
            help="cached, windowed, fixed or local-agreement; repeatable. Without it: all the model can follow."
        ),
    ] = None,
    chunk_s: Annotated[float, typer.Option("--chunk", help="Seconds of audio heard at a time.")] = 0.05,
    utterances: Annotated[
        int | None, typer.Option(help="How many utterances, evenly spread over all. Without it: all.")
    ] = None,
    engine: EngineOption = "auto",
    precision: PrecisionOption = "auto",
    threads: Annotated[int, typer.Option(help="CPU threads of the engine.")] = 1,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "cpu",
    out: Annotated[Path | None, typer.Option("--out", "-o", help="File for the figures as JSON.")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Error rates, latencies and corrections of streams, beside batches and a single pass.

    A stream is heard in real time, without waiting for it: latencies are those of a listener. Audio files have no
    reference texts, so rates are then against what the single pass says.
    """
    from harken.core import InputError, parse_settings
    from harken.core.files import write_json
    from harken.evaluation.modes import batch_mode, compare_modes, format_modes, single_mode
    from harken.evaluation.streaming import single_pass_times, stream_mode, with_single_pass_texts
    from harken.inference.config import EngineConfig
    from harken.inference.streaming.build import stream_parts
    from harken.models.description import read_description

    if utterances is not None and utterances < 1:
        raise InputError(f"--utterances is {utterances}.", hint="Use 1 or more.")
    normalizer = read_description(model).normalizer
    chosen = _spread(_utterances(sources), utterances)
    transcribed = _transcribed(chosen)
    settings = {"device": device, "threads": threads, "precision": precision}
    config = parse_settings(EngineConfig, settings, source="harken bench")
    parts = stream_parts(model, engine=engine, config=config)
    recognizer = parts.recognizer
    streamers, left_out = _streamers(parts, policy)
    modes = {
        BATCH: batch_mode(recognizer),
        SINGLE: single_mode(recognizer),
        **{name: stream_mode(streamer, chunk_s=chunk_s) for name, streamer in streamers.items()},
    }
    read = audio_reader(recognizer.sample_rate_hz)
    if not transcribed:
        with progress_on_stderr("single pass for reference") as show:
            chosen = with_single_pass_texts(recognizer, chosen, read, progress=show)
    with _progress(list(modes)) as progress:
        results = compare_modes(
            modes,
            chosen,
            read,
            normalizer=normalizer,
            threads=threads,
            word_times=single_pass_times(_timing_words(recognizer)),
            progress=progress,
        )
    figures = {
        "model": str(model),
        "chunk_s": chunk_s,
        "threads": threads,
        "normalizer": normalizer,
        "references": "manifest" if transcribed else SINGLE,
        "word_times": SINGLE,
        "left_out": left_out,
        "modes": [result.as_json() for result in results],
    }
    if out is not None:
        write_json(out, figures)
        note(f"every number: {out}")
    if json_output:
        print_json(figures)
        return
    typer.echo(_title(results, chunk_s, threads))
    if not transcribed:
        typer.echo("No reference texts: WER and CER are against the texts of the single pass.")
    typer.echo(format_modes(results))


def _utterances(sources: Sequence[str]) -> "list[Utterance]":
    """Those of manifests, one for each audio file, and one for each audio file below a folder."""
    from harken.audio.decode import probe_audio
    from harken.core import InputError, Utterance
    from harken.data.importers.candidates import audio_files
    from harken.data.manifest import read_manifest

    found: list[Utterance] = []
    for source in sources:
        if source.endswith((".jsonl", ".jsonl.gz")):
            found += read_manifest(source)
            continue
        files = [str(file) for file in audio_files(Path(source))] if Path(source).is_dir() else [source]
        if not files:
            raise InputError(f"{source} holds no audio files.", hint="Name a manifest, audio files or another folder.")
        found += [Utterance(id=file, audio=file, duration_s=probe_audio(file).duration_s) for file in files]
    return found


def _spread(utterances: "list[Utterance]", count: int | None) -> "list[Utterance]":
    """`count` of them, evenly spread: manifests go speaker by speaker."""
    if count is None or count >= len(utterances):
        return utterances
    return [utterances[place * len(utterances) // count] for place in range(count)]


def _transcribed(utterances: "list[Utterance]") -> bool:
    """Whether they have reference texts. Raises InputError where only some do."""
    from harken.core import InputError

    silent = [utterance.id for utterance in utterances if utterance.text is None]
    if silent and len(silent) < len(utterances):
        raise InputError(
            f"{counted(len(silent), 'utterance')} of {len(utterances):,} without a reference text, the first is "
            f"{silent[0]!r}.",
            hint="Compare those with texts and those without separately.",
        )
    return not silent


def _streamers(parts: "StreamParts", wanted: list[str] | None) -> "tuple[dict[str, Streamer], dict[str, str]]":
    """A streamer for each policy, and why others are left out. What was asked for by name is never left out."""
    from typing import get_args

    from harken.core import InputError, MissingPart, parse_settings
    from harken.inference.streaming.build import build_streamer
    from harken.inference.streaming.config import PolicyName, StreamingConfig

    found: dict[str, Streamer] = {}
    left_out: dict[str, str] = {}
    for policy in wanted or [name for name in get_args(PolicyName) if name != "auto"]:
        config = parse_settings(StreamingConfig, {"policy": policy}, source="harken bench")
        try:
            name, _, streamer = build_streamer(parts, config)
        except (InputError, MissingPart) as err:
            if wanted:
                raise
            left_out[policy] = str(err)
            note(f"{policy}: {err}")
        else:
            found[name] = streamer
    return found, left_out


def _timing_words(recognizer: "Recognizer") -> "Recognizer":
    """The same recognizer, told to time words where it does not by itself."""
    from harken.inference.whisper.recognizer import WhisperRecognizer

    if isinstance(recognizer, WhisperRecognizer):
        return recognizer.with_config(replace(recognizer.config, word_times=True))
    return recognizer


@contextmanager
def _progress(modes: Sequence[str]) -> Iterator[Callable[[str, int, int], None]]:
    """Progress over the utterances of all modes together."""
    with progress_on_stderr(f"comparing {len(modes)} modes") as show:
        yield lambda name, done, total: show(modes.index(name) * total + done, len(modes) * total)


def _title(results: "Sequence[ModeResult]", chunk_s: float, threads: int) -> str:
    first: Any = results[0]
    return (
        f"{counted(first.utterances, 'utterance')}, {first.audio_s:.1f} s of audio, chunks of {chunk_s:g} s, "
        f"{counted(threads, 'thread')}"
    )
