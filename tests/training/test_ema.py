"""The average of the weights: its arithmetic, its swap, its state."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from harken.core import InputError
from harken.training.ema import WeightAverage


def make() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def step(model: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator))
        model(torch.randn(8, 3, generator=generator))  # moves the running statistics


def snapshot(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_the_average_is_the_recursion_written_out() -> None:
    model = make()
    average = WeightAverage(model, decay=0.25)
    expected = {name: tensor.double() for name, tensor in snapshot(model).items()}
    for n, keep in enumerate((1 / 10, 2 / 11, 0.25, 0.25)):  # (1 + n) / (10 + n), then the decay
        step(model, n)
        average.update()
        now = model.state_dict()
        expected = {name: keep * expected[name] + (1 - keep) * now[name].double() for name in expected}
    state = average.state()
    assert state.pop("updates").item() == average.updates == 4
    assert state.keys() == expected.keys() - {"1.num_batches_tracked"}
    for name, tensor in state.items():
        torch.testing.assert_close(tensor.double(), expected[name], atol=1e-6, rtol=1e-6)


def test_swapped_in_and_bitwise_out() -> None:
    model = make().eval()
    average = WeightAverage(model)
    for n in range(3):
        model.train()
        step(model, n)
        average.update()
    model.eval()
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(9))
    before, own = snapshot(model), model(x)
    pointers = [p.data_ptr() for p in model.parameters()]
    with average.applied():
        inside = snapshot(model)
        assert all(torch.equal(inside[name], tensor) for name, tensor in average.state().items() if name != "updates")
        assert not torch.equal(model(x), own)
    assert same(snapshot(model), before)
    assert torch.equal(model(x), own)
    assert [p.data_ptr() for p in model.parameters()] == pointers  # the optimiser still holds these
    with pytest.raises(KeyboardInterrupt), average.applied():
        raise KeyboardInterrupt
    assert same(snapshot(model), before)


def test_only_what_is_trained_and_buffers() -> None:
    model = make()
    model[0].requires_grad_(False)
    average = WeightAverage(model)
    assert sorted(average.state()) == [
        "1.bias", "1.running_mean", "1.running_var", "1.weight", "2.bias", "2.weight", "updates"]  # fmt: skip
    with pytest.raises(ValueError, match="no weights to average"):
        WeightAverage(nn.Linear(2, 2).requires_grad_(False))


def test_a_resumed_average_goes_on_bitwise() -> None:
    model, twin = make(), make()
    average = WeightAverage(model)
    for n in range(3):
        step(model, n)
        average.update()
    resumed = WeightAverage(twin)
    state = average.state()
    twin.load_state_dict(model.state_dict())
    resumed.load_state(state)
    for n in range(3, 6):
        for each, its in ((model, average), (twin, resumed)):
            step(each, n)
            its.update()
    assert same(average.state(), resumed.state())
    assert state["updates"].item() == 3  # a copy, not a view that went on


def test_a_state_that_does_not_fit_changes_nothing() -> None:
    average = WeightAverage(make())
    before = average.state()
    changes: list[tuple[dict[str, Any], str]] = [
        ({"2.weight": torch.zeros(9, 4)}, r"'2.weight' is \(9, 4\) there and \(2, 4\) here"),
        ({"3.weight": torch.zeros(1)}, r"'3.weight' is \(1,\) there and not averaged here"),
    ]
    for change, match in changes:
        with pytest.raises(InputError, match=match):
            average.load_state(before | change)
    with pytest.raises(InputError, match="'updates' is absent"):
        average.load_state({name: tensor for name, tensor in before.items() if name != "updates"})
    assert same(average.state(), before)


def test_half_precision_is_averaged_in_float32() -> None:
    model = nn.Linear(1, 1, bias=False).to(torch.bfloat16)
    nn.init.constant_(model.weight, 1)
    average = WeightAverage(model, decay=0.9999)
    average.updates = 1_000_000
    nn.init.constant_(model.weight, 2)
    for _ in range(10):
        average.update()
    assert average.state()["weight"].dtype is torch.float32
    assert average.state()["weight"].item() == pytest.approx(2 - 0.9999**10, abs=1e-6)
    with average.applied():
        assert model.weight.dtype is torch.bfloat16
    assert model.weight.item() == 2


def test_infinite_constants_stay() -> None:
    model = nn.Linear(1, 1)
    model.register_buffer("mask", torch.tensor([0.0, -torch.inf]))
    average = WeightAverage(model)
    average.update()
    assert average.state()["mask"].tolist() == [0, -torch.inf]


def test_misuse() -> None:
    for decay in (0.0, 1.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="decay is"):
            WeightAverage(make(), decay=decay)
    model = make()
    average = WeightAverage(model)
    with average.applied():
        with pytest.raises(RuntimeError, match="average the average"):
            average.update()
        with pytest.raises(RuntimeError, match="already in use"), average.applied():
            pass
    model[2] = nn.Linear(4, 2, bias=False)
    with pytest.raises(RuntimeError, match=r"lost '2.bias'"):
        average.update()
