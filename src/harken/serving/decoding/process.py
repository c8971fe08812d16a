"""One worker process: started, given jobs, killed."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from harken.core import RunFailed
from harken.serving.decoding.settings import DecodeSettings

MODULE = "harken.serving.decoding.worker"
START_S = 60.0  # to be ready, on a machine that is busy
MOST_SAMPLE_RATE_HZ = 48_000  # of what is written; no model hears more
_KEPT_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONHOME", "SYSTEMROOT")
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_LONGEST_REPLY = 1 << 16
_STEP_S = 0.05  # between two looks at whether the job is still wanted


class WorkerDied(Exception):
    """The process ended before it replied. `signal` is what killed it, None where it ended by itself."""

    def __init__(self, code: int) -> None:
        super().__init__(f"the worker ended with {code}")
        self.signal = -code if code < 0 else None


class TookTooLong(Exception):
    """The process was killed because its job took more than the time there is for one."""


class GivenUp(Exception):
    """The process was killed because nobody waits for its job any more."""


class WorkerProcess:
    """Used by one thread; `kill` may be called by any."""

    def __init__(self, settings: DecodeSettings) -> None:
        """Starts the process and waits until it is ready. Raises RunFailed where it does not come up."""
        environment = {name: os.environ[name] for name in _KEPT_ENVIRONMENT if name in os.environ}
        environment |= dict.fromkeys(_ONE_THREAD, "1")
        # -P: the folder it is started in is no place to import from. A session of its own: signals for the server's
        # group are not meant for it, and the whole group can be killed.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", MODULE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            cwd=os.sep,
            start_new_session=True,
        )
        told = {
            "limits": asdict(settings.limits),
            "time_limit_s": settings.time_limit_s,
            "memory_bytes": settings.memory_bytes,
            "most_sample_rate_hz": MOST_SAMPLE_RATE_HZ,
        }
        try:
            self.ask(told, time_limit_s=START_S)
        except (WorkerDied, TookTooLong) as err:
            self.close()
            raise RunFailed(
                f"The decoding worker did not start ({err}).",
                hint=f"Try it by hand: {sys.executable} -m {MODULE} </dev/null.",
            ) from err
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def ask(
        self, job: dict[str, Any], *, time_limit_s: float, is_wanted: Callable[[], bool] = lambda: True
    ) -> dict[str, Any]:
        """The reply to one job. Raises WorkerDied; TookTooLong and GivenUp, after which the process is dead too."""
        stdin = self._process.stdin
        assert stdin is not None
        try:
            stdin.write(json.dumps(job).encode() + b"\n")
            stdin.flush()
        except OSError as err:
            raise self._died() from err
        return self._reply(time.monotonic() + time_limit_s, is_wanted)

    def _reply(self, deadline: float, is_wanted: Callable[[], bool]) -> dict[str, Any]:
        stdout = self._process.stdout
        assert stdout is not None
        poll = select.poll()
        poll.register(stdout, select.POLLIN)
        found = b""
        while not found.endswith(b"\n"):
            if not is_wanted():
                self.kill()
                raise GivenUp
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                self.kill()
                raise TookTooLong("it took too long")
            if poll.poll(1000 * min(_STEP_S, left_s)):
                piece = os.read(stdout.fileno(), _LONGEST_REPLY)
                found += piece
                if not piece or len(found) > _LONGEST_REPLY:
                    raise self._died()
        try:
            reply = json.loads(found)
        except ValueError as err:
            raise self._died() from err
        if not isinstance(reply, dict):
            raise self._died()
        return reply

    def _died(self) -> WorkerDied:
        with suppress(subprocess.TimeoutExpired):  # its end of the pipe closes a moment before it is gone
            self._process.wait(timeout=1.0)
        code = self._process.poll()
        self.kill()
        return WorkerDied(-signal.SIGKILL if code is None else code)

    def kill(self) -> None:
        """Ends the process and everything it started; the second time does nothing."""
        if self._process.poll() is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """As `kill`, and closes its pipes; for the thread that uses it."""
        self.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):  # what was not written yet
                    pipe.close()
