"""Finding pretrained models: folders, the hub's cache, being offline, and weights that do not fit."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from harken.core import InputError, MissingPart
from harken.models.pretrained import family_of, load_pretrained, new_network, resolve_pretrained
from harken.models.wav2vec2 import Wav2Vec2Ctc

transformers = pytest.importorskip("transformers")
safetensors = pytest.importorskip("safetensors.torch")

TINY = {
    "vocab_size": 4, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16,
    "conv_dim": (8,) * 7, "num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2, "pad_token_id": 0,
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "model"
    transformers.Wav2Vec2ForCTC(transformers.Wav2Vec2Config(**TINY)).save_pretrained(path)
    (path / "vocab.json").write_text(json.dumps({"<pad>": 0, "|": 1, "a": 2, "b": 3}))
    return path


def change_weights(folder: Path, change: Any) -> None:
    path = folder / "model.safetensors"
    tensors = safetensors.load_file(path)
    change(tensors)
    safetensors.save_file(tensors, path, metadata={"format": "pt"})


def test_a_local_folder_is_taken_as_it_is(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve_pretrained(folder) == folder == resolve_pretrained(str(folder))
    monkeypatch.chdir(folder.parent)
    assert resolve_pretrained("model") == Path("model")  # before any hub id of that name
    assert family_of(folder) == "wav2vec2-ctc"
    parts = load_pretrained("model")
    assert isinstance(parts.model, Wav2Vec2Ctc)
    assert (parts.family, parts.tokenizer.vocab_size, parts.model.training) == ("wav2vec2-ctc", 4, False)


@pytest.mark.parametrize("name", ["/no/such/folder", "./missing", "a/b/c", "models\\mine"])
def test_a_path_that_is_not_there_is_no_hub_id(name: str) -> None:
    with pytest.raises(MissingPart, match=r"does not exist\. Give a folder with config\.json"):
        resolve_pretrained(name)


def test_offline_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(MissingPart, match=r"'acme/tiny' is no local folder.*HF_HUB_OFFLINE.*give its folder"):
        resolve_pretrained("acme/tiny", cache=tmp_path)
    with pytest.raises((InputError, MissingPart), match="acme--tiny"):
        resolve_pretrained("acme--tiny", cache=tmp_path)


def test_what_the_hub_refuses_or_lacks(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    asked: list[tuple[str, str | None, list[str]]] = []

    def snapshot(repository: str, *, revision: str | None, cache_dir: Any, allow_patterns: list[str]) -> str:
        asked.append((repository, revision, allow_patterns))
        if repository == "acme/private":
            raise PermissionError("401 Client Error")
        if "pytorch_model.bin" in allow_patterns:
            (folder / "hidden").rename(folder / "pytorch_model.bin")
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    assert resolve_pretrained("acme/tiny@v1.0", cache=tmp_path) == folder
    assert [(repository, revision) for repository, revision, _ in asked] == [("acme/tiny", "v1.0")]
    assert "model.safetensors" in asked[0][2]
    with pytest.raises(MissingPart, match="401 Client Error"):
        resolve_pretrained("acme/private")
    # Older repositories hold pickled weights only: asked for second, so that both are never fetched.
    (folder / "model.safetensors").rename(folder / "hidden")
    assert resolve_pretrained("acme/old") == folder
    assert "pytorch_model.bin" in asked[-1][2]


def test_folders_that_lack_a_part(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a file"):
        resolve_pretrained(folder / "config.json")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(MissingPart, match=r"empty has no config\.json"):
        resolve_pretrained(empty)
    (empty / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(InputError, match=r"model_type 'bert'.*reads wav2vec2, hubert, wavlm, whisper"):
        resolve_pretrained(empty)
    (empty / "config.json").write_text(json.dumps({"model_type": "whisper"}))
    with pytest.raises(MissingPart, match=r"has no weights: none of model\.safetensors"):
        resolve_pretrained(empty)
    (empty / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\n")
    with pytest.raises(MissingPart, match="Git LFS pointer"):
        resolve_pretrained(empty)
    (folder / "config.json").write_text("{")
    with pytest.raises(InputError, match=r"config\.json cannot be read as JSON"):
        resolve_pretrained(folder)


def test_weights_of_a_wrong_shape_are_named(folder: Path) -> None:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        tensors["wav2vec2.feature_projection.projection.weight"] = torch.zeros(16, 9)
        tensors["lm_head.bias"] = torch.zeros(5)
        del tensors["wav2vec2.encoder.layer_norm.weight"]

    change_weights(folder, change)
    with pytest.raises(InputError) as refused:
        load_pretrained(folder)
    message = str(refused.value)
    assert "2 tensors have a wrong shape (lm_head.bias is (5,), expected (4,); " in message
    assert "wav2vec2.feature_projection.projection.weight is (16, 9), expected (16, 8)" in message
    assert "1 tensors are absent (wav2vec2.encoder.layer_norm.weight)" in message
    assert "copy the folder again" in message


def test_weights_that_cannot_be_read(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(InputError, match=r"weights in .* cannot be read"):
        load_pretrained(folder)


def test_a_wrong_configuration(folder: Path) -> None:
    with pytest.raises(InputError, match="not a valid configuration"):
        load_pretrained(folder, config_changes={"hidden_act": 3, "conv_dim": [8]})


def test_a_configuration_whose_numbers_fit_no_network() -> None:
    from transformers import WhisperConfig

    config = WhisperConfig(vocab_size=50, d_model=12, encoder_layers=1, decoder_layers=1, pad_token_id=60)
    with pytest.raises(InputError, match="this whisper model fits no network: Padding_idx must be within"):
        new_network("AutoModelForSpeechSeq2Seq", config)


def test_without_transformers(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingPart, match=r"need transformers. pip install 'harken\[train\]'"):
        load_pretrained(folder)


def test_importing_the_room_does_not_import_transformers() -> None:
    code = (
        "import sys, harken.models.pretrained, harken.models.wav2vec2, harken.models.whisper\n"
        "assert not {'transformers', 'huggingface_hub'} & set(sys.modules), 'heavy'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
