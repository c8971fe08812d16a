"""NeMo's ConformerEncoder and its CTC head, so that weights trained with NeMo give the same scores here.

Conformer: Gulati et al. 2020. Relative positions: Dai et al. 2019, "Transformer-XL", section 3.3 and appendix B.
FastConformer: Rekesh et al. 2023, the same layers behind depthwise subsampling by 8. Written against NeMo 3.0.0
(modules/conformer_encoder.py, submodules/subsampling.py, conformer_modules.py, multi_head_attention.py), which masks
padding before every convolution. Only the batch normalisation differs, in training: it counts real frames only.

Shapes: B batch, F feature frames, M feature dimensions, T output frames, D width, H heads, K width per head, P relative
positions (2T - 1), C channels, V vocab.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from harken.models.conformer import MaskedBatchNorm
from harken.models.family import CtcModel, ModelFamily
from harken.models.frontend import frame_mask
from harken.models.nemo.settings import NemoConformerSettings

_KERNEL, _STRIDE = 3, 2
_MASKED = -10_000.0  # added to scores of padding; NeMo's value


def halved(frames_B: Tensor, times: int) -> Tensor:
    """Frames after that many convolutions of kernel 3, stride 2 and padding 1: ceil(frames / 2) each."""
    for _ in range(times):
        frames_B = (frames_B + 1) // _STRIDE
    return frames_B


def relative_positions(frames: int, width: int, like: Tensor) -> Tensor:
    """Sinusoids (P, D) for distances frames - 1 down to -(frames - 1); sine at even places, cosine at odd ones."""
    distances_P = torch.arange(frames - 1, -frames, -1, device=like.device, dtype=torch.float32)
    rates = torch.exp(torch.arange(0, width, 2, device=like.device, dtype=torch.float32) * (-math.log(10_000) / width))
    angles = torch.outer(distances_P, rates)
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1).to(like.dtype)


def shift_to_keys(scores_BHTP: Tensor) -> Tensor:
    """(B, H, T, P) scores by distance to (B, H, T, T) scores by key frame, where P = 2T - 1.

    Row t wants columns T - 1 - t onwards. Reading the rows with one more column moves each row one further.
    """
    batch, heads, frames, positions = scores_BHTP.shape
    wider = functional.pad(scores_BHTP, (1, 0)).view(batch, heads, positions + 1, frames)
    return wider[:, :, 1:].reshape(batch, heads, frames, positions)[..., :frames]


class NemoSubsampling(nn.Module):
    """Convolutions over time and mels (kernel 3, stride 2), then a linear layer over channels and remaining mels.

    `striding` has full convolutions; `dw_striding` has a full one, then depthwise ones, each followed by a pointwise.
    """

    def __init__(self, settings: NemoConformerSettings, dimensions: int) -> None:
        super().__init__()
        channels = settings.subsampling_channels
        self.halvings = settings.subsampling_factor.bit_length() - 1
        depthwise = settings.subsampling == "dw_striding"
        self.strided = nn.ModuleList(
            nn.Conv2d(
                channels if i else 1, channels, _KERNEL, stride=_STRIDE, padding=1,
                groups=channels if depthwise and i else 1,
            )
            for i in range(self.halvings)
        )  # fmt: skip
        self.pointwise = nn.ModuleList(nn.Conv2d(channels, channels, 1) for _ in range(self.halvings - 1) if depthwise)
        mels = -(-dimensions // settings.subsampling_factor)  # as `halved`
        self.output = nn.Linear(channels * mels, settings.width)

    def forward(self, features_BFM: Tensor, frames_B: Tensor) -> tuple[Tensor, Tensor]:
        """(B, F, M) features and their lengths to (B, T, D) and theirs."""
        x_BCFM = features_BFM[:, None]
        for i, strided in enumerate(self.strided):
            x_BCFM = strided(x_BCFM * frame_mask(frames_B, x_BCFM.shape[2])[:, None, :, None])
            if i and self.pointwise:
                x_BCFM = self.pointwise[i - 1](x_BCFM)
            x_BCFM = functional.relu(x_BCFM)
            frames_B = halved(frames_B, 1)
        return self.output(x_BCFM.transpose(1, 2).flatten(2)), frames_B


class NemoFeedForward(nn.Module):
    def __init__(self, settings: NemoConformerSettings) -> None:
        super().__init__()
        width, bias = settings.width, settings.use_bias
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, width * settings.expansion, bias=bias)
        self.down = nn.Linear(width * settings.expansion, width, bias=bias)
        self.dropout = nn.Dropout(settings.dropout)

    def forward(self, x_BTD: Tensor) -> Tensor:
        out: Tensor = self.dropout(self.down(self.dropout(functional.silu(self.up(self.norm(x_BTD))))))
        return out


class NemoAttention(nn.Module):
    """Attention by content and by distance, each with a bias of its own on the query."""

    def __init__(self, settings: NemoConformerSettings) -> None:
        super().__init__()
        width, bias = settings.width, settings.use_bias
        self.heads = settings.heads
        self.dropout_share = settings.dropout_attention
        self.norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width, bias=bias)
        self.key = nn.Linear(width, width, bias=bias)
        self.value = nn.Linear(width, width, bias=bias)
        self.positions = nn.Linear(width, width, bias=False)
        self.project_out = nn.Linear(width, width, bias=bias)
        self.dropout = nn.Dropout(settings.dropout)
        self.biases = PositionBiases(settings) if settings.untie_biases else None

    def forward(self, x_BTD: Tensor, mask_BT: Tensor, positions_PD: Tensor, shared: "PositionBiases | None") -> Tensor:
        biases = self.biases or shared
        assert biases is not None  # the encoder has them where the layers do not
        x_BTD = self.norm(x_BTD)
        query, key, value = (self._by_head(linear(x_BTD)) for linear in (self.query, self.key, self.value))
        positions_HPK = self._by_head(self.positions(positions_PD)[None])[0]
        by_distance_BHTP = (query + biases.position[:, None]) @ positions_HPK.transpose(1, 2)
        by_distance_BHTT = shift_to_keys(by_distance_BHTP) / math.sqrt(query.shape[-1])
        mixed = functional.scaled_dot_product_attention(
            query + biases.content[:, None],
            key,
            value,
            attn_mask=by_distance_BHTT.masked_fill(~mask_BT[:, None, None, :], _MASKED),
            dropout_p=self.dropout_share if self.training else 0.0,
        )
        out: Tensor = self.dropout(self.project_out(mixed.transpose(1, 2).flatten(2)))
        return out

    def _by_head(self, x_BTD: Tensor) -> Tensor:
        return x_BTD.view(*x_BTD.shape[:2], self.heads, -1).transpose(1, 2)


class PositionBiases(nn.Module):
    """Transformer-XL's u (content) and v (position), each (H, K)."""

    def __init__(self, settings: NemoConformerSettings) -> None:
        super().__init__()
        self.content = nn.Parameter(torch.zeros(settings.heads, settings.width // settings.heads))
        self.position = nn.Parameter(torch.zeros(settings.heads, settings.width // settings.heads))


class NemoConvolution(nn.Module):
    """Gated pointwise, depthwise over time, normalisation, pointwise."""

    def __init__(self, settings: NemoConformerSettings) -> None:
        super().__init__()
        width, bias = settings.width, settings.use_bias
        self.norm = nn.LayerNorm(width)
        self.gate = nn.Linear(width, 2 * width, bias=bias)
        self.depthwise = nn.Conv1d(width, width, settings.kernel, padding=settings.kernel // 2, groups=width, bias=bias)
        batch_norm = settings.convolution_norm == "batch_norm"
        self.batch_norm = MaskedBatchNorm(width) if batch_norm else None
        self.layer_norm = None if batch_norm else nn.LayerNorm(width)
        self.project_out = nn.Linear(width, width, bias=bias)
        self.dropout = nn.Dropout(settings.dropout)

    def forward(self, x_BTD: Tensor, mask_BT: Tensor) -> Tensor:
        gated = functional.glu(self.gate(self.norm(x_BTD)), dim=2) * mask_BT[:, :, None]
        spread = self.depthwise(gated.transpose(1, 2)).transpose(1, 2)
        if self.batch_norm is not None:
            spread = self.batch_norm(spread, mask_BT)
        elif self.layer_norm is not None:
            spread = self.layer_norm(spread)
        out: Tensor = self.dropout(self.project_out(functional.silu(spread)))
        return out


class NemoConformerLayer(nn.Module):
    """Half feed-forward, attention, convolution, half feed-forward, each residual; then LayerNorm."""

    def __init__(self, settings: NemoConformerSettings) -> None:
        super().__init__()
        self.feed_forward_in = NemoFeedForward(settings)
        self.attention = NemoAttention(settings)
        self.convolution = NemoConvolution(settings)
        self.feed_forward_out = NemoFeedForward(settings)
        self.norm = nn.LayerNorm(settings.width)

    def forward(self, x_BTD: Tensor, mask_BT: Tensor, positions_PD: Tensor, shared: PositionBiases | None) -> Tensor:
        x_BTD = x_BTD + 0.5 * self.feed_forward_in(x_BTD)
        x_BTD = x_BTD + self.attention(x_BTD, mask_BT, positions_PD, shared)
        x_BTD = x_BTD + self.convolution(x_BTD, mask_BT)
        x_BTD = x_BTD + 0.5 * self.feed_forward_out(x_BTD)
        out: Tensor = self.norm(x_BTD)
        return out


class NemoConformerCtc(CtcModel):
    """Subsampling, Conformer layers with relative positions, linear output."""

    blocks = ("layers",)

    def __init__(self, settings: NemoConformerSettings, dimensions: int, vocab_size: int) -> None:
        super().__init__()
        self.settings = settings
        self.subsampling = settings.subsampling_factor
        self.front_end = NemoSubsampling(settings, dimensions)
        self.shared_biases = None if settings.untie_biases else PositionBiases(settings)
        self.layers = nn.ModuleList(NemoConformerLayer(settings) for _ in range(settings.layers))
        self.dropout_input = nn.Dropout(settings.dropout_input)
        self.dropout_positions = nn.Dropout(settings.dropout_positions)
        self.output = nn.Linear(settings.width, vocab_size)

    def forward(self, features_BFM: Tensor, frames_B: Tensor) -> tuple[Tensor, Tensor]:
        x_BTD, lengths_B = self.front_end(features_BFM, frames_B)
        frames, width = x_BTD.shape[1:]
        mask_BT = frame_mask(lengths_B, frames)
        positions_PD = self.dropout_positions(relative_positions(frames, width, x_BTD))
        if self.settings.scale_input:
            x_BTD = x_BTD * math.sqrt(width)
        x_BTD = self.dropout_input(x_BTD)
        for layer in self.layers:
            x_BTD = layer(x_BTD, mask_BT, positions_PD, self.shared_biases)
        return self.output(x_BTD).float(), lengths_B

    def output_frames(self, frames_B: Tensor) -> Tensor:
        return halved(frames_B, self.front_end.halvings)


FAMILY = ModelFamily(name="nemo-conformer-ctc", settings_type=NemoConformerSettings, build=NemoConformerCtc)
