"""A training step without memory: followed on fake tensors, and extrapolated to steps that were not followed."""

from harken.autoconfig.dry_run.extrapolation import Growth, fit_growth
from harken.autoconfig.dry_run.kernels import KERNEL_GENERATIONS, Target
from harken.autoconfig.dry_run.step import DryStep, StepConfig, StepShape, WeightBytes
from harken.autoconfig.dry_run.tracker import Trace

__all__ = [
    "KERNEL_GENERATIONS",
    "DryStep",
    "Growth",
    "StepConfig",
    "StepShape",
    "Target",
    "Trace",
    "WeightBytes",
    "fit_growth",
]
