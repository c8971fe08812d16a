"""From a recipe to the parts of a run: data, tokenizer, model, sampler, loader."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import torch

from harken.audio.augment import AugmentConfig, augment_features, augment_waveform, check_augmentation
from harken.audio.decode import decode_audio
from harken.audio.features import FeatureConfig, FeatureExtractor
from harken.core import InputError, Tokenizer, Utterance, Waveform, derive_seed
from harken.data.cache import ArrayCache, default_cache_bytes
from harken.data.loader import Augmentation, BatchLoader, UtteranceReader
from harken.data.manifest import read_manifest
from harken.data.sampler import BucketPlan, BucketSampler, Order, plan_buckets
from harken.models.family import CtcModel, find_family
from harken.models.folder import load_model
from harken.models.pretrained import family_of, load_pretrained, resolve_pretrained
from harken.models.wav2vec2 import FAMILY_NAME as WAV2VEC2
from harken.models.wav2vec2 import read_features
from harken.text.normalize import normalize
from harken.text.tokenize import train_tokenizer
from harken.training.loop import Span
from harken.training.preparation import (
    Rejection,
    Subset,
    check_audio,
    encode_subset,
    fewest_output_frames,
    full_check,
    header_check,
    read_subset,
    require_some,
)
from harken.training.recipe import Recipe, StageConfig
from harken.training.stages import Stage, members_of, stage_seed
from harken.training.validation import ValidationSet

logger = logging.getLogger(__name__)

VALIDATION_BATCH_S = 240.0
MANIFEST_SUFFIX = ".jsonl"
FINE_TUNING_SETTINGS = {"config_changes", "freeze_feature_encoder", "mask_time_prob"}
GIB = 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelParts:
    """A model and what has to travel with it. `trained_before` is True when it starts from a model folder."""

    model: CtcModel
    family: str
    settings: object
    features: FeatureConfig
    tokenizer: Tokenizer
    trained_before: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DataParts:
    """The sets of a run and what serves them. `plan` holds the duration buckets, which all stages share."""

    train: Subset
    validation: Subset
    plan: BucketPlan
    stages: tuple[Stage, ...]
    validation_set: ValidationSet
    cache: ArrayCache

    @property
    def spans(self) -> list[Span]:
        return [stage.span for stage in self.stages]


@dataclass(frozen=True, slots=True, kw_only=True)
class Usable:
    """Utterances of a manifest that nothing speaks against so far, and those already rejected."""

    utterances: list[Utterance]
    rejected: list[Rejection]


class Assembler:
    """Builds the parts of one recipe, in the order they depend on each other."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        initial = recipe.model.initial
        if initial is not None and recipe.model.settings:
            raise InputError(
                "model.initial and model.settings are both given.",
                hint="A model that is trained further keeps its own settings; remove model.settings.",
            )
        self._augmentations = augmentations_of(recipe)
        for augmentation in self._augmentations:
            if augmentation is not None:
                check_augmentation(augmentation)
        self._loaded = load_model(initial) if initial is not None else None
        self._pretrained = resolve_pretrained(recipe.model.pretrained) if recipe.model.pretrained else None
        if self._pretrained is not None:
            check_fine_tuning(self._pretrained, self._augmentations)
            self.features = read_features(self._pretrained)
        else:
            self.features = self._loaded.features if self._loaded else recipe.features
        self.extractor = FeatureExtractor(self.features)

    def assemble(self, saved_tokenizer: Tokenizer | None) -> tuple[ModelParts, DataParts]:
        """Everything a run needs; `saved_tokenizer` is the one it began with, on a resume.

        Raises InputError where nothing usable is left or a setting does not fit the data.
        """
        config = self.recipe.data
        validation = self.listed(config.validation, samples=config.validation_samples)
        train = self.listed(config.train, samples=config.train_samples)
        cache = self.cache(sum(u.duration_s for u in (*validation.utterances, *train.utterances)))
        # Validation first: it is read again at every evaluation, so it has the better claim to the cache.
        validation = self.readable("validation", config.validation, validation, cache=cache)
        train = self.readable("training", config.train, train, cache=cache)
        parts = self.model(self.texts(train), saved_tokenizer)
        return parts, self.data(train, validation, parts, cache)

    def read_audio(self, utterance: Utterance) -> Waveform:
        """The utterance's audio at the features' rate."""
        return decode_audio(
            utterance.audio,
            sample_rate_hz=self.features.sample_rate_hz,
            offset_s=utterance.offset_s,
            duration_s=utterance.duration_s,
        )

    def model(self, texts: list[str], saved_tokenizer: Tokenizer | None) -> ModelParts:
        """The model, randomly initialised by the seed or read from a folder."""
        recipe = self.recipe
        if self._loaded is not None:
            return ModelParts(
                model=self._loaded.model,
                family=self._loaded.description.family,
                settings=find_family(self._loaded.description.family).parse(
                    self._loaded.description.settings, source=str(self._loaded.folder)
                ),
                features=self.features,
                tokenizer=self._loaded.tokenizer,
                trained_before=True,
            )
        if self._pretrained is not None:
            return self._fine_tuned(self._pretrained, texts, saved_tokenizer)
        tokenizer = saved_tokenizer or train_tokenizer(recipe.tokenizer, texts)
        family = find_family(recipe.model.family)
        settings = family.parse(recipe.model.settings, source="model.settings")
        torch.manual_seed(derive_seed(recipe.seed, "initial weights"))
        return ModelParts(
            model=family.build(settings, self.features.dimensions, tokenizer.vocab_size),
            family=recipe.model.family,
            settings=settings,
            features=self.features,
            tokenizer=tokenizer,
            trained_before=False,
        )

    def _fine_tuned(self, folder: Path, texts: list[str], saved_tokenizer: Tokenizer | None) -> ModelParts:
        """A pretrained model with a vocabulary of the texts, or with its own."""
        recipe, own = self.recipe, self.recipe.model.vocabulary == "own"
        unknown = sorted(recipe.model.settings.keys() - FINE_TUNING_SETTINGS)
        if unknown:
            raise InputError(
                f"model.settings has {', '.join(unknown)}.",
                hint=f"A pretrained model takes: {', '.join(sorted(FINE_TUNING_SETTINGS))}.",
            )
        parts = load_pretrained(
            folder,
            tokenizer=None if own else saved_tokenizer or train_tokenizer(recipe.tokenizer, texts),
            seed=derive_seed(recipe.seed, "initial weights"),
            **recipe.model.settings,
        )
        return ModelParts(
            model=cast(CtcModel, parts.model),
            family=parts.family,
            settings=parts.settings,
            features=parts.features,
            tokenizer=parts.tokenizer,
            trained_before=own,
        )

    def listed(self, path: str, *, samples: int | None) -> Usable:
        """The utterances of a manifest that can be used as far as the manifest tells."""
        kept, rejected = read_subset(path, samples=samples, config=self.recipe.data, seed=self.recipe.seed)
        return Usable(utterances=kept, rejected=rejected)

    def readable(self, name: str, path: str, listed: Usable, *, cache: ArrayCache) -> Usable:
        """Those of them whose audio is in order, all others rejected by name."""
        config, workers = self.recipe.data, max(1, self.recipe.training.workers)
        check: Callable[[Utterance], object] = header_check
        if config.check_audio == "decode":
            reader = UtteranceReader(self.extractor, self.read_audio, seed=self.recipe.seed, cache=cache)
            check = full_check(reader.waveform, sample_rate_hz=self.features.sample_rate_hz)
        kept, unreadable = check_audio(listed.utterances, check, workers=workers)
        rejected = [*listed.rejected, *unreadable]
        require_some(name, path, kept, rejected)
        return Usable(utterances=kept, rejected=rejected)

    def data(self, train: Usable, validation: Usable, parts: ModelParts, cache: ArrayCache) -> DataParts:
        """Labels, sampler, loader and validation set."""
        recipe = self.recipe
        train_set = self._encode(train, parts, training=True)
        require_some("training", recipe.data.train, train_set.utterances, train_set.rejected)
        validation_set = self._encode(validation, parts, training=False)
        require_some("validation", recipe.data.validation, validation_set.utterances, validation_set.rejected)
        durations_s = [u.duration_s for u in train_set.utterances]
        target_s = recipe.batches.target_s(sum(durations_s) / len(durations_s))
        batch_s = min(recipe.batches.batch_s or target_s, target_s)
        plan = plan_buckets(
            durations_s,
            buckets=recipe.batches.buckets,
            batch_seconds=batch_s,
            max_batch_size=recipe.batches.max_batch_size,
        )
        plain = UtteranceReader(self.extractor, self.read_audio, seed=recipe.seed, cache=cache)
        stages: list[Stage] = []
        accumulate = max(1, round(target_s / batch_s))
        for config, augmentation in zip(recipe.curriculum or (None,), self._augmentations, strict=True):
            before = stages[-1].span if stages else None
            stages.append(self._stage(config, augmentation, before, train_set, plan, accumulate, cache))
        return DataParts(
            train=train_set,
            validation=validation_set,
            plan=plan,
            stages=tuple(stages),
            validation_set=ValidationSet(
                validation_set, read=lambda u: plain.features(u, 0), batch_s=VALIDATION_BATCH_S
            ),
            cache=cache,
        )

    def _stage(
        self,
        config: StageConfig | None,
        augmentation: AugmentConfig | None,
        before: Span | None,
        train: Subset,
        plan: BucketPlan,
        accumulate: int,
        cache: ArrayCache,
    ) -> Stage:
        """The stage of `config` after `before`; None is all of training."""
        recipe = self.recipe
        members = members_of(train, config)
        utterances = [train.utterances[place] for place in members]
        seed = stage_seed(recipe.seed, config)
        order: Order = "short-first-epoch" if recipe.batches.short_first and before is None else "shuffled"
        sampler = BucketSampler([u.duration_s for u in utterances], plan, seed=seed, order=order)
        plain_until = 0 if before else recipe.training.spec_augment_from_epoch
        reader = UtteranceReader(
            self.extractor,
            self.read_audio,
            seed=seed,
            cache=cache,
            augmentation=lambda epoch: self._augmentation(augmentation, spec_augment=epoch >= plain_until),
            cache_features=not any(map(changes_waveform, self._augmentations)),
        )
        return Stage(
            span=Span.following(
                before,
                name="" if config is None else config.name,
                epochs=(config or recipe.training).epochs,
                updates=(config or recipe.training).updates,
                updates_per_epoch=sampler.updates_per_epoch(accumulate),
            ),
            sampler=sampler,
            loader=BatchLoader(
                utterances,
                sampler,
                reader,
                labels=[train.labels[place] or [] for place in members],
                workers=recipe.training.workers,
            ),
            accumulate=accumulate,
        )

    def cache(self, duration_s: float) -> ArrayCache:
        """The audio cache, bounded by the recipe or by free memory and the size of the set."""
        gib = self.recipe.training.cache_gib
        if gib is not None:
            return ArrayCache(int(gib * GIB))
        return ArrayCache(default_cache_bytes(duration_s, sample_rate_hz=self.features.sample_rate_hz))

    def texts(self, usable: Usable) -> list[str]:
        return [normalize(u.text or "", self.recipe.data.normalizer) for u in usable.utterances]

    def _encode(self, usable: Usable, parts: ModelParts, *, training: bool) -> Subset:
        def output_frames(frames: int) -> int:
            return int(parts.model.output_frames(torch.tensor([frames]))[0])

        fastest = max(map(fastest_speed, self._augmentations)) if training else 1.0
        return encode_subset(
            usable.utterances,
            usable.rejected,
            tokenizer=parts.tokenizer,
            normalizer=self.recipe.data.normalizer,
            fewest_frames=fewest_output_frames(self.extractor, output_frames, fastest=fastest),
            training=training,
        )

    def _augmentation(self, config: AugmentConfig | None, *, spec_augment: bool) -> Augmentation:
        if config is None:
            return Augmentation()
        if not spec_augment:
            config = replace(config, spec_augment=None)
        rate, chosen = self.features.sample_rate_hz, config
        return Augmentation(
            waveform=(lambda x, generator: augment_waveform(x, chosen, sample_rate_hz=rate, generator=generator))
            if changes_waveform(chosen)
            else None,
            features=lambda x, generator: augment_features(x, chosen, generator=generator),
        )


def check_fine_tuning(folder: Path, augmentations: Sequence[AugmentConfig | None]) -> None:
    """Refuse a pretrained model that training cannot take, and masks over features that are samples."""
    family = family_of(folder)
    if family != WAV2VEC2:
        raise InputError(
            f"{folder} is a {family} model; models with a CTC output can be fine-tuned in this version.",
            hint="Start from a wav2vec2, hubert or wavlm model.",
        )
    if any(config is not None and (config.spec_augment or config.vocal_tract) for config in augmentations):
        raise InputError(
            "spec_augment and vocal_tract change log-mel features, and this model hears samples.",
            hint="Use model.settings.mask_time_prob in their place.",
        )


def augmentations_of(recipe: Recipe) -> list[AugmentConfig | None]:
    """What augments training, stage by stage; a manifest among the files of a block stands for its recordings.

    Raises InputError for a manifest that cannot be read.
    """
    found = [stage.augmentation_of(recipe.augmentation) for stage in recipe.curriculum] or [recipe.augmentation]
    return [None if config is None else _with_recordings(config) for config in found]


def _with_recordings(config: AugmentConfig) -> AugmentConfig:
    blocks = {name: block for name, block in config.waveform_blocks.items() if getattr(block, "files", ())}
    return replace(config, **{name: replace(block, files=_recordings(block.files)) for name, block in blocks.items()})


def _recordings(files: Sequence[str]) -> tuple[str, ...]:
    listed: dict[str, None] = {}
    for file in files:
        names = [u.audio for u in read_manifest(Path(file))] if file.endswith(MANIFEST_SUFFIX) else [file]
        listed |= dict.fromkeys(names)
    return tuple(listed)


def changes_waveform(config: AugmentConfig | None) -> bool:
    """Whether an augmentation touches samples, so that features have to be computed anew in every epoch."""
    return config is not None and bool(config.waveform_blocks)


def fastest_speed(config: AugmentConfig | None) -> float:
    """The largest speed factor that augmentation can draw."""
    return max((1.0, *config.speed.factors)) if config is not None and config.speed is not None else 1.0


def tokenizer_folder(run: Path) -> Path:
    """Where a run keeps its tokenizer, so that a resume has the same ids whatever happened to the texts."""
    return run / "tokenizer"
