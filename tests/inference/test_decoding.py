"""Whisper in the torch engine: languages, tasks, limits; the contract of recognizers."""

from pathlib import Path

import numpy as np
import pytest
import torch

from harken.audio.features import FeatureConfig
from harken.core import InputError, MissingPart, Waveform
from harken.inference.config import EngineConfig
from harken.inference.ctc.config import CtcDecodingConfig
from harken.inference.decoding import read_tokens
from harken.inference.engines import load
from harken.inference.torch_engine import make_recognizer
from harken.inference.whisper.config import WhisperDecodingConfig
from harken.inference.whisper.recognizer import WhisperRecognizer
from harken.models.conformer import ConformerCtc, ConformerSettings
from harken.models.pretrained import PretrainedParts, load_pretrained
from harken.models.whisper import WhisperSeq2Seq
from harken.testing import check_recognizer, random_whisper
from harken.text.tokenize import WordTokenizer
from harken.text.vocabulary import BLANK

pytest.importorskip("transformers", reason="needs the extra `train`")
GREEDY = WhisperDecodingConfig(beam_size=1, temperatures=(0.0,))


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> PretrainedParts:
    folder = tmp_path_factory.mktemp("whisper")
    random_whisper(folder, init_std=0.3, seed=3)
    return load_pretrained(folder)


def recognizer(parts: PretrainedParts, **config: object) -> WhisperRecognizer:
    made = make_recognizer(
        parts.model,
        features=parts.features,
        tokenizer=parts.tokenizer,
        config=EngineConfig(device="cpu", whisper=GREEDY, **config),  # type: ignore[arg-type]
    )
    assert isinstance(made, WhisperRecognizer)
    return made


def noise() -> list[Waveform]:
    draw = np.random.default_rng(1)
    return [(0.2 * draw.standard_normal(n)).astype(np.float32) for n in (16_000, 4_000, 23_000, 9_000, 12_345)]


@pytest.mark.parametrize("language", [None, "uz"])
def test_it_keeps_the_contract(parts: PretrainedParts, language: str | None) -> None:
    check_recognizer(recognizer(parts, language=language), noise())


def test_the_language_is_the_one_given_or_the_models_choice(parts: PretrainedParts) -> None:
    assert {t.language for t in recognizer(parts, language="ru").transcribe_batch(noise())} == {"ru"}
    guessed = recognizer(parts).transcribe_batch(noise())
    model, tokenizer = parts.model, parts.tokenizer
    assert isinstance(model, WhisperSeq2Seq)
    extractor = recognizer(parts).extractor
    for waveform, transcript in zip(noise(), guessed, strict=True):
        with torch.inference_mode():
            encoded = model.encode(torch.from_numpy(extractor(waveform))[None])
            scores = model.score_tokens(encoded, torch.tensor([[257]]))[0, -1]
        best = max(("en", "uz", "ru"), key=lambda code: float(scores[tokenizer.languages[code]]))  # type: ignore[attr-defined]
        assert transcript.language == best


def test_a_text_ends_when_the_speech_could_not_hold_more(parts: PretrainedParts) -> None:
    model, tokenizer = parts.model, parts.tokenizer
    assert isinstance(model, WhisperSeq2Seq)
    seen: list[list[int]] = []
    generate = model.generate

    def spy(encoded: torch.Tensor, **options: object) -> list[list[int]]:
        seen.append(list(options["max_tokens"]))  # type: ignore[call-overload]
        return generate(encoded, **options)  # type: ignore[arg-type]

    model.generate = spy  # type: ignore[method-assign, assignment]
    try:
        with torch.inference_mode():
            encoded = model.encode(torch.zeros(2, 150, 80))
            prompts = [tokenizer.prompt(language="uz")] * 2  # type: ignore[attr-defined]
            read_tokens(model, tokenizer, encoded, prompts=prompts, durations_s=[0.1, 1.5])  # type: ignore[arg-type]
    finally:
        del model.generate
    assert seen == [[15, 85]]


def test_what_a_model_cannot_be_told(parts: PretrainedParts) -> None:
    with pytest.raises(InputError, match="no token for the language 'tlh'"):
        recognizer(parts, language="tlh")
    ctc = ConformerCtc(ConformerSettings(width=8, layers=1, heads=1), 20, 2)
    words = WordTokenizer([BLANK, "ah"])
    features = FeatureConfig(kind="nemo", dimensions=20, normalize="mean-scale")
    for config in (EngineConfig(device="cpu", language="uz"), EngineConfig(device="cpu", task="translate")):
        with pytest.raises(InputError, match="cannot be told: it has a CTC output"):
            make_recognizer(ctc, features=features, tokenizer=words, config=config)
    with pytest.raises(InputError, match="needs Whisper's tokenizer, this is a WordTokenizer"):
        make_recognizer(parts.model, features=parts.features, tokenizer=words)
    with pytest.raises(InputError, match=r"ctc\.beam_size is 5, which does nothing here: this model has no CTC output"):
        recognizer(parts, ctc=CtcDecodingConfig(beam_size=5))


def test_a_folder_of_openai_is_no_model_folder_of_ours(tmp_path: Path) -> None:
    random_whisper(tmp_path)
    with pytest.raises(MissingPart, match=r"is not a model folder: it has no harken\.json"):
        load(tmp_path)
