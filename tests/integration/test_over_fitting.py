"""Every family, trained in every way through the command, learns 50 real recordings of digits by heart."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from harken.audio.features import FeatureConfig
from harken.cli.main import app
from harken.core import dump_settings
from harken.core.config import parse_settings
from harken.data import import_corpus
from harken.data.manifest import write_manifest
from harken.models.family import find_family
from harken.models.folder import describe, save_model
from harken.testing import random_wav2vec2, random_whisper
from harken.text.tokenize import TokenizerConfig, train_tokenizer

pytest.importorskip("transformers", reason="needs the extra `train`")
pytestmark = [pytest.mark.slow, pytest.mark.shared]

FEATURES = FeatureConfig(kind="nemo", dimensions=40, normalize="mean-scale")
CONFORMERS: dict[str, dict[str, Any]] = {
    "conformer-ctc": {"width": 64, "layers": 2, "heads": 2, "dropout": 0.0},
    "nemo-conformer-ctc": {"width": 64, "layers": 2, "heads": 4, "dropout": 0.0},
}
WAYS = {
    "full": None,
    "lora": {"kind": "lora", "rank": 32, "alpha": 64},
    "bottleneck": {"kind": "bottleneck", "adapter_dim": 128},
}
# Nothing a frozen random model knows is worth keeping, so its embeddings and norms are trained beside the adapter.
BESIDE = {
    "whisper": ["embed_tokens", "decoder.layer_norm", "encoder.layer_norm"],
    "wav2vec2": ["feature_projection"],
    "conformer-ctc": ["front_end"],
}
# By the last of 300 updates ten of the twelve have known all digits for a hundred; these two are slower.
UPDATES = {("whisper", "bottleneck"): 500, ("wav2vec2", "lora"): 500}


@pytest.fixture(scope="module")
def digits(shared_fsdd: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest of the fourth take of every digit by every speaker but the last."""
    imported = import_corpus("fsdd", shared_fsdd)
    chosen = [u for u in imported.utterances if u.tags["index"] == "3"][:50]
    path = tmp_path_factory.mktemp("digits") / "digits.jsonl"
    write_manifest(path, chosen)
    return path


def start_from(family: str, folder: Path) -> dict[str, Any]:
    """A randomly initialised local folder of this family, as the recipe's `model` names it."""
    if family == "whisper":
        random_whisper(folder)
        return {"pretrained": str(folder)}
    if family == "wav2vec2":
        random_wav2vec2(folder, initializer_range=0.1, conv_dim=(64,) * 7)
        return {"pretrained": str(folder)}
    plugin = find_family(family)
    settings = parse_settings(plugin.settings_type, CONFORMERS[family], source=family)
    tokenizer = train_tokenizer(TokenizerConfig(), ["another vocabulary"])
    torch.manual_seed(0)
    model = plugin.build(settings, FEATURES.dimensions, tokenizer.vocab_size)
    description = describe(
        model, family=family, settings=settings, features=FEATURES, tokenizer=tokenizer, normalizer="basic"
    )
    save_model(folder, model=model, description=description, tokenizer=tokenizer)
    return {"initial": str(folder), "vocabulary": "new"}


@pytest.mark.parametrize("way", list(WAYS))
@pytest.mark.parametrize("family", ["whisper", "wav2vec2", "conformer-ctc", "nemo-conformer-ctc"])
def test_fifty_digits_by_heart(family: str, way: str, digits: Path, tmp_path: Path) -> None:
    model = start_from(family, tmp_path / "start")
    if WAYS[way] is not None:
        model |= {"adapter": WAYS[way]}
        if family in BESIDE:
            model |= {"train_beside_adapter": BESIDE[family]}
    recipe = {
        "name": f"{family}-{way}",
        "data": {"train": str(digits), "validation": str(digits)},
        "model": model,
        "tokenizer": {"kind": "word"},
        "batches": {"update_samples": 10},
        "optimizer": {"learning_rate": 4e-3 if family == "whisper" else 1e-3, "betas": [0.9, 0.98]},
        "training": {
            "updates": UPDATES.get((family, way), 300),
            "evaluate_every": 100,
            "threads": 1,
            "device": "cpu",
        },
    }
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps(dump_settings(recipe)))
    result = CliRunner().invoke(app, ["train", str(path), "--out", str(tmp_path / "run"), "--json"])
    assert result.exit_code == 0, result.output
    outcome = json.loads(result.stdout)
    print(family, way, outcome)
    report = json.loads((tmp_path / "run" / "report" / "report.json").read_text())
    assert report["words"] == 50
    assert report["wer"]["value"] < 0.05
    if way == "full":
        check_exports(tmp_path / "run" / "model", digits)


def check_exports(model: Path, digits: Path) -> None:
    """A model that has learnt something bears int8 and half precision: their checks against it are passed."""
    pytest.importorskip("onnxscript", reason="needs the extra `export`")
    from harken.export.run import export_model
    from harken.models.description import read_description

    targets = ["onnx-int8"] if read_description(model).family == "whisper" else ["onnx-int8", "onnx-fp16"]
    for result in export_model(model, targets, manifest=digits):
        assert result.parity is not None
        assert result.parity.wer_original == result.parity.wer == 0.0, result.target
