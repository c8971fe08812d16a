"""A curriculum: stages with data and augmentation of their own, one schedule, and a resume inside a stage."""

import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harken.core import InputError, Utterance
from harken.core.files import sha256_file
from harken.tracking.run import read_events, read_metrics
from harken.training.assembly import Assembler, DataParts
from harken.training.loop import Interrupted
from harken.training.progress import SilentView, Standing
from harken.training.recipe import Recipe
from harken.training.run import plan_run, resume, train
from harken.training.stages import batches_of

MakeRecipe = Callable[..., Recipe]

CURRICULUM = """curriculum=[
  {name: clean, epochs: 2, select: {tags: {noise: [none]}}, augment: false},
  {name: noisy, updates: 5, select: {tags: {noise: [none, street]}}, augmentation: {noise: {probability: 1}}},
  {name: code_switch, epochs: 1, select: {languages: [mixed]}},
]"""


@pytest.fixture
def staged(tiny_recipe: MakeRecipe, tone_corpus: Any) -> MakeRecipe:
    """The tiny recipe with three stages. Of 24 utterances every third is noisy, every fourth is mixed."""

    def tag(utterance: Utterance, number: int) -> Utterance:
        words = (utterance.text or "").split()
        return replace(
            utterance,
            tags={"noise": "street" if number % 3 == 0 else "none"},
            language="mixed" if number % 4 == 0 else "uz",
            extra={"word_languages": ["uz" if word in ("ah", "bo") else "ru" for word in words]},
        )

    for name in ("train", "validation"):
        tone_corpus.change(name, lambda items: [tag(u, number) for number, u in enumerate(items)])

    def make(*overrides: str) -> Recipe:
        return tiny_recipe(
            "training.updates=null", "training.evaluate_every=null", "augmentation.spec_augment={}", CURRICULUM,
            *overrides,
        )  # fmt: skip

    return make


def assembled(recipe: Recipe) -> DataParts:
    return Assembler(recipe).assemble(None)[1]


def ids_of(data: DataParts, first: int, last: int) -> list[list[str]]:
    return [[id_ for item in update for id_ in item.batch.ids] for update in batches_of(data.stages, first, last)]


def test_every_stage_takes_its_own_utterances(staged: MakeRecipe) -> None:
    data = assembled(staged())
    clean, noisy, mixed = data.stages
    assert [span.name for span in data.spans] == ["clean", "noisy", "code_switch"]
    assert [stage.sampler.utterances for stage in data.stages] == [16, 24, 6]
    assert (clean.span.first, noisy.span.first, mixed.span.first) == (0, clean.span.updates, clean.span.updates + 5)
    updates = ids_of(data, 0, mixed.span.end)
    seen = [id_ for update in updates[: clean.span.end] for id_ in update]
    wanted = [f"train-{n:02d}" for n in range(24) if n % 3]
    assert sorted(seen) == sorted(2 * wanted)  # each twice in two epochs, and nothing else
    assert {id_ for update in updates[mixed.span.first :] for id_ in update} == {
        f"train-{n:02d}" for n in range(0, 24, 4)
    }


def test_batches_from_any_update_on_are_those_of_the_whole(staged: MakeRecipe) -> None:
    data = assembled(staged())
    end = data.spans[-1].end
    whole = list(batches_of(data.stages, 0, end))
    for first in range(1, end):
        parts = list(batches_of(data.stages, first, end))
        assert len(parts) == end - first
        for ours, theirs in zip(parts[0], whole[first], strict=True):
            assert ours.batch.ids == theirs.batch.ids
            assert np.array_equal(ours.batch.features_BFM, theirs.batch.features_BFM)


def test_a_stage_is_augmented_as_it_says(staged: MakeRecipe, tiny_recipe: MakeRecipe) -> None:
    data = assembled(staged())
    clean = next(iter(batches_of(data.stages, 0, 1)))[0].batch
    plain = data.stages[0].loader.rows.reader
    (utterance,) = [u for u in data.train.utterances if u.id == clean.ids[0]]
    features = plain.extractor(plain.waveform(utterance))
    assert np.array_equal(clean.features_BFM[0, : clean.frames_B[0]], features)  # augment: false
    noisy = data.stages[1].loader.rows.reader
    assert not np.allclose(noisy.features(utterance, 0), features)  # noise, without the recipe's masks
    masked = data.stages[2].loader.rows.reader.features(utterance, 0)
    assert masked.shape == features.shape
    assert not np.array_equal(masked, features)  # the recipe's own


def test_a_stage_added_at_the_end_changes_nothing_before_it(staged: MakeRecipe) -> None:
    three = assembled(staged())
    recipe = staged()
    two = assembled(replace(recipe, curriculum=recipe.curriculum[:2]))
    end = two.spans[-1].end
    assert ids_of(three, 0, end) == ids_of(two, 0, end)


class StopAt(SilentView):
    def __init__(self, update: int) -> None:
        self.update = update

    def show(self, standing: Standing) -> None:
        if standing.update == self.update:
            signal.raise_signal(signal.SIGINT)


def test_a_resume_inside_a_stage_ends_with_the_same_bits(staged: MakeRecipe, tmp_path: Path) -> None:
    recipe = staged()
    train(recipe, tmp_path / "whole")
    inside = assembled(recipe).spans[1].first + 2
    with pytest.raises(Interrupted):
        train(recipe, tmp_path / "run", view=StopAt(inside))
    resume(tmp_path / "run")
    weights = [sha256_file(tmp_path / name / "model" / "model.safetensors") for name in ("whole", "run")]
    assert weights[0] == weights[1]
    rows = [
        [(row["step"], row["val_wer"]) for row in read_metrics(tmp_path / name) if "val_wer" in row]
        for name in ("whole", "run")
    ]
    assert rows[0] == rows[1]


def test_every_stage_ends_with_rates_by_language(staged: MakeRecipe, tmp_path: Path) -> None:
    recipe = staged()
    spans = assembled(recipe).spans
    train(recipe, tmp_path / "run")
    events = [event for event in read_events(tmp_path / "run") if "stage" in event]
    assert [event["stage"] for event in events] == [None, "clean", "noisy", "code_switch"]
    assert [event["step"] for event in events] == [0, *(span.end for span in spans)]
    for event in events:
        assert set(event["languages"]) == {"mixed", "uz"}
        assert event["switch_f1"] is None or 0 <= event["switch_f1"] <= 1
    assert events[-1]["switch_f1"] is not None
    last = [row for row in read_metrics(tmp_path / "run") if "val_wer" in row][-1]
    assert last["val_wer_uz"] == events[-1]["languages"]["uz"]
    assert last["val_switch_f1"] == events[-1]["switch_f1"]


def test_a_plan_names_the_stages(staged: MakeRecipe) -> None:
    plan = plan_run(staged())
    assert [(stage["name"], stage["utterances"]) for stage in plan["stages"]] == [
        ("clean", 16), ("noisy", 24), ("code_switch", 6),
    ]  # fmt: skip
    assert plan["updates"] == sum(stage["updates"] for stage in plan["stages"])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.updates=3", "curriculum and training.updates are both given"),
        ("curriculum=[{name: a, epochs: 1}, {name: a, epochs: 1}]", "give each a name of its own"),
        ("curriculum=[{name: a}]", "stage 'a': give one of epochs and updates"),
        ("curriculum=[{name: a, epochs: 0}]", "stage 'a': epochs is 0"),
        ("curriculum=[{name: a, epochs: 1, augment: false, augmentation: {}}]", "keep one"),
        ("curriculum=[{name: a, epochs: 1, select: {tag: x}}]", "tag"),
    ],
)
def test_a_curriculum_that_makes_no_sense(staged: MakeRecipe, override: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        staged(override)


def test_a_stage_without_utterances_is_refused(staged: MakeRecipe) -> None:
    recipe = staged("curriculum=[{name: hindi, epochs: 1, select: {languages: [hi]}}]")
    with pytest.raises(InputError, match="Stage 'hindi' of the curriculum has no utterances: of 24, the first is left"):
        assembled(recipe)
