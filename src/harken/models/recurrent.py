"""A small bidirectional LSTM with a CTC output: the family that learns fastest on a CPU.

Shapes: B batch, F feature frames, M feature dimensions, T output frames, D width, V vocab.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from harken.core import Strict
from harken.models.family import CtcModel, ModelFamily
from harken.models.frontend import SUBSAMPLING, ConvolutionFrontEnd, output_frames


@dataclass(frozen=True, slots=True, kw_only=True)
class RecurrentSettings(Strict):
    width: int = 192
    layers: int = 2
    dropout: float = 0.0  # probability; between layers

    def __post_init__(self) -> None:
        if self.width < 2 or self.width % 2:
            raise ValueError(f"width is {self.width}; use an even number, half of it for each direction")
        if self.layers < 1:
            raise ValueError(f"layers is {self.layers}; use 1 or more")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is {self.dropout}; use a probability from 0 to below 1")


def reverse_frames(x_BTD: Tensor, frames_B: Tensor) -> Tensor:
    """Each utterance's real frames in reverse order, its padding left where it is. Its own inverse."""
    positions = torch.arange(x_BTD.shape[1], device=x_BTD.device)[None, :]
    mirrored = frames_B[:, None] - 1 - positions
    index_BT = torch.where(mirrored >= 0, mirrored, positions)
    return x_BTD.gather(1, index_BT[:, :, None].expand_as(x_BTD))


class BidirectionalLayer(nn.Module):
    """Pre-normalised residual layer: x + BiLSTM(LayerNorm(x)).

    Two one-way LSTMs and a reversal per utterance instead of `bidirectional=True` on a packed sequence: the result is
    the same, padding never leaks in, and the fused CPU kernels, which refuse packed input, still run.
    """

    def __init__(self, *, width: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.ahead = nn.LSTM(width, width // 2, batch_first=True)
        self.back = nn.LSTM(width, width // 2, batch_first=True)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BTD: Tensor, frames_B: Tensor) -> Tensor:
        normed = self.norm(x_BTD)
        ahead, _ = self.ahead(normed)
        back, _ = self.back(reverse_frames(normed, frames_B))
        both: Tensor = torch.cat([ahead, reverse_frames(back, frames_B)], dim=2)
        out: Tensor = x_BTD + self.dropout(both)
        return out


class RecurrentCtc(CtcModel):
    """Convolutional front end, residual bidirectional LSTM layers, linear output."""

    subsampling = SUBSAMPLING
    blocks = ("layers",)

    def __init__(self, settings: RecurrentSettings, dimensions: int, vocab_size: int) -> None:
        super().__init__()
        self.front_end = ConvolutionFrontEnd(dimensions=dimensions, width=settings.width)
        self.layers = nn.ModuleList(
            BidirectionalLayer(width=settings.width, dropout=settings.dropout) for _ in range(settings.layers)
        )
        self.norm = nn.LayerNorm(settings.width)
        self.output = nn.Linear(settings.width, vocab_size)

    def forward(self, features_BFM: Tensor, frames_B: Tensor) -> tuple[Tensor, Tensor]:
        x_BTD, lengths_B = self.front_end(features_BFM, frames_B)
        for layer in self.layers:
            x_BTD = layer(x_BTD, lengths_B)
        return self.output(self.norm(x_BTD)).float(), lengths_B

    def output_frames(self, frames_B: Tensor) -> Tensor:
        return output_frames(frames_B)


FAMILY = ModelFamily(name="recurrent-ctc", settings_type=RecurrentSettings, build=RecurrentCtc)
