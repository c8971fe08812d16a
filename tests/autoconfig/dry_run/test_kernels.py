"""What CUDA's kernels keep and need, for shapes small enough to add up by hand."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional

from harken.autoconfig.dry_run.attention import attention_backend
from harken.autoconfig.dry_run.kernels import Target, TargetKernels
from harken.autoconfig.dry_run.tracker import AllocationTracker, Trace, collected_by_hand
from harken.models.kernels import dry_run_for

T4, A100, RTX4090, H100, B200, RTX5090, P100 = (7, 5), (8, 0), (8, 9), (9, 0), (10, 0), (12, 0), (6, 0)
HALF, SINGLE = torch.bfloat16, torch.float32

# capability, type, head width, mask, dropout, causal, queries, keys. From sdp_utils.cpp, by hand.
CHOICES = [
    (A100, HALF, 64, "", 0.1, False, 50, 50, "flash"),
    (A100, HALF, 64, "hidden", 0.1, False, 50, 50, "efficient"),  # flash takes no mask
    (A100, HALF, 44, "", 0.0, False, 50, 50, "flash"),  # heads are padded to 48
    (A100, HALF, 44, "hidden", 0.0, False, 50, 50, "math"),  # 8 values are a tensor core's row
    (A100, HALF, 256, "", 0.0, False, 50, 50, "flash"),
    (A100, HALF, 264, "", 0.0, False, 50, 50, "efficient"),
    (A100, HALF, 64, "", 0.0, True, 50, 50, "flash"),
    (A100, HALF, 64, "", 0.0, True, 50, 60, "efficient"),  # its causal mask is aligned to the other corner
    (A100, SINGLE, 64, "", 0.0, False, 50, 50, "efficient"),
    (A100, SINGLE, 44, "hidden", 0.0, False, 50, 50, "efficient"),
    (A100, SINGLE, 42, "hidden", 0.0, False, 50, 50, "math"),
    (RTX4090, HALF, 192, "", 0.0, False, 50, 50, "flash"),
    (RTX4090, HALF, 200, "", 0.0, False, 50, 50, "efficient"),
    (RTX4090, HALF, 256, "", 0.0, False, 50, 50, "flash"),
    (RTX4090, HALF, 256, "", 0.1, False, 50, 50, "efficient"),
    (RTX5090, HALF, 200, "", 0.0, False, 50, 50, "efficient"),
    (RTX5090, HALF, 64, "", 0.0, False, 50, 50, "flash"),
    (T4, HALF, 64, "", 0.0, False, 50, 50, "efficient"),
    (T4, HALF, 44, "", 0.0, False, 50, 50, "math"),
    (T4, SINGLE, 41, "hidden", 0.0, False, 50, 50, "efficient"),
    (P100, HALF, 41, "", 0.0, False, 50, 50, "efficient"),
    (H100, HALF, 64, "", 0.0, False, 50, 50, "cudnn"),
    (H100, HALF, 64, "hidden", 0.0, False, 50, 50, "cudnn"),
    (H100, HALF, 64, "learnt", 0.0, False, 50, 50, "efficient"),
    (H100, HALF, 64, "", 0.1, False, 50, 50, "flash"),  # cuDNN drops out in sixteenths
    (H100, HALF, 64, "", 0.125, False, 50, 50, "cudnn"),
    (H100, HALF, 136, "", 0.0, False, 50, 50, "flash"),
    (H100, HALF, 64, "", 0.0, False, 50, 1, "flash"),
    (H100, SINGLE, 64, "", 0.0, False, 50, 50, "efficient"),
    (B200, HALF, 64, "hidden", 0.0, True, 50, 50, "cudnn"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("capability", "dtype", "width", "masked", "dropout", "causal", "queries", "keys", "expected"), CHOICES
)
def test_the_attention_that_pytorch_takes(
    capability: tuple[int, int], dtype: torch.dtype, width: int, masked: str, dropout: float, causal: bool,
    queries: int, keys: int, expected: str,
) -> None:  # fmt: skip
    query = torch.empty(2, 3, queries, width, dtype=dtype, device="meta", requires_grad=True)
    key = torch.empty(2, 3, keys, width, dtype=dtype, device="meta")
    mask = torch.empty(2, 1, queries, keys, dtype=dtype, device="meta", requires_grad=masked == "learnt")
    chosen = attention_backend(capability, query, key, mask=mask if masked else None, dropout=dropout, causal=causal)
    assert chosen == expected


B, H, T, S, K = 2, 3, 100, 77, 64
KEPT_HALF = 2 * B * H * K * (T + S + S + T)  # query, key, value, output


def on_cuda(
    work: Callable[[], Tensor], *, capability: tuple[int, int] = A100, half: bool = False
) -> tuple[Trace, list[tuple[int, torch.dtype]]]:
    """The trace of `work` and of its backward pass, and the type of its result."""
    results = []
    with dry_run_for("cuda"), FakeTensorMode(), collected_by_hand(), AllocationTracker() as tracker:
        kernels = TargetKernels(Target(device="cuda", capability=capability), tracker)
        with kernels, torch.autocast("cpu", dtype=HALF, enabled=half):
            out = work()
        with kernels:
            results.append((out.numel() * out.element_size(), out.dtype))
            gradient = torch.empty_like(out)
            tracker.mark("forward")
            out.backward(gradient)  # type: ignore[no-untyped-call]
            del out, gradient
            return tracker.trace(), results


def attention(mask: Callable[[], Tensor] | None = None, width: int = K, **options: Any) -> Callable[[], Tensor]:
    def work() -> Tensor:
        query = torch.empty(B, H, T, width, dtype=HALF, requires_grad=True)
        key, value = (torch.empty(B, H, S, width, dtype=HALF, requires_grad=True) for _ in range(2))
        return functional.scaled_dot_product_attention(query, key, value, attn_mask=mask and mask(), **options)

    return work


def hidden() -> Tensor:
    return torch.empty(B, 1, 1, S, dtype=torch.bool)


def forward_bytes(trace: Trace) -> int:
    """In use at the end of the forward pass, less the gradient that comes from above."""
    return int(trace.live()[trace.marks["forward"] - 1])


def test_flash_keeps_inputs_output_and_a_sum_for_each_query() -> None:
    trace, _ = on_cuda(attention())
    kept = KEPT_HALF + 4 * B * H * T + 2 * B * H * T * K  # and the gradient from above
    assert forward_bytes(trace) == kept
    # Gradients of query, key, value; of the query in float32 besides, and a sum for each.
    assert trace.peak() - kept == 2 * B * H * K * (T + S + S) + 4 * B * H * T * (K + 1)


def test_flash_pads_heads() -> None:
    trace, results = on_cuda(attention(width=44))
    assert results == [(2 * B * H * T * 44, HALF)]
    padded = 2 * B * H * (T + S + S) * (44 + 48) + 2 * B * H * T * 48 + 4 * B * H * T
    assert forward_bytes(trace) == padded + 2 * B * H * T * 44


def test_memory_efficient_attention_keeps_an_aligned_mask() -> None:
    trace, _ = on_cuda(attention(hidden))
    mask = B * S + 2 * B * 80  # the model's, and in half precision, rows padded from 77 to 80
    sums = 4 * B * H * 128  # to 32
    gradient = 2 * B * H * T * K
    assert KEPT_HALF + sums + gradient + 2 * B * 80 <= forward_bytes(trace) <= KEPT_HALF + mask + sums * 1.03 + gradient


def test_cudnn_keeps_the_mask_as_it_is() -> None:
    trace, _ = on_cuda(attention(hidden), capability=H100)
    gradient = 2 * B * H * T * K
    assert KEPT_HALF <= forward_bytes(trace) - 4 * B * H * T - 2 * B * S - gradient <= KEPT_HALF + B * S


def test_a_learnt_mask_has_a_gradient() -> None:
    def learnt() -> Tensor:
        return torch.empty(B, H, T, S, dtype=HALF, requires_grad=True)

    with_gradient, _ = on_cuda(attention(learnt))
    without, _ = on_cuda(attention(lambda: learnt().detach()))
    assert with_gradient.live_at_end() == without.live_at_end() == 0
    assert with_gradient.peak() - without.peak() >= 2 * B * H * T * 80


def test_scores_that_are_written_out_are_float32() -> None:
    trace, results = on_cuda(attention(width=44, dropout_p=0.1), capability=T4)
    assert results == [(2 * B * H * T * 44, HALF)]
    scores = B * H * T * S
    inputs = 2 * B * H * 44 * (T + S + S)
    kept = inputs + 2 * inputs + 4 * scores + (4 + 1) * scores  # again in float32; the weights, and what dropout leaves
    assert forward_bytes(trace) == pytest.approx(kept + 2 * 2 * B * H * T * 44, rel=0.02)


def test_a_longer_query_is_twice_the_work() -> None:
    one = sum(on_cuda(attention())[0].work[:, 0])
    assert one == 7 * 2 * B * H * T * S * K


@pytest.mark.parametrize(("half", "size"), [(False, 4), (True, 4)])
def test_dropout_keeps_a_byte_for_each_value(half: bool, size: int) -> None:
    def work() -> Tensor:
        return functional.dropout(torch.empty(1000, requires_grad=True), 0.1, True)

    trace, _ = on_cuda(work, half=half)
    assert sorted(trace.sizes[:3].tolist()) == [1000, size * 1000, size * 1000]


def test_dropout_without_training_is_nothing() -> None:
    trace, _ = on_cuda(lambda: functional.dropout(torch.empty(1000, requires_grad=True), 0.1, False) * 2)
    assert 1000 not in trace.sizes


def x_half() -> Tensor:
    return torch.empty(6, 10, 50, dtype=HALF, requires_grad=True)


# autocast_mode.h: AT_FORALL_FP32 and AT_FORALL_FP32_SET_OPT_DTYPE hold the first four, not the others.
AUTOCAST: dict[str, tuple[Callable[[], Tensor], torch.dtype]] = {
    "layer_norm": (lambda: functional.layer_norm(x_half(), (50,)), SINGLE),
    "group_norm": (lambda: functional.group_norm(x_half(), 5), SINGLE),
    "softmax": (lambda: functional.softmax(x_half(), -1), SINGLE),
    "log_softmax": (lambda: x_half().log_softmax(-1), SINGLE),
    "gelu": (lambda: functional.gelu(x_half()), HALF),
    "silu": (lambda: functional.silu(x_half()), HALF),
    "glu": (lambda: functional.glu(x_half(), dim=2), HALF),
    "linear": (lambda: functional.linear(x_half().float(), torch.empty(5, 50)), HALF),
    "sigmoid": (lambda: x_half().sigmoid(), HALF),
}


@pytest.mark.parametrize("operation", AUTOCAST)
def test_types_under_autocast_are_cudas(operation: str) -> None:
    work, expected = AUTOCAST[operation]
    assert on_cuda(work, half=True)[1][0][1] == expected


def test_ctc_keeps_its_forward_variables() -> None:
    frames, vocab, labels = 90, 30, 12

    def work() -> Tensor:
        log_probs = torch.empty(frames, B, vocab, requires_grad=True)
        lengths = torch.empty(B, dtype=torch.int64)
        targets = torch.empty(B, labels, dtype=torch.int64)
        return functional.ctc_loss(log_probs, targets, lengths, lengths, reduction="none")

    trace, _ = on_cuda(work)
    scores, states = 4 * frames * B * vocab, 4 * B * frames * (2 * labels + 1)
    small = 8 * B + 8 * B * labels
    assert forward_bytes(trace) == pytest.approx(scores + states, abs=small + 16 * B)
    assert trace.peak() == pytest.approx(2 * scores + 2 * states, abs=small + 16 * B)


@pytest.mark.parametrize(("device", "bytes_kept"), [("cuda", 6 * 32 * 4), ("cpu", 24 * 64 + 36 * 32)])
def test_an_lstm_keeps_gates_and_cells(device: Any, bytes_kept: int) -> None:
    with dry_run_for(device), FakeTensorMode(), collected_by_hand(), AllocationTracker() as tracker:
        lstm, x = torch.nn.LSTM(64, 32, batch_first=True), torch.empty(3, 100, 64)
        with TargetKernels(Target(device=device, capability=A100 if device == "cuda" else None), tracker):
            y, _ = lstm(x)
            assert tuple(y.shape) == (3, 100, 32)
            assert 3 * 100 * bytes_kept in tracker.trace().sizes
            with torch.no_grad():
                before = tracker.trace().live_at_end()
                again, _ = lstm(x)
                assert tracker.trace().live_at_end() - before == pytest.approx(3 * 100 * 32 * 4, abs=2000)
            del again
