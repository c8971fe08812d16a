"""A recognizer around an encoder-decoder model in PyTorch: greedy decoding of one window per utterance."""

from collections.abc import Sequence
from pathlib import Path

import torch

from harken.audio.decode import DecodeLimits, decode_audio
from harken.audio.features import FeatureConfig, FeatureExtractor
from harken.core import InputError, Tokenizer, Transcript, Waveform
from harken.core.units import samples_to_seconds, seconds_to_samples
from harken.inference.batches import batches_by_length
from harken.inference.config import EngineConfig
from harken.inference.decoding import Seq2SeqDecoding
from harken.inference.scoring import pad_features
from harken.models.family import Seq2SeqModel


class Seq2SeqRecognizer:
    """An encoder-decoder model, on its device and in evaluation mode: answers `core.Recognizer`."""

    def __init__(
        self, model: Seq2SeqModel, *, features: FeatureConfig, tokenizer: Tokenizer, config: EngineConfig | None = None
    ) -> None:
        self.config = config or EngineConfig()
        self.model = model
        self.device = next(model.parameters()).device
        self.extractor = FeatureExtractor(features)
        self._decode = Seq2SeqDecoding(
            model, tokenizer, language=self.config.language or model.language, task=self.config.task or model.task
        )
        self._window_s = features.pad_to_s or 0.0
        self._longest_s = min(self.config.longest_s, self._window_s)

    @property
    def sample_rate_hz(self) -> int:
        return self.extractor.config.sample_rate_hz

    def transcribe(self, audio: Waveform | str | Path) -> Transcript:
        """Transcript of a waveform (samples,) at `sample_rate_hz`, or of an audio file of any supported format.

        Raises AudioDecodeError for a file that cannot be decoded, InputError for audio longer than the window.
        """
        if isinstance(audio, str | Path):
            limits = DecodeLimits(max_duration_s=self._longest_s)
            audio = decode_audio(audio, sample_rate_hz=self.sample_rate_hz, limits=limits)
        return self.transcribe_batch([audio])[0]

    def transcribe_batch(self, waveforms: Sequence[Waveform]) -> list[Transcript]:
        """Transcripts in the order given; batches are formed from waveforms of similar length."""
        limit = seconds_to_samples(self.config.batch_s, sample_rate_hz=self.sample_rate_hz)
        window = seconds_to_samples(self._window_s, sample_rate_hz=self.sample_rate_hz)
        transcripts: dict[int, Transcript] = {}
        for indices in batches_by_length([len(waveform) for waveform in waveforms], limit=limit, least=window):
            transcripts |= zip(indices, self._together([waveforms[i] for i in indices]), strict=True)
        return [transcripts[i] for i in range(len(waveforms))]

    def _together(self, waveforms: Sequence[Waveform]) -> list[Transcript]:
        durations_s = [samples_to_seconds(len(waveform), sample_rate_hz=self.sample_rate_hz) for waveform in waveforms]
        if max(durations_s) > self._longest_s:
            raise InputError(
                f"Audio of {max(durations_s):.1f} s is longer than the {self._longest_s:g} s taken at once.",
                hint="Cut it into pieces.",
            )
        features = [self.extractor(waveform) for waveform in waveforms]
        spoken = [i for i, item in enumerate(features) if len(item) and waveforms[i].any()]
        transcripts = [Transcript(text="", duration_s=duration_s) for duration_s in durations_s]
        if spoken:
            features_BFM, frames_B = pad_features([features[i] for i in spoken])
            with torch.inference_mode():
                decoded = self._decode(
                    torch.from_numpy(features_BFM).to(self.device),
                    torch.from_numpy(frames_B),
                    durations_s=[durations_s[i] for i in spoken],
                )
            for i, transcript in zip(spoken, decoded, strict=True):
                transcripts[i] = transcript
        return transcripts
