"""`/jobs`: where a job stands, what came of its files, and its end."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from harken.http.auth import Principal, requires
from harken.http.errors import NotFound
from harken.serving.jobs import batches
from harken.serving.jobs.views import (
    BEGIN,
    BETWEEN,
    END,
    JobAnswer,
    ResultsAnswer,
    job_answer,
    stored_bytes,
)
from harken.serving.parts import parts_of
from harken.serving.routes.documents import refusals
from harken.storage.job_views import JobView
from harken.storage.jobs import JobQueue

PAGE = 100
AT_ONCE = 10  # files in a piece of an answer: what is held in memory, and how long the database is busy with it
_EXAMPLE = {
    "error": {
        "code": "bad_parameter",
        "message": "limit is 5000.",
        "hint": "Use 1 to 1000.",
        "request_id": "8f1c0a52d6e94b7c",
    }
}
_ABSENT = {404: "There is no such job, or it is somebody else's."}

router = APIRouter(tags=["Batches"])
router.include_router(batches.router)

Caller = Annotated[Principal, Depends(requires("batch"))]
JobId = Annotated[
    str, Path(description="The id of a job.", json_schema_extra={"pattern": "^[0-9a-f]{32}$", "example": "0" * 32})
]


def _refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return refusals(404, *statuses, example=_EXAMPLE, told=_ABSENT)


@router.get("/jobs/{id}", name="job", operation_id="getJob", summary="Where a job stands", responses=_refusals())
async def job(id: JobId, request: Request, principal: Caller) -> JobAnswer:
    return job_answer(await _owned(id, request, principal))


@router.get(
    "/jobs/{id}/results",
    operation_id="getJobResults",
    summary="Results of a job",
    responses={200: {"model": ResultsAnswer}, **_refusals(400)},
)
async def results(
    id: JobId,
    request: Request,
    principal: Caller,
    offset: Annotated[int, Query(ge=0, le=1_000_000, description="The first file.")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000, description="Files in this answer.")] = PAGE,
) -> Response:
    """Files in their order, those that have not ended yet without a result."""
    await _owned(id, request, principal)
    pieces = _pieces(parts_of(request).queue, id, range(offset, offset + limit))
    first = await anext(pieces)  # a database that is down is a status of its own, as long as none is out
    return StreamingResponse(_after(first, pieces), media_type="application/json")


@router.delete("/jobs/{id}", operation_id="cancelJob", summary="Cancel a job", responses=_refusals())
async def cancel(id: JobId, request: Request, principal: Caller) -> JobAnswer:
    """Files that are done keep their results. A job that has ended stays as it is."""
    await _owned(id, request, principal)
    queue = parts_of(request).queue
    await queue.calls.run(queue.cancel, id)
    return job_answer(await _owned(id, request, principal))


async def _owned(id: str, request: Request, principal: Principal) -> JobView:
    """A job of this caller, or whoever's for an administrator."""
    owner = None if "admin" in principal.scopes else principal.id
    queue = parts_of(request).queue
    found = await queue.calls.run(queue.view, id, owner) if id.isalnum() else None
    if found is None:
        raise NotFound("There is no such job.", hint="Jobs are forgotten some days after they end.")
    return found


async def _pieces(queue: JobQueue, id: str, positions: range) -> AsyncIterator[bytes]:
    """The answer, read in a thread piece by piece: a page may hold the words of days of audio."""
    before = BEGIN
    for at in positions[::AT_ONCE]:
        limit = min(AT_ONCE, positions.stop - at)
        files = await queue.calls.run(_read, queue, id, at, limit)
        if files:
            yield before + BETWEEN.join(files)
            before = BETWEEN
        if len(files) < limit:
            break
    yield END if before == BETWEEN else before + END


def _read(queue: JobQueue, id: str, offset: int, limit: int) -> list[bytes]:
    return [stored_bytes(item) for item in queue.written_results(id, offset, limit)]


async def _after(first: bytes, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in pieces:
        yield piece
