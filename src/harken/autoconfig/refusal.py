"""What is said when a model cannot be trained on a device at all."""

from harken.autoconfig.cards import CARDS
from harken.autoconfig.hardware import HardwareProfile
from harken.autoconfig.plan_inputs import MemoryModel
from harken.autoconfig.speech import Speech
from harken.core import InputError
from harken.core.units import format_bytes

_STEP_S = 0.1  # audio shorter than one is not worth naming


def too_small(
    hardware: HardwareProfile, speech: Speech, law: MemoryModel, *, name: str, budget_bytes: int, margin: float
) -> InputError:
    """The error for a device whose budget not even the shortest utterance fits, with the others of its update.

    It says what that one takes, the longest audio that fits, and the smallest card of the catalogue on which it would.
    """
    shortest_s, tokens = speech.cost_s(float(speech.durations_s[0])), int(speech.tokens[0])
    needed = law.peak_bytes(batch=1, duration_s=shortest_s, tokens=tokens, accumulated=True)
    longest_s = None if speech.window_s else longest_fitting_s(law, budget_bytes, up_to_s=shortest_s, tokens=tokens)
    fits = "No audio fits, however short" if longest_s is None else f"The longest audio that fits is {longest_s:.1f} s"
    card = smallest_card(needed, margin)
    advice = (
        f"The smallest card on which it would fit is {card}" if card else "No card of the catalogue is large enough"
    )
    return InputError(
        f"Training {name} on {hardware.name} needs {format_bytes(needed)} for one utterance of {shortest_s:.1f} s, the "
        f"shortest, and {format_bytes(budget_bytes)} are planned for. {fits}.",
        hint=f"{advice}; or train a smaller model, or an adapter.",
    )


def longest_fitting_s(law: MemoryModel, budget_bytes: int, *, up_to_s: float, tokens: int) -> float | None:
    """The longest audio, in tenths of a second up to `up_to_s`, of which one utterance fits; None where none does."""

    def fits(steps: int) -> bool:
        duration_s = steps * _STEP_S
        return law.peak_bytes(batch=1, duration_s=duration_s, tokens=tokens, accumulated=True) <= budget_bytes

    fitting, too_long = 0, int(up_to_s / _STEP_S) + 1
    while too_long - fitting > 1:
        middle = (fitting + too_long) // 2
        fitting, too_long = (middle, too_long) if fits(middle) else (fitting, middle)
    return fitting * _STEP_S if fitting else None


def smallest_card(needed_bytes: int, margin: float) -> str | None:
    """Name of the card with the least memory whose budget at this margin holds the bytes; None where none does."""
    fitting = [card for card in CARDS if int(card.memory_bytes * margin) >= needed_bytes]
    return min(fitting, key=lambda card: (card.memory_bytes, card.name)).name if fitting else None
