"""What augments training, stage by stage, and what follows from it for lengths and caches."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from harken.audio.augment import AugmentConfig, augment_features, augment_waveform
from harken.core import InputError
from harken.data.manifest import read_manifest
from harken.data.reader import Augmentation
from harken.training.recipe import Recipe

MANIFEST_SUFFIX = ".jsonl"


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


def refuse_feature_masks(augmentations: Sequence[AugmentConfig | None]) -> None:
    """Raise InputError for augmentation of log-mel features where the features are samples."""
    if any(config is not None and (config.spec_augment or config.vocal_tract) for config in augmentations):
        raise InputError(
            "spec_augment and vocal_tract change log-mel features, and this model hears samples.",
            hint="Use model.settings.mask_time_prob in their place.",
        )


def loader_augmentation(
    config: AugmentConfig | None, *, sample_rate_hz: int, spec_augment: bool = True
) -> Augmentation:
    """A configuration as the reader of utterances takes it; `spec_augment` False leaves that block out."""
    if config is None:
        return Augmentation()
    chosen = config if spec_augment else replace(config, spec_augment=None)
    return Augmentation(
        waveform=(lambda x, generator: augment_waveform(x, chosen, sample_rate_hz=sample_rate_hz, generator=generator))
        if changes_waveform(chosen)
        else None,
        features=lambda x, generator: augment_features(x, chosen, generator=generator),
    )


def changes_waveform(config: AugmentConfig | None) -> bool:
    """Whether an augmentation touches samples, so that features have to be computed anew in every epoch."""
    return config is not None and bool(config.waveform_blocks)


def speed_range(augmentations: Sequence[AugmentConfig | None]) -> tuple[float, float]:
    """The lowest and the highest speed factor that any of them can draw, 1 among them."""
    factors = [1.0, *(f for config in augmentations if config and config.speed for f in config.speed.factors)]
    return min(factors), max(factors)
