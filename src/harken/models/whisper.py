"""Whisper on transformers' classes: encoder, decoder, greedy decoding with a cache.

Radford et al. 2022, "Robust Speech Recognition via Large-Scale Weak Supervision". State dictionary and config.json
carry transformers' names, so that a saved folder loads with `WhisperForConditionalGeneration.from_pretrained`.

Shapes: B batch, F feature frames (the whole window), M mels, P positions of the encoder, T tokens, V vocab, D width.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from harken.audio.features import FeatureConfig
from harken.core import InputError, Strict, Tokenizer
from harken.core.files import write_json
from harken.models.family import ModelFamily, Seq2SeqModel, Task
from harken.models.pretrained import (
    PretrainedParts,
    config_settings,
    load_network,
    make_config,
    new_network,
    read_config,
)
from harken.text.vocabulary import read_json_object
from harken.text.whisper_tokenizer import GENERATION_FILE, NO_TIMESTAMPS, WhisperTokenizer

FAMILY_NAME = "whisper"
AUTO_CLASS = "AutoModelForSpeechSeq2Seq"
ARCHITECTURE = "WhisperForConditionalGeneration"
SAMPLE_RATE_HZ = 16_000
HOP_S = 0.010
SUBSAMPLING = 2  # feature frames for each position of the encoder


@dataclass(frozen=True, slots=True, kw_only=True)
class WhisperSettings(Strict):
    """`config` is the content of a config.json of transformers, `generation` that of generation_config.json."""

    config: dict[str, Any] = field(default_factory=lambda: {"model_type": "whisper"})
    generation: dict[str, Any] = field(default_factory=dict)
    freeze_encoder: bool = False  # train the decoder only


class WhisperSeq2Seq(Seq2SeqModel):
    """Log-mel features of the whole 30 s window in, scores of the next token out."""

    blocks = ("model.encoder.layers", "model.decoder.layers")

    def __init__(self, network: Any, settings: WhisperSettings) -> None:
        """`network` is a WhisperForConditionalGeneration whose parts are taken over."""
        super().__init__()
        self.config = network.config
        self.settings = settings
        # proj_out is the embedding table again and is not kept twice, as in the files transformers writes.
        self.model = network.model
        # A fixed table of sines, which loading with transformers leaves trainable.
        self.model.encoder.embed_positions.requires_grad_(False)
        generation = settings.generation
        self.end_id = int(_first(generation.get("eos_token_id"), self.config.eos_token_id))
        self._suppressed = _ids(generation.get("suppress_tokens"))
        self._suppressed_first = _ids(generation.get("begin_suppress_tokens"))
        self.language = _language(generation.get("language"))
        self.task = "translate" if generation.get("task") == "translate" else "transcribe"
        if settings.freeze_encoder:
            self.freeze_encoder()

    def tell(self, language: str | None, task: Task) -> WhisperSettings:
        known = {"language": language, "task": None if task == "transcribe" else task}
        generation = {**self.settings.generation, **known}
        self.settings = replace(self.settings, generation={k: v for k, v in generation.items() if v is not None})
        self.language, self.task = language, task
        return self.settings

    @property
    def window_frames(self) -> int:
        """Feature frames the encoder reads, no more and no fewer: 3000 in OpenAI's models."""
        return int(self.config.max_source_positions) * SUBSAMPLING

    @property
    def longest_tokens(self) -> int:
        """Tokens of a sequence, the prompt and the end included: 448 in OpenAI's models."""
        return int(self.config.max_target_positions)

    def freeze_encoder(self) -> None:
        """Keep the encoder as it is."""
        self.model.encoder.requires_grad_(False)

    def encode(self, features_BFM: Tensor) -> Tensor:
        """(B, positions, D) what the decoder attends to. Raises InputError for features that do not fill the window."""
        frames, mels = features_BFM.shape[1:]
        if (frames, mels) != (self.window_frames, self.config.num_mel_bins):
            raise InputError(
                f"The features are {frames} frames of {mels}; this Whisper reads {self.window_frames} frames of "
                f"{self.config.num_mel_bins}.",
                hint=f"Use features of kind whisper with dimensions {self.config.num_mel_bins} and pad_to_s "
                f"{self.window_frames * HOP_S:g}; cut longer audio first.",
            )
        encoded: Tensor = self.model.encoder(features_BFM.transpose(1, 2)).last_hidden_state
        return encoded

    def score_tokens(self, encoded_BPD: Tensor, tokens_BT: Tensor, wanted_BT: Tensor | None = None) -> Tensor:
        """See the base class. Padding goes after a sequence's end, with any id: no earlier score sees it.

        Raises InputError for sequences the decoder has no place for.
        """
        if tokens_BT.shape[1] > self.longest_tokens:
            raise InputError(
                f"A sequence has {tokens_BT.shape[1]} tokens; the model reads {self.longest_tokens}.",
                hint="Cut the utterance into shorter ones, or leave it out.",
            )
        decoder = self.model.decoder
        hidden_BTD = decoder(input_ids=tokens_BT, encoder_hidden_states=encoded_BPD, use_cache=False).last_hidden_state
        return self._scores(hidden_BTD if wanted_BT is None else hidden_BTD[wanted_BT])

    def _scores(self, hidden: Tensor) -> Tensor:
        return functional.linear(hidden, self.model.decoder.embed_tokens.weight).float()

    def generate(
        self, encoded_BPD: Tensor, *, prompts: Sequence[Sequence[int]], max_tokens: Sequence[int]
    ) -> list[list[int]]:
        """The most likely token after the other, as many as the decoder has places for at most.

        Tokens that generation_config.json suppresses are never chosen. With time tokens wanted (a prompt without
        <|notimestamps|>) nothing makes them come in pairs: prompt without them.
        """
        lengths = {len(prompt) for prompt in prompts}
        length = max(lengths, default=0)
        if len(lengths) != 1 or not 1 <= length <= self.longest_tokens:
            raise InputError(
                f"The prompts have {sorted(lengths)} tokens; the model reads 1 to {self.longest_tokens}, all alike.",
                hint="Shorten the prompt.",
            )
        rooms = [min(room, self.longest_tokens - length) for room in max_tokens]
        with torch.no_grad():
            return self._generate(encoded_BPD, prompts, rooms)

    def _generate(self, encoded_BPD: Tensor, prompts: Sequence[Sequence[int]], rooms: Sequence[int]) -> list[list[int]]:
        device = encoded_BPD.device
        tokens_BT = torch.tensor([list(prompt) for prompt in prompts], device=device)
        rooms_B = torch.tensor(rooms, device=device)
        finished_B = rooms_B <= 0
        chosen: list[Tensor] = []
        cache = None
        while not bool(finished_B.all()):
            output = self.model.decoder(
                input_ids=tokens_BT, encoder_hidden_states=encoded_BPD, past_key_values=cache, use_cache=True
            )
            cache = output.past_key_values
            scores_BV = self._scores(output.last_hidden_state[:, -1:])[:, 0]
            scores_BV[:, self._suppressed + ([] if chosen else self._suppressed_first)] = -torch.inf
            next_B = scores_BV.argmax(-1).masked_fill(finished_B, self.end_id)
            chosen.append(next_B)
            finished_B = finished_B | (next_B == self.end_id) | (rooms_B <= len(chosen))
            tokens_BT = next_B[:, None]
        rows = torch.stack(chosen, dim=1).tolist() if chosen else [[] for _ in prompts]
        return [row[: row.index(self.end_id)] if self.end_id in row else row for row in rows]

    def write_hub_files(self, folder: Path, features: FeatureConfig) -> None:
        """Write config.json, generation_config.json and preprocessor_config.json as transformers reads them."""
        settings = config_settings(self.config)
        write_json(folder / "config.json", {**settings, "architectures": [ARCHITECTURE], "dtype": "float32"})
        if self.settings.generation:
            write_json(folder / GENERATION_FILE, self.settings.generation)
        window_s = round(self.window_frames * HOP_S)
        write_json(
            folder / "preprocessor_config.json",
            {
                "feature_extractor_type": "WhisperFeatureExtractor",
                "processor_class": "WhisperProcessor",
                "feature_size": features.dimensions,
                "sampling_rate": SAMPLE_RATE_HZ,
                "hop_length": 160,
                "n_fft": 400,
                "chunk_length": window_s,
                "n_samples": window_s * SAMPLE_RATE_HZ,
                "nb_max_frames": self.window_frames,
                "padding_side": "right",
                "padding_value": 0.0,
                "return_attention_mask": False,
            },
        )


def build(settings: WhisperSettings, dimensions: int, vocab_size: int) -> WhisperSeq2Seq:
    """A randomly initialised model. The embedding table may have more rows than the tokenizer has units, not fewer."""
    config = make_config(settings.config, source="model.settings.config")
    _check_fit(config, dimensions, vocab_size)
    return WhisperSeq2Seq(new_network(AUTO_CLASS, config), settings)


def load_whisper(
    folder: Path,
    *,
    tokenizer: Tokenizer | None = None,
    seed: int = 0,
    config_changes: Mapping[str, Any] | None = None,
    freeze_encoder: bool = False,
) -> PretrainedParts:
    """A pretrained Whisper with its own tokenizer and window. `seed` has nothing to draw here.

    Raises InputError when a tokenizer of another kind is given, and when tokenizer and weights do not fit together.
    """
    if tokenizer is not None and not isinstance(tokenizer, WhisperTokenizer):
        raise InputError(
            f"A {type(tokenizer).__name__} cannot replace Whisper's tokenizer, which its decoder has learnt.",
            hint="Leave the tokenizer out for this family.",
        )
    own = tokenizer or WhisperTokenizer.load(folder)
    config = read_config(folder, config_changes)
    _check_fit(config, config.num_mel_bins, own.vocab_size)
    network = load_network(AUTO_CLASS, folder, config, seed=seed)
    path = folder / GENERATION_FILE
    generation = dict(read_json_object(path)) if path.is_file() else {}
    _check_tokens(own, generation, folder)
    settings = WhisperSettings(
        config=config_settings(network.config),
        generation=generation,
        freeze_encoder=freeze_encoder,
    )
    model = WhisperSeq2Seq(network, settings).eval()
    return PretrainedParts(
        family=FAMILY_NAME, model=model, settings=settings, features=_features_of(model.config), tokenizer=own
    )


def read_features(folder: Path, config_changes: Mapping[str, Any] | None = None) -> FeatureConfig:
    """The features the model in `folder` hears, padded with silence to its window."""
    return _features_of(read_config(folder, config_changes))


def _features_of(config: Any) -> FeatureConfig:
    window_s = round(config.max_source_positions * SUBSAMPLING * HOP_S, 6)
    return FeatureConfig(kind="whisper", dimensions=config.num_mel_bins, pad_to_s=window_s)


def _check_fit(config: Any, dimensions: int, vocab_size: int) -> None:
    if dimensions != config.num_mel_bins:
        raise InputError(
            f"The features have {dimensions} mels, this Whisper hears {config.num_mel_bins}.",
            hint=f"Set features.kind to whisper and features.dimensions to {config.num_mel_bins}.",
        )
    if vocab_size > config.vocab_size:
        raise InputError(
            f"The tokenizer has {vocab_size} units, the model rows for {config.vocab_size}.",
            hint="Both must come from the same model; large-v3 has one language more than the others.",
        )


def _check_tokens(tokenizer: WhisperTokenizer, generation: Mapping[str, Any], folder: Path) -> None:
    """Refuse a tokenizer whose special tokens are not where the model has learnt them.

    Tables of other sizes are told by their size; a smaller one of another version is not, and all ids behind its
    languages would be those of something else.
    """
    learnt = {
        **(generation.get("lang_to_id") or {}),
        **{f"<|{task}|>": id_ for task, id_ in (generation.get("task_to_id") or {}).items()},
        NO_TIMESTAMPS: generation.get("no_timestamps_token_id"),
    }
    for token, id_ in learnt.items():
        found = tokenizer.find_id(token)
        if id_ is not None and found != id_:
            place = "absent" if found is None else f"id {found}"
            raise InputError(
                f"{folder}: {token} is {place} in the tokenizer, but id {id_} in {GENERATION_FILE}.",
                hint="Both must come from the same model: copy its whole folder.",
            )


def _first(*values: Any) -> Any:
    """The first that is given; the first of a list."""
    value = next(value for value in values if value is not None)
    return value[0] if isinstance(value, list) else value


def _language(value: Any) -> str | None:
    """The code in generation_config.json's `language`, which may be written as its token."""
    return str(value).strip("<|>") if value else None


def _ids(value: Any) -> list[int]:
    return [int(id_) for id_ in value or [] if int(id_) >= 0]


FAMILY = ModelFamily(name=FAMILY_NAME, settings_type=WhisperSettings, build=build, pretrained_only=True)
