"""Each utterance is transcribed by the model of its language. Detectors here answer by the length of what they hear."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import soundfile
import torch

from harken.audio.decode import decode_audio
from harken.audio.features import FeatureConfig
from harken.audio.resample import resample
from harken.core import HarkenError, InputError, MissingPart, Transcript, Waveform
from harken.inference import routing as room
from harken.inference.config import EngineConfig
from harken.inference.engines import load
from harken.inference.files import transcribe_files
from harken.inference.language_detection import LanguageDetector
from harken.inference.routes import RoutedModel, RoutesConfig
from harken.inference.routing import LanguageRouter
from harken.inference.whisper.config import WhisperDecodingConfig
from harken.models.folder import describe, save_model
from harken.models.pretrained import load_pretrained
from harken.models.recurrent import RecurrentCtc, RecurrentSettings
from harken.testing import check_recognizer, random_whisper
from harken.text.tokenize import WordTokenizer

ON_CPU = EngineConfig(device="cpu")
BRIEF = replace(ON_CPU, whisper=WhisperDecodingConfig(temperatures=(0.0,), beam_size=1, max_tokens=8))
UZ, RU, EN = 8_000, 12_000, 16_000  # samples: what the detector takes for Uzbek, Russian, English
DOUBT, GERMAN = 9_000, 10_000


class Lengths(LanguageDetector):
    """Answers by the number of samples at 16 kHz; keeps those it heard."""

    sample_rate_hz = 16_000
    languages = ("de", "en", "ru", "uz")
    answers: ClassVar = {UZ: {"uz": 0.9, "ru": 0.1}, RU: {"ru": 0.8, "en": 0.2}, EN: {"en": 0.7, "ru": 0.3},
                         DOUBT: {"ru": 0.4, "uz": 0.35, "en": 0.25}, GERMAN: {"de": 1.0}}  # fmt: skip

    def __init__(self) -> None:
        self.heard: list[int] = []

    def detect(self, waveform: Waveform) -> dict[str, float]:
        self.heard.append(len(waveform))
        answer = self.answers.get(len(waveform), {"uz": 1.0})
        return {code: answer.get(code, 0.0) for code in self.languages}


def save_ctc(folder: Path, words: Sequence[str], *, rate_hz: int = 16_000) -> Path:
    """A random model that says some of its words about noise."""
    features = FeatureConfig(kind="nemo", dimensions=20, normalize="mean-scale", sample_rate_hz=rate_hz)
    tokenizer = WordTokenizer(["<pad>", *words])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = RecurrentCtc(settings := RecurrentSettings(width=16, layers=1), 20, tokenizer.vocab_size)
    with torch.no_grad():
        model.output.weight.mul_(40)
    description = describe(model, family="recurrent-ctc", settings=settings, features=features, tokenizer=tokenizer,
                           normalizer="basic")  # fmt: skip
    save_model(folder, model=model, description=description, tokenizer=tokenizer)
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RoutedModel]:
    folder = tmp_path_factory.mktemp("models")
    words = {"uz": ["bir", "ikki", "uch"], "ru": ["raz", "dva", "tri"], "en": ["one", "two", "three"]}
    found = {name: RoutedModel(model=save_ctc(folder / name, some), settings=ON_CPU) for name, some in words.items()}
    narrow = save_ctc(folder / "narrow", ["alo", "labbay"], rate_hz=8_000)
    return {**found, "narrow": RoutedModel(model=narrow, settings=ON_CPU)}


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> RoutedModel:
    pytest.importorskip("transformers", reason="needs the extra `train`")
    folder = tmp_path_factory.mktemp("whisper")
    random_whisper(folder / "hub", init_std=0.3, times_s=1.5, languages=("en", "uz", "ru", "de"))
    parts = load_pretrained(folder / "hub")
    description = describe(parts.model, family=parts.family, settings=parts.settings, features=parts.features,
                           tokenizer=parts.tokenizer, normalizer="basic")  # fmt: skip
    save_model(folder / "model", model=parts.model, description=description, tokenizer=parts.tokenizer)
    return RoutedModel(model=folder / "model", settings=BRIEF)


def config(models: dict[str, RoutedModel], **changes: Any) -> RoutesConfig:
    return RoutesConfig(**{"routes": {"uz": models["uz"], "ru": models["ru"]}, "default": models["en"], **changes})


def noise(samples: int, seed: int = 0) -> Waveform:
    draw = np.random.default_rng(seed).standard_normal(samples)
    return (0.2 * draw * (1 + np.sin(np.arange(samples) / 700))).astype(np.float32)


def alone(model: RoutedModel, waveform: Waveform) -> Transcript:
    return load(model.model, config=model.settings).transcribe(waveform)


def said(transcript: Transcript) -> tuple[str, float, str | None]:
    """What of a transcript does not depend on rounding, and so not on the company of a batch."""
    return transcript.text, transcript.duration_s, transcript.language


Loads = list[tuple[str, EngineConfig]]


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> Loads:
    """Names of the folders that routers load, as they load them."""
    seen: Loads = []

    def counted(folder: Path, *, engine: str, config: EngineConfig) -> Any:
        seen.append((folder.name, config))
        return load(folder, engine=engine, config=config)

    monkeypatch.setattr(room, "load", counted)
    return seen


# where utterances go


def test_each_language_has_its_model(models: dict[str, RoutedModel]) -> None:
    router = LanguageRouter(config(models), detector=Lengths())
    lengths = [RU, UZ, EN, RU, UZ, DOUBT, GERMAN]
    waveforms = [noise(samples, seed) for seed, samples in enumerate(lengths)]
    owners = ["ru", "uz", "en", "ru", "uz", "en", "en"]
    languages = ["ru", "uz", "en", "ru", "uz", None, "de"]
    found = router.transcribe_batch(waveforms)
    expected = [alone(models[name], waveform) for name, waveform in zip(owners, waveforms, strict=True)]
    assert [said(t) for t in found] == [
        (t.text, t.duration_s, language) for t, language in zip(expected, languages, strict=True)
    ]
    assert [router.transcribe(waveform) for waveform in waveforms] == [
        replace(t, language=language) for t, language in zip(expected, languages, strict=True)
    ]
    assert {"raz", "dva", "tri"} & set(found[0].text.split())
    assert {"bir", "ikki", "uch"} & set(found[1].text.split())


def test_routes_say_why(models: dict[str, RoutedModel]) -> None:
    router = LanguageRouter(config(models, languages=["en", "ru-RU", "uz-Latn"]), detector=Lengths())
    sure, doubtful, outside, silent = router.route_batch([noise(RU), noise(DOUBT), noise(GERMAN), noise(0)])
    assert (sure.language, sure.certain, sure.model) == ("ru", True, models["ru"])
    assert sure.probabilities == pytest.approx({"en": 0.2, "ru": 0.8, "uz": 0.0})
    assert sure.probability == pytest.approx(0.8)
    assert (doubtful.language, doubtful.certain, doubtful.model) == ("ru", False, models["en"])
    assert (outside.probability, outside.certain, outside.model) == (0.0, False, models["en"])
    assert (silent.language, silent.probability, silent.probabilities) == (None, 0.0, {})
    assert silent.model == models["en"]
    assert router.route(noise(RU)) == sure


def test_a_route_is_used_without_another_detection(models: dict[str, RoutedModel], tmp_path: Path) -> None:
    quiet = 0.5 * noise(RU)
    soundfile.write(tmp_path / "a.wav", quiet, 16_000, subtype="FLOAT")
    detector = Lengths()
    router = LanguageRouter(config(models), detector=detector)
    route = router.route(tmp_path / "a.wav")
    assert router.transcribe_routed(tmp_path / "a.wav", route) == router.transcribe_routed(quiet, route)
    assert detector.heard == [RU]


def test_tags_and_codes_meet_in_the_language(models: dict[str, RoutedModel]) -> None:
    routes = {"uz-Cyrl-UZ": models["uz"], "rus": models["ru"]}
    router = LanguageRouter(config(models, routes=routes, default=None), detector=Lengths())
    assert [router.route(noise(samples)).model for samples in (UZ, RU)] == [models["uz"], models["ru"]]


def test_silence_goes_to_the_default_or_says_nothing(models: dict[str, RoutedModel], tmp_path: Path) -> None:
    detector = Lengths()
    silence = np.zeros(24_000, np.float32)
    soundfile.write(tmp_path / "s.wav", silence, 16_000)
    for default in (models["en"], None):
        router = LanguageRouter(config(models, default=default), detector=detector)
        assert router.transcribe(silence) == Transcript(text="", duration_s=1.5)
        assert router.transcribe(tmp_path / "s.wav") == Transcript(text="", duration_s=1.5)
        found = router.transcribe_batch([noise(UZ), silence, noise(RU)])
        assert [t.language for t in found] == ["uz", None, "ru"]
        assert [t.duration_s for t in found] == [0.5, 1.5, 0.75]
    assert detector.heard == [UZ, RU, UZ, RU]


def test_speech_is_heard_where_it_begins(models: dict[str, RoutedModel], monkeypatch: pytest.MonkeyPatch) -> None:
    class Loud:
        def start(self) -> int:
            return 0

        def step(self, state: int, window: Waveform) -> tuple[int, float]:
            return state, float(np.abs(window).max() > 0.5)

    monkeypatch.setattr(room, "SpeechDetector", Loud)
    audio = np.full(100_000, 0.1, np.float32)
    audio[51_200 : 51_200 + 10_240] = 0.9
    detector = Lengths()
    LanguageRouter(config(models, find_speech=True), detector=detector).route(audio)
    assert detector.heard == [10_240 + 2 * 480]  # and 30 ms on both sides


# files


def test_a_long_file_is_heard_at_its_beginning_and_read_by_the_model(
    models: dict[str, RoutedModel], tmp_path: Path
) -> None:
    audio = noise(40 * 16_000)
    soundfile.write(tmp_path / "long.flac", audio, 16_000)
    detector = Lengths()
    router = LanguageRouter(config(models), detector=detector)
    found = router.transcribe(tmp_path / "long.flac")
    assert detector.heard == [480_000]
    expected = load(models["uz"].model, config=ON_CPU).transcribe(tmp_path / "long.flac")
    assert found == replace(expected, language="uz")
    assert found.duration_s == 40.0
    assert router.transcribe(decode_audio(tmp_path / "long.flac")) == found


def test_only_the_beginning_of_a_file_is_decoded_for_its_language(
    models: dict[str, RoutedModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    soundfile.write(tmp_path / "long.wav", np.tile(noise(16_000), 600), 16_000)
    decoded: list[int] = []
    stream = room.stream_audio

    def counted(*arguments: Any, **options: Any) -> Any:
        for piece in stream(*arguments, **options):
            decoded.append(len(piece))
            yield piece

    monkeypatch.setattr(room, "stream_audio", counted)
    LanguageRouter(config(models), detector=Lengths()).route(tmp_path / "long.wav")
    assert 480_000 <= sum(decoded) < 3_000_000 < 600 * 16_000


def test_files_longer_than_the_detector_would_take_are_the_models_to_refuse(
    models: dict[str, RoutedModel], tmp_path: Path
) -> None:
    soundfile.write(tmp_path / "a.wav", noise(UZ), 16_000)
    short = {name: replace(model, settings=EngineConfig(device="cpu", longest_s=0.4)) for name, model in models.items()}
    with pytest.raises(InputError, match="at most 400 ms are decoded here"):
        LanguageRouter(config(short), detector=Lengths()).transcribe(tmp_path / "a.wav")
    mixed = {**short, "uz": models["uz"]}
    assert LanguageRouter(config(mixed), detector=Lengths()).transcribe(tmp_path / "a.wav").duration_s == 0.5


def test_one_file_in_doubt_or_broken_stops_nothing(models: dict[str, RoutedModel], tmp_path: Path) -> None:
    for name, samples in (("uz", UZ), ("doubt", DOUBT), ("ru", RU), ("de", GERMAN)):
        soundfile.write(tmp_path / f"{name}.wav", noise(samples), 16_000)
    (tmp_path / "broken.wav").write_text("no audio", encoding="utf-8")
    router = LanguageRouter(config(models, default=None), detector=Lengths())
    paths = [tmp_path / f"{name}.wav" for name in ("uz", "doubt", "broken", "ru", "de")]
    results = list(transcribe_files(router, paths))
    assert [result.transcript and result.transcript.language for result in results] == ["uz", None, None, "ru", None]
    assert str(results[1].error) == (
        f"{paths[1]}: The language is in doubt: ru 0.40, uz 0.35, en 0.25; least_probability is 0.5. "
        "Name a default, or lower least_probability."
    )
    assert "broken.wav is not audio of a known kind" in str(results[2].error)
    assert "The language is de (de 1.00" in str(results[4].error)
    with pytest.raises(InputError) as caught:
        router.transcribe(paths[1])
    assert str(caught.value) == str(results[1].error)


def test_a_waveform_that_is_none_is_refused(models: dict[str, RoutedModel]) -> None:
    router = LanguageRouter(config(models), detector=Lengths())
    for wrong, message in ((np.zeros((2, 5), np.float32), "shape"), (np.full(9, np.nan, np.float32), "NaN")):
        with pytest.raises(InputError, match=message):
            router.transcribe(wrong)
        with pytest.raises(InputError, match=message):
            router.transcribe_batch([noise(UZ), wrong])


# rates


def test_models_of_other_rates_get_their_audio_resampled(models: dict[str, RoutedModel]) -> None:
    routes = {"uz": models["narrow"], "ru": models["ru"]}
    router = LanguageRouter(config(models, routes=routes), detector=Lengths())
    assert router.sample_rate_hz == 16_000
    found = router.transcribe(noise(UZ))
    expected = alone(models["narrow"], resample(noise(UZ), from_hz=16_000, to_hz=8_000))
    assert found == replace(expected, language="uz")
    assert found.text
    assert LanguageRouter(config(models, routes={"uz": models["narrow"]}, default=None),
                          detector=Lengths()).sample_rate_hz == 8_000  # fmt: skip


def test_the_detector_hears_its_own_rate(models: dict[str, RoutedModel]) -> None:
    detector = Lengths()
    router = LanguageRouter(config(models, routes={"uz": models["narrow"]}, default=None), detector=detector)
    router.route(noise(4_000))
    router.route(noise(300_000))
    assert detector.heard == [UZ, 480_000]


# memory


def test_one_folder_is_loaded_once(models: dict[str, RoutedModel], loads: Loads) -> None:
    same = replace(models["uz"], model=models["uz"].model / ".." / "uz")
    routes = {"uz": models["uz"], "ru": same, "en": models["uz"]}
    router = LanguageRouter(config(models, routes=routes, default=None), detector=Lengths())
    assert loads == []
    found = router.transcribe_batch([noise(UZ), noise(RU), noise(EN)])
    assert [t.language for t in found] == ["uz", "ru", "en"]
    assert [name for name, _ in loads] == ["uz"]


def test_so_many_models_are_held(models: dict[str, RoutedModel], loads: Loads) -> None:
    router = LanguageRouter(config(models, most_loaded=1), detector=Lengths())
    for samples in (UZ, UZ, RU, UZ):
        router.transcribe(noise(samples))
    assert [name for name, _ in loads] == ["uz", "ru", "uz"]
    router.transcribe_batch([noise(RU), noise(UZ), noise(RU), noise(UZ)])
    assert [name for name, _ in loads] == ["uz", "ru", "uz", "ru"]  # what was there went first


def test_settings_and_engine_are_the_routes_own(models: dict[str, RoutedModel], loads: Loads) -> None:
    told = replace(models["uz"], settings=EngineConfig(device="cpu", window_s=20.0))
    router = LanguageRouter(config(models, routes={"uz": told}), detector=Lengths())
    router.transcribe(noise(UZ))
    assert loads == [("uz", told.settings)]
    absent = LanguageRouter(config(models, routes={"uz": replace(told, engine="abacus")}), detector=Lengths())
    with pytest.raises(MissingPart, match=r"^routes\.uz: .* harken\.engines called 'abacus'"):
        absent.transcribe(noise(UZ))


def test_threads_share_models(models: dict[str, RoutedModel], loads: Loads) -> None:
    router = LanguageRouter(config(models, most_loaded=3), detector=Lengths())
    waveforms = [noise(samples, seed) for seed, samples in enumerate([UZ, RU, EN, DOUBT] * 6)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(router.transcribe, waveforms))
    assert [said(t) for t in found] == [said(t) for t in router.transcribe_batch(waveforms)]
    assert sorted(name for name, _ in loads) == ["en", "ru", "uz"]


# the contract


def test_the_contract_with_ctc_models(models: dict[str, RoutedModel]) -> None:
    routes = {"uz": models["narrow"], "ru": models["ru"]}
    router = LanguageRouter(config(models, routes=routes), detector=Lengths())
    check_recognizer(router, [noise(samples, 1) for samples in (UZ, 4_321, RU, 24_017, DOUBT, 31_000, 6)])


def test_the_contract_with_a_whisper(models: dict[str, RoutedModel], whisper: RoutedModel) -> None:
    routes = {"uz": models["uz"], "ru": models["narrow"], "en": whisper}
    for default in (None, whisper):
        made = config(models, routes=routes | {"de": models["ru"]}, default=default, detector=whisper,
                      least_probability=0.0)  # fmt: skip
        router = LanguageRouter(made)
        check_recognizer(router, [noise(samples, 1) for samples in (EN, 4_321, 24_000, 400)])


# Whisper


def test_a_whisper_is_told_the_language(models: dict[str, RoutedModel], whisper: RoutedModel) -> None:
    router = LanguageRouter(
        config(models, routes={"uz": whisper, "ru": models["ru"]}, default=whisper), detector=Lengths()
    )
    found = router.transcribe_batch([noise(UZ), noise(EN), noise(GERMAN), noise(DOUBT), noise(RU)])
    for samples, language, transcript in zip((UZ, EN, GERMAN), ("uz", "en", "de"), found, strict=False):
        told = load(whisper.model, config=replace(BRIEF, language=language)).transcribe(noise(samples))
        assert transcript == told
        assert [segment.language for segment in transcript.segments] == [language]
    own = alone(whisper, noise(DOUBT))
    assert found[3] == own  # in doubt it hears for itself
    assert own.language is not None
    texts = {load(whisper.model, config=replace(BRIEF, language=code)).transcribe(noise(UZ)).text
             for code in ("uz", "en", "de", "ru")}  # fmt: skip
    assert len(texts) > 1  # what it is told does matter


@pytest.mark.parametrize(
    "settings",
    [
        replace(BRIEF, language="ru"),
        replace(BRIEF, whisper=replace(BRIEF.whisper, multilingual=True)),
    ],
    ids=["a language of its own", "a language for each window"],
)
def test_a_whisper_that_knows_is_not_told(
    models: dict[str, RoutedModel], whisper: RoutedModel, settings: EngineConfig
) -> None:
    own = replace(whisper, settings=settings)
    router = LanguageRouter(config(models, routes={"uz": own}), detector=Lengths())
    found = router.transcribe(noise(UZ))
    assert found == replace(alone(own, noise(UZ)), language="uz")


def test_a_whisper_without_that_language_hears_for_itself(models: dict[str, RoutedModel], whisper: RoutedModel) -> None:
    class Kazakh(Lengths):
        languages = ("kk", "uz")

        def detect(self, waveform: Waveform) -> dict[str, float]:
            return {"kk": 1.0, "uz": 0.0}

    router = LanguageRouter(config(models, routes={"kk": whisper}, default=None), detector=Kazakh())
    assert router.transcribe(noise(UZ)) == replace(alone(whisper, noise(UZ)), language="kk")


def test_the_detector_serves_as_a_model_too(models: dict[str, RoutedModel], whisper: RoutedModel, loads: Loads) -> None:
    router = LanguageRouter(config(models, detector=whisper, default=whisper, least_probability=1.0))
    found = router.transcribe(noise(UZ))
    assert found == alone(whisper, noise(UZ))
    assert loads == []


def test_a_whisper_detects_for_others(models: dict[str, RoutedModel], whisper: RoutedModel) -> None:
    recognizer: Any = load(whisper.model, config=BRIEF)
    for seed in range(4):
        audio = noise(EN, seed)
        encoded = recognizer.backend.encode(recognizer.extractor(audio)[None])
        probabilities = recognizer.backend.detect(encoded)[0]
        best = max(("uz", "ru"), key=probabilities.__getitem__)
        router = LanguageRouter(config(models, detector=whisper, languages=["uz", "ru"]))
        route = router.route(audio)
        among = probabilities["uz"] + probabilities["ru"]
        assert route.probabilities == pytest.approx({code: probabilities[code] / among for code in ("uz", "ru")})
        assert (route.language, route.model) == (best, models[best])
        assert router.transcribe(audio) == replace(alone(models[best], audio), language=best)


# wrong settings


def error_of(make: Callable[[], object]) -> HarkenError:
    with pytest.raises(HarkenError) as caught:
        make()
    return caught.value


def test_wrong_settings_are_named(models: dict[str, RoutedModel], whisper: RoutedModel, tmp_path: Path) -> None:
    gone = RoutedModel(model=tmp_path / "gone")
    twice = {"en": models["en"], "English": models["uz"]}
    cases: list[tuple[type[HarkenError], str, Callable[[], object]]] = [
        (MissingPart, f"routes.ru: {gone.model} does not exist. Give the model/ folder of a finished run.",
         lambda: LanguageRouter(config(models, routes={"uz": models["uz"], "ru": gone}), detector=Lengths())),
        (MissingPart, f"default: {gone.model} does not exist. Give the model/ folder of a finished run.",
         lambda: LanguageRouter(config(models, default=gone), detector=Lengths())),
        (MissingPart, f"detector: {gone.model} does not exist. Give the model/ folder of a finished run.",
         lambda: LanguageRouter(config(models, detector=gone))),
        (InputError, f"detector: {models['uz'].model} is of the family recurrent-ctc, which does not tell languages. "
         "Name the folder of a multilingual Whisper.",
         lambda: LanguageRouter(config(models, detector=models["uz"]))),
        (InputError, "The routes name no detector. Name a multilingual Whisper: detector: models/whisper.",
         lambda: LanguageRouter(config(models))),
        (InputError, "There are two detectors, one of them in the routes. Leave one of them out.",
         lambda: LanguageRouter(config(models, detector=whisper), detector=Lengths())),
        (InputError, "routes.kk: The detector does not know the language 'kk'. It knows de, en, ru, uz.",
         lambda: LanguageRouter(config(models, routes={"uz": models["uz"], "kk": models["ru"]}), detector=Lengths())),
        (InputError, "languages: The detector does not know the language 'kk'. It knows de, en, ru, uz.",
         lambda: LanguageRouter(config(models, languages=["uz", "ru", "kk"]), detector=Lengths())),
        (InputError, "routes.English: en is the same to the detector. Use one of them.",
         lambda: LanguageRouter(config(models, detector=whisper, routes=twice))),
    ]  # fmt: skip
    for family, message, make in cases:
        error = error_of(make)
        assert (type(error), str(error)) == (family, message)


def test_a_damaged_model_is_named_when_it_is_needed(models: dict[str, RoutedModel], tmp_path: Path) -> None:
    damaged = save_ctc(tmp_path / "damaged", ["a"])
    weights = damaged / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    router = LanguageRouter(config(models, routes={"uz": RoutedModel(model=damaged)}), detector=Lengths())
    assert router.transcribe(noise(RU)).language == "ru"
    with pytest.raises(InputError, match=r"^routes\.uz: .*model\.safetensors is not readable as safetensors"):
        router.transcribe(noise(UZ))


def test_a_file_of_routes_is_named_in_errors(models: dict[str, RoutedModel], tmp_path: Path) -> None:
    path = tmp_path / "routes.yaml"
    path.write_text("routes: {uz: models/uz}", encoding="utf-8")
    error = error_of(lambda: LanguageRouter.load(path, detector=Lengths()))
    assert str(error) == (
        f"{path}: routes.uz: {tmp_path / 'models/uz'} does not exist. Give the model/ folder of a finished run."
    )
    (tmp_path / "models").symlink_to(models["uz"].model.parent)
    router = LanguageRouter.load(path, detector=Lengths())
    assert router.transcribe(noise(UZ)) == replace(alone(models["uz"], noise(UZ)), language="uz")
