import math

import pytest
import torch

from harken.core import InputError
from harken.training.optimization import Schedule, build_optimizer, gradient_norm
from harken.training.recipe import OptimizerConfig, ScheduleConfig


def test_schedule_warms_up_linearly_and_falls_as_a_cosine() -> None:
    schedule = Schedule(ScheduleConfig(warmup_updates=10, final_learning_rate=1e-6), peak=1e-3, updates=110)
    assert [schedule.rate(u) for u in (0, 4, 9)] == pytest.approx([1e-4, 5e-4, 1e-3])
    assert schedule.rate(10) == pytest.approx(1e-3)
    middle = 1e-6 + (1e-3 - 1e-6) * 0.5 * (1 + math.cos(math.pi * 49 / 99))
    assert schedule.rate(59) == pytest.approx(middle)
    assert schedule.rate(109) == pytest.approx(1e-6)


def test_warmup_share_is_of_the_real_updates() -> None:
    assert Schedule(ScheduleConfig(warmup_share=0.1), peak=1.0, updates=400).warmup == 40


def test_a_warmup_longer_than_training_is_refused() -> None:
    with pytest.raises(InputError, match="warm-up takes 1000 updates, but training has 400"):
        Schedule(ScheduleConfig(warmup_updates=1000), peak=1.0, updates=400)


def test_weight_decay_spares_vectors() -> None:
    model = torch.nn.Linear(3, 2)
    groups = build_optimizer(model, OptimizerConfig(weight_decay=0.5)).param_groups
    assert [group["weight_decay"] for group in groups] == [0.5, 0.0]
    assert [tuple(group["params"][0].shape) for group in groups] == [(2, 3), (2,)]


@pytest.mark.parametrize("name", ["adamw", "adafactor"])
def test_optimisers_minimise_a_parabola(name: str) -> None:
    torch.manual_seed(0)
    model = torch.nn.Linear(1, 1, bias=False)
    optimizer = build_optimizer(model, OptimizerConfig(name=name, learning_rate=0.05, weight_decay=0.0))  # type: ignore[arg-type]
    for _ in range(300):
        optimizer.zero_grad()
        (model.weight - 2).square().sum().backward()
        optimizer.step()
    assert model.weight.item() == pytest.approx(2, abs=0.1)


def test_gradient_norm_is_over_all_parameters() -> None:
    a, b = torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(torch.zeros(1))
    a.grad, b.grad = torch.tensor([3.0, 0.0]), torch.tensor([4.0])
    assert float(gradient_norm([a, b])) == 5.0
