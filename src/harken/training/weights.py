"""What of a model's weights a checkpoint has to keep: all that training can change, and proof of the rest."""

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from harken.core import InputError


def trained_state(model: nn.Module) -> dict[str, Tensor]:
    """The state of a model without its frozen weights, which are where the run took them from.

    A LoRA adapter is a hundredth of its base, and so are its checkpoints.
    """
    frozen = _frozen(model).keys()
    return {name: tensor for name, tensor in model.state_dict().items() if name not in frozen}


def load_trained_state(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Fill a model from `trained_state`. Raises InputError that names a tensor that is absent or too many."""
    differing = sorted(trained_state(model).keys() ^ state.keys())
    if differing:
        raise InputError(
            f"The checkpoint is of another model, or other parts of it were trained: {len(differing)} tensors differ, "
            f"first {differing[0]!r}.",
            hint="Resume with the model and settings the run began with.",
        )
    model.load_state_dict(dict(state), strict=False)


def frozen_fingerprint(model: nn.Module) -> str:
    """A hash of the names and values of the frozen weights, the same wherever they lie."""
    digest = hashlib.sha256()
    for name, parameter in sorted(_frozen(model).items()):
        digest.update(f"{name} {tuple(parameter.shape)} {parameter.dtype}\n".encode())
        digest.update(parameter.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _frozen(model: nn.Module) -> dict[str, nn.Parameter]:
    return {name: parameter for name, parameter in model.named_parameters() if not parameter.requires_grad}
