"""`POST /transcribe`: a file, and what is said in it."""

from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from harken.http.auth import Principal, requires
from harken.inference.formats import render
from harken.serving.contract import DEFAULT_MODEL, TranscribeOptions, Transcription
from harken.serving.parts import parts_of
from harken.serving.routes.disconnects import while_connected
from harken.serving.routes.documents import FILE_FIELD, multipart, refusals, text_field
from harken.serving.routes.fields import LONGEST_PROMPT, BadParameter, Fields, UnknownParameter
from harken.serving.routes.records import recorded
from harken.serving.routes.uploads import received_form
from harken.serving.routes.written import written
from harken.serving.shapes.native import TranscriptionView, transcription_view

FIELDS = ("language_hint", "model", "format", "word_times", "hotwords", "prompt", "temperature")
Format = Literal["json", "txt", "srt", "vtt", "tsv"]
FORMATS: tuple[Format, ...] = ("json", "txt", "srt", "vtt", "tsv")
MEDIA_TYPES = {
    "txt": "text/plain",
    "srt": "application/x-subrip",
    "vtt": "text/vtt",
    "tsv": "text/tab-separated-values",
}

router = APIRouter(tags=["Harken"])

_FORM = {
    "file": FILE_FIELD,
    "language_hint": text_field("A BCP-47 tag of what is spoken; left out, the model guesses.", example="en"),
    "model": text_field("A model of GET /v1/models.", default=DEFAULT_MODEL),
    "format": text_field("How the transcript is written.", enum=list(FORMATS), default="json"),
    "word_times": {"type": "boolean", "default": False, "description": "Words with their times, in json."},
    "hotwords": text_field("Words to listen for, one a line or between commas.", example="Harken, Tashkent"),
    "prompt": text_field("Text before the audio, for models that take one.", maxLength=LONGEST_PROMPT),
    "temperature": {"type": "number", "minimum": 0, "maximum": 1, "description": "How freely to decode."},
}
_EXAMPLE = {
    "error": {
        "code": "bad_parameter",
        "message": "temperature is 9.",
        "hint": "Use a number from 0 to 1.",
        "request_id": "8f1c0a52d6e94b7c",
    }
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a request asks for."""

    options: TranscribeOptions
    format: Format
    word_times: bool


@router.post(
    "/transcribe",
    summary="Transcribe a file",
    openapi_extra=multipart(_FORM, required=("file",)),
    responses={
        200: {
            "model": TranscriptionView,
            "description": "The transcript.",
            "content": {media: {"schema": {"type": "string"}} for media in MEDIA_TYPES.values()},
        },
        **refusals(400, 404, 408, 413, 415, example=_EXAMPLE),
    },
)
async def transcribe(request: Request, principal: Annotated[Principal, Depends(requires("transcribe"))]) -> Response:
    """The file goes up as a form part. A client that leaves gives up its place in the queue."""
    parts = parts_of(request)
    async with recorded(request, principal) as record, received_form(request, parts.spool) as form:
        refuse_query(request)
        form.only(FIELDS, "file")
        asked = _asked(form.fields)
        parts.catalog.find(asked.options.model)
        record.details["format"] = asked.format
        audio = form.path("file")
        result = await while_connected(request, record.transcribed(audio, asked.options))
        return await written(_response, result, asked, record.request_id)


def refuse_query(request: Request) -> None:
    """Raises UnknownParameter for anything in the query, where these routes look for nothing."""
    for name in request.query_params:
        raise UnknownParameter(name, ("none in the query: send form fields",))


def _asked(fields: Fields) -> Asked:
    asked = Asked(
        options=TranscribeOptions(
            model=fields.text("model") or DEFAULT_MODEL,
            language=fields.language("language_hint"),
            prompt=fields.text("prompt", longest=LONGEST_PROMPT),
            hotwords=fields.hotwords("hotwords"),
            temperature=fields.number("temperature", 0, 1),
        ),
        format=fields.choice("format", FORMATS, "json"),
        word_times=fields.flag("word_times"),
    )
    if asked.word_times and asked.format != "json":
        hint = "Use format json, or leave word_times out."
        raise BadParameter("word_times", f"word_times does not go with format {asked.format}.", hint=hint)
    return asked


def _response(result: Transcription, asked: Asked, request_id: str) -> Response:
    if asked.format == "json":
        return JSONResponse(transcription_view(result, request_id=request_id, word_times=asked.word_times))
    return Response(render(result.transcript, asked.format), media_type=MEDIA_TYPES[asked.format])
