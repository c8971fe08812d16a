"""`POST /transcribe/batch`: many files, answered at once or taken as a job."""

import asyncio
import logging
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from harken.core import HarkenError, RunFailed
from harken.http.auth import Principal, requires
from harken.http.error_responses import told_of
from harken.http.errors import NotFound, code_of
from harken.http.forms import FormFile
from harken.serving.contract import DEFAULT_MODEL, TranscribeOptions, Transcription
from harken.serving.jobs.views import (
    FileAnswer,
    JobAnswer,
    ResultsAnswer,
    file_bytes,
    job_answer,
    results_bytes,
    shown_name,
)
from harken.serving.jobs.work import KIND, item_payload, job_payload
from harken.serving.parts import ServerParts, parts_of
from harken.serving.routes.disconnects import while_connected
from harken.serving.routes.documents import list_field, multipart, refusals, text_field
from harken.serving.routes.fields import LONGEST_PROMPT, BadParameter, Fields
from harken.serving.routes.native import refuse_query
from harken.serving.routes.records import Record, recorded
from harken.serving.routes.uploads import ReceivedForm, received_form
from harken.serving.shapes.native import transcription_view
from harken.storage.job_views import JobView

FIELDS = ("language_hint", "model", "word_times", "hotwords", "prompt", "temperature", "mode", "webhook")
MODES: tuple[Literal["auto", "now", "job"], ...] = ("auto", "now", "job")
LONGEST_KEY = 200
LONGEST_URL = 2000

logger = logging.getLogger(__name__)
router = APIRouter()

_FORM = {
    "files": {**list_field("The audio files.", format="binary"), "minItems": 1},
    "language_hint": text_field("A BCP-47 tag of what is spoken.", example="en"),
    "model": text_field("A model of GET /v1/models.", default=DEFAULT_MODEL),
    "word_times": {"type": "boolean", "default": False, "description": "Words with their times."},
    "hotwords": text_field("Words to listen for, one a line or between commas."),
    "prompt": text_field("Text before the audio, for models that take one.", maxLength=LONGEST_PROMPT),
    "temperature": {"type": "number", "minimum": 0, "maximum": 1, "description": "How freely to decode."},
    "mode": text_field("now: the answer holds the results; job: it names a job.", enum=list(MODES), default="auto"),
    "webhook": text_field("An https URL that is told when the job has ended.", example="https://example.org/hook"),
}
_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Asks for a job: the same key gives the same job again.",
    "schema": {"type": "string", "minLength": 1, "maxLength": LONGEST_KEY},
}
_LINKS = {
    name: {"operationId": name, "parameters": {"id": "$response.body#/job/id"}}
    for name in ("getJob", "getJobResults", "cancelJob")
}
_EXAMPLE = {
    "error": {
        "code": "missing_parameter",
        "message": "files is missing.",
        "hint": "Send audio as file parts named files.",
        "request_id": "8f1c0a52d6e94b7c",
    }
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a batch asks for."""

    options: TranscribeOptions
    word_times: bool
    mode: Literal["auto", "now", "job"]
    webhook: str | None


@router.post(
    "/transcribe/batch",
    summary="Transcribe many files",
    operation_id="transcribeBatch",
    openapi_extra={**multipart(_FORM, required=("files",)), "parameters": [_KEY]},
    responses={
        200: {"model": ResultsAnswer, "description": "The results, in the order of the files."},
        202: {
            "model": JobAnswer,
            "description": "A job, whose results come with GET /jobs/{id}/results.",
            "headers": {"Location": {"description": "The path of the job.", "schema": {"type": "string"}}},
            "links": _LINKS,
        },
        **refusals(400, 404, 408, 413, example=_EXAMPLE),
    },
)
async def transcribe_batch(request: Request, principal: Annotated[Principal, Depends(requires("batch"))]) -> Response:
    """Few small files are transcribed at once, more become a job. An `Idempotency-Key` asks for a job: the same key
    gives the same job again.
    """
    parts = parts_of(request)
    most = parts.settings.jobs.most_files
    async with recorded(request, principal) as record, received_form(request, parts.spool, most_files=most) as form:
        refuse_query(request)
        form.only(FIELDS, "files", most=most)
        asked = _asked(form.fields)
        key = _idempotency_key(request)
        if asked.webhook is not None:
            await _check_webhook(parts, asked.webhook)
        parts.catalog.find(asked.options.model)
        record.details["files"] = str(form.count("files"))
        if _is_now(asked, key, form, parts):
            content = await while_connected(request, _results(form, asked, record))
            return Response(content, media_type="application/json")
        job = await _create(form, asked, principal, key, parts)
        record.status, record.details["job"] = 202, job.id
        return JSONResponse(
            job_answer(job), status_code=202, headers={"Location": request.url_for("job", id=job.id).path}
        )


def _asked(fields: Fields) -> Asked:
    return Asked(
        options=TranscribeOptions(
            model=fields.text("model") or DEFAULT_MODEL,
            language=fields.language("language_hint"),
            prompt=fields.text("prompt", longest=LONGEST_PROMPT),
            hotwords=fields.hotwords("hotwords"),
            temperature=fields.number("temperature", 0, 1),
        ),
        word_times=fields.flag("word_times"),
        mode=fields.choice("mode", MODES, "auto"),
        webhook=fields.text("webhook", longest=LONGEST_URL),
    )


def _idempotency_key(request: Request) -> str | None:
    key = request.headers.get("idempotency-key")
    if key is not None and not (0 < len(key) <= LONGEST_KEY and key.isprintable()):
        raise BadParameter(
            "Idempotency-Key",
            f"Idempotency-Key has {len(key)} characters.",
            hint=f"Use 1 to {LONGEST_KEY}, such as a random UUID.",
        )
    return key


async def _check_webhook(parts: ServerParts, url: str) -> None:
    """Refuses a URL now that would be refused when the job ends."""
    if parts.settings.webhooks.secret is None:
        raise BadParameter(
            "webhook",
            "This server sends no webhooks.",
            hint="Ask for GET /jobs/{id}, or have the operator set webhooks.secret.",
        )
    await parts.outbound.check(url)


def _is_now(asked: Asked, key: str | None, form: ReceivedForm, parts: ServerParts) -> bool:
    settings = parts.settings.jobs
    is_small = form.count("files") <= settings.sync_files and form.size("files") <= settings.sync_bytes
    if asked.mode == "now" and not is_small:
        raise BadParameter(
            "mode",
            f"mode is 'now', for {form.count('files')} files of {form.size('files')} bytes.",
            hint=f"Up to {settings.sync_files} files of {settings.sync_bytes} bytes in all are answered at once; "
            "use mode job.",
        )
    if asked.mode == "now" and asked.webhook is not None:
        raise BadParameter("webhook", "webhook does nothing with mode 'now'.", hint="Leave one of them out.")
    if asked.mode == "now" and key is not None:
        raise BadParameter("Idempotency-Key", "Idempotency-Key names a job.", hint="Leave it out, or use mode job.")
    return asked.mode == "now" or (asked.mode == "auto" and is_small and asked.webhook is None and key is None)


async def _results(form: ReceivedForm, asked: Asked, record: Record) -> bytes:
    """The answer to all files together, so that they share passes of the model. A file that fails does not stop the
    others.
    """

    async def one(index: int, file: FormFile) -> bytes:
        try:
            found = await record.transcribed(file.path, asked.options)
            return await asyncio.to_thread(_done, index, file, found, asked, record)
        except Exception as err:  # noqa: BLE001 (whatever breaks one file, the others have their answers)
            return _failed(index, file, err, record)

    files = enumerate(form.named("files"))
    return results_bytes(await asyncio.gather(*(one(index, file) for index, file in files)))


def _done(index: int, file: FormFile, found: Transcription, asked: Asked, record: Record) -> bytes:
    view = transcription_view(found, request_id=record.request_id, word_times=asked.word_times)
    return file_bytes(FileAnswer(index=index, name=shown_name(file.filename), state="done", result=view, error=None))


def _failed(index: int, file: FormFile, err: Exception, record: Record) -> bytes:
    if not isinstance(err, HarkenError) or isinstance(err, RunFailed):
        logger.error("file %d of the batch %s failed", index, record.request_id, exc_info=err)
    told = told_of(err)
    error = {"code": code_of(told), "message": told.message, "hint": told.hint}
    return file_bytes(FileAnswer(index=index, name=shown_name(file.filename), state="failed", result=None, error=error))


async def _create(
    form: ReceivedForm, asked: Asked, principal: Principal, key: str | None, parts: ServerParts
) -> JobView:
    items: list[dict[str, Any]] = []
    for file in form.named("files"):
        blob = await parts.blobs.calls.run(parts.blobs.put_file, file.path)
        items.append(item_payload(blob, shown_name(file.filename)))
    payload = job_payload(asked.options, word_times=asked.word_times, principal=principal)
    made = await parts.queue.calls.run(
        parts.queue.create,
        KIND,
        payload,
        items,
        owner=principal.id,
        webhook=asked.webhook,
        idempotency_key=key,
    )
    parts.worker.wake()
    found = await parts.queue.calls.run(parts.queue.view, made)
    if found is None:
        raise NotFound("The job was deleted at once.", hint="Send it again.")
    return found
