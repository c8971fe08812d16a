"""A recognizer that tells which language is spoken, and lets that language's model transcribe it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

from harken.audio.decode import DecodeLimits, stream_audio
from harken.audio.features import check_waveform
from harken.audio.resample import StreamResampler, resample
from harken.audio.vad import RATE_HZ, SpeechDetector
from harken.core import InputError, Recognizer, Transcript, Waveform
from harken.core.units import samples_to_seconds, seconds_to_samples
from harken.inference.engines import load
from harken.inference.language_detection import (
    HEARD_S,
    LanguageDetector,
    WhisperLanguageDetector,
    first_heard,
    load_whisper,
)
from harken.inference.loaded_models import LoadedModels
from harken.inference.routes import Route, RoutedModel, RoutesConfig, choose_route, naming, read_routes
from harken.inference.whisper.recognizer import WhisperRecognizer
from harken.inference.whisper.sample_stream import SampleStream
from harken.models.description import read_description


class LanguageRouter:
    """Answers `core.Recognizer` with the models of `RoutesConfig`, each loaded when it is first needed.

    A transcript has the detected language, and where that was in doubt what the default model says. A multilingual
    Whisper without a language of its own is told the detected one. Any number of threads may use a router as far as
    their engines allow.
    """

    def __init__(self, config: RoutesConfig, *, detector: LanguageDetector | None = None) -> None:
        """`detector` takes the place of `config.detector`; exactly one of both is given.

        Reads all model folders but the weights of the detector alone. Raises MissingPart and InputError, which name
        the setting, for a folder that is no model, a detector that cannot tell languages, and a language it does not
        know; MissingPart where speech is to be found and the extra `vad` is not installed.
        """
        self.config = config
        self._rate_hz = max(_rates_hz(config))
        self._detector, kept = _detector_of(config, detector)
        self._routes = _by_code(self._detector, config)
        self._among: list[str] | None = None
        if config.languages is not None:
            with naming("languages"):
                self._among = [self._detector.code_of(tag) for tag in config.languages]
        self._models = LoadedModels(self._load, most=config.most_loaded, kept=kept)
        self._speech = SpeechDetector() if config.find_speech else None
        longest_s = max(model.settings.longest_s for _, model in _places(config))
        self._limits = DecodeLimits(max_duration_s=longest_s)

    @classmethod
    def load(cls, path: str | Path, *, detector: LanguageDetector | None = None) -> Self:
        """A router as `read_routes` reads it from a YAML file, which errors name."""
        config = read_routes(Path(path))
        with naming(path):
            return cls(config, detector=detector)

    def told(self, language: str) -> "ToldRouter":
        """A recognizer for audio whose language is known, by its BCP-47 tag: nothing is detected.

        Raises InputError for a language the detector does not know, and without a default for one that has no route.
        """
        code = self._detector.code_of(language)
        model = self._routes.get(code, self.config.default)
        if model is None:
            raise InputError(
                f"There is no route for {language}; the routes are for {', '.join(self.config.routes)}.",
                hint="Use one of those, or leave the language out.",
            )
        return ToldRouter(self, Route(language=code, probabilities={code: 1.0}, certain=True, model=model))

    @property
    def sample_rate_hz(self) -> int:
        """The highest of all the models'; others get their audio resampled."""
        return self._rate_hz

    def transcribe(self, audio: Waveform | str | Path) -> Transcript:
        """Transcript of a waveform (samples,) at `sample_rate_hz`, or of an audio file of any supported format.

        Of a file, the beginning is decoded to tell its language, then all of it by the model, as its `transcribe` does.
        Raises as that does, and as `route`.
        """
        return self.transcribe_routed(audio, self.route(audio))

    def transcribe_batch(self, waveforms: Sequence[Waveform]) -> list[Transcript]:
        """Transcripts in the order given. Languages are told first, then each model gets what is its own at once."""
        routes = self.route_batch(waveforms)
        groups: dict[RoutedModel | None, dict[str | None, list[int]]] = {}
        for place, route in enumerate(routes):
            key = None if route.model is None else _key(route.model)
            groups.setdefault(key, {}).setdefault(_told(route), []).append(place)
        found: dict[int, Transcript] = {}
        # Those in memory first: they may be given up for the others.
        for key in sorted(groups, key=lambda key: key is not None and key not in self._models):
            for places in groups[key].values():
                made = self.transcribe_batch_routed([waveforms[place] for place in places], routes[places[0]])
                found |= dict(zip(places, made, strict=True))
        return [found[place] for place in range(len(waveforms))]

    def route(self, audio: Waveform | str | Path) -> Route:
        """Where a piece of audio goes, by its first 30 s. Loads no model.

        Raises AudioDecodeError for a file that cannot be decoded; without a default InputError, with the
        probabilities, for a language in doubt or without a route.
        """
        if not isinstance(audio, str | Path):
            return self.route_batch([audio])[0]
        heard = self._heard(audio)
        if heard is None:
            return self._nothing_heard()
        with naming(audio):
            return self._choose(self._detector.detect(heard))

    def route_batch(self, waveforms: Sequence[Waveform]) -> list[Route]:
        """`route` of each waveform (samples,) at `sample_rate_hz`, in order."""
        for waveform in waveforms:
            check_waveform(waveform)
        heard = [self._heard(waveform) for waveform in waveforms]
        found = iter(self._detector.detect_batch([part for part in heard if part is not None]))
        return [self._nothing_heard() if part is None else self._choose(next(found)) for part in heard]

    def transcribe_routed(self, audio: Waveform | str | Path, route: Route) -> Transcript:
        """Transcript of audio whose route is known already: for callers that want both, and detect once."""
        if not isinstance(audio, str | Path):
            return self.transcribe_batch_routed([audio], route)[0]
        if route.model is None:
            samples = SampleStream(self._pieces(audio, self._rate_hz)).length()
            return _empty(samples_to_seconds(samples, sample_rate_hz=self._rate_hz))
        return _labelled(self._recognizer(route.model, _told(route)).transcribe(audio), route)

    def transcribe_batch_routed(self, waveforms: Sequence[Waveform], route: Route) -> list[Transcript]:
        """Transcripts of waveforms that share the model of `route`, and its language if that is certain."""
        lengths_s = [samples_to_seconds(len(waveform), sample_rate_hz=self._rate_hz) for waveform in waveforms]
        if route.model is None:
            return [_empty(length_s) for length_s in lengths_s]
        recognizer = self._recognizer(route.model, _told(route))
        made = recognizer.transcribe_batch([self._at_rate(each, recognizer.sample_rate_hz) for each in waveforms])
        return [
            replace(_labelled(transcript, route), duration_s=length_s)
            for transcript, length_s in zip(made, lengths_s, strict=True)
        ]

    def _at_rate(self, waveform: Waveform, rate_hz: int) -> Waveform:
        """Resampled and never longer than before, so that no word ends behind the audio."""
        converted = resample(waveform, from_hz=self._rate_hz, to_hz=rate_hz)
        return converted[: len(waveform) * rate_hz // self._rate_hz]

    def _heard(self, audio: Waveform | str | Path) -> Waveform | None:
        """What the detector hears of some audio, at the detector's rate."""
        detector_hz = self._detector.sample_rate_hz
        rate_hz = detector_hz if self._speech is None else RATE_HZ
        heard = first_heard(self._pieces(audio, rate_hz), sample_rate_hz=rate_hz, speech=self._speech)
        return None if heard is None else resample(heard, from_hz=rate_hz, to_hz=detector_hz)

    def _pieces(self, audio: Waveform | str | Path, rate_hz: int) -> Iterator[Waveform]:
        if isinstance(audio, str | Path):
            yield from stream_audio(audio, sample_rate_hz=rate_hz, limits=self._limits)
            return
        resampler = StreamResampler(from_hz=self._rate_hz, to_hz=rate_hz)
        step = seconds_to_samples(HEARD_S, sample_rate_hz=self._rate_hz)
        for first in range(0, len(audio), step):
            yield resampler.push(audio[first : first + step])
        yield resampler.finish()

    def _choose(self, probabilities: Mapping[str, float]) -> Route:
        return choose_route(probabilities, self._routes, self.config, among=self._among)

    def _nothing_heard(self) -> Route:
        return Route(language=None, probabilities={}, certain=False, model=self.config.default)

    def _recognizer(self, model: RoutedModel, language: str | None) -> Recognizer:
        return self._models.get(_key(model)).told(language)

    def _load(self, model: RoutedModel) -> "_Told":
        place = next(place for place, found in _places(self.config) if _key(found) == model)
        with naming(place):
            return _Told(load(model.model, engine=model.engine, config=model.settings))


class ToldRouter:
    """A router that knows where everything goes: answers `core.Recognizer`."""

    def __init__(self, router: LanguageRouter, route: Route) -> None:
        self._router, self._route = router, route

    @property
    def sample_rate_hz(self) -> int:
        return self._router.sample_rate_hz

    def transcribe(self, audio: Waveform | str | Path) -> Transcript:
        return self._router.transcribe_routed(audio, self._route)

    def transcribe_batch(self, waveforms: Sequence[Waveform]) -> list[Transcript]:
        for waveform in waveforms:
            check_waveform(waveform)
        return self._router.transcribe_batch_routed(waveforms, self._route)


class _Told:
    """A recognizer, and the same one as it is when it is told a language."""

    def __init__(self, recognizer: Recognizer) -> None:
        self._recognizer = recognizer
        self._by_language: dict[str, Recognizer] = {}

    def told(self, language: str | None) -> Recognizer:
        """None, and models that cannot be told or know already: the recognizer as it is."""
        if language is None or not isinstance(self._recognizer, WhisperRecognizer):
            return self._recognizer
        if language not in self._by_language:
            self._by_language[language] = _tell(self._recognizer, language)
        return self._by_language[language]


def _tell(recognizer: WhisperRecognizer, language: str) -> Recognizer:
    config, tokenizer = recognizer.config, recognizer.tokenizer
    if config.language is not None or config.multilingual or not tokenizer.multilingual:
        return recognizer
    try:
        tokenizer.language_id(language)
    except InputError:  # it was never trained on that: its own choice is the best it can do
        return recognizer
    return recognizer.with_config(replace(config, language=language))


def _places(config: RoutesConfig) -> list[tuple[str, RoutedModel]]:
    """Every model with the setting that names it."""
    found = [("detector", config.detector), ("default", config.default)]
    return [
        *((f"routes.{tag}", model) for tag, model in config.routes.items()),
        *((place, model) for place, model in found if model is not None),
    ]


def _rates_hz(config: RoutesConfig) -> list[int]:
    """Sample rates of the models, as their folders say."""
    rates = []
    for place, model in _places(config):
        with naming(place):
            rates.append(read_description(model.model).sample_rate_hz)
    return rates


def _detector_of(
    config: RoutesConfig, given: LanguageDetector | None
) -> tuple[LanguageDetector, dict[RoutedModel, _Told]]:
    """The detector, and its model where routes may share it."""
    if given is not None:
        if config.detector is not None:
            raise InputError("There are two detectors, one of them in the routes.", hint="Leave one of them out.")
        return given, {}
    if config.detector is None:
        raise InputError("The routes name no detector.", hint="Name a multilingual Whisper: detector: models/whisper.")
    with naming("detector"):
        recognizer = load_whisper(config.detector)
        return WhisperLanguageDetector(recognizer), {_key(config.detector): _Told(recognizer)}


def _by_code(detector: LanguageDetector, config: RoutesConfig) -> dict[str, RoutedModel]:
    """Routes by the detector's own codes."""
    found: dict[str, RoutedModel] = {}
    tags: dict[str, str] = {}
    for tag, model in config.routes.items():
        with naming(f"routes.{tag}"):
            code = detector.code_of(tag)
            if code in found:
                raise InputError(f"{tags[code]} is the same to the detector.", hint="Use one of them.")
        found[code], tags[code] = model, tag
    return found


def _key(model: RoutedModel) -> RoutedModel:
    """Equal for models that can share memory, however their folders are written."""
    return replace(model, model=model.model.resolve())


def _told(route: Route) -> str | None:
    return route.language if route.certain else None


def _labelled(transcript: Transcript, route: Route) -> Transcript:
    return replace(transcript, language=route.language) if route.certain else transcript


def _empty(duration_s: float) -> Transcript:
    return Transcript(text="", duration_s=duration_s)
