"""The tree of errors Harken raises on purpose.

Four families, one for each thing the reader can do next: fix the input, install or start a part, look at a run that
broke, or come back later. Rooms add narrow children. The doors (command line, HTTP) turn a family into an exit code or
a status with one table each, so a new child needs no new case there.
"""

from typing import Any


class HarkenError(Exception):
    """Everything raised on purpose. `hint` is the reader's next step.

    The message says what happened, to what, with which value; the hint says what to do about it. Instances survive
    pickling with all their attributes, because worker processes send their errors home that way.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(f"{message} {hint}".strip())
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[Any, ...]:
        # Exception's own reduce would call __init__(joined text), which doubles the hint and breaks children whose
        # __init__ takes other arguments. The state is carried by __dict__ instead.
        return _rebuild, (type(self), self.args), self.__dict__


def _rebuild(kind: type[HarkenError], args: tuple[Any, ...]) -> HarkenError:
    error = kind.__new__(kind)
    error.args = args
    return error


class InputError(HarkenError):
    """Data or settings the user can fix."""

    exit_code = 2


class MissingPart(HarkenError):
    """A model, device, package or file that has to be there is absent."""

    exit_code = 3


class RunFailed(HarkenError):
    """Work began and could not finish."""

    exit_code = 4


class ServiceRefused(HarkenError):
    """Busy, too large, or not allowed."""

    exit_code = 5
