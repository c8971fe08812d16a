"""The curriculum example: what it makes, and what its stages teach."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
from examples.code_switched_curriculum import RECIPE, curriculum_recipe, make_corpora, without_texts_of

from harken.audio.augment import NoiseConfig
from harken.core import InputError, Utterance
from harken.data.manifest import read_manifest
from harken.training.recipe import load_recipe
from harken.training.run import train
from harken.training.stage_results import stage_results

ROOT = Path(__file__).resolve().parents[2]


def test_the_recipe_goes_from_clean_to_noisy_to_mixed() -> None:
    recipe = load_recipe(RECIPE)
    assert [(stage.name, stage.epochs) for stage in recipe.curriculum] == [
        ("clean", 5), ("noisy", 3), ("code_switch", 5),
    ]  # fmt: skip
    clean, noisy, code_switch = recipe.curriculum
    assert (clean.select.languages, clean.select.tags) == (("uz", "ru"), {"noise": ("clean",)})
    assert (noisy.select.languages, noisy.select.tags) == (("uz", "ru"), {})
    assert (code_switch.select.languages, code_switch.select.tags) == ((), {})
    assert clean.augmentation_of(recipe.augmentation) is None
    for stage in (noisy, code_switch):
        config = stage.augmentation_of(recipe.augmentation)
        assert config is not None
        assert config.waveform_blocks == {"noise": NoiseConfig(probability=0.5, snr_db=(5.0, 25.0))}


def test_manifests_and_settings_take_the_place_of_the_recipes(tmp_path: Path) -> None:
    recipe = curriculum_recipe({"train": tmp_path / "a.jsonl", "validation": tmp_path / "b.jsonl"}, ["seed=7"])
    assert (recipe.data.train, recipe.data.validation) == (str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl"))
    assert recipe.seed == 7
    with pytest.raises(InputError, match="did you mean 'seed'"):
        curriculum_recipe({}, ["sed=7"])


def test_no_voice_and_no_sentence_is_in_both_sets(tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader")
    manifests = make_corpora(tmp_path, sentences=30, held_out_sentences=10)
    train_set, validation = (read_manifest(manifests[name]) for name in ("train", "validation"))
    assert (len(train_set), 5 <= len(validation) <= 10) == (30, True)
    assert {u.language for u in train_set} == {u.language for u in validation} == {"uz", "ru", "mixed"}
    assert not {u.text for u in train_set} & {u.text for u in validation}
    assert not {u.tags["variant"] for u in train_set} & {u.tags["variant"] for u in validation}


def test_a_sentence_that_was_trained_on_is_no_test() -> None:
    def saying(name: str, text: str) -> Utterance:
        return Utterance(id=name, audio=f"{name}.flac", duration_s=1.0, text=text)

    training = [saying("a", "salom bugun"), saying("b", "дом")]
    spoken = [saying("c", "дом"), saying("d", "salom"), saying("e", "дом bugun")]
    assert [utterance.id for utterance in without_texts_of(training, spoken)] == ["d", "e"]


def test_the_guide_shows_the_measured_table() -> None:
    """Every row of the guide's tables, remade from the benchmark's result."""
    figures = json.loads((ROOT / "benchmarks" / "results" / "curriculum.json").read_text(encoding="utf-8"))["figures"]
    page = (ROOT / "docs" / "guide" / "curriculum.md").read_text(encoding="utf-8")
    names = {
        "before training": "before training",
        "after `clean`": "after clean",
        "after `noisy`": "after noisy",
        "after `code_switch`": "after code_switch",
        "without mixed sentences": "no mixed",
        "without stages": "no stages",
    }
    columns = ("WER uz", "WER ru", "WER mixed", "WER")
    for shown, name in names.items():
        rates = [f"{figures[f'{name}, {column}']['value']:.1f} %" for column in columns]
        row = " | ".join([shown, *rates, f"{figures[f'{name}, switch F1']['value']:.3f}"])
        assert f"| {row} |" in page


@pytest.mark.slow
def test_every_stage_teaches_what_it_is_for(tmp_path: Path) -> None:
    """On a third of the corpus. A last stage without mixed sentences left mixed WER at 27 % and the F1 at 0.91."""
    pytest.importorskip("espeakng_loader")
    manifests = make_corpora(tmp_path / "data", sentences=700, held_out_sentences=200)
    train(curriculum_recipe(manifests, ["batches.update_s=8", "training.evaluate_every=10000"]), tmp_path / "run")
    results = stage_results(tmp_path / "run")
    assert [result.name for result in results] == ["before training", "clean", "noisy", "code_switch"]
    assert results[0].step == 0
    assert results[0].wer >= 0.95  # nothing is known before the first update
    for before, after in pairwise(results):
        assert set(after.languages) == {"uz", "ru", "mixed"}
        for language, rate in after.languages.items():
            assert rate < before.languages[language] - 0.03, (after.name, language)
        assert before.switch_f1 is not None
        assert after.switch_f1 is not None
        assert after.switch_f1 > before.switch_f1 + 0.03, after.name
    noisy, code_switch = results[2:]
    assert noisy.languages["mixed"] > max(noisy.languages["uz"], noisy.languages["ru"]) + 0.04
    assert code_switch.languages["mixed"] < 0.4 * noisy.languages["mixed"]
    assert code_switch.switch_f1 is not None
    assert code_switch.switch_f1 > 0.95
    assert code_switch.wer < 0.20
