"""From a recipe to the parts of a run: data, tokenizer, model, sampler, loader."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from harken.audio.augment import AugmentConfig, check_augmentation
from harken.audio.decode import decode_audio
from harken.audio.features import FeatureExtractor
from harken.core import InputError, Tokenizer, Utterance, Waveform, dump_settings
from harken.data.cache import ArrayCache, default_cache_bytes
from harken.data.loader import BatchLoader
from harken.data.reader import UtteranceReader
from harken.data.rows import Span as WindowSpan
from harken.data.rows import UtteranceRows, WindowRows
from harken.data.sampler import BucketPlan, Order, Sampler
from harken.inference.decoding import whisper_tokenizer
from harken.models.checkpointing import checkpoint_layers
from harken.models.family import Seq2SeqModel
from harken.text.normalize import normalize
from harken.training.augmenting import (
    augmentations_of,
    changes_waveform,
    loader_augmentation,
    refuse_feature_masks,
    speed_range,
)
from harken.training.batching import Batching, plan_batching
from harken.training.labels import CtcLabeller, Labeller, Seq2SeqLabeller
from harken.training.loop import Span
from harken.training.plan_config import PlanConfig
from harken.training.planning import PlannedRun, PlanningRequest, check_free, find_planner, within_plan
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
from harken.training.recipe import Recipe, Seq2SeqConfig, StageConfig
from harken.training.stages import Stage, members_of, stage_seed
from harken.training.starting_point import ModelParts, StartingPoint, told
from harken.training.validation import ValidationSet

logger = logging.getLogger(__name__)

VALIDATION_BATCH_S = 240.0  # unless the recipe says
GIB = 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class DataParts:
    """The sets of a run and what serves them."""

    train: Subset
    validation: Subset
    stages: tuple[Stage, ...]
    validation_set: ValidationSet
    cache: ArrayCache
    labeller: Labeller

    @property
    def spans(self) -> list[Span]:
        return [stage.span for stage in self.stages]

    @property
    def padding_share(self) -> float:
        """Share of what the model reads in the first stage's epoch that is padding."""
        stage = self.stages[0]
        return 1.0 - stage.speech_share * (1.0 - stage.sampler.padding_share())


@dataclass(frozen=True, slots=True, kw_only=True)
class Usable:
    """Utterances of a manifest that nothing speaks against so far, and those already rejected."""

    utterances: list[Utterance]
    rejected: list[Rejection]


class Assembler:
    """Builds the parts of one recipe, in the order they depend on each other."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        """What is run: once a plan is made, with that in it."""
        self.planned: PlannedRun | None = None
        self._augmentations = augmentations_of(recipe)
        for augmentation in self._augmentations:
            if augmentation is not None:
                check_augmentation(augmentation)
        self._start = StartingPoint(recipe)
        self.features = self._start.features
        if self.features.kind == "waveform":
            refuse_feature_masks(self._augmentations)
        self.extractor = FeatureExtractor(self.features)
        self._slowest, self._fastest = speed_range(self._augmentations)

    def assemble(self, saved_tokenizer: Tokenizer | None) -> tuple[ModelParts, DataParts]:
        """Everything a run needs; `saved_tokenizer` is the one it began with, on a resume.

        Raises InputError where nothing usable is left or a setting does not fit the data.
        """
        config, window_s = self.recipe.data, self.features.pad_to_s
        validation = self.listed(config.validation, samples=config.validation_samples, window_s=window_s)
        # What speed perturbation draws out has to fit as well.
        longest_s = None if window_s is None else window_s * self._slowest
        edges_s = self.recipe.batches.edges_s if window_s is None else ()
        train = self.listed(config.train, samples=config.train_samples, window_s=longest_s, edges_s=edges_s)
        cache = self.cache(sum(u.duration_s for u in (*validation.utterances, *train.utterances)))
        # Validation first: it is read again at every evaluation, so it has the better claim to the cache.
        validation = self.readable("validation", config.validation, validation, cache=cache)
        train = self.readable("training", config.train, train, cache=cache)
        parts = self._start.build(self.texts(train), saved_tokenizer)
        labeller = self._labeller(parts, train, validation)
        if isinstance(labeller, Seq2SeqLabeller):
            languages = {labeller.language(u) for u in train.utterances}
            parts = told(parts, languages.pop() if len(languages) == 1 else None, self.recipe.seq2seq.task)
        train_set, validation_set = self._sets(train, validation, labeller)
        if self.recipe.plan is not None:
            train_set = self._plan(self.recipe.plan, train_set, parts, labeller)
        return parts, self.data(train_set, validation_set, labeller, cache)

    def _sets(self, train: Usable, validation: Usable, labeller: Labeller) -> tuple[Subset, Subset]:
        """Both sets with their labels."""
        recipe = self.recipe
        train_set = self._encode(train, labeller, training=True)
        require_some("training", recipe.data.train, train_set.utterances, train_set.rejected)
        validation_set = self._encode(validation, labeller, training=False)
        require_some("validation", recipe.data.validation, validation_set.utterances, validation_set.rejected)
        return train_set, validation_set

    def _plan(self, plan: Literal["auto"] | PlanConfig, train: Subset, parts: ModelParts, labeller: Labeller) -> Subset:
        """Let a planner fill in the recipe; what of the training set it has room for."""
        check_free(self.recipe)
        has_windows = isinstance(labeller, Seq2SeqLabeller)
        request = PlanningRequest(
            recipe=self.recipe,
            choice=PlanConfig() if plan == "auto" else plan,
            family=parts.family,
            settings=dump_settings(parts.settings),
            dimensions=parts.features.dimensions,
            output_units=parts.tokenizer.vocab_size,
            durations_s=[utterance.duration_s for utterance in train.utterances],
            label_lengths=[len(ids or ()) for ids in train.labels],
            slowest=self._slowest,
            window_s=self.features.pad_to_s if has_windows else None,
            packed=has_windows and self.recipe.seq2seq.window == "packed",
            new_head=self._start.new_vocabulary,
        )
        self.planned = find_planner()(request)
        self.recipe = self.planned.recipe
        if self.recipe.training.gradient_checkpointing and not request.recipe.training.gradient_checkpointing:
            checkpoint_layers(parts.model)
        kept = within_plan(train, self.recipe)
        require_some("training", self.recipe.data.train, kept.utterances, kept.rejected)
        return kept

    def _labeller(self, parts: ModelParts, train: Usable, validation: Usable) -> Labeller:
        config, model = self.recipe.seq2seq, parts.model
        if isinstance(model, Seq2SeqModel):
            tokenizer = whisper_tokenizer(parts.tokenizer)
            labeller = Seq2SeqLabeller(tokenizer, config, longest_tokens=model.longest_tokens)
            labeller.check_languages("training", train.utterances)
            labeller.check_languages("validation", validation.utterances)
            return labeller
        if config != Seq2SeqConfig():
            raise InputError(
                f"seq2seq is given, but a {parts.family} model has no decoder.", hint="Remove seq2seq from the recipe."
            )
        ctc = model

        def output_frames(frames: int) -> int:
            return int(ctc.output_frames(torch.tensor([frames]))[0])

        return CtcLabeller(parts.tokenizer, fewest_output_frames(self.extractor, output_frames, fastest=self._fastest))

    def read_audio(self, utterance: Utterance) -> Waveform:
        """The utterance's audio at the features' rate."""
        return decode_audio(
            utterance.audio,
            sample_rate_hz=self.features.sample_rate_hz,
            offset_s=utterance.offset_s,
            duration_s=utterance.duration_s,
        )

    def listed(
        self, path: str, *, samples: int | None, window_s: float | None, edges_s: Sequence[float] = ()
    ) -> Usable:
        """The utterances of a manifest that can be used as far as the manifest tells.

        The last of planned buckets bounds them as `max_duration_s` does.
        """
        config = self.recipe.data
        config = replace(config, max_duration_s=min((config.max_duration_s, *edges_s[-1:])))
        kept, rejected = read_subset(path, samples=samples, config=config, seed=self.recipe.seed, window_s=window_s)
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

    def data(self, train_set: Subset, validation_set: Subset, labeller: Labeller, cache: ArrayCache) -> DataParts:
        """Sampler, loader and validation set."""
        recipe = self.recipe
        plain = UtteranceReader(
            self.extractor,
            self.read_audio,
            seed=recipe.seed,
            cache=cache,
            cache_features=self.features.pad_to_s is None,  # else they are mostly padding, the samples take less room
        )
        stages: list[Stage] = []
        for config, augmentation in zip(recipe.curriculum or (None,), self._augmentations, strict=True):
            before = stages[-1].span if stages else None
            stages.append(self._stage(config, augmentation, before, train_set, labeller, cache))
        return DataParts(
            train=train_set,
            validation=validation_set,
            stages=tuple(stages),
            validation_set=ValidationSet(
                validation_set,
                read=lambda u: plain.features(u, 0),
                batch_s=recipe.training.validation_batch_s or VALIDATION_BATCH_S,
                least_s=self.features.pad_to_s or 0.0,
            ),
            cache=cache,
            labeller=labeller,
        )

    def _stage(
        self,
        config: StageConfig | None,
        augmentation: AugmentConfig | None,
        before: Span | None,
        train: Subset,
        labeller: Labeller,
        cache: ArrayCache,
    ) -> Stage:
        """The stage of `config` after `before`; None is all of training."""
        recipe = self.recipe
        batching = self._batching(config, train, labeller)
        members = members_of(train, config)
        chosen = train.only(members)
        seed = stage_seed(recipe.seed, config)
        order: Order = "short-first-epoch" if recipe.batches.short_first and before is None else "shuffled"
        plain_until = 0 if before else recipe.training.spec_augment_from_epoch
        rate_hz = self.features.sample_rate_hz
        reader = UtteranceReader(
            self.extractor,
            self.read_audio,
            seed=seed,
            cache=cache,
            augmentation=lambda epoch: loader_augmentation(
                augmentation, sample_rate_hz=rate_hz, spec_augment=epoch >= plain_until
            ),
            cache_features=not any(map(changes_waveform, self._augmentations)),
        )
        sampler, plan = self._sampler(chosen, labeller, batching, seed=seed, order=order)
        accumulate = batching.accumulate(sampler, chosen.duration_s)
        return Stage(
            span=Span.following(
                before,
                name="" if config is None else config.name,
                epochs=(config or recipe.training).epochs,
                updates=(config or recipe.training).updates,
                updates_per_epoch=sampler.updates_per_epoch(accumulate),
            ),
            sampler=sampler,
            loader=BatchLoader(sampler, _rows(chosen, reader, labeller, rate_hz), workers=recipe.training.workers),
            accumulate=accumulate,
            plan=plan,
            speech_share=batching.speech_share([u.duration_s for u in chosen.utterances]),
        )

    def _batching(self, config: StageConfig | None, train: Subset, labeller: Labeller) -> Batching:
        """Buckets and batch sizes of the whole training set, which stages of one kind of window share."""
        has_windows = isinstance(labeller, Seq2SeqLabeller)
        window = self.recipe.seq2seq.window
        if config is not None and config.window is not None:
            if not has_windows:
                raise InputError(
                    f"Stage {config.name!r} of the curriculum has a window, but the model has no decoder.",
                    hint="Remove window; it is for Whisper.",
                )
            window = config.window
        return plan_batching(
            [u.duration_s for u in train.utterances],
            self.recipe.batches,
            window_s=self.features.pad_to_s if has_windows else None,
            packed=window == "packed",
        )

    def _sampler(
        self, chosen: Subset, labeller: Labeller, batching: Batching, *, seed: int, order: Order
    ) -> tuple[Sampler, BucketPlan]:
        if isinstance(labeller, Seq2SeqLabeller) and batching.packed:
            return batching.packed_sampler(chosen, labeller, slowest=self._slowest, seed=seed)
        return batching.bucket_sampler([u.duration_s for u in chosen.utterances], seed=seed, order=order)

    def cache(self, duration_s: float) -> ArrayCache:
        """The audio cache, bounded by the recipe or by free memory and the size of the set."""
        gib = self.recipe.training.cache_gib
        if gib is not None:
            return ArrayCache(int(gib * GIB))
        return ArrayCache(default_cache_bytes(duration_s, sample_rate_hz=self.features.sample_rate_hz))

    def texts(self, usable: Usable) -> list[str]:
        return [normalize(u.text or "", self.recipe.data.normalizer) for u in usable.utterances]

    def _encode(self, usable: Usable, labeller: Labeller, *, training: bool) -> Subset:
        return encode_subset(
            usable.utterances,
            usable.rejected,
            labeller=labeller,
            normalizer=self.recipe.data.normalizer,
            training=training,
        )


def _rows(chosen: Subset, reader: UtteranceReader, labeller: Labeller, rate_hz: int) -> UtteranceRows | WindowRows:
    utterances, texts = chosen.utterances, chosen.texts
    if not isinstance(labeller, Seq2SeqLabeller):
        return UtteranceRows(utterances, reader, [ids or [] for ids in chosen.labels])

    def label(places: Sequence[int], spans: Sequence[WindowSpan], generator: np.random.Generator) -> list[int]:
        return labeller.window([utterances[i] for i in places], [texts[i] for i in places], spans, generator)

    return WindowRows(utterances, reader, label, sample_rate_hz=rate_hz)


def tokenizer_folder(run: Path) -> Path:
    """Where a run keeps its tokenizer, so that a resume has the same ids whatever happened to the texts."""
    return run / "tokenizer"
