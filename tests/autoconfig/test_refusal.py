"""What is said where nothing fits."""

from typing import Any

import pytest

from harken.autoconfig.cards import CARDS
from harken.autoconfig.refusal import longest_fitting_s, smallest_card
from harken.core import InputError

MB = 10**6


def test_it_names_what_is_needed_what_fits_and_the_smallest_card(planning: Any) -> None:
    # The least: 1000 MB of states, 200 of gradients, and with checkpointing a quarter of 1 + 20 * 20 + 400 MB.
    world = planning.World(memory_bytes=1500 * MB)  # 1275 MB are planned for
    with pytest.raises(InputError) as caught:
        world.plan([20.0, 25.0, 22.0])
    text = str(caught.value)
    assert "Training a-model on a card needs 1.3 GiB for one utterance of 20.0 s, the shortest" in text  # 1400.25 MB
    assert "1.2 GiB are planned for" in text
    assert "The longest audio that fits is" not in text  # the optimiser's step alone takes 1300 MB
    assert "No audio fits, however short." in text
    assert f"The smallest card on which it would fit is {smallest_card(1_400_250_000, 0.85)}" in text


def test_the_longest_audio_that_fits_is_named(planning: Any) -> None:
    world = planning.World(memory_bytes=2000 * MB)  # 1700 MB: 500 for (1 + 20 T + T²) / 4, T = 35.8
    with pytest.raises(InputError, match=r"for one utterance of 50\.0 s, the shortest.* that fits is 35\.8 s\."):
        world.plan([50.0] * 4)


def test_a_window_has_no_shorter_audio(planning: Any) -> None:
    world = planning.World(memory_bytes=1300 * MB, model=planning.Shape(window_s=30.0))
    with pytest.raises(InputError, match=r"one utterance of 30\.0 s.*No audio fits, however short\."):
        world.plan([5.0] * 4)


def test_no_card_is_large_enough(planning: Any) -> None:
    world = planning.World(law=planning.Law(states=10**13))
    with pytest.raises(InputError, match="No card of the catalogue is large enough; or train a smaller model"):
        world.plan([5.0] * 4)


@pytest.mark.parametrize("budget", [1500 * MB, 2000 * MB, 2001 * MB, 3400 * MB])
def test_bisection_finds_what_trying_all_finds(planning: Any, budget: int) -> None:
    law = planning.Law()
    fitting = [
        step / 10
        for step in range(1, 601)
        if law.peak_bytes(batch=1, duration_s=step / 10, tokens=9, accumulated=True) <= budget
    ]
    found = longest_fitting_s(law, budget, up_to_s=60.0, tokens=9)
    assert found == pytest.approx(max(fitting))


def test_the_smallest_card_holds_the_bytes_and_no_smaller_one_does() -> None:
    sizes = sorted(card.memory_bytes for card in CARDS)
    for needed in (1, sizes[0], int(sizes[0] * 0.85), int(sizes[len(sizes) // 2] * 0.85), int(sizes[-1] * 0.85)):
        (card,) = [card for card in CARDS if card.name == smallest_card(needed, 0.85)]
        assert int(card.memory_bytes * 0.85) >= needed
        assert all(int(size * 0.85) < needed for size in sizes if size < card.memory_bytes)
    assert smallest_card(sizes[-1], 0.85) is None
