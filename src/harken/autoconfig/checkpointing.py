"""Gradient checkpointing or not: whichever trains a second of speech sooner, or what is needed to fit at all."""

from dataclasses import dataclass

from harken.autoconfig.batches import Batches, plan_batches
from harken.autoconfig.plan import Decision
from harken.autoconfig.plan_inputs import MemoryModel, Models, PlanSettings, PrecisionName
from harken.autoconfig.rules import LARGE_MODEL_PARAMETERS, SAME_SPEED_SHARE, decide
from harken.autoconfig.speech import Speech, longest_allowed_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One of the two ways. `made` is None where not one utterance fits."""

    checkpointing: bool
    memory: MemoryModel
    made: Batches | None

    @property
    def ordinary(self) -> int:
        """Known utterances it keeps of those that are not far beyond the rest."""
        return 0 if self.made is None else self.made.ordinary


def choose_checkpointing(
    speech: Speech,
    models: Models,
    settings: PlanSettings,
    *,
    precision: PrecisionName,
    budget_bytes: int,
    parameters: int,
) -> tuple[Candidate, Decision]:
    """The way to train, and why. The laws with checkpointing are asked for only where memory bounds something without.

    An utterance far beyond the rest never decides: all others would pay for it.
    """

    def candidate(checkpointing: bool) -> Candidate:
        memory, speed = models(precision, checkpointing)
        made = plan_batches(speech, memory, speed, settings, budget_bytes=budget_bytes)
        return Candidate(checkpointing=checkpointing, memory=memory, made=made)

    asked = settings.gradient_checkpointing
    if asked != "auto":
        return candidate(asked), decide("gradient_checkpointing", asked, "As the settings say.")
    without = candidate(False)
    longest_s = min(speech.ordinary_s, longest_allowed_s(speech, settings))
    wanted = speech.allowed(longest_s)
    if without.made is not None and without.ordinary >= wanted and not without.made.bounded:
        rule = "Off: memory bounds no batch, so that computing activations twice would buy nothing."
        return without, _explained(without, None, rule, parameters)
    return _compared(without, candidate(True), parameters)


def _compared(without: Candidate, with_it: Candidate, parameters: int) -> tuple[Candidate, Decision]:
    if without.made is None or with_it.ordinary > without.ordinary:
        rule = "On: without it, fewer of the utterances fit."
        return with_it, _explained(without, with_it, rule, parameters)
    if with_it.made is None or with_it.ordinary < without.ordinary:
        rule = "Off: checkpointing lets no more utterances fit."
        return without, _explained(without, with_it, rule, parameters)
    ratio = with_it.made.seconds_per_audio_s / without.made.seconds_per_audio_s
    if abs(ratio - 1) <= SAME_SPEED_SHARE:
        large = parameters > LARGE_MODEL_PARAMETERS
        rule = "Both are equally fast, so the size decides: on for models of more than 100 million parameters."
        return (with_it if large else without), _explained(without, with_it, rule, parameters, on=large)
    rule = "Whichever takes less predicted time for a second of speech, with the batches it allows."
    return (with_it if ratio < 1 else without), _explained(without, with_it, rule, parameters, on=ratio < 1)


def _explained(
    without: Candidate, with_it: Candidate | None, rule: str, parameters: int, *, on: bool | None = None
) -> Decision:
    def seconds(way: Candidate | None) -> float | None:
        return None if way is None or way.made is None else way.made.seconds_per_audio_s

    return decide(
        "gradient_checkpointing",
        rule.startswith("On") if on is None else on,
        rule,
        seconds_per_audio_s_without=seconds(without),
        seconds_per_audio_s_with=seconds(with_it),
        utterances_without=without.ordinary,
        utterances_with=None if with_it is None else with_it.ordinary,
        parameters=parameters,
    )
