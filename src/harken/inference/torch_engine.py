"""The torch engine: runs a model folder with PyTorch, on the CPU or a GPU.

Shapes: B batch, F feature frames, M feature dimensions.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from harken.audio.decode import DecodeLimits, decode_audio
from harken.audio.features import FeatureConfig, FeatureExtractor
from harken.core import Features, InputError, MissingPart, Strict, Tokenizer, Transcript, Waveform
from harken.core.units import samples_to_seconds
from harken.inference.decoding import CtcDecoding, Decoding, Seq2SeqDecoding
from harken.models.family import AcousticModel, Seq2SeqModel, Task
from harken.models.folder import load_model


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchEngineConfig(Strict):
    device: str = "auto"  # auto, cpu, cuda, cuda:1 ...
    batch_s: float = 240.0  # seconds of audio, padding included, in one forward pass
    longest_s: float = 1800.0  # seconds; a single piece of audio above this (or above the model's window) is refused
    language: str | None = None  # what is spoken, for encoder-decoder models; None: the model's own, or its own guess
    task: Task | None = None  # encoder-decoder models; None: what the model was trained for

    def __post_init__(self) -> None:
        if self.batch_s <= 0:
            raise ValueError(f"batch_s is {self.batch_s}; use seconds above 0")
        if self.longest_s <= 0:
            raise ValueError(f"longest_s is {self.longest_s}; use seconds above 0")


def pick_device(name: str) -> torch.device:
    """The device a setting names; `auto` is the first GPU, or else the CPU.

    Raises MissingPart for an absent GPU, InputError for anything that is not named in `TorchEngineConfig`.
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
    frames = [len(item) for item in features]
    padded = np.zeros((len(features), max(frames), features[0].shape[1]), dtype=np.float32)
    for row, item in zip(padded, features, strict=True):
        row[: len(item)] = item
    return torch.from_numpy(padded).to(device), torch.tensor(frames, device=device)


def make_decoding(
    model: AcousticModel, tokenizer: Tokenizer, *, extractor: FeatureExtractor, config: TorchEngineConfig
) -> Decoding:
    """Greedy decoding of this kind of model. Raises InputError for settings that would do nothing with it."""
    if isinstance(model, Seq2SeqModel):
        language, task = config.language or model.language, config.task or model.task
        return Seq2SeqDecoding(model, tokenizer, language=language, task=task)
    told = next((name for name in ("language", "task") if getattr(config, name) is not None), None)
    if told is not None:
        raise InputError(
            f"{told} is {getattr(config, told)!r}, which this model cannot be told: it has a CTC output.",
            hint="Leave it out; only encoder-decoder models such as Whisper take it.",
        )
    return CtcDecoding(model, tokenizer, frame_s=model.subsampling * extractor.hop_s)


class TorchRecognizer:
    """An acoustic model with greedy decoding: answers `core.Recognizer`."""

    def __init__(
        self,
        *,
        model: AcousticModel,
        features: FeatureConfig,
        tokenizer: Tokenizer,
        config: TorchEngineConfig | None = None,
    ) -> None:
        self.config = config or TorchEngineConfig()
        self.device = pick_device(self.config.device)
        self.model = model.to(self.device).eval()
        self.tokenizer = tokenizer
        self.extractor = FeatureExtractor(features)
        self._decode = make_decoding(self.model, tokenizer, extractor=self.extractor, config=self.config)
        # What one pass reads at least, however short the audio is, and in a window of one size at most.
        self._window_s = features.pad_to_s or 0.0
        self._longest_s = min(self.config.longest_s, self._window_s or self.config.longest_s)

    @property
    def sample_rate_hz(self) -> int:
        return self.extractor.config.sample_rate_hz

    def transcribe(self, audio: Waveform | str | Path) -> Transcript:
        """Transcript of a waveform (samples,) at `sample_rate_hz`, or of an audio file of any supported format.

        Raises AudioDecodeError for a file that cannot be decoded, InputError for audio longer than the engine takes.
        """
        if isinstance(audio, str | Path):
            limits = DecodeLimits(max_duration_s=self._longest_s)
            audio = decode_audio(audio, sample_rate_hz=self.sample_rate_hz, limits=limits)
        return self.transcribe_batch([audio])[0]

    def transcribe_batch(self, waveforms: Sequence[Waveform]) -> list[Transcript]:
        """Transcripts in the order given; batches are formed from waveforms of similar length."""
        transcripts: dict[int, Transcript] = {}
        for indices in self._batches([len(waveform) for waveform in waveforms]):
            transcripts |= zip(indices, self._transcribe_together([waveforms[i] for i in indices]), strict=True)
        return [transcripts[i] for i in range(len(waveforms))]

    def _batches(self, samples: Sequence[int]) -> Iterator[list[int]]:
        limit, window = self.config.batch_s * self.sample_rate_hz, self._window_s * self.sample_rate_hz
        batch: list[int] = []
        for index in sorted(range(len(samples)), key=lambda i: -samples[i]):  # longest first: it sets the padding
            if batch and max(samples[batch[0]], window) * (len(batch) + 1) > limit:
                yield batch
                batch = []
            batch.append(index)
        if batch:
            yield batch

    def _transcribe_together(self, waveforms: Sequence[Waveform]) -> list[Transcript]:
        durations_s = [samples_to_seconds(len(waveform), sample_rate_hz=self.sample_rate_hz) for waveform in waveforms]
        if max(durations_s) > self._longest_s:
            raise InputError(
                f"Audio of {max(durations_s):.1f} s is longer than the {self._longest_s:g} s taken at once.",
                hint="Cut it into pieces."
                if self._longest_s < self.config.longest_s
                else "Cut it into pieces, or raise longest_s.",
            )
        features = [self.extractor(waveform) for waveform in waveforms]
        # Digital silence says nothing; normalised features of it would be an input no model was trained on.
        spoken = [i for i, item in enumerate(features) if len(item) and waveforms[i].any()]
        transcripts = [Transcript(text="", duration_s=duration_s) for duration_s in durations_s]
        if spoken:
            features_BFM, frames_B = pad_features([features[i] for i in spoken], self.device)
            with torch.inference_mode():
                decoded = self._decode(features_BFM, frames_B, durations_s=[durations_s[i] for i in spoken])
            for i, transcript in zip(spoken, decoded, strict=True):
                transcripts[i] = transcript
        return transcripts


def load_engine(folder: Path, *, config: TorchEngineConfig | None = None) -> TorchRecognizer:
    """A recognizer for a model folder. Raises MissingPart or InputError as `load_model` does."""
    loaded = load_model(folder)
    return TorchRecognizer(model=loaded.model, features=loaded.features, tokenizer=loaded.tokenizer, config=config)
