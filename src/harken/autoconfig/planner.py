"""From hardware, data set and model to a plan: the order in which the rules are asked."""

from typing import TYPE_CHECKING, Any

from harken.autoconfig import rules, update_rules
from harken.autoconfig.batches import Batches
from harken.autoconfig.checkpointing import Candidate, choose_checkpointing
from harken.autoconfig.dataset import DatasetProfile
from harken.autoconfig.hardware import HardwareProfile
from harken.autoconfig.plan import Decision, Plan, Rejected, RejectedUtterance, decided_names, planning_versions
from harken.autoconfig.plan_inputs import MemoryModel, Models, PlanSettings
from harken.autoconfig.refusal import too_small
from harken.autoconfig.speech import Speech, longest_allowed_s, milliseconds_up, speech_of
from harken.core import InputError

if TYPE_CHECKING:
    from harken.autoconfig.model import ModelProfile

_GIVEN = ("num_epochs", "learning_rate", "safety_margin", "preset")
_ORDER = {name: place for place, name in enumerate(decided_names())}


def make_plan(
    hardware: HardwareProfile,
    dataset: DatasetProfile,
    model: "ModelProfile",
    models: Models,
    settings: PlanSettings | None = None,
) -> Plan:
    """The plan for training `model` on `dataset` with `hardware`. The same inputs give the same plan.

    `models` gives the laws of memory and speed for a precision, with gradient checkpointing or without. Raises
    InputError where there is nothing to train on, where not even the shortest utterance fits, and for a precision that
    the device does not have.
    """
    settings = settings or PlanSettings()
    speech = speech_of(dataset, model)
    _check_allowed(speech, settings, source=dataset.source)
    budget = rules.budget_bytes(hardware.memory_bytes, settings.safety_margin)
    chosen, checkpointing = choose_checkpointing(
        speech,
        models,
        settings,
        precision=rules.choose_precision(hardware, settings.precision),
        budget_bytes=budget.value,
        parameters=model.parameters,
    )
    if chosen.made is None:
        raise too_small(
            hardware,
            speech,
            chosen.memory,
            name=model.name,
            budget_bytes=budget.value,
            margin=settings.safety_margin,
        )
    made, longest = chosen.made, _longest_rejected(dataset, speech, chosen)
    decisions = [
        budget,
        checkpointing,
        *rules.mixed_precision(hardware, settings.precision),
        *(rules.given(name, getattr(settings, name)) for name in _GIVEN),
        _limit(speech, made, settings),
        update_rules.rejected(made, longest, budget=budget.value),
        *_about_updates(made, chosen.memory, settings, budget=budget.value),
        *_about_data(hardware, dataset, made, settings),
        *rules.schedule(made.updates),
        *rules.time_and_cost(made, settings),
    ]
    return _assembled(decisions, made, longest, hardware=hardware, dataset=dataset, model=model)


def _assembled(
    decisions: list[Decision],
    made: Batches,
    longest: tuple[RejectedUtterance, ...],
    *,
    hardware: HardwareProfile,
    dataset: DatasetProfile,
    model: "ModelProfile",
) -> Plan:
    values: dict[str, Any] = {decision.name: decision.value for decision in decisions}
    left_out = values.pop("rejected")
    del values["buckets"]  # edges and sizes only
    return Plan(
        **values,
        rejected=Rejected(**left_out, longest=longest),
        buckets=made.rows,
        hardware=hardware.as_json(),
        dataset=dataset.as_json(),
        model=model.as_json(),
        versions=planning_versions(),
        decisions=tuple(sorted(decisions, key=lambda decision: _ORDER[decision.name])),
    )


def _about_updates(made: Batches, law: MemoryModel, settings: PlanSettings, *, budget: int) -> list[Decision]:
    return [
        update_rules.target_audio_s(made, settings),
        update_rules.buckets(made, settings),
        update_rules.memory(made),
        update_rules.per_device_train_batch_size(made),
        update_rules.gradient_accumulation_steps(made),
        update_rules.updates_per_epoch(made),
        update_rules.update_audio_s(made),
        update_rules.effective_batch_size(made),
        update_rules.evaluation_batch_size(made, law, budget=budget, settings=settings),
    ]


def _about_data(
    hardware: HardwareProfile, dataset: DatasetProfile, made: Batches, settings: PlanSettings
) -> list[Decision]:
    return [
        rules.dataloader_num_workers(hardware.cores, 1 / made.seconds_per_audio_s, settings.workers),
        rules.use_streaming(dataset.total_bytes, dataset.total_s),
        rules.cache_audio(dataset.total_s, hardware.ram_bytes),
    ]


def _limit(speech: Speech, made: Batches, settings: PlanSettings) -> Decision:
    """Durations up to this are trained on: the last bucket's edge, or what an utterance in a window may last."""
    allowed_s, longest_s = longest_allowed_s(speech, settings), float(speech.durations_s[-1])
    limit_s = made.rows[-1].upper_edge_s
    if speech.window_s is not None:
        all_fit = made.kept == speech.allowed(allowed_s)
        limit_s = allowed_s if all_fit else milliseconds_up(float(speech.durations_s[made.kept - 1]))
    return update_rules.max_audio_duration_seconds(
        limit_s, longest_s=longest_s, window_s=speech.window_s, asked_s=settings.max_audio_duration_s
    )


def _longest_rejected(dataset: DatasetProfile, speech: Speech, chosen: Candidate) -> tuple[RejectedUtterance, ...]:
    """The longest of what is left out, with the memory each would take; None where the model's window is shorter."""
    made = chosen.made
    if made is None or not made.rejected:
        return ()

    def needed(duration_s: float) -> int | None:
        if speech.window_s is not None and duration_s > speech.window_s:
            return None
        return chosen.memory.peak_bytes(
            batch=1,
            duration_s=speech.cost_s(duration_s),
            tokens=speech.tokens_at(duration_s),
            accumulated=made.accumulate > 1,
        )

    kept_s = float(speech.durations_s[made.kept - 1])
    return tuple(
        RejectedUtterance(id=item.id, duration_s=item.duration_s, needed_bytes=needed(item.duration_s))
        for item in dataset.longest
        if item.duration_s > kept_s
    )


def _check_allowed(speech: Speech, settings: PlanSettings, *, source: str) -> None:
    allowed_s, shortest_s = longest_allowed_s(speech, settings), float(speech.durations_s[0])
    if shortest_s > allowed_s:
        raise InputError(
            f"The shortest utterance of {source} lasts {shortest_s:.2f} s, and at most {allowed_s:g} s are allowed.",
            hint="Cut the audio into utterances, or raise max_audio_duration_s where the model reads longer audio.",
        )
