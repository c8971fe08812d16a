"""The laws of a tiny model's memory: parts that add up, and sizes that only grow."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harken.autoconfig.hardware import find_hardware

torch = pytest.importorskip("torch", reason="needs the extra `train`")

from harken.autoconfig.memory import CUDA_CONTEXT_BYTES, MIB, PAGE_BYTES, StepModel  # noqa: E402
from harken.autoconfig.model import planned_model  # noqa: E402
from harken.models.variants import Variant  # noqa: E402
from harken.training.recipe import OptimizerConfig  # noqa: E402

CONFIG = {"width": 48, "layers": 2, "heads": 2}
CARD = "a100-40gb"


def law_of(card: str = CARD, precision: str = "bf16", **options: Any) -> StepModel:
    variant = Variant(name="tiny", hub_id=None, family="conformer-ctc", config=CONFIG, dimensions=80)
    laws = planned_model(variant, units=40).laws(find_hardware(card), utilisation=0.5, **options)
    law, _ = laws(precision, False)
    assert isinstance(law, StepModel)
    return law


@pytest.fixture(scope="module")
def law() -> StepModel:
    return law_of()


STEPS = st.fixed_dictionaries(
    {
        "batch": st.integers(1, 200),
        "duration_s": st.floats(0.05, 60),
        "tokens": st.integers(1, 300),
        "accumulated": st.booleans(),
    }
)
WEIGHTS = 4 * sum(
    p.numel()
    for p in planned_model(
        Variant(name="tiny", hub_id=None, family="conformer-ctc", config=CONFIG, dimensions=80), units=40
    ).build().parameters()
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(STEPS)
def test_kinds_add_up(law: StepModel, step: dict[str, Any]) -> None:
    kinds = law.by_kind(**step)
    assert sum(kinds.values()) == law.peak_bytes(**step)
    assert set(kinds) == {"parameters", "gradients", "optimizer", "activations", "workspace"}
    assert min(kinds.values()) >= 0
    assert kinds["optimizer"] >= 2 * WEIGHTS
    assert kinds["parameters"] >= WEIGHTS


@settings(max_examples=60, deadline=None)
@given(STEPS, st.integers(0, 50), st.floats(0, 20), st.integers(0, 200))
def test_more_takes_no_less(law: StepModel, step: dict[str, Any], rows: int, seconds: float, labels: int) -> None:
    peak = law.peak_bytes(**step)
    for more in (
        {"batch": step["batch"] + rows},
        {"duration_s": step["duration_s"] + seconds},
        {"tokens": step["tokens"] + labels},
        {"accumulated": True},
    ):
        assert law.peak_bytes(**{**step, **more}) >= peak


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2000), st.floats(1, 30), st.integers(1, 100), st.booleans(), st.integers(0, 60))
def test_the_largest_batch(
    law: StepModel, mib: int, duration_s: float, tokens: int, accumulated: bool, at_most: int
) -> None:
    shape = {"duration_s": duration_s, "tokens": tokens, "accumulated": accumulated}
    budget = CUDA_CONTEXT_BYTES + mib * MIB
    fitting = [batch for batch in range(1, at_most + 1) if law.peak_bytes(batch=batch, **shape) <= budget]
    assert law.largest_batch(budget, **shape, at_most=at_most) == max(fitting, default=0)


def test_device_memory_is_context_and_pages(law: StepModel) -> None:
    step = {"duration_s": 5.0, "tokens": 20, "accumulated": False}
    peaks = {law.peak_bytes(batch=batch, **step) for batch in range(1, 20)}
    assert len({peak % PAGE_BYTES for peak in peaks}) == 1
    assert min(peaks) > CUDA_CONTEXT_BYTES


def test_gradients_that_exist_are_added(law: StepModel) -> None:
    step = {"batch": 64, "duration_s": 20.0, "tokens": 50}
    first, later = (law.by_kind(**step, accumulated=accumulated) for accumulated in (False, True))
    assert later["gradients"] >= WEIGHTS > 0
    assert first["gradients"] < later["gradients"]


def test_the_update_is_the_peak_of_a_tiny_batch() -> None:
    # A fused AdamW needs nothing beside its states; Adafactor needs as much as its largest weight, twice and more.
    law = law_of(optimizer=OptimizerConfig(name="adafactor"))
    tiny = {"batch": 1, "duration_s": 0.1, "tokens": 1, "accumulated": False}
    kinds = law.by_kind(**tiny)
    assert (kinds["activations"], kinds["gradients"]) == (0, WEIGHTS)
    assert law.by_kind(**{**tiny, "batch": 64, "duration_s": 20.0})["activations"] > 0


def test_adafactor_keeps_less() -> None:
    step = {"batch": 1, "duration_s": 1.0, "tokens": 5, "accumulated": False}
    kinds = [law_of(optimizer=OptimizerConfig(name=name)).by_kind(**step) for name in ("adamw", "adafactor")]
    assert kinds[1]["optimizer"] < 0.25 * kinds[0]["optimizer"]
    assert kinds[1]["parameters"] == kinds[0]["parameters"]


def test_a_moving_average_is_one_more_copy(law: StepModel) -> None:
    step = {"batch": 4, "duration_s": 5.0, "tokens": 5, "accumulated": False}
    averaged = law_of(average=True).by_kind(**step)
    assert averaged["optimizer"] - law.by_kind(**step)["optimizer"] == WEIGHTS


@pytest.mark.parametrize(("batch", "duration_s"), [(1, 1.0), (8, 10.0), (64, 30.0)])
def test_scoring_takes_less_than_training(law: StepModel, batch: int, duration_s: float) -> None:
    training = law.peak_bytes(batch=batch, duration_s=duration_s, tokens=20, accumulated=False)
    assert law.evaluation_bytes(batch=batch, duration_s=duration_s, tokens=20) <= training


def test_longer_steps_take_longer(law: StepModel) -> None:
    times = [law.step_s(batch=8, duration_s=seconds, tokens=20) for seconds in (5.0, 10.0, 60.0)]
    assert times == sorted(times)
    assert law.update_s() > 0
