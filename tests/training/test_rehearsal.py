"""What stays as it was, and how large the optimiser's states will be."""

import random

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from harken.core import RunFailed
from harken.models.family import CtcModel
from harken.text.tokenize import WordTokenizer
from harken.text.vocabulary import BLANK
from harken.training.objective import CtcObjective
from harken.training.optimization import build_optimizer
from harken.training.precision import Precision
from harken.training.recipe import OptimizerConfig
from harken.training.rehearsal import coming_states, outside_of_allocator, untouched
from harken.training.update import Updater

CPU = Precision(name="fp32", device=torch.device("cpu"))


class Tiny(CtcModel):
    subsampling = 1

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(6)
        self.kernel = nn.Conv1d(6, 8, 3, padding=1)
        self.frozen = nn.Linear(8, 8).requires_grad_(False)
        self.output = nn.Linear(8, 5)

    def forward(self, features_BFM: Tensor, frames_B: Tensor) -> tuple[Tensor, Tensor]:
        hidden_BDF = self.kernel(self.norm(features_BFM.transpose(1, 2)))
        return self.output(self.frozen(hidden_BDF.transpose(1, 2))), frames_B


def make_updater(name: str = "adamw") -> Updater:
    torch.manual_seed(0)
    model = Tiny()
    return Updater(
        model=model,
        objective=CtcObjective(model=model, tokenizer=WordTokenizer([BLANK, *"abcd"]), precision=CPU),
        optimizer=build_optimizer(model, OptimizerConfig(name=name)),  # type: ignore[arg-type]
        precision=CPU,
        seed=1,
        on_event=lambda kind, **fields: None,
    )


@pytest.mark.parametrize("name", ["adamw", "adafactor"])
def test_states_are_as_large_as_those_of_a_step(name: str) -> None:
    updater = make_updater(name)
    expected = sorted(state.numel() for state in coming_states(updater))
    features = torch.randn(2, 9, 6)
    updater.model(features, torch.tensor([9, 9]))[0].sum().backward()
    updater.optimizer.step()
    made = [
        value.numel()
        for state in updater.optimizer.state.values()
        for key, value in state.items()
        if torch.is_tensor(value) and key != "step"
    ]
    assert expected == sorted(made)
    assert sum(made) > 100
    assert coming_states(updater) == []


def test_states_that_do_not_fit_end_the_run_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB\nmore")

    updater = make_updater()
    monkeypatch.setattr(torch, "empty", full)
    with pytest.raises(
        RunFailed, match=r"states do not fit in memory beside the model \(CUDA out of memory.*adafactor"
    ):
        coming_states(updater)


def test_everything_is_put_back_whatever_happens() -> None:
    updater = make_updater()
    model = updater.model
    model.train()
    model.frozen.eval()
    gradient = torch.ones_like(model.output.bias)
    model.output.bias.grad = gradient
    model.norm.running_mean.fill_(0.25)
    torch.manual_seed(4)
    random.seed(4)
    np.random.seed(4)  # noqa: NPY002
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()  # noqa: NPY002

    def disturb() -> None:
        with untouched(updater):
            assert model.output.bias.grad is None
            model.eval()
            model.train()
            model(torch.randn(2, 9, 6), torch.tensor([9, 9]))[0].sum().backward()
            random.random()
            np.random.rand()  # noqa: NPY002
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        disturb()
    assert (model.training, model.norm.training, model.frozen.training) == (True, True, False)
    assert model.output.bias.grad is gradient
    assert model.output.weight.grad is None
    assert model.norm.running_mean.tolist() == [0.25] * 6
    assert int(model.norm.num_batches_tracked) == 0
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert np.array_equal(np.random.get_state()[1], states[2][1])  # noqa: NPY002


def test_a_cpu_has_nothing_outside() -> None:
    assert outside_of_allocator(torch.device("cpu")) == 0
