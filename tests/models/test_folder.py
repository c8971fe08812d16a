"""Model folders: what is written, what comes back, and what is said when something is wrong with one."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from harken.audio.features import FeatureConfig
from harken.core import InputError, MissingPart, dump_settings
from harken.core.files import sha256_file
from harken.models.conformer import ConformerCtc, ConformerSettings
from harken.models.description import ModelDescription, read_description
from harken.models.family import CtcModel, count_parameters
from harken.models.folder import describe, load_model, load_weights, save_model, write_weights
from harken.models.recurrent import RecurrentCtc, RecurrentSettings
from harken.text.tokenize import CharTokenizer, WordTokenizer

SETTINGS = RecurrentSettings(width=16, layers=1)
FEATURES = FeatureConfig(kind="nemo", dimensions=20, normalize="mean-scale")
TOKENIZER = WordTokenizer(["<pad>", "one", "three", "two"])
METRICS = {"test": {"wer": {"value": 0.125, "low": 0.1, "high": 0.15}, "cer": {"value": 0.05}, "words": 800}}


def make_model(seed: int = 0) -> RecurrentCtc:
    torch.manual_seed(seed)
    return RecurrentCtc(SETTINGS, FEATURES.dimensions, TOKENIZER.vocab_size)


def description_of(model: CtcModel) -> ModelDescription:
    return describe(
        model,
        family="recurrent-ctc",
        settings=SETTINGS,
        features=FEATURES,
        tokenizer=TOKENIZER,
        normalizer="basic",
        languages=["en", "de"],
        metrics=METRICS,
        provenance={"run": "digits-1", "data": {"train": "ab12"}},
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model = make_model()
    save_model(tmp_path / "digits-1" / "model", model=model, description=description_of(model), tokenizer=TOKENIZER)
    return tmp_path / "digits-1" / "model"


def read(path: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return data


def change(folder: Path, **fields: Any) -> None:
    path = folder / "harken.json"
    path.write_text(json.dumps({**read(path), **fields}), encoding="utf-8")


# What comes back


def test_outputs_are_bitwise_the_same_after_a_round_trip(folder: Path) -> None:
    model, loaded = make_model().eval(), load_model(folder)
    features, frames = torch.randn(2, 50, 20), torch.tensor([50, 33])
    with torch.inference_mode():
        assert torch.equal(model(features, frames)[0], loaded.model(features, frames)[0])
    assert not loaded.model.training
    assert loaded.features == FEATURES
    assert loaded.tokenizer.encode("two one") == TOKENIZER.encode("two one")
    assert loaded.folder == folder
    assert loaded.description == description_of(model)
    assert load_model(str(folder)).description == loaded.description


def test_buffers_come_back_too(tmp_path: Path) -> None:
    """The running statistics of the conformer's batch norm are no parameters, and decide its output."""
    torch.manual_seed(1)
    settings = ConformerSettings(width=16, layers=1, heads=2, kernel=5)
    model = ConformerCtc(settings, 20, 3)
    for _ in range(2):
        model.train()(torch.randn(2, 40, 20), torch.tensor([40, 40]))
    tokenizer = CharTokenizer(["<pad>", " ", "a"])
    description = describe(
        model,
        family="conformer-ctc",
        settings=settings,
        features=FEATURES,
        tokenizer=tokenizer,
        normalizer="basic",
    )
    save_model(tmp_path, model=model, description=description, tokenizer=tokenizer)
    loaded = load_model(tmp_path).model
    features, frames = torch.randn(1, 30, 20), torch.tensor([30])
    with torch.inference_mode():
        assert torch.equal(model.eval()(features, frames)[0], loaded(features, frames)[0])


def test_saving_again_replaces_the_model(folder: Path) -> None:
    other = make_model(seed=1)
    save_model(folder, model=other, description=description_of(other), tokenizer=TOKENIZER)
    assert torch.equal(load_model(folder).model.state_dict()["output.weight"], other.output.weight)


# What is written


def test_harken_json(folder: Path) -> None:
    data = read(folder / "harken.json")
    assert data == {
        "family": "recurrent-ctc",
        "settings": {"width": 16, "layers": 1, "dropout": 0.0},
        "features": dump_settings(FEATURES),
        "vocab_size": 4,
        "tokenizer": "WordTokenizer",
        "normalizer": "basic",
        "parameters": sum(p.numel() for p in make_model().parameters()),
        "languages": ["en", "de"],
        "sample_rate_hz": 16_000,
        "metrics": METRICS,
        "provenance": {"run": "digits-1", "data": {"train": "ab12"}},
        "adapters": [],
        "active_adapters": [],
        "format": 1,
        "weights_sha256": sha256_file(folder / "model.safetensors"),
    }


def test_files_other_tools_look_for(folder: Path) -> None:
    assert read(folder / "config.json") == {
        "model_type": "harken-recurrent-ctc",
        "vocab_size": 4,
        "pad_token_id": 0,
        "width": 16,
        "layers": 1,
        "dropout": 0.0,
    }
    assert read(folder / "preprocessor_config.json") == dump_settings(FEATURES)
    assert read(folder / "vocab.json") == {"<pad>": 0, "one": 1, "three": 2, "two": 3}
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "config.json",
        "harken.json",
        "model.safetensors",
        "preprocessor_config.json",
        "tokenizer_config.json",
        "vocab.json",
    ]


def test_model_card(folder: Path) -> None:
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert card.startswith(
        "---\nlibrary_name: harken\npipeline_tag: automatic-speech-recognition\n"
        "language:\n- en\n- de\n---\n\n# digits-1\n"
    )
    parameters = count_parameters(make_model())
    assert f"A `recurrent-ctc` speech recogniser with {parameters:,} parameters." in card
    assert "| test | 12.50 % (10.00 to 15.00) | 5.00 % | 800 |" in card
    assert "| sample rate | 16000 Hz |" in card
    assert "| features | nemo, 20 dimensions |" in card
    assert "| output units | 3 (WordTokenizer) and the CTC blank |" in card
    assert "| run | digits-1 |" in card


def test_a_card_without_an_evaluation_says_so(tmp_path: Path) -> None:
    model = make_model()
    description = describe(
        model,
        family="recurrent-ctc",
        settings=SETTINGS,
        features=FEATURES,
        tokenizer=TOKENIZER,
        normalizer="basic",
    )
    save_model(tmp_path, model=model, description=description, tokenizer=TOKENIZER)
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "Not evaluated yet" in card
    assert "language:" not in card


def test_a_folder_whose_saving_broke_off_is_no_model_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(path: Path, model: CtcModel) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("harken.models.folder.write_weights", full_disk)
    model = make_model(seed=1)
    with pytest.raises(OSError, match="No space left"):
        save_model(folder, model=model, description=description_of(model), tokenizer=TOKENIZER)
    with pytest.raises(MissingPart, match="is not a model folder"):
        load_model(folder)


# What is wrong


def test_an_absent_folder_and_one_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(MissingPart, match=r"absent does not exist\. Give the model/ folder of a finished run"):
        read_description(tmp_path / "absent")
    with pytest.raises(MissingPart, match=r"is not a model folder: it has no harken\.json"):
        read_description(tmp_path)


@pytest.mark.parametrize("name", ["model.safetensors", "vocab.json", "tokenizer_config.json"])
def test_an_absent_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(MissingPart, match=rf"{name} does not exist"):
        load_model(folder)


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "README.md"])
def test_files_for_others_are_not_needed(folder: Path, name: str) -> None:
    (folder / name).unlink()
    assert load_model(folder).description.family == "recurrent-ctc"


@pytest.mark.parametrize("keep", [0, 5, 200, -8])
def test_truncated_weights(folder: Path, keep: int) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match=r"model\.safetensors is not readable as safetensors: .* Copy the file again"):
        load_model(folder)


def test_weights_with_a_flipped_bit_are_not_used(folder: Path) -> None:
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"model\.safetensors is not what harken\.json was written for"):
        load_model(folder)


def test_weights_changed_on_purpose(folder: Path) -> None:
    """As the message says: without the hash the new weights are taken."""
    other = make_model(seed=1)
    write_weights(folder / "model.safetensors", other)
    data = read(folder / "harken.json")
    del data["weights_sha256"]
    (folder / "harken.json").write_text(json.dumps(data), encoding="utf-8")
    assert torch.equal(load_model(folder).model.state_dict()["output.weight"], other.output.weight)


def test_weights_of_other_shapes_name_the_first_tensor(folder: Path) -> None:
    change(folder, settings={"width": 32, "layers": 1})
    with pytest.raises(InputError, match=r"does not fit its description: \d+ tensors differ, first 'front_end"):
        load_model(folder)
    change(folder, settings={"width": 16, "layers": 2})
    with pytest.raises(InputError, match=r"first 'layers\.1\."):
        load_model(folder)


def test_load_weights_leaves_the_model_alone_when_they_do_not_fit(tmp_path: Path) -> None:
    write_weights(tmp_path / "w.safetensors", RecurrentCtc(RecurrentSettings(width=32, layers=1), 20, 4))
    model = make_model()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(InputError, match=r"w\.safetensors does not fit"):
        load_weights(tmp_path / "w.safetensors", model)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_tokenizer_of_another_run(folder: Path) -> None:
    WordTokenizer(["<pad>", "one", "two"]).save(folder)
    with pytest.raises(InputError, match=r"The tokenizer in .* has 3 units, the model 4"):
        load_model(folder)


def test_another_format(folder: Path) -> None:
    change(folder, format=2)
    with pytest.raises(InputError, match=r"harken\.json has format 2; this Harken reads 1\. Update Harken"):
        load_model(folder)


@pytest.mark.parametrize("text", ["[]", "{}", '"x"', '{"format": "1"}', '{"format": null}'])
def test_json_that_describes_no_model(folder: Path, text: str) -> None:
    (folder / "harken.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"harken\.json does not describe a model: it has no format"):
        load_model(folder)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00"])
def test_a_description_that_is_no_json(folder: Path, content: bytes) -> None:
    (folder / "harken.json").write_bytes(content)
    with pytest.raises(InputError, match=r"harken\.json is not valid JSON: .* Copy the model folder again"):
        load_model(folder)


def test_a_description_with_wrong_fields_names_them(folder: Path) -> None:
    data = read(folder / "harken.json")
    del data["family"]
    (folder / "harken.json").write_text(json.dumps({**data, "parameters": "many"}), encoding="utf-8")
    with pytest.raises(InputError, match=r"harken\.json: family is missing; parameters is 'many'"):
        load_model(folder)


def test_fields_of_a_later_release_are_left_aside(folder: Path) -> None:
    change(folder, decoder="beam")
    assert load_model(folder).description == description_of(make_model())


def test_an_unknown_family_and_wrong_settings(folder: Path) -> None:
    change(folder, settings={"width": 15})
    with pytest.raises(InputError, match=r"harken\.json: width is 15"):
        load_model(folder)
    change(folder, family="transducer")
    with pytest.raises(MissingPart, match=r"no harken\.model_families called 'transducer'"):
        load_model(folder)
