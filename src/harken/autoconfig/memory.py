"""Peak memory and time of any training step of a model, from a few steps followed on fake tensors."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from harken.autoconfig.dry_run import Growth, StepShape, Trace, WeightBytes, fit_growth
from harken.autoconfig.frames import Frames
from harken.autoconfig.hardware import HardwareProfile
from harken.core import RunFailed

MIB = 2**20
CUDA_CONTEXT_BYTES = 512 * MIB  # kernels and the driver's own, per process; outside of the allocator
CPU_PROCESS_BYTES = 700 * MIB  # the interpreter with torch and transformers loaded
CUBLAS_WORKSPACE_BYTES = {True: 2 * 32 * MIB, False: 2 * 8 * MIB}  # Hopper and later, and before; two threads have one
BLOCK_BYTES = {"cuda": 512, "cpu": 64}  # allocations are multiples of it
PAGE_BYTES = 2 * MIB  # what CUDA's allocator asks the driver for with expandable segments
BANDWIDTH_SHARE = 0.7  # of the data sheet's, reached by kernels that only move data
LAUNCH_S = {"cuda": 6e-6, "cpu": 2e-6}  # Python and dispatch, per kernel
VERIFIED_WITHIN = 0.005

# Rows, positions of the model's output (odd, so that no mask happens to be aligned) and labels of the steps followed:
# they grow by 1.5, 2.2 and 20, and no product of powers of these comes near another.
_PROBES = ((2, 125, 16), (3, 275, 320))
_CHECK = (5, 211, 37)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FollowedSteps:
    """The growth of a step and its order of allocations."""

    order: npt.NDArray[np.int32]
    sizes: Growth
    flops: Growth
    traffic: Growth
    forward: int  # storages allocated up to the loss

    def peak(self, shape: StepShape, positions: int) -> int:
        """Most bytes in use at a time in a step of this shape, weights and their states left out."""
        return int(_live(self.order, self.sizes.at(shape, positions)).max(initial=0))


def follow(
    one: Callable[[StepShape], Trace], frames: Frames, *, longest_tokens: int | None, check: bool
) -> FollowedSteps:
    """Follow as many steps as it takes to know all others, and with `check` one more to see that they are known.

    Raises RunFailed where they are not: for a model whose allocations depend on more than shapes.
    """

    def one_of(batch: int, positions: int, tokens: int) -> StepShape:
        return StepShape(
            batch=batch, frames=frames.at_position(positions), tokens=min(tokens, longest_tokens or tokens)
        )

    probes = one_of(*_PROBES[0]), one_of(*_PROBES[1])
    positions = _PROBES[0][1], _PROBES[1][1]
    traces = one(probes[0]), one(probes[1])
    if not np.array_equal(traces[0].order, traces[1].order) or traces[0].work.shape != traces[1].work.shape:
        raise RunFailed(
            "The model takes other steps for other durations or batch sizes, so its memory cannot be predicted.",
            hint="Give batches.batch_s by hand.",
        )
    known = FollowedSteps(
        order=traces[0].order,
        sizes=fit_growth(probes, positions, [trace.sizes for trace in traces]),
        flops=fit_growth(probes, positions, [trace.work[:, 0] for trace in traces]),
        traffic=fit_growth(probes, positions, [trace.work[:, 1] for trace in traces]),
        forward=int((traces[0].order[: traces[0].marks["forward"]] > 0).sum()),
    )
    if check:
        _require_known(known, one_of(*_CHECK), _CHECK[1], one)
    return known


def _require_known(known: FollowedSteps, shape: StepShape, positions: int, one: Callable[[StepShape], Trace]) -> None:
    expected, found = known.peak(shape, positions), one(shape).peak()
    if abs(expected - found) > VERIFIED_WITHIN * found:
        raise RunFailed(
            f"The memory of this model does not grow with its shapes as expected: {expected:.0f} bytes at {shape}, "
            f"{found} when the step is followed.",
            hint="Report the model's configuration; meanwhile give batches.batch_s by hand.",
        )


def _live(order: npt.NDArray[np.int32], sizes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.cumsum(np.sign(order) * sizes[np.abs(order) - 1])


class StepModel:
    """The laws of memory and speed of one training configuration: see the protocols in `plan_inputs`.

    `average` says that a moving average of the weights is kept too, `utilisation` which share of the peak rate matrix
    products reach.
    """

    def __init__(
        self,
        steps: FollowedSteps,
        evaluation: Callable[[], FollowedSteps],
        weights: WeightBytes,
        frames: Frames,
        hardware: HardwareProfile,
        *,
        precision: str,
        utilisation: float,
        average: bool = False,
        generation_values: int = 0,
    ) -> None:
        """`evaluation` follows scoring when it is first asked for. `generation_values` are the numbers a decoder keeps
        for each row while it generates.
        """
        self._steps, self._evaluation, self._weights = steps, evaluation, weights
        self._input_of = lru_cache(maxsize=None)(frames.of)
        self._cuda = hardware.device == "cuda"
        self._block = BLOCK_BYTES[hardware.device]
        self._flops_per_s = utilisation * hardware.flops[precision]
        self._bytes_per_s = BANDWIDTH_SHARE * hardware.bandwidth
        self._launch_s = LAUNCH_S[hardware.device]
        self._generation_bytes = generation_values * (4 if precision == "fp32" else 2)
        self._parameters = weights.parameters + 2 * weights.buffers  # a failed update restores its buffers
        self._optimizer = weights.optimizer + (weights.gradients if average else 0)
        self._context = self._context_bytes(hardware)
        self._orders = {False: steps.order, True: _gradients_summed(steps.order)}
        self._peak = lru_cache(maxsize=None)(self._peak_bytes)

    def peak_bytes(self, *, batch: int, duration_s: float, tokens: int, accumulated: bool) -> int:
        """See MemoryModel."""
        return self._peak(batch, duration_s, tokens, accumulated)

    def by_kind(self, *, batch: int, duration_s: float, tokens: int, accumulated: bool) -> Mapping[str, int]:
        """See MemoryModel. What the allocator rounds up and the context count as workspace."""
        steps, weights = self._steps, self._weights
        order = self._orders[accumulated]
        sizes = self._sizes(steps, batch, duration_s, tokens)
        events = order[: int(_live(order, sizes).argmax()) + 1]
        alive = np.bincount(np.abs(events), np.sign(events), minlength=len(sizes) + 1)[1:] > 0
        after, kept = np.arange(len(sizes)) >= steps.forward, _kept(steps.order, len(sizes))
        activations = int(sizes[alive & ~after].sum())
        gradients = int(sizes[alive & after & kept].sum()) + (weights.gradients if accumulated else 0)
        in_passing = int(sizes[alive & after & ~kept].sum())
        if weights.gradients + weights.optimizer_workspace > gradients + activations + in_passing:
            activations, gradients = 0, weights.gradients
        kinds = {
            "parameters": self._parameters,
            "gradients": gradients,
            "optimizer": self._optimizer,
            "activations": activations,
        }
        peak = self.peak_bytes(batch=batch, duration_s=duration_s, tokens=tokens, accumulated=accumulated)
        return {**kinds, "workspace": peak - sum(kinds.values())}

    def largest_batch(
        self, budget_bytes: int, *, duration_s: float, tokens: int, accumulated: bool, at_most: int
    ) -> int:
        """See MemoryModel."""

        def fits(batch: int) -> bool:
            peak = self.peak_bytes(batch=batch, duration_s=duration_s, tokens=tokens, accumulated=accumulated)
            return peak <= budget_bytes

        if at_most < 1 or not fits(1):
            return 0
        low, high = 1, at_most + 1
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if fits(middle) else (low, middle)
        return low

    def evaluation_bytes(self, *, batch: int, duration_s: float, tokens: int) -> int:
        """See MemoryModel."""
        steps = self._evaluation()
        live = _live(steps.order, self._sizes(steps, batch, duration_s, tokens))
        peak = int(live.max(initial=0)) + batch * self._generation_bytes
        return self._whole(self._parameters + self._optimizer + peak)

    def step_bytes(self, *, batch: int, duration_s: float, tokens: int) -> int:
        """Most bytes a step has allocated at a time: without what stays between steps, rounding and the context."""
        return self._steps.peak(*self._shape(batch, duration_s, tokens))

    def step_s(self, *, batch: int, duration_s: float, tokens: int) -> float:
        """See SpeedModel. Each kernel takes the longer of computing and moving data (the roofline of Williams et al.
        2009), and what it costs to start it where that is longer still."""
        shape = self._shape(batch, duration_s, tokens)
        computing = self._steps.flops.at(*shape) / self._flops_per_s
        moving = self._steps.traffic.at(*shape) / self._bytes_per_s
        return float(np.maximum(np.maximum(computing, moving), self._launch_s).sum())

    def update_s(self) -> float:
        """See SpeedModel: weights and states are read and written once."""
        weights = self._weights
        return 2.0 * (2 * weights.gradients + weights.optimizer) / self._bytes_per_s

    def _shape(self, batch: int, duration_s: float, tokens: int) -> tuple[StepShape, int]:
        frames, positions = self._input_of(duration_s)
        return StepShape(batch=batch, frames=frames, tokens=max(1, tokens)), positions

    def _sizes(self, steps: FollowedSteps, batch: int, duration_s: float, tokens: int) -> npt.NDArray[np.float64]:
        """(storages,) bytes, as the allocator rounds them."""
        sizes = steps.sizes.at(*self._shape(batch, duration_s, tokens))
        rounded: npt.NDArray[np.float64] = np.ceil(sizes / self._block) * self._block
        return rounded

    def _peak_bytes(self, batch: int, duration_s: float, tokens: int, accumulated: bool) -> int:
        sizes = self._sizes(self._steps, batch, duration_s, tokens)
        step = int(_live(self._orders[accumulated], sizes).max(initial=0))
        weights = self._weights
        step += weights.gradients if accumulated else 0
        updating = weights.gradients + weights.optimizer_workspace
        return self._whole(self._parameters + self._optimizer + max(step, updating))

    def _whole(self, allocated: int) -> int:
        """Device memory of the process that has allocated so much."""
        pages = -(-allocated // PAGE_BYTES) * PAGE_BYTES if self._cuda else allocated
        return pages + self._context

    def _context_bytes(self, hardware: HardwareProfile) -> int:
        if not self._cuda:
            return CPU_PROCESS_BYTES
        return CUDA_CONTEXT_BYTES + CUBLAS_WORKSPACE_BYTES[(hardware.compute_capability or (0, 0)) >= (9, 0)]


def _kept(order: npt.NDArray[np.int32], storages: int) -> npt.NDArray[np.bool_]:
    """(storages,) which of them are never freed: the gradients."""
    kept = np.ones(storages, dtype=bool)
    kept[-order[order < 0] - 1] = False
    return kept


def _gradients_summed(order: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """The order of events where gradients exist already: each new one is added to it and freed at once."""
    kept = _kept(order, int(np.abs(order).max(initial=0)))
    events: list[int] = []
    for event in order.tolist():
        events.append(event)
        if event > 0 and kept[event - 1]:
            events.append(-event)
    return np.array(events, dtype=np.int32)
