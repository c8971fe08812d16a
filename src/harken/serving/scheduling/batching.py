"""Which waiting audio is heard next, and together with which: pure decisions."""

from collections.abc import Sequence

from harken.serving.scheduling.pace import batch_s
from harken.serving.scheduling.settings import QueueSettings
from harken.serving.scheduling.work import Work


def in_order(waiting: Sequence[Work], settings: QueueSettings) -> list[Work]:
    """The most urgent first. Every priority is `age_s` of waiting behind the one above it, so that all have their turn
    in the end.
    """
    return sorted(waiting, key=lambda work: work.arrived_s + settings.age_s * work.priority)


def next_batch(waiting: Sequence[Work], settings: QueueSettings) -> list[Work]:
    """The most urgent audio, and with it what else fits into its pass, in the order of urgency; empty for none waiting.

    All of a batch have one recognizer and lengths alike; it times the longest of them is within what a pass takes,
    unless it is one alone.
    """
    ordered = in_order(waiting, settings)
    batch = ordered[:1]
    for work in ordered[1:]:
        if len(batch) == settings.max_batch:
            break
        if work.recognizer is batch[0].recognizer and _fits([*batch, work], settings):
            batch.append(work)
    return batch


def is_full(batch: Sequence[Work], settings: QueueSettings) -> bool:
    """Whether no audio of the lengths of `batch` has room in it."""
    longest_s = max(work.duration_s for work in batch)
    return len(batch) >= settings.max_batch or longest_s * (len(batch) + 1) > batch_s(batch[0].recognizer, settings)


def _fits(batch: Sequence[Work], settings: QueueSettings) -> bool:
    lengths_s = [work.duration_s for work in batch]
    alike = max(lengths_s) <= settings.stretch * max(min(lengths_s), settings.short_s)
    return alike and max(lengths_s) * len(batch) <= batch_s(batch[0].recognizer, settings)
