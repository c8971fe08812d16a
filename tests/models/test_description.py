"""What a model folder says is read without torch."""

import subprocess
import sys
from pathlib import Path

import pytest

from harken.audio.features import FeatureConfig
from harken.core import InputError
from harken.models.description import read_interface
from harken.models.family import find_family
from harken.models.folder import describe, save_model
from harken.models.recurrent import RecurrentSettings
from harken.text.tokenize import CharTokenizer

FEATURES = FeatureConfig(kind="nemo", dimensions=20)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    settings, tokenizer = RecurrentSettings(width=16, layers=1), CharTokenizer(["<pad>", " ", "a"])
    model = find_family("recurrent-ctc").build(settings, 20, 3)
    description = describe(
        model, family="recurrent-ctc", settings=settings, features=FEATURES, tokenizer=tokenizer, normalizer="basic"
    )
    save_model(tmp_path / "model", model=model, description=description, tokenizer=tokenizer)
    return tmp_path / "model"


def test_features_and_units_come_without_torch(folder: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from harken.models.description import read_interface\n"
        "found = read_interface(Path(sys.argv[1]))\n"
        "print(found.tokenizer.vocab_size, found.features.dimensions, len(found.weights_sha256))\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["3", "20", "64", "False"]
    assert read_interface(folder).features == FEATURES


def test_a_tokenizer_of_another_model(folder: Path) -> None:
    CharTokenizer(["<pad>", " ", "a", "b"]).save(folder)
    with pytest.raises(InputError, match="has 4 units, the model 3"):
        read_interface(folder)
