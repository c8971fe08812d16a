"""The parameters of OpenAI's transcription API, checked, as options of the service."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from harken.serving.contract import ModelInfo, TranscribeOptions
from harken.serving.routes.chunking import CHUNKING, CHUNKING_FIELDS, tunes_chunks
from harken.serving.routes.fields import LONGEST_PROMPT, BadParameter, Fields, MissingParameter, quoted
from harken.serving.shapes.languages import LANGUAGE_NAMES, primary

ResponseFormat = Literal["json", "text", "srt", "verbose_json", "vtt"]
RESPONSE_FORMATS: tuple[ResponseFormat, ...] = ("json", "text", "srt", "verbose_json", "vtt")
GRANULARITIES = ("word", "segment")
TRANSLATION_FIELDS = ("model", "prompt", "response_format", "temperature")
TRANSCRIPTION_FIELDS = (
    *TRANSLATION_FIELDS,
    *CHUNKING_FIELDS,
    "include",
    "keywords",
    "known_speaker_names",
    "known_speaker_references",
    "language",
    "languages",
    "stream",
    "timestamp_granularities",
)

Find = Callable[[str], ModelInfo]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a request asks for. `unused` are parameters that are valid and change nothing here."""

    options: TranscribeOptions
    response_format: ResponseFormat
    words: bool = False
    segments: bool = True
    stream: bool = False
    unused: tuple[str, ...] = ()


def transcription_asked(fields: Fields, find: Find) -> Asked:
    """What the fields of `POST /v1/audio/transcriptions` ask for.

    Raises BadParameter for a value or a combination that cannot be met, UnknownModel from `find`.
    """
    _refuse_speakers(fields)
    response_format = _response_format(fields)
    granularities = _granularities(fields, response_format)
    stream = fields.flag("stream")
    if stream and response_format not in ("json", "text"):
        problem = f"stream does not go with response_format {response_format}."
        raise BadParameter("stream", problem, hint="Stream with json or text, or leave stream out.")
    if fields.choices("include", ("logprobs",)):
        hint = "POST /transcribe with word_times=true tells how sure the model is of each word."
        raise BadParameter("include", "include: no model here gives log probabilities of tokens.", hint=hint)
    model = find(_model(fields))
    options = TranscribeOptions(
        model=_model(fields),
        language=_language(fields, model),
        prompt=fields.text("prompt", longest=LONGEST_PROMPT),
        hotwords=fields.hotwords("keywords"),
        temperature=fields.number("temperature", 0, 1),
    )
    return Asked(
        options=options,
        response_format=response_format,
        words="word" in granularities,
        segments="segment" in granularities or not granularities,
        stream=stream,
        unused=(CHUNKING,) if tunes_chunks(fields) else (),
    )


def translation_asked(fields: Fields, find: Find) -> Asked:
    """What the fields of `POST /v1/audio/translations` ask for. Raises as `transcription_asked`, and BadParameter for
    a model that does not translate.
    """
    response_format = _response_format(fields)
    model = find(_model(fields))
    if not model.can_translate:
        hint = "Use a model that was trained to translate, or POST /v1/audio/transcriptions."
        raise BadParameter("model", f"{model.name} cannot translate.", hint=hint)
    options = TranscribeOptions(
        model=_model(fields),
        task="translate",
        prompt=fields.text("prompt", longest=LONGEST_PROMPT),
        temperature=fields.number("temperature", 0, 1),
    )
    return Asked(options=options, response_format=response_format)


def _model(fields: Fields) -> str:
    name = fields.text("model")
    if name is None:
        raise MissingParameter("model", hint="Name a model of GET /v1/models, or default.")
    return name


def _response_format(fields: Fields) -> ResponseFormat:
    if fields.text("response_format") == "diarized_json":
        hint = f"Use one of {', '.join(RESPONSE_FORMATS)}."
        raise BadParameter("response_format", "diarized_json: no model here tells speakers apart.", hint=hint)
    return fields.choice("response_format", RESPONSE_FORMATS, "json")


def _granularities(fields: Fields, response_format: ResponseFormat) -> tuple[str, ...]:
    granularities = fields.choices("timestamp_granularities", GRANULARITIES)
    if granularities and response_format != "verbose_json":
        problem = f"timestamp_granularities does not go with response_format {response_format}."
        raise BadParameter("timestamp_granularities", problem, hint="Set response_format to verbose_json.")
    return granularities


def _refuse_speakers(fields: Fields) -> None:
    for name in ("known_speaker_names", "known_speaker_references"):
        if fields.given(name):
            raise BadParameter(name, f"{name}: no model here tells speakers apart.", hint=f"Leave {name} out.")


def _language(fields: Fields, model: ModelInfo) -> str | None:
    """The language to hear, None to leave it to the model."""
    one = fields.text("language")
    many = tuple(dict.fromkeys(_code("languages", value) for value in fields.many("languages")))
    if one is not None:
        language = _code("language", one)
        if many and language not in many:
            raise BadParameter("language", f"language {language} is not among languages.", hint="Give one of the two.")
        return language
    spoken = {primary(tag) for tag in model.languages}
    possible = [code for code in many if code in spoken] if spoken else list(many)
    if many and not possible:
        hint = f"It knows {', '.join(sorted(spoken))}."
        raise BadParameter("languages", f"{model.name} knows none of {', '.join(many)}.", hint=hint)
    if len(possible) < 2:
        return possible[0] if possible else None
    if set(possible) == spoken:
        return None
    hint = "Give one language, or none to have it detected."
    raise BadParameter("languages", f"{model.name} cannot choose among only {', '.join(possible)}.", hint=hint)


def _code(name: str, value: str) -> str:
    code = value.strip().lower()
    if code not in LANGUAGE_NAMES:
        hint = "Use a code of ISO 639-1, such as en or hi."
        raise BadParameter(name, f"{name} is {quoted(value)}, which is no language code.", hint=hint)
    return code
