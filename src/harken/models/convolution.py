"""Strided convolutions over samples as matrix products: the feature encoders of Wav2Vec2 and its relatives on a CPU.

With frames contiguous, (B, T, C), a convolution whose kernel is at most a few strides long is one matrix product for
each stride of its kernel, on views of the input. Nothing is copied, forward or backward; PyTorch's own convolution
copies its input and gradient into other layouts, and takes twice the time.

Shapes: B batch, S samples, T frames, K kernel, C channels in, O channels out.
"""

from collections.abc import Sequence
from math import prod
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional


def convolve(x_BTC: Tensor, weight_OCK: Tensor, bias_O: Tensor | None, *, stride: int) -> Tensor:
    """(B, T // stride, O): the convolution of frames (contiguous, T a multiple of `stride`).

    Frames whose kernel reaches beyond T, the last ceil(K / stride) - 1, hold numbers without meaning.
    """
    if torch.is_autocast_enabled(x_BTC.device.type):
        dtype = torch.get_autocast_dtype(x_BTC.device.type)
        x_BTC, weight_OCK = x_BTC.to(dtype), weight_OCK.to(dtype)
        bias_O = None if bias_O is None else bias_O.to(dtype)
    y_BTO: Tensor = _Convolution.apply(x_BTC, weight_OCK, bias_O, stride)  # type: ignore[no-untyped-call]
    return y_BTO


class _Convolution(torch.autograd.Function):
    """Rows are strides: (B * T / stride, stride * C). Row r of the output sees rows r, r + 1, ... of the input."""

    @staticmethod
    def forward(ctx: Any, x_BTC: Tensor, weight_OCK: Tensor, bias_O: Tensor | None, stride: int) -> Tensor:
        rows, taps = _rows(x_BTC, stride), _taps(weight_OCK, stride)
        first = rows[:, : len(taps[0])]
        y = first @ taps[0] if bias_O is None else torch.addmm(bias_O, first, taps[0])
        for later, tap in enumerate(taps[1:], start=1):
            y[:-later].addmm_(rows[later:, : len(tap)], tap)
        ctx.save_for_backward(x_BTC, weight_OCK)
        ctx.stride, ctx.with_bias = stride, bias_O is not None
        return y.view(len(x_BTC), -1, len(weight_OCK))

    @staticmethod
    def backward(ctx: Any, gradient_BTO: Tensor) -> tuple[Tensor | None, ...]:
        x_BTC, weight_OCK = ctx.saved_tensors
        channels_out, channels, kernel = weight_OCK.shape
        rows, taps = _rows(x_BTC, ctx.stride), _taps(weight_OCK, ctx.stride)
        dy = gradient_BTO.reshape(-1, channels_out)
        dx = dweight = None
        if ctx.needs_input_grad[0]:
            covered = len(taps[0])
            dx = torch.empty_like(rows)
            dx[:, covered:] = 0  # a kernel shorter than its stride skips samples
            torch.mm(dy, taps[0].T, out=dx[:, :covered])
            for later, tap in enumerate(taps[1:], start=1):
                dx[later:, : len(tap)].addmm_(dy[:-later], tap.T)
            dx = dx.view(x_BTC.shape)
        if ctx.needs_input_grad[1]:
            parts = [rows[later:, : len(tap)].T @ dy[: len(dy) - later] for later, tap in enumerate(taps)]
            dweight = torch.cat(parts).view(kernel, channels, channels_out).permute(2, 1, 0)
        return dx, dweight, dy.sum(0) if ctx.with_bias else None, None


def _rows(x_BTC: Tensor, stride: int) -> Tensor:
    return x_BTC.view(-1, stride * x_BTC.shape[2])


def _taps(weight_OCK: Tensor, stride: int) -> list[Tensor]:
    """The kernel in pieces of up to `stride` positions: matrices (positions * C, O)."""
    channels_out, channels, kernel = weight_OCK.shape
    matrix = weight_OCK.permute(2, 1, 0).reshape(kernel * channels, channels_out)
    return list(torch.split(matrix, stride * channels))


def encode_samples(layers: Sequence[Any], waveform_BS: Tensor, samples_B: Tensor) -> Tensor:
    """(B, T, O) outputs of transformers' convolution layers (`conv`, `activation`, maybe `layer_norm`).

    A first layer with a group norm normalises each utterance over its own frames, `samples_B` long. The kernel of
    every layer is at least its stride.
    """
    strides = [int(layer.conv.stride[0]) for layer in layers]
    kernels = [int(layer.conv.kernel_size[0]) for layer in layers]
    frames = waveform_BS.shape[1]
    for kernel, stride in zip(kernels, strides, strict=True):
        frames = (frames - kernel) // stride + 1
    unit = prod(strides[1:])  # of first frames, so that every layer has whole strides
    first_frames = -(-((waveform_BS.shape[1] - kernels[0]) // strides[0] + 1) // unit) * unit
    x = _first_layer(layers[0], waveform_BS, samples_B, first_frames)
    for layer, stride in zip(layers[1:], strides[1:], strict=True):
        x = convolve(x, layer.conv.weight, layer.conv.bias, stride=stride)
        x = layer.activation(layer.layer_norm(x) if hasattr(layer, "layer_norm") else x)
    return x[:, :frames]


def encode_samples_in_graph(layers: Sequence[Any], waveform_BS: Tensor, samples_B: Tensor) -> Tensor:
    """`encode_samples` as operators that a graph for any number of samples can hold, without writing into views.

    (B, ceil(S / product of strides), O): the frames at the end that reach beyond the samples are not cut off.
    """
    strides = [int(layer.conv.stride[0]) for layer in layers]
    missing = -waveform_BS.shape[1] % prod(strides)
    x = functional.pad(waveform_BS, (0, missing))[:, :, None]
    for place, (layer, stride) in enumerate(zip(layers, strides, strict=True)):
        windows_BTK = _windows(x, int(layer.conv.kernel_size[0]), stride)
        norm = getattr(layer, "layer_norm", None)
        if place == 0 and isinstance(norm, nn.GroupNorm):
            x = layer.activation(_normalised_convolution(layer, windows_BTK, samples_B))
            continue
        weight_OK = layer.conv.weight.permute(0, 2, 1).flatten(1)
        y_BTO = functional.linear(windows_BTK, weight_OK, layer.conv.bias)
        x = layer.activation(y_BTO if norm is None else norm(y_BTO))
    return x


def _windows(x_BTC: Tensor, kernel: int, stride: int) -> Tensor:
    """(B, T / stride, kernel * C): what each output frame sees, zeros beyond the end; T is a multiple of `stride`."""
    batch, frames, channels = x_BTC.shape
    rows = x_BTC.reshape(batch, frames // stride, stride * channels)
    if kernel <= stride:
        return rows[:, :, : kernel * channels]
    seen = [rows]
    for shift in range(1, -(-kernel // stride)):
        kept = min(stride, kernel - shift * stride) * channels
        seen.append(functional.pad(rows[:, shift:, :kept], (0, 0, 0, shift)))
    return torch.cat(seen, dim=2)


def _first_layer(layer: Any, waveform_BS: Tensor, samples_B: Tensor, frames: int) -> Tensor:
    kernel, stride = int(layer.conv.kernel_size[0]), int(layer.conv.stride[0])
    beyond = (frames - 1) * stride + kernel - waveform_BS.shape[1]
    windows_BTK = functional.pad(waveform_BS, (0, max(0, beyond))).unfold(1, kernel, stride)[:, :frames].contiguous()
    norm = getattr(layer, "layer_norm", None)
    if isinstance(norm, nn.GroupNorm):
        return cast(Tensor, layer.activation(_normalised_convolution(layer, windows_BTK, samples_B)))
    y_BTO = functional.linear(windows_BTK, layer.conv.weight[:, 0], layer.conv.bias)
    return cast(Tensor, layer.activation(y_BTO if norm is None else norm(y_BTO)))


def _normalised_convolution(layer: Any, windows_BTK: Tensor, samples_B: Tensor) -> Tensor:
    """(B, T, O) of a first layer with a group norm, from what its frames see."""
    kernel, stride = int(layer.conv.kernel_size[0]), int(layer.conv.stride[0])
    frames_B = torch.div(samples_B - kernel, stride, rounding_mode="floor") + 1
    scale_BO, shift_BO = _group_norm(layer.layer_norm, layer.conv, windows_BTK, frames_B.clamp(1, windows_BTK.shape[1]))
    return torch.baddbmm(shift_BO[:, None], windows_BTK, layer.conv.weight[:, 0].T * scale_BO[:, None])


def _group_norm(norm: nn.GroupNorm, conv: Any, windows_BTK: Tensor, frames_B: Tensor) -> tuple[Tensor, Tensor]:
    """(B, O) scale and shift that stand for the norm of every channel over an utterance's own frames.

    A channel is a linear function of windows of K samples, so its mean and variance follow from theirs.
    """
    with torch.autocast(windows_BTK.device.type, enabled=False):
        own_BT1 = torch.arange(windows_BTK.shape[1], device=frames_B.device)[:, None] < frames_B[:, None, None]
        frames_B1 = frames_B[:, None].to(windows_BTK.dtype)
        mean_BK = (windows_BTK * own_BT1).sum(1, dtype=torch.float64).to(windows_BTK.dtype) / frames_B1
        centred_BTK = (windows_BTK - mean_BK[:, None]) * own_BT1
        covariance_BKK = centred_BTK.transpose(1, 2) @ centred_BTK / frames_B1[:, None]
        weight_OK = conv.weight[:, 0]
        variance_BO = torch.einsum("ok,bkl,ol->bo", weight_OK, covariance_BKK, weight_OK)
        scale_BO = norm.weight * torch.rsqrt(variance_BO + norm.eps)
        shift_BO = norm.bias - (mean_BK @ weight_OK.T) * scale_BO
        return scale_BO, shift_BO  # a bias of the convolution would move the mean alone, and is taken away again
