"""The torch engine: runs a model folder with PyTorch, on the CPU or a GPU.

Shapes: B batch, F feature frames, M feature dimensions, T output frames, V vocab.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from harken.audio.features import FeatureConfig, FeatureExtractor
from harken.core import Features, InputError, MissingPart, Recognizer, Tokenizer
from harken.inference.config import EngineConfig, refuse_ctc_settings
from harken.inference.ctc_recognizer import CtcRecognizer
from harken.inference.decoding import whisper_tokenizer
from harken.inference.scoring import LogProbs
from harken.inference.scoring import pad_features as pad_arrays
from harken.inference.whisper.recognizer import WhisperRecognizer
from harken.inference.whisper.settings import decoding_settings
from harken.inference.whisper.torch_backend import TorchWhisperBackend
from harken.models.family import AcousticModel, CtcModel
from harken.models.folder import load_model
from harken.models.whisper import WhisperSeq2Seq


def pick_device(name: str) -> torch.device:
    """The device a setting names; `auto` is the first GPU, or else the CPU.

    Raises MissingPart for an absent GPU, InputError for anything that is not named in `EngineConfig`.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if re.fullmatch(r"cpu|cuda(:\d{1,3})?", name) is None:
        raise InputError(f"device is {name!r}.", hint="Use auto, cpu, cuda or cuda:N.")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise MissingPart(f"device is {name!r}, but PyTorch sees {torch.cuda.device_count()} GPUs.", hint="Use cpu.")
    return device


def pad_features(features: Sequence[Features], device: torch.device) -> tuple[Tensor, Tensor]:
    """Features of several utterances as one zero-padded (B, F, M) tensor, and their lengths (B,)."""
    padded, frames = pad_arrays(features)
    return torch.from_numpy(padded).to(device), torch.from_numpy(frames).to(device)


class TorchCtcScorer:
    """A CTC model in PyTorch: answers `CtcScorer`. The model is moved to `device` and put in evaluation mode."""

    def __init__(self, model: CtcModel, device: torch.device) -> None:
        self.model = model.to(device).eval()
        self.device = device

    def __call__(
        self, features_BFM: npt.NDArray[np.float32], frames_B: npt.NDArray[np.int64]
    ) -> tuple[LogProbs, npt.NDArray[np.int64]]:
        with torch.inference_mode():
            scores_BTV, lengths_B = self.model(
                torch.from_numpy(features_BFM).to(self.device), torch.from_numpy(frames_B).to(self.device)
            )
            return scores_BTV.log_softmax(-1).cpu().numpy(), lengths_B.cpu().numpy()


def make_recognizer(
    model: AcousticModel, *, features: FeatureConfig, tokenizer: Tokenizer, config: EngineConfig | None = None
) -> Recognizer:
    """A recognizer around a model in memory. Raises InputError for settings that would do nothing with it."""
    config = config or EngineConfig()
    if config.precision not in ("auto", "fp32"):
        raise InputError(
            f"precision is {config.precision!r}, and the torch engine computes in fp32.",
            hint="Export the model (harken export) and use the engine onnx.",
        )
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    device = pick_device(config.device)
    if isinstance(model, CtcModel):
        return _ctc_recognizer(model, device, features=features, tokenizer=tokenizer, config=config)
    if not isinstance(model, WhisperSeq2Seq):
        raise InputError(f"The torch engine has no decoding for a {type(model).__name__}.")
    refuse_ctc_settings(config)
    own = whisper_tokenizer(tokenizer)
    settings = decoding_settings(config.whisper, config, model.settings.generation)
    return WhisperRecognizer(
        TorchWhisperBackend(model.to(device).eval(), own),
        FeatureExtractor(features),
        own,
        settings,
        longest_s=config.longest_s,
        batch_windows=config.windows_at_once(features.pad_to_s),
    )


def _ctc_recognizer(
    model: CtcModel, device: torch.device, *, features: FeatureConfig, tokenizer: Tokenizer, config: EngineConfig
) -> CtcRecognizer:
    return CtcRecognizer(
        TorchCtcScorer(model, device),
        features=features,
        tokenizer=tokenizer,
        subsampling=model.subsampling,
        chunk_frames=getattr(getattr(model, "settings", None), "chunk_frames", None),
        config=config,
        on_cpu=device.type == "cpu",
    )


def load_engine(folder: Path, *, config: EngineConfig | None = None) -> Recognizer:
    """A recognizer for a model folder. Raises MissingPart or InputError as `load_model` does."""
    loaded = load_model(folder)
    return make_recognizer(loaded.model, features=loaded.features, tokenizer=loaded.tokenizer, config=config)
