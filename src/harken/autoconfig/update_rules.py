"""Rules about what is trained on, and about batches and updates. Their arithmetic is in batches.py."""

from collections.abc import Sequence

from harken.autoconfig.batches import Batches
from harken.autoconfig.plan import Decision, RejectedUtterance
from harken.autoconfig.plan_inputs import MemoryModel, PlanSettings
from harken.autoconfig.rules import decide


def max_audio_duration_seconds(
    limit_s: float, *, longest_s: float, window_s: float | None, asked_s: float | None
) -> Decision:
    """The longest utterance that is trained on."""
    rule = (
        "Every utterance fits."
        if longest_s <= limit_s
        else "The longest that fits in memory in a batch of one, and that the model and the settings allow."
    )
    return decide(
        "max_audio_duration_seconds",
        limit_s,
        rule,
        longest_s=longest_s,
        window_s=window_s,
        max_audio_duration_s=asked_s,
    )


def rejected(made: Batches, longest: Sequence[RejectedUtterance], *, budget: int) -> Decision:
    """What is left out, with the memory it would take."""
    return decide(
        "rejected",
        {"utterances": made.rejected, "seconds": made.rejected_s},
        "Utterances longer than max_audio_duration_seconds are left out, never cut.",
        planned=made.utterances,
        budget_bytes=budget,
        needed_bytes={item.id: item.needed_bytes for item in longest} or None,
    )


def target_audio_s(made: Batches, settings: PlanSettings) -> Decision:
    """Seconds of speech that an update should hold."""
    if settings.target_audio_s is not None:
        return decide("target_audio_s", settings.target_audio_s, "As the settings say.")
    return decide(
        "target_audio_s",
        made.target_s,
        "The target batch size times the mean duration of the utterances planned.",
        target_batch_size=settings.target_batch_size,
        mean_duration_s=made.target_s / settings.target_batch_size,
    )


def buckets(made: Batches, settings: PlanSettings) -> Decision:
    """Edges and sizes; the plan's rows hold the rest."""
    return decide(
        "buckets",
        {"edges_s": [row.upper_edge_s for row in made.rows], "batch_sizes": [row.batch_size for row in made.rows]},
        "Edges that pad least; sizes up to what an update needs, the budget and the largest batch size allow.",
        batch_audio_s=made.batch_s,
        buckets=settings.buckets,
        max_batch_size=settings.max_batch_size,
        saturated=sum(row.saturated for row in made.rows),
    )


def memory(made: Batches) -> Decision:
    """Bytes by kind at the highest peak."""
    row = max(made.rows, key=lambda row: row.peak_bytes)
    return decide(
        "memory",
        dict(row.memory),
        "Parts of the predicted peak of a full batch of the bucket that takes most.",
        upper_edge_s=row.upper_edge_s,
        batch_size=row.batch_size,
        tokens=row.tokens,
        peak_bytes=row.peak_bytes,
    )


def per_device_train_batch_size(made: Batches) -> Decision:
    """The batch size of the bucket that holds the median utterance."""
    below, half = 0, made.utterances / 2
    for row in made.rows:
        below += row.utterances
        if below >= half:
            break
    return decide(
        "per_device_train_batch_size",
        row.batch_size,
        "The batch size of the bucket that holds the median utterance; each bucket has its own.",
        upper_edge_s=row.upper_edge_s,
    )


def gradient_accumulation_steps(made: Batches) -> Decision:
    """Micro-batches per update."""
    return decide(
        "gradient_accumulation_steps",
        made.accumulate,
        "The number of batches whose audio comes nearest to the target of an update.",
        target_audio_s=made.target_s,
        mean_batch_audio_s=made.speech_s / made.steps,
        batches_per_epoch=made.steps,
    )


def updates_per_epoch(made: Batches) -> Decision:
    """Optimiser updates in one pass."""
    return decide(
        "updates_per_epoch",
        made.updates,
        "The batches of an epoch divided by those of an update, rounded up.",
        batches_per_epoch=made.steps,
        gradient_accumulation_steps=made.accumulate,
    )


def update_audio_s(made: Batches) -> Decision:
    """Seconds of speech that an update holds on average."""
    return decide(
        "update_audio_s",
        made.update_s,
        "The speech of an epoch divided by its updates.",
        speech_s=made.speech_s,
        updates_per_epoch=made.updates,
        target_audio_s=made.target_s,
    )


def effective_batch_size(made: Batches) -> Decision:
    """Utterances that an update holds on average."""
    return decide(
        "effective_batch_size",
        max(1, round(made.utterances / made.updates)),
        "The utterances of an epoch divided by its updates: buckets have batch sizes of their own.",
        utterances=made.utterances,
        updates_per_epoch=made.updates,
    )


def evaluation_batch_size(made: Batches, law: MemoryModel, *, budget: int, settings: PlanSettings) -> Decision:
    """The largest batch that validates within the budget, by bisection."""
    duration_s, tokens = made.rows[-1].upper_edge_s, max(row.tokens for row in made.rows)

    def needed(batch: int) -> int:
        return law.evaluation_bytes(batch=batch, duration_s=duration_s, tokens=tokens)

    fitting, too_many = 1, settings.max_batch_size + 1  # the trainer halves what does not fit, so 1 is always tried
    while too_many - fitting > 1:
        middle = (fitting + too_many) // 2
        fitting, too_many = (middle, too_many) if needed(middle) <= budget else (fitting, middle)
    return decide(
        "evaluation_batch_size",
        fitting,
        "The largest batch of the longest utterances planned that validates within the budget.",
        duration_s=duration_s,
        tokens=tokens,
        needed_bytes=needed(fitting),
        budget_bytes=budget,
        max_batch_size=settings.max_batch_size,
    )
