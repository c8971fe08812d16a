"""Models by the names people know: from a folder of downloads, from any folder, from the hub."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

import harken
from harken.core import InputError, MissingPart
from harken.models.manager import ModelManager, ModelManagerConfig, WhisperModelManager
from harken.testing.random_models import random_wav2vec2, random_whisper
from harken.text.tokenize import TokenizerConfig, train_tokenizer

pytest.importorskip("transformers", reason="needs the extra `train`")
sys.path.insert(0, str(Path(__file__).parent / "nemo"))
import synthetic_nemo  # noqa: E402  made for the importer's own tests


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A folder of downloads under their names, as small as can be."""
    random_whisper(tmp_path / "whisper-tiny", seed=1)
    random_wav2vec2(tmp_path / "wav2vec2-base", letters="abc", seed=2)
    tokenizers = json.loads(synthetic_nemo.GOLDEN.read_text(encoding="utf-8"))["tokenizers"]
    synthetic_nemo.write_model(tmp_path, "conformer", tokenizers).rename(tmp_path / "stt_hi_conformer_ctc_medium.nemo")
    return tmp_path


@pytest.mark.parametrize("variant", ["tiny", "whisper-tiny", "openai/whisper-tiny"])
def test_whisper_by_its_short_name(models: Path, variant: str) -> None:
    manager = harken.WhisperModelManager({"models_dir": str(models), "settings": {"freeze_encoder": True}})
    assert manager.locate(variant) == models / "whisper-tiny"
    parts = manager.initialize_model(variant=variant)
    assert (parts.family, parts.features.kind, parts.tokenizer.vocab_size) == ("whisper", "whisper", 256 + 10)
    assert not any(p.requires_grad for p in parts.model.get_submodule("model.encoder").parameters())
    assert all(p.requires_grad for p in parts.model.get_submodule("model.decoder").parameters())


def test_a_download_comes_before_the_hub(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def download(name: str, cache: Any) -> Path:
        asked.append(name)
        return models / "whisper-tiny"

    monkeypatch.setattr("harken.models.pretrained._download", download)
    manager = WhisperModelManager(ModelManagerConfig(models_dir=str(models)))
    manager.initialize_model("tiny")
    assert asked == []
    manager.initialize_model("large-v3-turbo")
    WhisperModelManager().initialize_model("distil-small.en")
    WhisperModelManager().initialize_model("somebody/whisper-uz@v2")
    assert asked == ["openai/whisper-large-v3-turbo", "distil-whisper/distil-small.en", "somebody/whisper-uz@v2"]


def test_the_general_manager_loads_any_family(models: Path) -> None:
    manager = ModelManager({"models_dir": str(models), "seed": 3})
    assert manager.initialize_model("whisper-tiny").family == "whisper"
    own = manager.initialize_model("wav2vec2-base")
    assert (own.family, own.tokenizer.vocab_size) == ("wav2vec2-ctc", 5)
    letters = train_tokenizer(TokenizerConfig(kind="char"), ["salom dunyo"])
    new = manager.initialize_model("wav2vec2-base", tokenizer=letters)
    assert new.model.get_submodule("lm_head").weight.shape[0] == letters.vocab_size == 11  # type: ignore[union-attr]
    conformer = manager.initialize_model("stt_hi_conformer_ctc_medium")
    assert (conformer.family, conformer.features.kind) == ("nemo-conformer-ctc", "nemo")
    assert manager.initialize_model(models / "stt_hi_conformer_ctc_medium.nemo").family == "nemo-conformer-ctc"


def test_a_local_folder_by_its_path(models: Path) -> None:
    assert WhisperModelManager().initialize_model(models / "whisper-tiny").family == "whisper"
    assert WhisperModelManager().initialize_model(str(models / "whisper-tiny")).family == "whisper"
    for other in ("wav2vec2-base", "stt_hi_conformer_ctc_medium.nemo"):
        with pytest.raises(InputError, match=r"is of the family .*-ctc, not whisper\. Use ModelManager"):
            WhisperModelManager().initialize_model(models / other)


def test_names_that_lead_nowhere(models: Path) -> None:
    with pytest.raises(InputError, match=r"No whisper is known as 'smal'\. Did you mean small"):
        WhisperModelManager().initialize_model("smal")
    with pytest.raises(InputError, match="No model is known as 'tiny'"):
        ModelManager().initialize_model("tiny")
    with pytest.raises(MissingPart, match=r"no/such/folder does not exist"):
        ModelManager().initialize_model(Path("no/such/folder"))
    with pytest.raises(MissingPart, match=r"stt_en_conformer_ctc_small\.nemo is not here, and \.nemo files are not"):
        ModelManager({"models_dir": str(models)}).locate("stt_en_conformer_ctc_small")


def test_what_a_nemo_file_cannot_be_told(models: Path) -> None:
    letters = train_tokenizer(TokenizerConfig(kind="char"), ["salom"])
    with pytest.raises(InputError, match="keeps its own tokenizer and settings"):
        ModelManager({"models_dir": str(models)}).initialize_model("stt_hi_conformer_ctc_medium", tokenizer=letters)


def test_settings_may_come_from_a_file(models: Path, tmp_path: Path) -> None:
    path = tmp_path / "manager.yaml"
    path.write_text(f"models_dir: {models}\nseed: 5\n", encoding="utf-8")
    assert WhisperModelManager(path).config == ModelManagerConfig(models_dir=str(models), seed=5)
    with pytest.raises(InputError, match=r"WhisperModelManager: model_dir is not a setting; did you mean 'models_dir'"):
        WhisperModelManager({"model_dir": "x"})


def test_variants_are_listed_as_they_are_named() -> None:
    assert WhisperModelManager.variants()[:3] == ["tiny", "tiny.en", "base"]
    assert "distil-large-v3" in WhisperModelManager.variants()
    assert "wav2vec2-xls-r-1b" in ModelManager.variants()
    assert not {"tiny", "wav2vec2-base"} & set(ModelManager.variants()) - {"wav2vec2-base"}
