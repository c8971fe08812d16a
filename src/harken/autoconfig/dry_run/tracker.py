"""Every allocation of a step on fake tensors, in order: what a memory profiler would see, without the memory.

Fake tensors know shape, type and storage, but hold no values. Values that shapes depend on (lengths of utterances, the
masks made of them) are small and whole numbers; they are computed beside the fake ones, so that a model may read them.
"""

import gc
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensor,
    in_kernel_invocation_manager,
)
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_iter, tree_map_only
from torch.utils.flop_counter import flop_registry
from torch.utils.weak import WeakTensorKeyDictionary

from harken.autoconfig.dry_run.scratch import Scratch
from harken.core import InputError

ScratchRule = Callable[[Any, Any, Any], Scratch]

_aten = torch.ops.aten
_KNOWN_UP_TO = 1 << 22  # values of a tensor that is computed beside its fake
_VIEWS = {"view", "reshape", "transpose", "permute", "expand", "slice", "select", "unsqueeze", "squeeze", "t", "detach",
          "alias", "as_strided", "_unsafe_view", "unbind", "split", "chunk"}  # fmt: skip
# Operations of one result whose kernel for the meta device is all that FakeTensorMode would run. Its cache takes three
# times as long to find their results as the kernels take to make them.
_DIRECT = frozenset(
    {
        _aten.view.default, _aten._unsafe_view.default, _aten.t.default, _aten.transpose.int, _aten.permute.default,
        _aten.expand.default, _aten.unsqueeze.default, _aten.squeeze.dim, _aten.slice.Tensor, _aten.select.int,
        _aten.detach.default, _aten.mm.default, _aten.bmm.default, _aten._to_copy.default, _aten.clone.default,
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trace:
    """One step, written down.

    `sizes` are bytes of each storage in order of allocation. `order` names them in the order of events: k + 1 when
    storage k is allocated, -(k + 1) when it is freed. `marks` say how many events had happened when a phase ended.
    `work` is, for each kernel in order, its floating-point operations and the bytes it reads and writes.
    """

    sizes: npt.NDArray[np.int64]
    order: npt.NDArray[np.int32]
    marks: dict[str, int]
    work: npt.NDArray[np.int64]  # (kernels, 2)

    def live(self) -> npt.NDArray[np.int64]:
        """(events,) bytes in use after each event."""
        changes = np.sign(self.order) * self.sizes[np.abs(self.order) - 1]
        return np.cumsum(changes, dtype=np.int64)

    def peak(self) -> int:
        """Most bytes in use at a time."""
        return int(self.live().max(initial=0))

    def live_at_end(self) -> int:
        """Bytes that are still in use after the last event."""
        return int(self.live()[-1]) if self.order.size else 0


@dataclass(kw_only=True)
class _Log:
    sizes: list[int] = field(default_factory=list)
    order: list[int] = field(default_factory=list)
    marks: dict[str, int] = field(default_factory=dict)
    work: list[tuple[int, int]] = field(default_factory=list)


class AllocationTracker(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records storages as they come and go while it is active inside a FakeTensorMode."""

    def __init__(self, scratch: ScratchRule | None = None) -> None:
        """`scratch` tells what kernels of the device need beside their results."""
        super().__init__()  # type: ignore[no-untyped-call]
        self._log = _Log()
        self._scratch = scratch
        self._live: dict[int, tuple[int, weakref.ref[Any] | None]] = {}
        self._holders: Counter[int] = Counter()  # tensors of ours that share what is one storage outside of dry runs
        self._known = WeakTensorKeyDictionary()
        self.accumulating = False
        """Whether gradients are being added up: set it while the backward pass runs."""
        self.updating = False
        """Whether an optimiser runs: the norms it reads, which scale its steps, are taken to be 1."""

    def know(self, values: npt.NDArray[Any]) -> Tensor:
        """A fake tensor whose values a model may read."""
        with _disable_current_modes():
            real = torch.from_numpy(values)
        fake = torch.empty(real.shape, dtype=real.dtype)
        self._known[fake] = real
        return fake

    def ignore(self, tensors: Iterable[Tensor]) -> None:
        """Do not count these tensors' storages, which are there before and after."""
        for tensor in tensors:
            self._live.setdefault(tensor.untyped_storage()._cdata, (0, None))

    def mark(self, phase: str) -> None:
        """The end of a phase."""
        self._log.marks[phase] = len(self._log.order)

    def trace(self) -> Trace:
        """What has been recorded so far."""
        log = self._log
        return Trace(
            sizes=np.array(log.sizes, dtype=np.int64),
            order=_canonical(log.order),
            marks=dict(log.marks),
            work=np.array(log.work, dtype=np.int64).reshape(-1, 2),
        )

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled here, and to say so at every call takes time

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.prim.device.default:  # two of three calls
            return args[0].fake_device
        kwargs = kwargs or {}
        out = self._run(func, args, kwargs)
        outputs = [out] if isinstance(out, Tensor) else [item for item in tree_iter(out) if isinstance(item, Tensor)]
        summed_onto = args[0] if func is _aten.add.Tensor and self._is_accumulation(args) else None
        scratch = None if self._scratch is None else self._scratch(func, args, out)
        if scratch is not None:
            self._use(scratch.before)
        for tensor in outputs:
            self._note(tensor, in_place_of=summed_onto)
        if scratch is not None:
            self._use(scratch.beside)
        self._count(func, args, kwargs, out, outputs)
        return out

    def _run(self, func: Any, args: Any, kwargs: Any) -> Any:
        real = self._real_arguments(args, kwargs)
        if func is _aten._local_scalar_dense.default and real is not None:
            with _disable_current_modes():
                return real[0][0].item()
        if func is _aten._local_scalar_dense.default and self.updating:
            return 1.0
        if func in (_aten.nonzero.default, _aten.masked_select.default, _aten.index.Tensor):
            chosen = self._choose(func, args)
            if chosen is not None:
                if real is not None:
                    self._compute_beside(func, real, chosen)
                return chosen
        try:
            out = self._run_kernel(func, args, kwargs) if func in _DIRECT else func(*args, **kwargs)
        except (DataDependentOutputException, DynamicOutputShapeException) as err:
            raise InputError(
                f"The model looks at values of its activations ({func}), which a dry run does not have.",
                hint="Models can be planned for whose memory depends on shapes alone.",
            ) from err
        if real is not None:
            self._compute_beside(func, real, out)
        return out

    def _run_kernel(self, func: Any, args: Any, kwargs: Any) -> Any:
        first = args[0]
        others = (item for item in (*args[1:], *kwargs.values()) if isinstance(item, (Tensor, torch.device)))
        if not all(isinstance(item, FakeTensor) for item in (first, *others)):
            return func(*args, **kwargs)
        with in_kernel_invocation_manager(first.fake_mode):
            out = func(*args, **kwargs)
        return FakeTensor(first.fake_mode, out, first.fake_device)

    def _choose(self, func: Any, args: Any) -> Any:
        """The outcome of an operation whose shape depends on the values of a mask, where these are known."""
        if func is _aten.nonzero.default:
            return self._places(args[0])
        if func is _aten.masked_select.default:
            places = self._places(args[1])
            return None if places is None else args[0].new_empty(len(places))
        indices: list[Any] = []
        for index in args[1]:
            if index is None or index.dtype not in (torch.bool, torch.uint8):
                indices.append(index)
                continue
            places = self._places(index)
            if places is None:
                return None
            indices += places.unbind(1)
        return func(args[0], indices)

    def _places(self, mask: Tensor) -> Tensor | None:
        real: Tensor | None = self._known.get(mask)  # type: ignore[no-untyped-call]
        if real is None:
            return None
        with _disable_current_modes():
            found = real.nonzero()
        fake = torch.empty(found.shape, dtype=torch.int64)
        self._known[fake] = found
        return fake

    def _real_arguments(self, args: Any, kwargs: Any) -> tuple[Any, Any] | None:
        """The arguments with real tensors in the place of fake ones; None where one has unknown values."""
        if isinstance(args[0] if args else None, Tensor) and args[0] not in self._known:
            return None
        for item in tree_iter((args, kwargs)):
            if isinstance(item, Tensor) and item not in self._known:
                return None
        return tree_map_only(Tensor, self._known.__getitem__, (args, kwargs))  # type: ignore[no-any-return]

    def _compute_beside(self, func: Any, real: tuple[Any, Any], out: Any) -> None:
        outputs = list(tree_iter(out))
        if not all(isinstance(t, Tensor) and t.numel() <= _KNOWN_UP_TO for t in outputs) or not outputs:
            return
        if func is _aten.rand.default and outputs[0].numel() == 1:
            with _disable_current_modes():
                self._known[outputs[0]] = torch.ones(outputs[0].shape)  # layers that are left out by chance are not
            return
        made_of_nothing = not any(isinstance(item, Tensor) for item in tree_iter(real))
        if torch.Tag.nondeterministic_seeded in func.tags or (made_of_nothing and outputs[0].is_floating_point()):
            return
        args, kwargs = real
        if "device" in kwargs:
            kwargs = {**kwargs, "device": "cpu"}
        with _disable_current_modes():
            values = list(tree_iter(func(*args, **kwargs)))
        for fake, value in zip(outputs, values, strict=True):
            self._known[fake] = value

    def _is_accumulation(self, args: Any) -> bool:
        """Whether the backward pass adds up gradients, which it does in place on tensors that nobody else holds.

        It cannot tell that of fake tensors, which Python holds.
        """
        first, second = args[0], args[1]
        return (
            self.accumulating
            and not torch.is_grad_enabled()
            and isinstance(first, Tensor)
            and isinstance(second, Tensor)
            and first.shape == second.shape
            and not first._is_view()  # a view and what it is of hold one storage
        )

    def _note(self, tensor: Tensor, *, in_place_of: Tensor | None) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._live:
            return
        if in_place_of is not None:
            number = self._live[in_place_of.untyped_storage()._cdata][0]
        else:
            number = self._allocate(storage.nbytes())
        self._holders[number] += 1
        self._live[key] = number, weakref.ref(storage, lambda _: self._free(key))

    def _allocate(self, size: int) -> int:
        self._log.sizes.append(size)
        self._log.order.append(len(self._log.sizes))
        return len(self._log.sizes)

    def _use(self, groups: Sequence[Sequence[int]]) -> None:
        for group in groups:
            numbers = [self._allocate(size) for size in group]
            self._log.order += [-number for number in numbers]

    def _free(self, key: int) -> None:
        number, _ = self._live.pop(key)
        self._holders[number] -= 1
        if self._holders[number] == 0:
            self._log.order.append(-number)

    def _count(self, func: Any, args: Any, kwargs: Any, out: Any, outputs: Sequence[Tensor]) -> None:
        packet = func._overloadpacket
        if not outputs or packet.__name__.rstrip("_") in _VIEWS:
            return
        formula = flop_registry.get(packet)
        flops = 0 if formula is None else int(formula(*args, **kwargs, out_val=out))
        inputs = (item for item in tree_iter((args, kwargs)) if isinstance(item, Tensor))
        self._log.work.append((flops, sum(t.numel() * t.element_size() for t in (*inputs, *outputs))))

    def add_flops(self, flops: int) -> None:
        """Count operations of a kernel that runs as one although it is followed here in parts."""
        self._log.work.append((flops, 0))


def _canonical(order: Sequence[int]) -> npt.NDArray[np.int32]:
    """Storages that are freed in a row in order of allocation: a cleared cache frees in an order of chance."""
    events = np.array(order, dtype=np.int32)
    run = np.cumsum(np.append(False, (events[1:] < 0) != (events[:-1] < 0)) | (events > 0))
    return events[np.lexsort((-events, run))]


@contextmanager
def collected_by_hand() -> Iterator[None]:
    """No garbage collection meanwhile: when it comes is chance, and traces have to repeat."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
