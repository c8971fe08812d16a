"""From a recipe to the parts of a run: data, tokenizer, model, sampler, loader."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from harken.audio.augment import AugmentConfig, augment_features, augment_waveform, check_augmentation
from harken.audio.decode import decode_audio
from harken.audio.features import FeatureConfig, FeatureExtractor
from harken.core import InputError, Tokenizer, Utterance, Waveform, derive_seed
from harken.data.cache import ArrayCache, default_cache_bytes
from harken.data.loader import Augmentation, BatchLoader, UtteranceReader
from harken.data.sampler import BucketSampler, Order, plan_buckets
from harken.models.family import CtcModel, find_family
from harken.models.folder import load_model
from harken.text.normalize import normalize
from harken.text.tokenize import train_tokenizer
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
from harken.training.recipe import Recipe
from harken.training.update import BucketBatch
from harken.training.validation import ValidationSet

logger = logging.getLogger(__name__)

VALIDATION_BATCH_S = 240.0
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
    """The sets of a run and the readers that serve them."""

    train: Subset
    validation: Subset
    sampler: BucketSampler
    loader: BatchLoader
    validation_set: ValidationSet
    cache: ArrayCache
    accumulate: int

    @property
    def updates_per_epoch(self) -> int:
        return self.sampler.updates_per_epoch(self.accumulate)

    def batches(self, first: int, last: int) -> Iterator[list[BucketBatch]]:
        """The batches of each update in [first, last), prepared ahead."""
        sampler, accumulate = self.sampler, self.accumulate
        start = sampler.update_steps(first, accumulate).start
        stream = self.loader.iterate(start, sampler.update_steps(last - 1, accumulate).stop)
        try:
            for update in range(first, last):
                steps = sampler.update_steps(update, accumulate)
                places = [divmod(step, sampler.steps_per_epoch) for step in steps]
                yield [BucketBatch(bucket=sampler.bucket(*place), batch=next(stream)) for place in places]
        finally:
            stream.close()


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
        if recipe.augmentation is not None:
            check_augmentation(recipe.augmentation)
        self._loaded = load_model(initial) if initial is not None else None
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
        order: Order = "short-first-epoch" if recipe.batches.short_first else "shuffled"
        sampler = BucketSampler(durations_s, plan, seed=recipe.seed, order=order)
        reader = UtteranceReader(
            self.extractor,
            self.read_audio,
            seed=recipe.seed,
            cache=cache,
            augmentation=self._augmentation,
            cache_features=not changes_waveform(recipe.augmentation),
        )
        plain = UtteranceReader(self.extractor, self.read_audio, seed=recipe.seed, cache=cache)
        return DataParts(
            train=train_set,
            validation=validation_set,
            sampler=sampler,
            loader=BatchLoader(
                train_set.utterances,
                sampler,
                reader,
                labels=[labels or [] for labels in train_set.labels],
                workers=recipe.training.workers,
            ),
            validation_set=ValidationSet(
                validation_set, read=lambda u: plain.features(u, 0), batch_s=VALIDATION_BATCH_S
            ),
            cache=cache,
            accumulate=max(1, round(target_s / batch_s)),
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

        fastest = fastest_speed(self.recipe.augmentation) if training else 1.0
        return encode_subset(
            usable.utterances,
            usable.rejected,
            tokenizer=parts.tokenizer,
            normalizer=self.recipe.data.normalizer,
            fewest_frames=fewest_output_frames(self.extractor, output_frames, fastest=fastest),
            training=training,
        )

    def _augmentation(self, epoch: int) -> Augmentation:
        config = self.recipe.augmentation
        if config is None:
            return Augmentation()
        if epoch < self.recipe.training.spec_augment_from_epoch:
            config = replace(config, spec_augment=None)
        rate = self.features.sample_rate_hz
        return Augmentation(
            waveform=(lambda x, generator: augment_waveform(x, config, sample_rate_hz=rate, generator=generator))
            if changes_waveform(config)
            else None,
            features=lambda x, generator: augment_features(x, config, generator=generator),
        )


def changes_waveform(config: AugmentConfig | None) -> bool:
    """Whether an augmentation touches samples, so that features have to be computed anew in every epoch."""
    return config is not None and bool(config.waveform_blocks)


def fastest_speed(config: AugmentConfig | None) -> float:
    """The largest speed factor that augmentation can draw."""
    return max((1.0, *config.speed.factors)) if config is not None and config.speed is not None else 1.0


def tokenizer_folder(run: Path) -> Path:
    """Where a run keeps its tokenizer, so that a resume has the same ids whatever happened to the texts."""
    return run / "tokenizer"
