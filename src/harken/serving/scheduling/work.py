"""What waits for a model, and what becomes of it."""

from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field

from harken.core import Recognizer, Transcript, Waveform
from harken.serving.contract import Priority
from harken.serving.decoding.decoded import DecodedAudio


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """A transcript, how long it waited, and the pass that made it."""

    transcript: Transcript
    queue_s: float
    inference_s: float
    batch_size: int


@dataclass(eq=False, slots=True, kw_only=True)
class Work:
    """One piece of audio for one recognizer. Cancelling `done` gives it up, whether it waits or is being heard."""

    audio: DecodedAudio
    waveform: Waveform | None  # None: too long to be held, it is read from its file
    recognizer: Recognizer
    priority: Priority
    arrived_s: float  # of the queue's clock
    done: "Future[Heard]" = field(default_factory=Future)

    @property
    def is_wanted(self) -> bool:
        return not self.done.cancelled()

    @property
    def duration_s(self) -> float:
        return self.audio.duration_s

    def finish(self, heard: Heard) -> None:
        with suppress(InvalidStateError):  # given up in this moment
            self.done.set_result(heard)

    def fail(self, error: BaseException) -> None:
        with suppress(InvalidStateError):
            self.done.set_exception(error)
