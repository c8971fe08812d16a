"""Whether the server can do its work: what every dependency says, within a time."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Literal

from typing_extensions import TypedDict

from harken.core import HarkenError
from harken.serving.parts import Check, NotWorking, NotYet

log = logging.getLogger(__name__)

PATIENCE_S = 4.5  # so that the answer is out within five seconds
FRESH_S = 1.0
_SILENT = "does not answer"

Status = Literal["ready", "degraded", "not_ready"]


class CheckView(TypedDict):
    """`ms` is how long the dependency took to answer."""

    ok: bool
    required: bool
    detail: str
    ms: float


class ReadyView(TypedDict):
    """`not_ready` where a required check fails or the server shuts down, `degraded` where another one fails."""

    status: Status
    checks: dict[str, CheckView]


class Readiness:
    """Asks the dependencies once for all who want to know at a time, and again after `FRESH_S`.

    Everybody may ask, so that asking often must not become load on a database, and only words that a check has for
    everybody are told: those of a driver may hold addresses and names. They go to the log, once for each change.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, patience_s: float = PATIENCE_S) -> None:
        self._clock = clock
        self._patience_s = patience_s
        self._asking: asyncio.Task[dict[str, CheckView]] | None = None
        self._asked_s = 0.0
        self._failing: set[str] = set()

    async def of(self, checks: Mapping[str, Check], *, closing: bool) -> ReadyView:
        if closing:
            draining = CheckView(ok=False, required=True, detail="the server is shutting down", ms=0.0)
            return ReadyView(status="not_ready", checks={"server": draining})
        if self._asking is None or (self._asking.done() and self._clock() - self._asked_s > FRESH_S):
            self._asking = asyncio.create_task(self._ask(checks))
        found = await asyncio.shield(self._asking)
        return ReadyView(status=_status(found), checks=found)

    async def _ask(self, checks: Mapping[str, Check]) -> dict[str, CheckView]:
        tasks = {name: asyncio.create_task(self._answer(name, check)) for name, check in checks.items()}
        if tasks:
            _, late = await asyncio.wait(tasks.values(), timeout=self._patience_s)
            for task in late:
                task.cancel()
        self._asked_s = self._clock()
        return {name: self._view(name, checks[name], task) for name, task in tasks.items()}

    def _view(self, name: str, check: Check, task: "asyncio.Task[CheckView]") -> CheckView:
        if task.done():
            return task.result()
        detail = f"no answer within {self._patience_s:g} s"
        self._failed(name, TimeoutError(detail))
        return CheckView(ok=False, required=check.required, detail=detail, ms=self._patience_s * 1000)

    async def _answer(self, name: str, check: Check) -> CheckView:
        began_s = time.perf_counter()
        try:
            ok, detail = True, await check.ask()
        except Exception as error:  # noqa: BLE001  whatever a dependency fails with is its answer
            ok, detail = False, error.message if isinstance(error, NotWorking) else _SILENT
            self._failed(name, error)
        else:
            self._works(name)
        ms = round((time.perf_counter() - began_s) * 1000, 1)
        return CheckView(ok=ok, required=check.required, detail=detail, ms=ms)

    def _failed(self, name: str, error: Exception) -> None:
        if name not in self._failing and not isinstance(error, NotYet):
            self._failing.add(name)
            trace = None if isinstance(error, HarkenError | TimeoutError) else error
            log.warning("%s does not work: %s", name, error, exc_info=trace)

    def _works(self, name: str) -> None:
        if name in self._failing:
            self._failing.discard(name)
            log.info("%s works again", name)


def _status(checks: Mapping[str, CheckView]) -> Status:
    failed = [check for check in checks.values() if not check["ok"]]
    if any(check["required"] for check in failed):
        return "not_ready"
    return "degraded" if failed else "ready"
