"""What fits where: the rule on hand-made sizes, and what it says of models whose needs are known."""

import pytest

from harken.models.advice import HARDWARE, HardwareClass, advise, states_bytes, training_bytes, training_speed
from harken.models.variants import VariantSize, find_variant, size_of

MACHINE = HardwareClass(name="small", memory_bytes=32e9, flops=3e12)


def size(parameters: int, *, lora: int | None = None, uses_per_s: float = 1.0) -> VariantSize:
    return VariantSize(parameters=parameters, trained=parameters, lora=lora, uses_per_s=uses_per_s)


def test_sixteen_bytes_for_a_trained_weight_four_for_any_other() -> None:
    assert training_bytes(1000, 1000) == 16_000
    assert training_bytes(1000, 10) == 4_120
    assert states_bytes(size(1000, lora=10), "full") == 16_000
    assert states_bytes(size(1000, lora=10), "lora") == 4 * 1010 + 12 * 10
    assert states_bytes(size(1000), "lora") is None  # there is no place for an adapter


@pytest.mark.parametrize(
    ("parameters", "way"),
    [(10**9, "full"), (10**9 + 1, "lora"), (4 * 10**9 - 4000, "lora"), (4 * 10**9, None)],
)
def test_half_of_the_memory_is_for_the_states(parameters: int, way: str | None) -> None:
    assert advise(size(parameters, lora=1000), MACHINE) == way


@pytest.mark.parametrize(("uses_per_s", "way"), [(20e9, "full"), (20.1e9, "lora"), (30e9, "lora"), (30.1e9, None)])
def test_training_is_ten_times_faster_than_speech(uses_per_s: float, way: str | None) -> None:
    # 40 % of 3e12 operations a second, 6 or 4 for each use of a weight.
    assert advise(size(1000, lora=10, uses_per_s=uses_per_s), MACHINE) == way
    assert advise(size(1000, uses_per_s=uses_per_s), MACHINE) in ("full", None)


def test_the_speed_is_that_of_a_measurement() -> None:
    """On one core with a float32 peak of 137e9 by matrix products, a step of Wav2Vec2 base ran at 1.7 times speech."""
    core = HardwareClass(name="core", memory_bytes=8e9, flops=137e9)
    pytest.importorskip("transformers", reason="needs the extra `train`")
    assert training_speed(size_of(find_variant("wav2vec2-base")), "full", core) == pytest.approx(1.7, rel=0.25)
    assert training_speed(size_of(find_variant("whisper-tiny")), "full", core) == pytest.approx(21.0, rel=0.25)


@pytest.mark.parametrize(
    ("name", "ways"),
    [
        ("whisper-tiny", ["full", "full", "full", "full"]),
        ("whisper-small", [None, "full", "full", "full"]),
        ("whisper-large-v3", [None, "lora", "lora", "full"]),
        ("wav2vec2-xls-r-300m", [None, "full", "full", "full"]),
        ("stt_hi_conformer_ctc_medium", ["full", "full", "full", "full"]),
    ],
)
def test_known_models_on_known_machines(name: str, ways: list[str | None]) -> None:
    pytest.importorskip("transformers", reason="needs the extra `train`")
    assert [hardware.name for hardware in HARDWARE] == ["CPU", "T4 16 GB", "24 GB", "A100 80 GB"]
    assert [advise(size_of(find_variant(name)), hardware) for hardware in HARDWARE] == ways
