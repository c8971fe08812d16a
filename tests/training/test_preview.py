"""A preview shows what training hears, and says what was drawn."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from harken.core import InputError
from harken.training.assembly import Assembler
from harken.training.preview import preview_augmentation
from harken.training.recipe import Recipe

MakeRecipe = Callable[..., Recipe]

CURRICULUM = """curriculum=[
  {name: clean, epochs: 1, augment: false},
  {name: noisy, epochs: 1, augmentation: {noise: {probability: 1}, spec_augment: {frequency_width: 4, time_width: 9}}},
]"""


@pytest.fixture
def staged(tiny_recipe: MakeRecipe) -> Recipe:
    return tiny_recipe("training.updates=null", CURRICULUM)


def test_what_is_shown_is_what_training_takes(staged: Recipe, tmp_path: Path) -> None:
    examples = preview_augmentation(staged, tmp_path / "preview", count=2, epoch=0)
    data = Assembler(staged).assemble(None)[1]
    by_id = {utterance.id: utterance for utterance in data.train.utterances}
    assert [example.stage for example in examples] == 2 * ["original", "clean", "noisy"]
    for example in examples:
        if example.stage != "original":
            stage = data.stages[["clean", "noisy"].index(example.stage)]
            seen = stage.loader.rows.reader.features(by_id[example.utterance], 0)
            assert np.array_equal(example.features, seen)


def test_files_a_listing_and_a_picture(staged: Recipe, tmp_path: Path) -> None:
    examples = preview_augmentation(staged, tmp_path / "preview", count=2)
    lines = [json.loads(line) for line in (tmp_path / "preview" / "preview.jsonl").read_text().splitlines()]
    assert [(line["utterance"], line["stage"]) for line in lines] == [(e.utterance, e.stage) for e in examples]
    noisy = lines[2]["drawn"]
    assert 10 <= noisy["noise"]["snr_db"] <= 30
    assert 0 < noisy["features"]["changed_share"] < 1
    assert lines[1]["drawn"] == {}
    for line, example in zip(lines, examples, strict=True):
        waveform, rate_hz = soundfile.read(tmp_path / "preview" / line["audio"], dtype="float32")
        assert rate_hz == staged.features.sample_rate_hz
        assert np.abs(waveform - example.waveform).max() < 2e-4
    assert (tmp_path / "preview" / "preview.png").read_bytes().startswith(b"\x89PNG")
    picture = (tmp_path / "preview" / "preview.png").read_bytes()
    preview_augmentation(staged, tmp_path / "again", count=2)
    assert (tmp_path / "again" / "preview.png").read_bytes() == picture


def test_masks_wait_for_their_epoch(tiny_recipe: MakeRecipe, tmp_path: Path) -> None:
    recipe = tiny_recipe("augmentation.spec_augment={frequency_width: 8}", "training.spec_augment_from_epoch=2")
    early = preview_augmentation(recipe, tmp_path / "early", count=1, epoch=1)
    late = preview_augmentation(recipe, tmp_path / "late", count=1, epoch=2)
    assert [list(example.drawn) for example in (*early, *late)] == [[], [], [], ["features"]]


def test_what_cannot_be_previewed(tiny_recipe: MakeRecipe, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no augmentation to preview"):
        preview_augmentation(tiny_recipe(), tmp_path)
    with pytest.raises(InputError, match="preview is 0"):
        preview_augmentation(tiny_recipe("augmentation.noise={}"), tmp_path, count=0)
