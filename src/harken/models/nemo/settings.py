"""Settings of NeMo's Conformer and FastConformer encoders with a CTC output, in our names."""

from dataclasses import dataclass
from typing import Literal

from harken.core import Strict

Subsampling = Literal["striding", "dw_striding"]
ConvolutionNorm = Literal["batch_norm", "layer_norm"]

_MOST = 65_536  # of any size; beyond it a number is a mistake


@dataclass(frozen=True, slots=True, kw_only=True)
class NemoConformerSettings(Strict):
    width: int = 176
    layers: int = 16
    heads: int = 4
    kernel: int = 31  # frames of the depthwise convolution
    expansion: int = 4  # width of the feed-forward layers, as a multiple of width
    subsampling: Subsampling = "striding"
    subsampling_factor: int = 4  # feature frames for each output frame
    subsampling_channels: int = 176
    convolution_norm: ConvolutionNorm = "batch_norm"
    scale_input: bool = True  # times the square root of width before the first layer
    untie_biases: bool = True  # every layer has position biases of its own
    use_bias: bool = True  # in the linear and convolution layers of the Conformer layers
    dropout: float = 0.1
    dropout_input: float = 0.1  # after subsampling
    dropout_positions: float = 0.0
    dropout_attention: float = 0.1

    def __post_init__(self) -> None:
        if self.heads < 1 or self.width < 2 or self.width % 2 or self.width % self.heads:
            raise ValueError(f"width is {self.width}; use an even multiple of the number of heads ({self.heads})")
        for name in ("width", "layers", "kernel", "expansion", "subsampling_channels"):
            if not 1 <= getattr(self, name) <= _MOST:
                raise ValueError(f"{name} is {getattr(self, name)}; use 1 to {_MOST}")
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise ValueError(f"kernel is {self.kernel}; use an odd number of frames")
        if self.subsampling_factor not in (2, 4, 8, 16):
            raise ValueError(f"subsampling_factor is {self.subsampling_factor}; use 2, 4, 8 or 16")
        for name in ("dropout", "dropout_input", "dropout_positions", "dropout_attention"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; use a probability from 0 to below 1")
