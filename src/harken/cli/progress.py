"""How far a command is, on stderr: a bar on a terminal, a line now and then elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from harken.cli.output import note

Progress = Callable[[int, int], None]
"""Called with how many are done and how many there are."""


@contextmanager
def progress_on_stderr(what: str, *, every_s: float = 10.0) -> Iterator[Progress]:
    """A `Progress` for `what` ("listening"). Work that is done within `every_s` leaves no line in a log."""
    if not sys.stderr.isatty():
        yield _lines(what, every_s)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), refresh_per_second=4, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _lines(what: str, every_s: float) -> Progress:
    from harken.core.units import format_duration

    began = last = time.monotonic()

    def show(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= every_s and done < total:
            last = now
            left_s = (now - began) / done * (total - done)
            note(f"{what}: {done:,} of {total:,}, about {format_duration(left_s)} left")

    return show
