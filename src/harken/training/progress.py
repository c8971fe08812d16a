"""What a person sees while a run goes on: a bar on a terminal, lines in a log."""

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from harken.core.units import format_duration

if TYPE_CHECKING:
    from rich.progress import Progress

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a run stands after an update. `speed` is seconds of audio trained on per second of wall time.

    `wer` is that of the evaluation after update number `evaluated_at` (0: before training).
    """

    update: int
    updates: int
    epoch: float
    loss: float
    wer: float | None
    speed: float
    evaluated_at: int = 0


class ProgressView(Protocol):
    """Shows a run's progress."""

    def show(self, standing: Standing) -> None: ...

    def say(self, message: str) -> None: ...


class SilentView:
    """Shows nothing."""

    def show(self, standing: Standing) -> None:
        return

    def say(self, message: str) -> None:
        return


class LogView:
    """A log line every so often: for files, CI and batch systems."""

    def __init__(self, *, every_s: float = 10.0) -> None:
        self._every_s = every_s
        self._last = time.monotonic()

    def show(self, standing: Standing) -> None:
        if time.monotonic() - self._last >= self._every_s:
            self._last = time.monotonic()
            logger.info("%s", describe(standing))

    def say(self, message: str) -> None:
        logger.info("%s", message)


def describe(standing: Standing) -> str:
    """One line: update, epoch, loss, WER, speed."""
    wer = "" if standing.wer is None else f", WER {100 * standing.wer:.2f} %"
    return (
        f"update {standing.update}/{standing.updates}, epoch {standing.epoch:.2f}, loss {standing.loss:.3f}{wer}, "
        f"{standing.speed:.0f} audio-s/s"
    )


@contextmanager
def progress_view() -> Iterator[ProgressView]:
    """A bar when stderr is a terminal, log lines otherwise."""
    if not sys.stderr.isatty():
        yield LogView()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("[bold]{task.description}"),
        BarColumn(bar_width=None),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        TextColumn("{task.fields[numbers]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), refresh_per_second=4) as progress:
        yield _BarView(progress)


class _BarView:
    def __init__(self, progress: "Progress") -> None:
        self._progress = progress
        self._task = progress.add_task("training", total=1, numbers="")
        self._first: tuple[int, float] | None = None

    def show(self, standing: Standing) -> None:
        now = time.monotonic()
        self._first = self._first or (standing.update - 1, now)
        done, since = standing.update - self._first[0], now - self._first[1]
        left_s = since / max(1, done) * (standing.updates - standing.update)
        wer = "" if standing.wer is None else f"WER {100 * standing.wer:.1f} %  "
        numbers = f"loss {standing.loss:.3f}  {wer}{standing.speed:.0f} audio-s/s  {format_duration(left_s)} left"
        self._progress.update(self._task, completed=standing.update, total=standing.updates, numbers=numbers)

    def say(self, message: str) -> None:
        self._progress.console.print(message, highlight=False, markup=False)
