"""Where a run's numbers go besides its folder. The folder is the truth; sinks are copies for people to look at."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

from harken.core import InputError, MetricSink, load_plugin
from harken.tracking.mlflow_sink import MlflowSink
from harken.tracking.tensorboard_sink import TensorBoardSink

__all__ = ["MlflowSink", "SafeSink", "SinkFactory", "TensorBoardSink", "open_sinks"]

GROUP = "harken.sinks"

_log = logging.getLogger(__name__)

OnFailure = Callable[[str, Exception], None]


class SinkFactory(Protocol):
    """What is registered under `harken.sinks`: a class or function that makes a sink for one run."""

    def __call__(self, *, home: Path, run_folder: Path, **options: Any) -> MetricSink: ...


def open_sinks(
    names: Sequence[str],
    *,
    home: Path,
    run_folder: Path,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    on_failure: OnFailure | None = None,
) -> list[MetricSink]:
    """The sinks called `names`, none of them started yet, each guarded by a `SafeSink`.

    `home` is where Harken keeps what outlives a run, `options` holds further settings by sink. `on_failure` is told
    the name and the exception when one breaks down during the run. Raises MissingPart for a name nobody registered,
    InputError for one given twice, for options of a sink that is not among `names`, and for options a sink refuses.
    """
    settings = options or {}
    twice = sorted({name for name in names if list(names).count(name) > 1})
    if twice:
        raise InputError(f"The sink {twice[0]!r} is listed twice.", hint="Name each sink once.")
    unused = sorted(set(settings) - set(names))
    if unused:
        raise InputError(
            f"There are options for the sink {unused[0]!r}, which is not in use.", hint="Add it, or drop them."
        )
    sinks: list[MetricSink] = []
    for name in names:
        factory = cast(SinkFactory, load_plugin(GROUP, name))
        try:
            sink = factory(home=home, run_folder=run_folder, **settings.get(name, {}))
        except TypeError as err:
            raise InputError(f"The sink {name!r} does not take these options: {err}.") from err
        sinks.append(SafeSink(name, sink, on_failure=on_failure))
    return sinks


class SafeSink:
    """A sink whose trouble does not end a run: a full database must not cost a night of training.

    `start` raises whatever the sink raises: before step 1 a wrong address should be noticed. After that the first
    exception is logged as a warning, passed to `on_failure`, and the sink is not used again; `failed` holds it.
    """

    def __init__(self, name: str, sink: MetricSink, *, on_failure: OnFailure | None = None) -> None:
        self.name = name
        self.failed: Exception | None = None
        self._sink = sink
        self._on_failure = on_failure

    def start(self, run_id: str, name: str, parameters: dict[str, Any], tags: dict[str, str]) -> None:
        self._sink.start(run_id, name, parameters, tags)

    def log(self, metrics: dict[str, float], step: int) -> None:
        self._attempt(lambda: self._sink.log(metrics, step))

    def artifact(self, path: Path) -> None:
        self._attempt(lambda: self._sink.artifact(path))

    def finish(self, status: str) -> None:
        self._attempt(lambda: self._sink.finish(status))

    def _attempt(self, call: Callable[[], None]) -> None:
        if self.failed is not None:
            return
        try:
            call()
        except Exception as err:  # noqa: BLE001 - the door between a run and somebody else's service
            self.failed = err
            _log.warning("%s stopped taking this run's numbers (%s: %s); the run folder has them all",
                         self.name, type(err).__name__, err)  # fmt: skip
            if self._on_failure is not None:
                self._on_failure(self.name, err)
