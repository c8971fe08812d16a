"""A pretrained folder becomes a model folder that says what transformers says."""

from pathlib import Path

import numpy as np
import pytest
import torch

import harken
from harken.core import MissingPart
from harken.inference.config import EngineConfig
from harken.inference.ctc_recognizer import CtcRecognizer
from harken.inference.whisper.config import WhisperDecodingConfig
from harken.inference.whisper.recognizer import WhisperRecognizer
from harken.models.description import read_description
from harken.models.pretrained_import import import_pretrained
from harken.testing import random_wav2vec2, random_whisper

transformers = pytest.importorskip("transformers", reason="needs the extra `train`")


def noise() -> np.ndarray:
    return (0.1 * np.random.default_rng(0).standard_normal(20_000)).astype(np.float32)


def test_wav2vec2_scores_are_those_of_transformers(tmp_path: Path) -> None:
    network = random_wav2vec2(tmp_path / "hub", letters="abc", seed=2)
    description = import_pretrained(str(tmp_path / "hub"), tmp_path / "model", normalizer="basic", languages=["uz"])
    assert description == read_description(tmp_path / "model")
    assert (description.family, description.normalizer, list(description.languages)) == (
        "wav2vec2-ctc",
        "basic",
        ["uz"],
    )
    recognizer = harken.load(tmp_path / "model", config=EngineConfig(device="cpu"))
    assert isinstance(recognizer, CtcRecognizer)
    features = recognizer.extractor(noise())
    scores_BTV, _ = recognizer.scorer(features[None], np.array([len(features)]))
    with torch.no_grad():
        expected = network(torch.from_numpy(features[:, 0][None])).logits.log_softmax(-1)
    np.testing.assert_allclose(scores_BTV, expected.numpy(), atol=1e-4)


def test_whisper_writes_what_transformers_generates(tmp_path: Path) -> None:
    network = random_whisper(tmp_path / "hub", init_std=0.3, seed=3)
    import_pretrained(tmp_path / "hub", tmp_path / "model")
    greedy = WhisperDecodingConfig(temperatures=(0.0,), max_tokens=12, beam_size=1)
    recognizer = harken.load(tmp_path / "model", config=EngineConfig(device="cpu", language="uz", whisper=greedy))
    assert isinstance(recognizer, WhisperRecognizer)
    features = torch.from_numpy(recognizer.extractor(noise())).T[None]
    ids = network.generate(features, language="uz", task="transcribe", max_new_tokens=12, do_sample=False, num_beams=1)
    expected = recognizer.tokenizer.decode(ids[0].tolist())
    assert recognizer.transcribe(noise()).text == expected != ""


def test_a_model_without_a_vocabulary_has_to_be_fine_tuned(tmp_path: Path) -> None:
    random_wav2vec2(tmp_path / "hub", letters="abc")
    (tmp_path / "hub" / "vocab.json").unlink()
    with pytest.raises(MissingPart, match="has no vocabulary"):
        import_pretrained(tmp_path / "hub", tmp_path / "model")
    assert not (tmp_path / "model").exists()
