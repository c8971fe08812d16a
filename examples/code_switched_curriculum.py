"""A curriculum on Uzbek, Russian and mixed speech: error rates by language before training and after each stage.

    python examples/code_switched_curriculum.py --out curriculum [key=value ...]

espeak-ng speaks the sentences (extra `synthesis`), so nothing is downloaded, and what is learnt is no use on real
speech. The training is `recipes/code-switched-curriculum.yaml`; settings after the options replace single values of it.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from harken.core import Utterance
from harken.core.tables import text_table
from harken.data import code_switched_corpus, write_manifest
from harken.training import Recipe, load_recipe, train
from harken.training.progress import progress_view
from harken.training.stage_results import stage_results, stage_rows

RECIPE = Path(__file__).resolve().parents[1] / "recipes" / "code-switched-curriculum.yaml"
TRAINED_VOICES = (
    "m1", "f1", "m3", "f2", "m7", "f4", "Andy", "linda", "m2", "f3", "m5", "Alicia", "anika", "john", "paul", "m8",
)  # fmt: skip
HELD_OUT_VOICES = ("ed", "belinda", "m4", "f5")
SENTENCES = 2400
HELD_OUT_SENTENCES = 600
"""Spoken for validation; those that are also among the training sentences are left out of it."""


def make_corpora(
    folder: Path, *, sentences: int = SENTENCES, held_out_sentences: int = HELD_OUT_SENTENCES
) -> dict[str, Path]:
    """Manifests of the sets `train` and `validation`, which share neither a voice nor a sentence."""
    training = code_switched_corpus(folder / "train", utterances=sentences, variants=TRAINED_VOICES, seed=0)
    spoken = code_switched_corpus(
        folder / "validation", utterances=held_out_sentences, variants=HELD_OUT_VOICES, seed=1
    )
    manifests = {"train": folder / "train.jsonl", "validation": folder / "validation.jsonl"}
    write_manifest(manifests["train"], training)
    write_manifest(manifests["validation"], without_texts_of(training, spoken))
    return manifests


def without_texts_of(training: Sequence[Utterance], spoken: Sequence[Utterance]) -> list[Utterance]:
    """The utterances of `spoken` whose text no utterance of `training` has."""
    trained_on = {utterance.text for utterance in training}
    return [utterance for utterance in spoken if utterance.text not in trained_on]


def curriculum_recipe(manifests: Mapping[str, Path], overrides: Sequence[str] = ()) -> Recipe:
    """The recipe on these manifests."""
    data = [f"data.{name}={path.resolve()}" for name, path in manifests.items()]
    return load_recipe(RECIPE, [*data, *overrides])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("curriculum"), help="new folder for everything made here")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings that replace those of the recipe")
    chosen = parser.parse_args()
    if chosen.out.exists():
        parser.error(f"{chosen.out} exists; choose a new folder with --out")
    recipe = curriculum_recipe(make_corpora(chosen.out / "data"), chosen.overrides)
    with progress_view() as view:
        outcome = train(recipe, chosen.out / "run", view=view)
    print(text_table(stage_rows(stage_results(outcome.folder))))
    print(f"\n{outcome.cpu_s:.0f} s of CPU to train; picture {outcome.folder / 'training.png'}")


if __name__ == "__main__":
    main()
