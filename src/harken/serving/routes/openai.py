"""OpenAI's transcription API: its packages work here unmodified, with another base URL."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from harken.http.auth import Principal, requires
from harken.inference.formats import render
from harken.serving.contract import Transcription
from harken.serving.parts import parts_of
from harken.serving.routes.disconnects import WatchedWork
from harken.serving.routes.documents import multipart
from harken.serving.routes.event_stream import EventStream
from harken.serving.routes.fields import Fields
from harken.serving.routes.native import refuse_query
from harken.serving.routes.openai_documents import (
    MODEL_ID,
    TRANSCRIPT_RESPONSES,
    TRANSCRIPTION_FORM,
    TRANSLATION_FORM,
    openai_refusals,
)
from harken.serving.routes.openai_parameters import (
    TRANSCRIPTION_FIELDS,
    TRANSLATION_FIELDS,
    Asked,
    Find,
    transcription_asked,
    translation_asked,
)
from harken.serving.routes.records import recorded
from harken.serving.routes.uploads import received_form
from harken.serving.routes.written import written
from harken.serving.shapes.openai import Model, ModelList, brief, model_view, verbose

# How long a request for a stream is watched before its answer begins: what goes wrong in this time has a status of its
# own, which clients act on (a full queue: come again).
STATUS_S = 2.0
UNUSED_HEADER = "X-Unused-Parameters"
_MEDIA_TYPES = {"text": "text/plain", "srt": "text/plain", "vtt": "text/vtt"}

router = APIRouter(prefix="/v1", tags=["OpenAI"])
Caller = Annotated[Principal, Depends(requires("transcribe"))]


@router.post(
    "/audio/transcriptions",
    summary="Transcribe a file",
    openapi_extra=multipart(TRANSCRIPTION_FORM, required=("file", "model")),
    responses={**TRANSCRIPT_RESPONSES, **openai_refusals(400, 404, 408, 413, 415)},
)
async def create_transcription(request: Request, principal: Caller) -> Response:
    """Every parameter of OpenAI's, as its form fields; list fields with and without `[]`.

    What no model here can do is refused: telling speakers apart, log probabilities of tokens. Values in
    `chunking_strategy` are checked and not used, and the header X-Unused-Parameters says so.
    """
    return await _answer(request, principal, TRANSCRIPTION_FIELDS, transcription_asked)


@router.post(
    "/audio/translations",
    summary="Translate a file into English",
    openapi_extra=multipart(TRANSLATION_FORM, required=("file", "model")),
    responses={**TRANSCRIPT_RESPONSES, **openai_refusals(400, 404, 408, 413, 415)},
)
async def create_translation(request: Request, principal: Caller) -> Response:
    """For models that were trained to translate."""
    return await _answer(request, principal, TRANSLATION_FIELDS, translation_asked)


@router.get("/models", summary="The models that are served", response_model=ModelList, responses={**openai_refusals()})
async def list_models(request: Request, principal: Caller) -> ModelList:
    """By name. `default` and OpenAI's names mean the default model."""
    return ModelList(object="list", data=[model_view(info) for info in parts_of(request).catalog.list()])


@router.get(
    "/models/{model_id:path}",
    summary="One model",
    response_model=Model,
    openapi_extra={"parameters": [MODEL_ID]},
    responses={**openai_refusals(404)},
)
async def show_model(request: Request, principal: Caller) -> Model:
    """By its name, `default`, or one of OpenAI's names."""
    return model_view(parts_of(request).catalog.find(request.path_params["model_id"]))


async def _answer(
    request: Request, principal: Principal, texts: tuple[str, ...], ask: Callable[[Fields, Find], Asked]
) -> Response:
    parts = parts_of(request)
    async with AsyncExitStack() as stack:
        record = await stack.enter_async_context(recorded(request, principal))
        form = await stack.enter_async_context(received_form(request, parts.spool))
        refuse_query(request)
        form.only(texts, "file")
        asked = ask(form.fields, parts.catalog.find)
        record.details |= {"format": asked.response_format, "task": asked.options.task}
        audio = form.path("file")
        work = WatchedWork(request.receive, record.transcribed(audio, asked.options))
        await stack.enter_async_context(work)
        headers = {UNUSED_HEADER: ", ".join(asked.unused)} if asked.unused else {}
        if not asked.stream:
            return await written(_response, await work.result(), asked, headers)
        if await work.over(within_s=STATUS_S):
            await work.result()
        return EventStream(work, stack.pop_all(), headers)


def _response(result: Transcription, asked: Asked, headers: dict[str, str]) -> Response:
    content: Any
    task = asked.options.task
    if asked.response_format == "json":
        return JSONResponse(brief(result, task), headers=headers)
    if asked.response_format == "verbose_json":
        temperature = asked.options.temperature or 0.0
        content = verbose(result, task, words=asked.words, segments=asked.segments, temperature=temperature)
        return JSONResponse(content, headers=headers)
    style = "txt" if asked.response_format == "text" else asked.response_format
    return Response(render(result.transcript, style), headers=headers, media_type=_MEDIA_TYPES[asked.response_format])
