"""Conformer-CTC (Gulati et al. 2020, "Conformer: Convolution-augmented Transformer for Speech Recognition").

Differences from the paper, each for a reason: rotary positions (Su et al. 2021), because relative-position attention
cannot use PyTorch's fused attention; a normalisation over real frames only in the convolution module, because padding
in a batch must not change an utterance; chunked attention (Shi et al. 2021, "Emformer") and causal convolution on
request, so that the same weights can run on a stream (`conformer_stream`); sizes of the chunks drawn anew for each
batch of training (Zhang et al. 2020, "Unified Streaming and Non-streaming Two-pass End-to-end Model"), so that one
model serves many latencies.

Shapes: B batch, F feature frames, M feature dimensions, T output frames, D width, H heads, K width per head, V vocab.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from harken.core import Strict
from harken.models.family import CtcModel, ModelFamily
from harken.models.frontend import SUBSAMPLING, ConvolutionFrontEnd, frame_mask, output_frames


@dataclass(frozen=True, slots=True, kw_only=True)
class ConformerSettings(Strict):
    width: int = 144
    layers: int = 4
    heads: int = 4
    kernel: int = 15  # frames of the depthwise convolution
    expansion: int = 4  # width of the feed-forward layers, as a multiple of width
    dropout: float = 0.0
    chunk_frames: int | None = None  # output frames (40 ms) attended as one chunk; None attends everywhere
    left_chunks: int | None = None  # earlier chunks a chunk can see; None sees all of them
    dynamic_chunks: tuple[int, int] | None = None  # fewest and most chunk_frames, drawn for each batch of training
    full_context: float = 0.0  # share of the batches of training that attend everywhere, with dynamic_chunks
    input_mean: float = 0.0  # fixed normalisation of the features, the same on a stream: (x - input_mean) * input_scale
    input_scale: float = 1.0

    def __post_init__(self) -> None:
        if self.heads < 1 or self.width < 2 or self.width % (2 * self.heads):
            raise ValueError(f"width is {self.width}; use a multiple of twice the number of heads ({self.heads})")
        if self.layers < 1:
            raise ValueError(f"layers is {self.layers}; use 1 or more")
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise ValueError(f"kernel is {self.kernel}; use an odd number of frames")
        if self.expansion < 1:
            raise ValueError(f"expansion is {self.expansion}; use 1 or more")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is {self.dropout}; use a probability from 0 to below 1")
        if self.chunk_frames is not None and self.chunk_frames < 1:
            raise ValueError(f"chunk_frames is {self.chunk_frames}; use 1 or more, or null for full attention")
        if self.left_chunks is not None and (self.chunk_frames is None or self.left_chunks < 0):
            raise ValueError(f"left_chunks is {self.left_chunks}; use 0 or more, together with chunk_frames")
        if self.input_scale <= 0:
            raise ValueError(f"input_scale is {self.input_scale}; use a number above 0, such as 1 / standard deviation")
        self._check_dynamic()

    def _check_dynamic(self) -> None:
        if self.dynamic_chunks is not None:
            least, most = self.dynamic_chunks
            if self.chunk_frames is None or not 1 <= least <= most:
                raise ValueError(
                    f"dynamic_chunks is {least}, {most}; use the fewest and the most, together with chunk_frames"
                )
        if not 0 <= self.full_context <= 1 or (self.full_context and self.dynamic_chunks is None):
            raise ValueError(
                f"full_context is {self.full_context}; use a share from 0 to 1, together with dynamic_chunks"
            )


def chunk_mask(
    frames: int, *, chunk_frames: int | Tensor, left_chunks: int | Tensor | None, device: torch.device
) -> Tensor:
    """(T, T) bool, True where query frame (row) may see key frame (column): its own chunk and earlier ones."""
    chunk_T = torch.arange(frames, device=device) // chunk_frames
    behind = chunk_T[:, None] - chunk_T[None, :]
    allowed = behind >= 0
    return allowed if left_chunks is None else allowed & (behind <= left_chunks)


def drawn_chunks(
    frames: int, *, sizes: tuple[int, int], left_frames: int | None, full_context: float
) -> tuple[Tensor, Tensor | None]:
    """`chunk_frames` and `left_chunks` of one batch of training, drawn from torch's generator: 0-dim CPU tensors.

    The left context is `left_frames`, rounded up to whole chunks. The numbers stay tensors, because a step that is
    followed on fake tensors can draw them but not read them.
    """
    chunk = torch.randint(sizes[0], sizes[1] + 1, ())
    left = None if left_frames is None else (left_frames + chunk - 1) // chunk
    return torch.where(torch.rand(()) < full_context, frames, chunk), left


def rotary_angles(frames: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosine and sine tables (T, K) of rotary position embedding, base 10,000."""
    rates = 10_000.0 ** (-torch.arange(0, width, 2, device=device, dtype=torch.float32) / width)
    angles = torch.outer(torch.arange(frames, device=device, dtype=torch.float32), rates).repeat(1, 2)
    return angles.cos(), angles.sin()


def rotate(x_BHTK: Tensor, cosine_TK: Tensor, sine_TK: Tensor) -> Tensor:
    """Rotate pairs (k, k + K/2) of queries or keys by their position's angle."""
    first, second = x_BHTK.chunk(2, dim=-1)
    return x_BHTK * cosine_TK.to(x_BHTK.dtype) + torch.cat([-second, first], dim=-1) * sine_TK.to(x_BHTK.dtype)


class MaskedBatchNorm(nn.Module):
    """Batch normalisation over the real frames of a batch; padding is not counted.

    Statistics are computed in float32. With fewer than two real frames in a training batch the running statistics are
    used, since a variance needs two.
    """

    running_mean: Tensor
    running_variance: Tensor

    def __init__(self, width: int, *, momentum: float = 0.1, epsilon: float = 1e-5) -> None:
        super().__init__()
        self.momentum = momentum
        self.epsilon = epsilon
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("running_variance", torch.ones(width))

    def forward(self, x_BTD: Tensor, mask_BT: Tensor) -> Tensor:
        mean, variance = self.running_mean, self.running_variance
        if self.training and int(mask_BT.sum()) > 1:
            weights_BT1 = mask_BT[:, :, None].float()
            count = weights_BT1.sum()
            mean = (x_BTD.float() * weights_BT1).sum((0, 1)) / count
            variance = ((x_BTD.float() - mean).square() * weights_BT1).sum((0, 1)) / count
            with torch.no_grad():
                self.running_mean.lerp_(mean, self.momentum)
                self.running_variance.lerp_(variance * count / (count - 1), self.momentum)
        scale = self.weight * (variance + self.epsilon).rsqrt()
        return (x_BTD.float() * scale + (self.bias - mean * scale)).to(x_BTD.dtype)


class FeedForward(nn.Module):
    def __init__(self, settings: ConformerSettings) -> None:
        super().__init__()
        width = settings.width
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, width * settings.expansion)
        self.down = nn.Linear(width * settings.expansion, width)
        self.dropout = nn.Dropout(settings.dropout)

    def forward(self, x_BTD: Tensor) -> Tensor:
        hidden = self.dropout(functional.silu(self.up(self.norm(x_BTD))))
        out: Tensor = self.dropout(self.down(hidden))
        return out


class Attention(nn.Module):
    def __init__(self, settings: ConformerSettings) -> None:
        super().__init__()
        self.heads = settings.heads
        self.dropout_share = settings.dropout
        self.norm = nn.LayerNorm(settings.width)
        self.project_in = nn.Linear(settings.width, 3 * settings.width)
        self.project_out = nn.Linear(settings.width, settings.width)
        self.dropout = nn.Dropout(settings.dropout)

    def forward(self, x_BTD: Tensor, mask_B1TT: Tensor, cosine_TK: Tensor, sine_TK: Tensor) -> Tensor:
        projected = self.project_in(self.norm(x_BTD)).unflatten(2, (3, self.heads, -1))
        query, key, value = projected.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = functional.scaled_dot_product_attention(
            rotate(query, cosine_TK, sine_TK),
            rotate(key, cosine_TK, sine_TK),
            value,
            attn_mask=mask_B1TT,
            dropout_p=self.dropout_share if self.training else 0.0,
        )
        out: Tensor = self.dropout(self.project_out(mixed.transpose(1, 2).flatten(2)))
        return out


class ConvolutionModule(nn.Module):
    """Gated pointwise, depthwise over time, normalisation, pointwise; causal when attention is chunked."""

    def __init__(self, settings: ConformerSettings) -> None:
        super().__init__()
        width, kernel = settings.width, settings.kernel
        self.padding = (kernel - 1, 0) if settings.chunk_frames is not None else (kernel // 2, kernel // 2)
        self.norm = nn.LayerNorm(width)
        self.gate = nn.Linear(width, 2 * width)
        self.depthwise = nn.Conv1d(width, width, kernel, groups=width)
        self.batch_norm = MaskedBatchNorm(width)
        self.project_out = nn.Linear(width, width)
        self.dropout = nn.Dropout(settings.dropout)

    def forward(self, x_BTD: Tensor, mask_BT: Tensor) -> Tensor:
        gated = functional.glu(self.gate(self.norm(x_BTD)), dim=2) * mask_BT[:, :, None]
        spread = self.depthwise(functional.pad(gated.transpose(1, 2), self.padding)).transpose(1, 2)
        out: Tensor = self.dropout(self.project_out(functional.silu(self.batch_norm(spread, mask_BT))))
        return out


class ConformerLayer(nn.Module):
    """Half feed-forward, attention, convolution, half feed-forward, each residual; then LayerNorm."""

    def __init__(self, settings: ConformerSettings) -> None:
        super().__init__()
        self.feed_forward_in = FeedForward(settings)
        self.attention = Attention(settings)
        self.convolution = ConvolutionModule(settings)
        self.feed_forward_out = FeedForward(settings)
        self.norm = nn.LayerNorm(settings.width)

    def forward(self, x_BTD: Tensor, mask_BT: Tensor, mask_B1TT: Tensor, cosine_TK: Tensor, sine_TK: Tensor) -> Tensor:
        x_BTD = x_BTD + 0.5 * self.feed_forward_in(x_BTD)
        x_BTD = x_BTD + self.attention(x_BTD, mask_B1TT, cosine_TK, sine_TK)
        x_BTD = x_BTD + self.convolution(x_BTD, mask_BT)
        x_BTD = x_BTD + 0.5 * self.feed_forward_out(x_BTD)
        out: Tensor = self.norm(x_BTD)
        return out


class ConformerCtc(CtcModel):
    """Convolutional front end, Conformer layers, linear output."""

    subsampling = SUBSAMPLING
    blocks = ("layers",)

    def __init__(self, settings: ConformerSettings, dimensions: int, vocab_size: int) -> None:
        super().__init__()
        self.settings = settings
        self.front_end = ConvolutionFrontEnd(dimensions=dimensions, width=settings.width)
        self.layers = nn.ModuleList(ConformerLayer(settings) for _ in range(settings.layers))
        self.output = nn.Linear(settings.width, vocab_size)

    def forward(self, features_BFM: Tensor, frames_B: Tensor) -> tuple[Tensor, Tensor]:
        x_BTD, lengths_B = self.front_end(self.normalized(features_BFM), frames_B)
        frames = x_BTD.shape[1]
        mask_BT = frame_mask(lengths_B, frames)
        mask_B1TT = self._attention_mask(mask_BT)
        cosine_TK, sine_TK = rotary_angles(frames, self.settings.width // self.settings.heads, x_BTD.device)
        for layer in self.layers:
            x_BTD = layer(x_BTD, mask_BT, mask_B1TT, cosine_TK, sine_TK)
        return self.output(x_BTD).float(), lengths_B

    def normalized(self, features: Tensor) -> Tensor:
        """Features after the fixed normalisation of the settings."""
        if (self.settings.input_mean, self.settings.input_scale) == (0.0, 1.0):
            return features
        return (features - self.settings.input_mean) * self.settings.input_scale

    def _attention_mask(self, mask_BT: Tensor) -> Tensor:
        frames = mask_BT.shape[1]
        mask_B1TT = mask_BT[:, None, None, :].expand(-1, 1, frames, -1)
        if self.settings.chunk_frames is None:
            return mask_B1TT
        settings = self.settings
        chunk: int | Tensor = settings.chunk_frames or frames
        left: int | Tensor | None = settings.left_chunks
        if self.training and settings.dynamic_chunks is not None:
            chunk, left = drawn_chunks(
                frames,
                sizes=settings.dynamic_chunks,
                left_frames=None
                if settings.left_chunks is None
                else settings.left_chunks * (settings.chunk_frames or 1),
                full_context=settings.full_context,
            )
        chunks_TT = chunk_mask(frames, chunk_frames=chunk, left_chunks=left, device=mask_BT.device)
        # A padded query whose whole window is padding would attend to nothing, and softmax of nothing is NaN; every
        # frame may see itself. Real frames lose nothing: they see themselves anyway.
        itself_TT = torch.eye(frames, dtype=torch.bool, device=mask_BT.device)
        return (mask_B1TT & chunks_TT) | itself_TT

    def output_frames(self, frames_B: Tensor) -> Tensor:
        return output_frames(frames_B)


FAMILY = ModelFamily(name="conformer-ctc", settings_type=ConformerSettings, build=ConformerCtc)
