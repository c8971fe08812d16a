"""An exponential moving average of a model's weights (Polyak and Juditsky 1992), evaluated in their place."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from harken.core import InputError

UPDATES = "updates"


class WeightAverage:
    """Averages of the weights that are trained and of the floating-point buffers (running statistics).

    After the n-th update (n from 0) the average keeps min(decay, (1 + n) / (10 + n)) of itself, so that the random
    start is soon forgotten. Half-precision weights are averaged in float32, where small steps are not lost.
    """

    def __init__(self, model: nn.Module, decay: float = 0.999) -> None:
        if not 0 < decay < 1:
            raise ValueError(f"decay is {decay}; use a number between 0 and 1")
        self.decay = decay
        self.updates = 0
        self._model = model
        self._names = _averaged_names(model)
        if not self._names:
            raise ValueError("the model has no weights to average: all are frozen")
        self._averages = {name: _wide(tensor) for name, tensor in self._live().items()}
        self._applied = False

    def _live(self) -> dict[str, Tensor]:
        """The model's own tensors, looked up now: moving a model to a device may replace them."""
        everything = dict(self._model.named_parameters()) | dict(self._model.named_buffers())
        absent = [name for name in self._names if name not in everything]
        if absent:
            raise RuntimeError(f"the model lost {absent[0]!r} after its average was made; make the average last")
        return {name: everything[name].detach() for name in self._names}

    @torch.no_grad()
    def update(self) -> None:
        """Take the model's present weights into the average: call it after each step of the optimiser."""
        if self._applied:
            raise RuntimeError("update() inside applied() would average the average")
        keep = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for name, tensor in self._live().items():
            average = self._averages[name] = self._averages[name].to(tensor.device)
            now = tensor.to(average.dtype)
            # Equal values stay as they are: infinities in masks would become NaN.
            average.copy_(torch.where(average == now, average, average.lerp(now, 1 - keep)))
        self.updates += 1

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The model computes with the averages inside; its own weights are bitwise back afterwards."""
        if self._applied:
            raise RuntimeError("applied() is already in use")
        saved = {name: tensor.clone() for name, tensor in self._live().items()}
        self._applied = True
        try:
            self._fill(self._averages)
            yield
        finally:
            self._fill(saved)
            self._applied = False

    @torch.no_grad()
    def _fill(self, values: Mapping[str, Tensor]) -> None:
        for name, tensor in self._live().items():
            tensor.copy_(values[name])

    def state(self) -> dict[str, Tensor]:
        """Copies of the averages by the model's tensor names, and the number of updates under `updates`."""
        return {name: average.clone() for name, average in self._averages.items()} | {
            UPDATES: torch.tensor(self.updates, dtype=torch.int64)
        }

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state` gave. Raises InputError that names a tensor that is absent or does not fit."""
        expected = {name: tuple(average.shape) for name, average in self._averages.items()} | {UPDATES: ()}
        found = {name: tuple(tensor.shape) for name, tensor in state.items()}
        for name in sorted(expected.keys() | found.keys()):
            if expected.get(name) != found.get(name):
                have, want = found.get(name, "absent"), expected.get(name, "not averaged")
                raise InputError(
                    f"The saved weight average does not fit the model: {name!r} is {have} there and {want} here.",
                    hint="Resume with the model, adapters and frozen parts the run started with.",
                )
        for name, average in self._averages.items():
            average.copy_(state[name])
        self.updates = int(state[UPDATES])


def averages_of(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The averages alone in what `WeightAverage.state` gave, by the model's tensor names."""
    return {name: tensor for name, tensor in state.items() if name != UPDATES}


def _averaged_names(model: nn.Module) -> list[str]:
    kept = model.state_dict().keys()
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    buffers = [name for name, buffer in model.named_buffers() if buffer.is_floating_point() and name in kept]
    return [*trained, *buffers]


def _wide(tensor: Tensor) -> Tensor:
    return tensor.to(torch.float32 if tensor.dtype in (torch.float16, torch.bfloat16) else tensor.dtype, copy=True)
