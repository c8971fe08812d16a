"""What the server refuses, beside the errors of audio, of models and of every HTTP service."""

from collections.abc import Mapping

from harken.core import HarkenError, InputError, ServiceRefused
from harken.http.errors import NotFound, Overloaded


class UnknownModel(NotFound):
    """A model that is not served."""


class QueueFull(Overloaded):
    """More work waits than the server takes."""


class StreamFlooded(ServiceRefused):
    """A stream sends faster than it can be heard, for longer than the server holds."""


class CannotBeServed(InputError):
    """A model folder that cannot be put in the place of another (422)."""


class SwapUnderWay(ServiceRefused):
    """Another model is being put behind the same name right now (409)."""


STATUSES: Mapping[type[HarkenError], int] = {CannotBeServed: 422, SwapUnderWay: 409}
"""HTTP statuses that differ from those of the parents."""
