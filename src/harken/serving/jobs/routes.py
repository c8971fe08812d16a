"""`POST /transcribe/batch` and `/jobs`: many files at a time."""

import asyncio
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from typing_extensions import TypedDict

from harken.core import HarkenError, RunFailed
from harken.http.auth import Principal, requires
from harken.http.error_responses import told_of
from harken.http.errors import NotFound, code_of
from harken.serving.contract import DEFAULT_MODEL, TranscribeOptions
from harken.serving.jobs.work import KIND, item_payload, job_payload
from harken.serving.parts import ServerParts, parts_of
from harken.serving.routes.disconnects import while_connected
from harken.serving.routes.documents import list_field, multipart, refusals, text_field
from harken.serving.routes.fields import LONGEST_PROMPT, BadParameter, Fields
from harken.serving.routes.native import refuse_query
from harken.serving.routes.records import Record, recorded
from harken.serving.routes.uploads import ReceivedForm, received_form
from harken.serving.shapes.native import TranscriptionView, transcription_view
from harken.storage.job_views import ItemResult, JobView
from harken.storage.jobs import JobQueue

FIELDS = ("language_hint", "model", "word_times", "hotwords", "prompt", "temperature", "mode", "webhook")
MODES: tuple[Literal["auto", "now", "job"], ...] = ("auto", "now", "job")
LONGEST_NAME = 200
LONGEST_KEY = 200
PAGE = 100

logger = logging.getLogger(__name__)
router = APIRouter(tags=["Batches"])

_FORM = {
    "files": list_field("The audio files.", format="binary"),
    "language_hint": text_field("A BCP-47 tag of what is spoken.", example="en"),
    "model": text_field("A model of GET /v1/models.", default=DEFAULT_MODEL),
    "word_times": {"type": "boolean", "default": False, "description": "Words with their times."},
    "hotwords": text_field("Words to listen for, one a line or between commas."),
    "prompt": text_field("Text before the audio, for models that take one.", maxLength=LONGEST_PROMPT),
    "temperature": {"type": "number", "minimum": 0, "maximum": 1, "description": "How freely to decode."},
    "mode": text_field("now: the answer holds the results; job: it names a job.", enum=list(MODES), default="auto"),
    "webhook": text_field("An https URL that is told when the job has ended.", example="https://example.org/hook"),
}
_EXAMPLE = {
    "error": {
        "code": "missing_parameter",
        "message": "files is missing.",
        "hint": "Send audio as file parts named files.",
        "request_id": "8f1c0a52d6e94b7c",
    }
}


class JobSummary(TypedDict):
    """Where a job stands. Times are Unix seconds."""

    id: str
    kind: str
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    items: int
    queued: int
    running: int
    done: int
    failed: int
    cancelled: int
    created_s: float
    finished_s: float | None


class JobAnswer(TypedDict):
    job: JobSummary


class FileAnswer(TypedDict):
    """One file: its place in the request, what the client called it, and its result or its error."""

    index: int
    name: str
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    result: TranscriptionView | None
    error: dict[str, str] | None


class ResultsAnswer(TypedDict):
    results: list[FileAnswer]


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
    openapi_extra=multipart(_FORM, required=("files",)),
    responses={
        200: {"model": ResultsAnswer, "description": "The results, in the order of the files."},
        202: {"model": JobAnswer, "description": "A job, whose results come with GET /jobs/{id}/results."},
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
            return JSONResponse(await while_connected(request, _results(form, asked, record)))
        job = await _create(form, asked, principal, key, parts)
        record.status, record.details["job"] = 202, job.id
        return JSONResponse(
            {"job": job.summary()}, status_code=202, headers={"Location": request.url_for("job", id=job.id).path}
        )


@router.get("/jobs/{id}", name="job", summary="Where a job stands", responses=refusals(404, example=_EXAMPLE))
async def job(id: str, request: Request, principal: Annotated[Principal, Depends(requires("batch"))]) -> JobAnswer:
    return {"job": (await _owned(id, request, principal)).summary()}  # type: ignore[typeddict-item]


@router.get(
    "/jobs/{id}/results",
    summary="Results of a job",
    responses={200: {"model": ResultsAnswer}, **refusals(400, 404, example=_EXAMPLE)},
)
async def results(
    id: str,
    request: Request,
    principal: Annotated[Principal, Depends(requires("batch"))],
    offset: Annotated[int, Query(ge=0, le=1_000_000, description="The first file.")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000, description="Files in this answer.")] = PAGE,
) -> Response:
    """Files in their order, those that have not ended yet without a result."""
    await _owned(id, request, principal)
    return await asyncio.to_thread(_page, parts_of(request).queue, id, offset, limit)


@router.delete("/jobs/{id}", summary="Cancel a job", responses=refusals(404, example=_EXAMPLE))
async def cancel(id: str, request: Request, principal: Annotated[Principal, Depends(requires("batch"))]) -> JobAnswer:
    """Files that are done keep their results. A job that has ended stays as it is."""
    await _owned(id, request, principal)
    await asyncio.to_thread(parts_of(request).queue.cancel, id)
    return {"job": (await _owned(id, request, principal)).summary()}  # type: ignore[typeddict-item]


async def _owned(id: str, request: Request, principal: Principal) -> JobView:
    """A job of this caller, or whoever's for an administrator."""
    owner = None if "admin" in principal.scopes else principal.id
    found = await asyncio.to_thread(parts_of(request).queue.view, id, owner) if id.isalnum() else None
    if found is None:
        raise NotFound("There is no such job.", hint="Jobs are forgotten some days after they end.")
    return found


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
        webhook=fields.text("webhook", longest=2000),
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


async def _results(form: ReceivedForm, asked: Asked, record: Record) -> ResultsAnswer:
    """All files together, so that they share passes of the model. A file that fails does not stop the others."""

    async def one(index: int) -> FileAnswer:
        name = _shown(form.name("files", index))
        path: Path | None = None
        try:
            path = await form.save("files", index)
            found = await record.transcribed(path, asked.options)
        except Exception as err:  # noqa: BLE001 (whatever breaks one file, the others have their answers)
            if not isinstance(err, HarkenError) or isinstance(err, RunFailed):
                logger.error("file %d of the batch %s failed", index, record.request_id, exc_info=err)
            shown = told_of(err)
            told = {"code": code_of(shown), "message": shown.message, "hint": shown.hint}
            return FileAnswer(index=index, name=name, state="failed", result=None, error=told)
        view = transcription_view(found, request_id=record.request_id, word_times=asked.word_times)
        return FileAnswer(index=index, name=name, state="done", result=view, error=None)

    return {"results": list(await asyncio.gather(*map(one, range(form.count("files")))))}


async def _create(
    form: ReceivedForm, asked: Asked, principal: Principal, key: str | None, parts: ServerParts
) -> JobView:
    items: list[dict[str, Any]] = []
    for index in range(form.count("files")):
        path = await form.save("files", index)
        blob = await asyncio.to_thread(parts.blobs.put_file, path)
        items.append(item_payload(blob, _shown(form.name("files", index))))
    payload = job_payload(asked.options, word_times=asked.word_times, principal=principal)
    made = await asyncio.to_thread(
        parts.queue.create,
        KIND,
        payload,
        items,
        owner=principal.id,
        webhook=asked.webhook,
        idempotency_key=key,
    )
    parts.worker.wake()
    found = await asyncio.to_thread(parts.queue.view, made)
    if found is None:
        raise NotFound("The job was deleted at once.", hint="Send it again.")
    return found


def _page(queue: JobQueue, id: str, offset: int, limit: int) -> Response:
    """Written in a thread, as it was stored: a page may hold the words of days of audio."""
    return JSONResponse({"results": [_answer(item) for item in queue.results(id, offset, limit)]})


def _answer(item: ItemResult) -> FileAnswer:
    error = None if item.error is None else {name: str(value) for name, value in item.error.items()}
    return FileAnswer(
        index=item.position,
        name=str(item.payload.get("name", "")),
        state=item.state,
        result=item.result,  # type: ignore[typeddict-item]
        error=error if item.state == "failed" else None,
    )


def _shown(name: str | None) -> str:
    """What a client calls its file, to show it again: one line, never a path."""
    printable = "".join(letter if letter.isprintable() else " " for letter in name or "")
    return printable.replace("\\", "/").rpartition("/")[2].strip()[:LONGEST_NAME]
