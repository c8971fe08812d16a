"""What augmentation does to some utterances: files to listen to, and a picture of what the model sees."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from harken.audio.augment import AugmentConfig, augment_and_tell, augment_features
from harken.audio.decode import decode_audio
from harken.audio.features import FeatureExtractor
from harken.core import Features, InputError, MissingPart, Utterance, Waveform, keyed_generator
from harken.core.files import replacing, write_text
from harken.data.manifest import read_manifest
from harken.training.augmenting import augmentations_of
from harken.training.recipe import Recipe
from harken.training.stages import stage_seed

PICTURE = "preview.png"
LISTING = "preview.jsonl"
ORIGINAL = "original"

_INK, _MUTED = "#1f2933", "#66727f"


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One utterance as one stage hears it. `drawn` says what was done, to the samples and then to the features."""

    utterance: str
    stage: str
    waveform: Waveform
    features: Features
    drawn: Mapping[str, Any]


def preview_augmentation(recipe: Recipe, folder: Path, *, count: int = 4, epoch: int = 0) -> list[Example]:
    """Write `count` training utterances, from short to long, as they are and as `epoch` of every stage hears them.

    FOLDER gets `ID.original.wav` and `ID.STAGE.wav` (the stage of a training without curriculum is "training"),
    `preview.jsonl` with what was drawn, and `preview.png` with the features, masks included. The draws are those of the
    training itself. Raises InputError for a recipe without augmentation or without utterances, MissingPart without
    matplotlib.
    """
    if count < 1:
        raise InputError(f"The number of utterances to preview is {count}.", hint="Use 1 or more.")
    configs = augmentations_of(recipe)
    if not any(configs):
        raise InputError("The recipe has no augmentation to preview.", hint="Add a block, such as augmentation.noise.")
    utterances = sorted(read_manifest(Path(recipe.data.train)), key=lambda u: (u.duration_s, u.id))
    if not utterances:
        raise InputError(f"{recipe.data.train} has no utterances.", hint="Check data.train.")
    chosen = [utterances[round(place * (len(utterances) - 1) / max(1, count - 1))] for place in range(count)]
    examples = [
        example
        for utterance in {utterance.id: utterance for utterance in chosen}.values()
        for example in _examples(recipe, configs, utterance, epoch)
    ]
    _write(examples, folder, recipe.features.sample_rate_hz)
    _draw(examples, folder / PICTURE, hop_s=FeatureExtractor(recipe.features).hop_s)
    return examples


def _examples(
    recipe: Recipe, configs: Sequence[AugmentConfig | None], utterance: Utterance, epoch: int
) -> list[Example]:
    extractor, rate = FeatureExtractor(recipe.features), recipe.features.sample_rate_hz
    waveform = decode_audio(
        utterance.audio, sample_rate_hz=rate, offset_s=utterance.offset_s, duration_s=utterance.duration_s
    )
    plain = Example(utterance=utterance.id, stage=ORIGINAL, waveform=waveform, features=extractor(waveform), drawn={})
    examples = [plain]
    for number, (stage, config) in enumerate(zip(recipe.curriculum or (None,), configs, strict=True)):
        name = "training" if stage is None else stage.name
        if config is None:
            examples.append(
                Example(utterance=utterance.id, stage=name, waveform=waveform, features=plain.features, drawn={})
            )
            continue
        if number == 0 and epoch < recipe.training.spec_augment_from_epoch:
            config = replace(config, spec_augment=None)
        generator = keyed_generator(stage_seed(recipe.seed, stage), epoch, utterance.id)
        heard, drawn = augment_and_tell(waveform, config, sample_rate_hz=rate, generator=generator)
        features = extractor(heard)
        seen = augment_features(features, config, generator=generator)
        if not np.array_equal(seen, features):
            drawn = {**drawn, "features": {"changed_share": round(float((seen != features).mean()), 3)}}
        examples.append(Example(utterance=utterance.id, stage=name, waveform=heard, features=seen, drawn=drawn))
    return examples


def _write(examples: Sequence[Example], folder: Path, sample_rate_hz: int) -> None:
    import json

    import soundfile

    lines = []
    for example in examples:
        name = f"{_file_name(example.utterance)}.{_file_name(example.stage)}.wav"
        with replacing(folder / name) as file:
            soundfile.write(file, example.waveform, sample_rate_hz, format="WAV", subtype="PCM_16")
        lines.append(
            {"utterance": example.utterance, "stage": example.stage, "audio": name, "drawn": dict(example.drawn)}
        )
    write_text(folder / LISTING, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))


def _file_name(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in name)


def _draw(examples: Sequence[Example], path: Path, *, hop_s: float) -> None:
    """A row for each utterance, a column for each stage; equal colours are equal energies within a row."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as err:
        raise MissingPart(
            "Drawing needs the package matplotlib.", hint="Install it with: pip install 'harken[train]'."
        ) from err
    rows = list(dict.fromkeys(example.utterance for example in examples))
    columns = list(dict.fromkeys(example.stage for example in examples))
    figure = Figure(figsize=(3.6 * len(columns) + 0.4, 1.9 * len(rows) + 0.7), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(rows), len(columns), squeeze=False)
    by_place = {(example.utterance, example.stage): example for example in examples}
    for row, utterance in enumerate(rows):
        original = by_place[utterance, columns[0]].features
        for column, stage in enumerate(columns):
            example, axes = by_place[utterance, stage], panels[row][column]
            features = example.features
            axes.imshow(
                features.T,
                origin="lower",
                aspect="auto",
                cmap="magma",
                vmin=float(original.min()),
                vmax=float(original.max()),
                extent=(0, len(features) * hop_s, 0, features.shape[1]),
            )
            axes.set_yticks([])
            axes.tick_params(labelsize=7, colors=_MUTED)
            done = ", ".join(example.drawn) or "unchanged"
            axes.set_title(f"{stage}: {done}" if column else utterance, fontsize=8, color=_INK, loc="left")
    with replacing(path) as file:
        figure.savefig(file, format="png", metadata={"Software": None})
