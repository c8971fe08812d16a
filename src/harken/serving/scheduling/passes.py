"""One pass of a recognizer over some waiting audio: everybody gets a transcript or an error of their own."""

import copy
import logging
import time
from collections.abc import Callable, Sequence

from harken.core import HarkenError, RunFailed, Transcript
from harken.core.stopping import Stopped, stop_checks
from harken.serving.scheduling.work import Heard, Work

logger = logging.getLogger(__name__)

Check = Callable[[], None]
PassDone = Callable[[Sequence[Work], float], None]
"""Called with what was heard together and the seconds it took."""


def hear_together(batch: Sequence[Work], *, model: str, check: Check, done: PassDone) -> None:
    """Hears a batch; where that fails, each of it alone, so that only the culprit fails. Raises nothing."""
    try:
        _hear(batch, check, done)
    except Stopped:
        _stopped(batch)
    except Exception as err:  # noqa: BLE001 (an engine may raise anything, and the thread has to live on)
        if len(batch) == 1:
            batch[0].fail(_explained(err, batch[0], model))
            return
        for work in batch:
            if work.is_wanted:
                hear_together([work], model=model, check=check, done=done)


def _hear(batch: Sequence[Work], check: Check, done: PassDone) -> None:
    began = time.monotonic()
    with stop_checks(check):
        check()
        transcripts = _transcripts(batch)
    took_s = time.monotonic() - began
    done(batch, took_s)
    for work, transcript in zip(batch, transcripts, strict=True):
        queue_s = max(0.0, began - work.arrived_s)
        work.finish(Heard(transcript=transcript, queue_s=queue_s, inference_s=took_s, batch_size=len(batch)))


def _transcripts(batch: Sequence[Work]) -> list[Transcript]:
    """Long audio is read from its file, a piece at a time."""
    waveforms = [work.waveform for work in batch if work.waveform is not None]
    if len(waveforms) == len(batch):
        return batch[0].recognizer.transcribe_batch(waveforms)
    return [work.recognizer.transcribe(work.audio.path) for work in batch]


def _stopped(batch: Sequence[Work]) -> None:
    """Those who still wait when a pass is stopped do so because the server stops."""
    for work in batch:
        work.fail(RunFailed("The server stopped.", hint="Send it again."))


def _explained(error: Exception, work: Work, model: str) -> HarkenError:
    """An error without the place of the temporary file; one that is not ours says no more than that it happened."""
    if not isinstance(error, HarkenError):
        if work.is_wanted:
            logger.error("the model %s failed", model, exc_info=error)
        failed = RunFailed(f"The model {model} failed on this audio.", hint="Send other audio, or tell the operator.")
        failed.__cause__ = error
        return failed
    path = str(work.audio.path)
    if path not in error.message:
        return error
    unnamed = copy.copy(error)
    unnamed.message = error.message.replace(f"{path}: ", "").replace(path, "The audio")
    unnamed.args = (f"{unnamed.message} {unnamed.hint}".strip(),)
    unnamed.__cause__ = error
    return unnamed
