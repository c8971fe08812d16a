"""Options of a request are done, or refused by name."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harken.core import InputError, Recognizer, Waveform
from harken.inference.config import EngineConfig
from harken.inference.ctc.beam import Pruning
from harken.inference.ctc.config import CtcDecodingConfig
from harken.inference.ctc_recognizer import CtcRecognizer
from harken.inference.engines import load
from harken.inference.routing import LanguageRouter
from harken.inference.whisper.config import WhisperDecodingConfig
from harken.inference.whisper.recognizer import WhisperRecognizer
from harken.models.folder import describe, save_model
from harken.models.pretrained import load_pretrained
from harken.serving.contract import TranscribeOptions
from harken.serving.served.facts import identity_of, read_facts
from harken.serving.served.settings import ServedModel
from harken.serving.served.variants import Variants
from harken.testing import random_whisper

ON_CPU = EngineConfig(
    device="cpu", threads=1, whisper=WhisperDecodingConfig(temperatures=(0.0, 0.4), max_tokens=20, beam_size=1)
)
CTC = EngineConfig(device="cpu", threads=1)


@pytest.fixture(scope="module")
def whisper_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whisper")
    (folder / "pretrained").mkdir()
    random_whisper(folder / "pretrained", times_s=1.5, seed=1, init_std=0.15)
    parts = load_pretrained(folder / "pretrained")
    description = describe(
        parts.model, family=parts.family, settings=parts.settings, features=parts.features, tokenizer=parts.tokenizer,
        normalizer="basic",
    )  # fmt: skip
    save_model(folder / "model", model=parts.model, description=description, tokenizer=parts.tokenizer)
    return folder / "model"


@pytest.fixture(scope="module")
def whisper(whisper_model: Path) -> WhisperRecognizer:
    recognizer = load(whisper_model, config=ON_CPU)
    assert isinstance(recognizer, WhisperRecognizer)
    return recognizer


@pytest.fixture(scope="module")
def ctc(tiny_model: Path) -> CtcRecognizer:
    recognizer = load(tiny_model, config=CTC)
    assert isinstance(recognizer, CtcRecognizer)
    return recognizer


def variants(recognizer: Recognizer, *, languages: tuple[str, ...] = ("en",), most: int = 4) -> Variants:
    return Variants(recognizer, languages=languages, most=most)


def test_equal_options_give_the_same_object_as_long_as_it_is_kept(ctc: CtcRecognizer) -> None:
    found = variants(ctc, most=2)
    assert found.known(TranscribeOptions(model="x")) is ctc
    first = TranscribeOptions(model="x", hotwords=("ab",))
    assert found.known(first) is None
    made = found.make(first)
    assert made is not ctc
    assert found.known(replace(first, model="y")) is made
    for word in ("a", "b"):
        found.make(TranscribeOptions(hotwords=(word,)))
    assert found.known(first) is None


def test_hotwords_of_a_request_do_what_a_file_of_them_does(
    tmp_path: Path, tiny_model: Path, noises: list[Waveform]
) -> None:
    def with_file(*hotwords: str) -> CtcRecognizer:
        (tmp_path / "hotwords").write_text("\n".join(hotwords))
        pruning = Pruning(least_log_prob=None, most_ids=None, margin=None)
        decoding = CtcDecodingConfig(hotwords=str(tmp_path / "hotwords"), hotword_boost=60.0, pruning=pruning)
        recognizer = load(tiny_model, config=replace(CTC, ctc=decoding))
        assert isinstance(recognizer, CtcRecognizer)
        return recognizer

    def texts(recognizer: Recognizer) -> list[str]:
        return [transcript.text for transcript in recognizer.transcribe_batch(noises[:3])]

    recognizer, expected = with_file("a"), texts(with_file("bcb", "ab"))
    found = variants(recognizer).make(TranscribeOptions(hotwords=("bcb", " ab", "ab ")))
    assert isinstance(found, CtcRecognizer)
    assert found.scorer is recognizer.scorer
    assert texts(found) == expected != texts(recognizer)


def test_a_hotword_that_cannot_be_written_is_named(ctc: CtcRecognizer) -> None:
    with pytest.raises(InputError, match=r"hotwords: the model cannot write 'xyz'"):
        variants(ctc).make(TranscribeOptions(hotwords=("xyz",)))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"language": "uz"}, "language is 'uz'; this model is for en"),
        ({"language": "english please"}, "language is 'english please'"),
        ({"language": "e\r\nn"}, "language is "),
        ({"task": "translate"}, "task is given, but this model has a CTC output"),
        ({"prompt": "hello"}, "prompt is given"),
        ({"temperature": 0.5}, "temperature is given"),
        ({"hotwords": ("",)}, "hotwords has a phrase of 0 characters"),
        ({"hotwords": ("a" * 101,)}, "hotwords has a phrase of 101 characters"),
        ({"hotwords": ("a",) * 501}, "hotwords has 501 phrases"),
    ],
)
def test_what_a_ctc_model_cannot_take(ctc: CtcRecognizer, options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words) as refusal:
        variants(ctc).make(TranscribeOptions(**options))
    assert refusal.value.hint


def test_what_changes_nothing_is_the_model_itself(ctc: CtcRecognizer) -> None:
    for options in (TranscribeOptions(language="en-US"), TranscribeOptions(temperature=0.0, language="en")):
        assert variants(ctc).make(options) is ctc
    assert variants(ctc, languages=()).make(TranscribeOptions(language="uz")) is ctc  # its folder does not say


def test_a_whisper_is_told(whisper: WhisperRecognizer) -> None:
    found = variants(whisper).make(
        TranscribeOptions(
            language="ru-RU", task="translate", prompt="names", hotwords=("Anna", "Otto"), temperature=0.2
        )
    )
    assert isinstance(found, WhisperRecognizer)
    assert found.backend is whisper.backend
    config = found.config
    assert (config.language, config.task) == ("ru", "translate")
    assert config.initial_prompt == "Anna, Otto names"
    assert config.temperatures == (0.2, 0.4)
    assert found.transcribe_batch([]) == []


def test_a_temperature_of_zero_is_where_whisper_begins_anyway(whisper: WhisperRecognizer) -> None:
    assert variants(whisper).make(TranscribeOptions(temperature=0.0)) is whisper


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"language": "xx"}, "language is 'xx'; this model takes en, ru, uz"),
        ({"temperature": 1.5}, "temperature is 1.5"),
        ({"prompt": "word " * 100}, "prompt takes"),
        ({"prompt": "a <|endoftext|>"}, "a token of the model"),
    ],
)
def test_what_a_whisper_cannot_take(whisper: WhisperRecognizer, options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        variants(whisper).make(TranscribeOptions(**options))


def test_a_told_whisper_says_its_language(whisper: WhisperRecognizer, noises: list[Waveform]) -> None:
    told = variants(whisper).make(TranscribeOptions(language="uz"))
    assert told.transcribe(noises[0]).language == "uz"


def test_routes_are_a_model(
    tmp_path: Path, whisper_model: Path, tiny_model: Path, other_model: Path, recordings: list[Path]
) -> None:
    for name, folder in (("whisper", whisper_model), ("tiny", tiny_model), ("other", other_model)):
        shutil.copytree(folder, tmp_path / name)
    settings = "settings: {device: cpu, threads: 1}"
    (tmp_path / "mixed.yaml").write_text(
        f"detector: {{model: whisper, {settings}}}\nroutes:\n"
        f"  en: {{model: tiny, {settings}}}\n  uz: {{model: other, {settings}}}\n"
    )
    model = ServedModel(path=tmp_path / "mixed.yaml")
    facts = read_facts(model)
    assert (model.shown_name, facts.family, facts.languages, facts.can_stream) == (
        "mixed",
        "routes",
        ("en", "uz"),
        False,
    )
    assert facts.memory_bytes > 0
    router = LanguageRouter.load(model.path)
    told = variants(router).make(TranscribeOptions(language="uz"))
    expected = load(other_model, config=CTC).transcribe(recordings[1])
    assert told.transcribe(recordings[1]).text == expected.text
    assert [t.text for t in told.transcribe_batch([])] == []
    for options, words in (
        ({"language": "ru"}, "language is 'ru'; this model is for en, uz"),
        ({"hotwords": ("a",)}, "hotwords is given, but this model is several ones"),
        ({"prompt": "a"}, "prompt is given"),
    ):
        with pytest.raises(InputError, match=words):
            variants(router).make(TranscribeOptions(**options))  # type: ignore[arg-type]
    identity = identity_of(model)
    (tmp_path / "mixed.yaml").write_text((tmp_path / "mixed.yaml").read_text() + "least_probability: 0.1\n")
    assert identity_of(model) != identity


def test_identities_follow_weights_and_settings(tiny_model: Path, other_model: Path) -> None:
    one = ServedModel(path=tiny_model, settings=CTC)
    same = ServedModel(path=tiny_model, name="again", settings=CTC)
    assert identity_of(one) == identity_of(same)
    assert identity_of(one) != identity_of(ServedModel(path=other_model, settings=CTC))
    assert identity_of(one) != identity_of(replace(one, settings=replace(CTC, window_s=25.0)))
