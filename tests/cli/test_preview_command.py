"""`harken data preview`: a recipe in, sounds and a picture out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

Harken = Callable[..., Any]


def test_preview_of_a_recipe(harken: Harken, corpus: Path, tmp_path: Path) -> None:
    answer = harken(
        "data", "preview", corpus / "recipe.yaml", "augmentation.noise={probability: 1}", "-o", tmp_path, "--count", 1
    )
    assert answer.code == 0, answer.err
    first, second, last = answer.out.splitlines()
    assert first.split() == ["clip-00", "original", "unchanged"]
    assert second.startswith("clip-00  training  noise kind ")
    assert last == f"{tmp_path}: 2 files and preview.png"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "clip-00.original.wav", "clip-00.training.wav", "preview.jsonl", "preview.png",
    ]  # fmt: skip


def test_a_recipe_without_augmentation(harken: Harken, corpus: Path, tmp_path: Path) -> None:
    answer = harken("data", "preview", corpus / "recipe.yaml", "-o", tmp_path / "none")
    assert (answer.code, answer.out) == (2, "")
    assert "no augmentation to preview" in answer.err
    assert not (tmp_path / "none").exists()
