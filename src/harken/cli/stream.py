"""`harken stream`: recognition while the audio is heard."""

import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from harken.cli.speech import ModelOption

if TYPE_CHECKING:
    from harken.inference.streaming.events import StreamEvent


def stream(
    model: ModelOption,
    file: Annotated[str | None, typer.Argument(help="Audio file of any format, or a URL.", metavar="FILE")] = None,
    mic: Annotated[bool, typer.Option("--mic", help="Listen to the microphone instead of a file.")] = False,
    duration_s: Annotated[
        float | None, typer.Option("--duration", help="Seconds to listen to the microphone; until Ctrl-C without it.")
    ] = None,
    policy: Annotated[str, typer.Option(help="auto, cached, windowed, fixed or local-agreement.")] = "auto",
    endpoint: Annotated[
        str, typer.Option(help="What ends a segment: blank (the model's own silence) or vad.")
    ] = "blank",
    pause_s: Annotated[float, typer.Option("--pause", help="Seconds of silence that end a segment.")] = 1.2,
    chunk_s: Annotated[float, typer.Option("--chunk", help="Seconds of audio heard at a time.")] = 0.05,
    realtime: Annotated[bool, typer.Option("--realtime", help="Hear a file no faster than it was spoken.")] = False,
    engine: Annotated[str, typer.Option(help="What runs the model.")] = "auto",
    json_output: Annotated[
        bool, typer.Option("--json", help="One event per line; the last has the whole text.")
    ] = False,
) -> None:
    """Recognise speech while it is heard.

    In a terminal, committed text stands and tentative text behind it changes. Elsewhere a line is printed for each
    segment once it is committed. Ctrl-C ends the stream with what was heard; a second one stops at once.
    """
    from harken.core import InputError, parse_settings
    from harken.inference.streaming import StreamingASR, StreamingConfig

    if (file is None) != mic:
        raise InputError("There is nothing to hear." if file is None else f"{file} and --mic exclude each other.",
                         hint="Give a FILE, or --mic.")  # fmt: skip
    if duration_s is not None and not mic:
        raise InputError("--duration is for --mic.", hint="A file is heard to its end.")
    if realtime and mic:
        raise InputError("--realtime is for a file.", hint="A microphone is heard as it speaks.")
    settings = {"policy": policy, "endpoint": {"source": endpoint, "pause_s": pause_s}}
    config = parse_settings(StreamingConfig, settings, source="harken stream")
    asr = StreamingASR(model, config=config, engine=engine)
    show = _print_json if json_output else _show_live if sys.stdout.isatty() else _print_lines
    with _interrupts() as interrupted:
        if file is None:
            show(asr.stream_from_microphone(duration_s, chunk_s=chunk_s, stop=interrupted))
        else:
            show(asr.stream_from_file(file, chunk_s, realtime, stop=interrupted))
    until_interrupted = mic and duration_s is None
    if interrupted() and not until_interrupted:
        raise typer.Exit(130)  # what was asked for is there in part


@contextmanager
def _interrupts() -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C was pressed within. Only the first press is taken; the next one interrupts as ever.

    Signals go to the main thread; in others, and where they are ignored, nothing is done.
    """
    pressed = False
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield lambda: False
        return

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        pressed = True
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, handle)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, before)


def _print_json(events: Iterable["StreamEvent"]) -> None:
    import json

    from harken.inference.streaming.events import event_json

    for event in events:
        typer.echo(json.dumps(event_json(event), ensure_ascii=False, allow_nan=False))


def _print_lines(events: Iterable["StreamEvent"]) -> None:
    """A line for each segment."""
    from harken.inference.streaming.events import Committed, Endpoint, Final

    line = ""
    for event in events:
        if isinstance(event, Committed):
            line = f"{line} {event.text}".strip()
        elif isinstance(event, Endpoint | Final) and line:
            typer.echo(line)
            line = ""


def _show_live(events: Iterable["StreamEvent"]) -> None:
    """The open segment at the bottom: committed text, and the tentative text behind it dimmed."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from harken.inference.streaming.events import Committed, Final, Partial

    console = Console()
    line, tentative = "", ""
    with Live(Text(""), console=console, auto_refresh=False, transient=True) as live:
        for event in events:
            if isinstance(event, Committed):
                line = f"{line} {event.text}".strip()
                tentative = " ".join(tentative.split()[len(event.words) :])  # a partial event may correct it
            elif isinstance(event, Partial):
                tentative = event.text
            else:  # a segment has ended
                if line:
                    console.print(Text(line))
                line, tentative = "", "" if isinstance(event, Final) else tentative
            live.update(Text.assemble(line, " " if line and tentative else "", (tentative, "dim")), refresh=True)
