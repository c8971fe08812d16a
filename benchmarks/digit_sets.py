"""The Free Spoken Digit Dataset as the digit benchmarks use it: divided, composed into sentences, trained on.

HARKEN_FSDD names its folder; without it, it is looked for beside the repository.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.harness import ROOT
from harken.cli.demo import PASSES, VALIDATION_TAKES
from harken.core import InputError, Utterance, apply_overrides, load_yaml, parse_settings
from harken.data.compose import ComposeConfig, compose_utterances
from harken.data.importers import import_corpus
from harken.data.manifest import write_manifest
from harken.training.recipe import Recipe, with_absolute_paths
from harken.training.run import TrainingOutcome, train


def corpus() -> Path:
    """Where the recordings are. Raises InputError where they are not."""
    folder = Path(os.environ.get("HARKEN_FSDD", ROOT.parent / "shared" / "data" / "fsdd"))
    if not (folder / "recordings").is_dir():
        raise InputError(f"{folder} has no recordings.", hint="Set HARKEN_FSDD to the folder of the FSDD data set.")
    return folder


def division(clips: Sequence[Utterance], left_out: str | None) -> dict[str, list[Utterance]]:
    """Clips for train, validation and test; with `left_out`, all clips of that speaker are the test."""
    parts: dict[str, list[Utterance]] = {"train": [], "validation": [], "test": []}
    for clip in clips:
        held_out = clip.tags["split"] == "test"
        validation = int(clip.tags["index"]) in VALIDATION_TAKES
        if left_out is None:
            name = "test" if held_out else "validation" if validation else "train"
        else:
            name = "test" if clip.speaker == left_out else "validation" if held_out or validation else "train"
        parts[name].append(replace(clip, tags={"split": name}))
    return parts


def digit_sets(folder: Path, left_out: str | None = None) -> dict[str, Path]:
    """Manifests of composed digits for train, validation and test, written to `folder`."""
    paths = {}
    for name, members in division(import_corpus("fsdd", corpus()).utterances, left_out).items():
        paths[name] = folder / f"{name}.jsonl"
        config = ComposeConfig(passes=PASSES[name], gap_fill="noise")
        write_manifest(paths[name], compose_utterances(members, folder / name, config))
    return paths


def train_recipe(
    recipe: Path, sets: Mapping[str, Path], folder: Path, overrides: Sequence[str] = ()
) -> TrainingOutcome:
    """What training a recipe on these manifests in the run folder `folder` leaves."""
    data = [f"data.{name}={path}" for name, path in sets.items()]
    settings = parse_settings(Recipe, apply_overrides(load_yaml(recipe), [*data, *overrides]), source=str(recipe))
    return train(with_absolute_paths(settings, folder.parent), folder)
