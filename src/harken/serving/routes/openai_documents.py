"""What OpenAPI says of the routes that follow OpenAI's API."""

from typing import Any

from harken.serving.routes.chunking import CHUNKING, CHUNKING_FIELDS
from harken.serving.routes.documents import FILE_FIELD, list_field, refusals, text_field
from harken.serving.routes.fields import LONGEST_PROMPT
from harken.serving.routes.openai_parameters import GRANULARITIES, RESPONSE_FORMATS
from harken.serving.shapes.openai import Brief, OpenAIError, Verbose

TRANSLATION_FORM = {
    "file": FILE_FIELD,
    "model": text_field("A model of GET /v1/models, default, or one of OpenAI's names.", example="whisper-1"),
    "prompt": text_field("Text before the audio, for models that take one.", maxLength=LONGEST_PROMPT),
    "response_format": text_field("How the transcript is written.", enum=list(RESPONSE_FORMATS), default="json"),
    "temperature": {"type": "number", "minimum": 0, "maximum": 1, "description": "How freely to decode."},
}
TRANSCRIPTION_FORM = {
    **TRANSLATION_FORM,
    "language": text_field("A code of ISO 639-1; left out, the model guesses.", example="en"),
    "languages[]": list_field("Languages that may be spoken, of which the model has to know exactly one, or all."),
    "keywords[]": list_field("Words or phrases to listen for.", maxLength=100),
    "timestamp_granularities[]": list_field("Of verbose_json; segment if none is given.", enum=list(GRANULARITIES)),
    "include[]": list_field("Refused: no model here gives log probabilities of tokens.", enum=["logprobs"]),
    "stream": {"type": "boolean", "default": False, "description": "Server-sent events, with json or text."},
    CHUNKING: text_field("auto, or an object of type server_vad as JSON.", example="auto"),
    **{name: text_field("A field of the object, as OpenAI's packages send it.") for name in CHUNKING_FIELDS[1:]},
    "known_speaker_names[]": list_field("Refused: no model here tells speakers apart."),
    "known_speaker_references[]": list_field("Refused: no model here tells speakers apart."),
}
MODEL_ID = {"name": "model_id", "in": "path", "required": True, "schema": {"type": "string"}, "example": "default"}

_EVENTS = 'data: {"type": "transcript.text.delta", "delta": "..."}, then one of type transcript.text.done'
TRANSCRIPT_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "model": Brief | Verbose,
        "description": "The transcript, as response_format says.",
        "content": {
            "text/plain": {"schema": {"type": "string"}},
            "text/vtt": {"schema": {"type": "string"}},
            "text/event-stream": {
                "schema": {"description": _EVENTS}
            },  # a type would be that of each event, not of the body
        },
    }
}
_EXAMPLE = {
    "error": {
        "message": "temperature is 9. Use a number from 0 to 1.",
        "type": "invalid_request_error",
        "param": "temperature",
        "code": "invalid_value",
    }
}


def openai_refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route for these statuses and those every route has."""
    return refusals(*statuses, shape=OpenAIError, example=_EXAMPLE)
