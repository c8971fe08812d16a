"""Optimisers and the learning-rate schedule."""

import math
from collections.abc import Iterable

import torch
from torch import nn

from harken.training.recipe import OptimizerConfig, ScheduleConfig, check_warmup


class Schedule:
    """Linear warm-up to the peak, then a cosine to the final rate (Loshchilov & Hutter 2017, without restarts).

    A pure function of the update number, so nothing of it needs saving.
    """

    def __init__(self, config: ScheduleConfig, *, peak: float, updates: int) -> None:
        share = round(config.warmup_share * updates)
        self.warmup = config.warmup_updates if config.warmup_updates is not None else share
        check_warmup(self.warmup, updates)
        self.peak = peak
        self.final = min(config.final_learning_rate, peak)
        self.updates = updates

    def rate(self, update: int) -> float:
        """Learning rate of update number `update`, counted from 0."""
        if update < self.warmup:
            return self.peak * (update + 1) / self.warmup
        progress = min(1.0, (update - self.warmup) / max(1, self.updates - 1 - self.warmup))
        return self.final + (self.peak - self.final) * 0.5 * (1 + math.cos(math.pi * progress))


def build_optimizer(model: nn.Module, config: OptimizerConfig) -> torch.optim.Optimizer:
    """AdamW (Loshchilov & Hutter 2019) or Adafactor (Shazeer & Stern 2018) over the trainable weights.

    Weight decay applies to matrices and kernels; vectors (biases, normalisation scales) are left free.
    """
    trainable = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if config.name == "adafactor":
        return torch.optim.Adafactor(groups, lr=config.learning_rate)
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas, fused=True)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


def gradient_norm(parameters: Iterable[nn.Parameter]) -> torch.Tensor:
    """2-norm over all gradients, as a scalar tensor."""
    return torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
