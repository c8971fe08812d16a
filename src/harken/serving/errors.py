"""What the server refuses, beside the errors of audio, of models and of every HTTP service."""

from harken.core import ServiceRefused
from harken.http.errors import NotFound, Overloaded


class UnknownModel(NotFound):
    """A model that is not served."""


class QueueFull(Overloaded):
    """More work waits than the server takes."""


class StreamFlooded(ServiceRefused):
    """A stream sends faster than it can be heard, for longer than the server holds."""
