"""What a file says of itself is enough to use it alone."""

import json
from pathlib import Path

from harken.audio.features import FeatureConfig, FeatureExtractor
from harken.core import parse_settings
from harken.export.metadata import ctc_metadata
from harken.export.record import identity_of
from harken.models.description import read_interface


def test_features_and_units_can_be_rebuilt(model_folder: Path) -> None:
    interface = read_interface(model_folder)
    identity = identity_of(model_folder)
    found = ctc_metadata(interface.description, interface.tokenizer, subsampling=4, hop_s=0.01, identity=identity)
    assert all(isinstance(value, str) for value in found.values())
    features = parse_settings(FeatureConfig, json.loads(found["features"]), source="metadata")
    assert features == interface.features
    assert FeatureExtractor(features).dimensions == 20
    assert json.loads(found["vocabulary"]) == ["<pad>", "one", "three", "two"]
    assert found["weights_sha256"] == interface.weights_sha256
    expected = {
        "family": "recurrent-ctc", "sample_rate": "16000", "vocab_size": "4", "blank_id": "0",
        "subsampling_factor": "4", "output_frame_s": "0.04", "languages": "en",
    }  # fmt: skip
    assert {key: found[key] for key in expected} == expected
