"""A streaming Conformer in PyTorch, for policy `cached`.

Shapes: B streams, W window features, M feature dimensions, C chunk frames, V vocab.
"""

import numpy as np
import numpy.typing as npt
import torch

from harken.inference.scoring import LogProbs
from harken.inference.streaming.cached import Caches
from harken.models.conformer_stream import StreamingConformer


class TorchChunkNetwork:
    """Answers `ChunkNetwork`; the caches stay on the device. The model is moved to it and put in evaluation mode."""

    def __init__(self, network: StreamingConformer, device: torch.device) -> None:
        self._network = network.to(device).eval()
        self._device = device
        self.window_features, self.shift_features = network.window_features, network.shift_features
        self.lead_features, self.subsampling = network.lead_features, network.model.subsampling
        self.vocab_size = network.vocab_size

    def start(self) -> Caches:
        return self._network.start().tensors

    def __call__(
        self, window_BWM: npt.NDArray[np.float32], frames_B: npt.NDArray[np.int64], caches: Caches
    ) -> tuple[LogProbs, Caches]:
        window, frames = torch.from_numpy(window_BWM).to(self._device), torch.from_numpy(frames_B).to(self._device)
        with torch.inference_mode():
            log_probs_BCV, _, *after = self._network(window, frames, *caches)
        return log_probs_BCV.cpu().numpy(), after
