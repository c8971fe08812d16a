"""`/requests/{id}/audio`: what a server keeps of the audio of a request, for its operator to hear or to erase."""

from typing import Annotated

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from typing_extensions import TypedDict

from harken.http.errors import NotFound
from harken.serving.parts import parts_of
from harken.serving.routes.documents import refusals
from harken.serving.routes.operators import Operator
from harken.serving.routes.records import recorded
from harken.storage.request_audio import ID_PATTERN, NAME_PATTERN, KeptAudio, RequestAudio

router = APIRouter(prefix="/requests", tags=["Kept audio"])

_EXAMPLE = {
    "error": {
        "code": "not_found",
        "message": "No audio is kept of this request.",
        "hint": "It may have expired.",
        "request_id": "8f1c0a52d6e94b7c",
    }
}
RequestId = Annotated[str, Path(pattern=f"^{ID_PATTERN}$", description="The X-Request-ID of its answer.")]
FileName = Annotated[str, Path(pattern=f"^{NAME_PATTERN}$", description="The `name` of the file.")]


class KeptFile(TypedDict):
    """A file as it was uploaded, and its request. Times are Unix seconds; `text` is null unless `audit.text` is on."""

    name: str
    media_type: str
    size_bytes: int
    sha256: str
    duration_s: float
    principal: str
    route: str
    model: str
    at_s: float
    expires_s: int
    text: str | None


class KeptFiles(TypedDict):
    audio: list[KeptFile]


class Erased(TypedDict):
    """How many files were removed."""

    deleted: int


@router.get("/{id}/audio", summary="Kept audio of a request", responses=refusals(400, 404, example=_EXAMPLE))
async def kept(id: RequestId, request: Request, principal: Operator) -> KeptFiles:
    """Its files. Ids that clients chose may stand for several requests."""
    async with recorded(request, principal) as record:
        record.details["of"] = id
        store = RequestAudio(parts_of(request).blobs.objects)
        found = await store.calls.run(store.find, id)
        if not found:
            raise _nothing()
        return {"audio": [_view(file) for file in found]}


@router.get(
    "/{id}/audio/{name}",
    summary="One kept file",
    response_class=Response,
    responses={
        200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}},
        **refusals(400, 404, example=_EXAMPLE),
    },
)
async def kept_file(id: RequestId, name: FileName, request: Request, principal: Operator) -> Response:
    """The bytes as they were uploaded."""
    async with recorded(request, principal) as record:
        record.details |= {"of": id, "name": name}
        store = RequestAudio(parts_of(request).blobs.objects)
        pieces = await store.calls.run(store.open_bytes, id, name)
        if pieces is None:
            raise _nothing()
        headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
        return StreamingResponse(pieces, media_type="application/octet-stream", headers=headers)


@router.delete("/{id}/audio", summary="Erase the audio of a request", responses=refusals(400, 404, example=_EXAMPLE))
async def erase(id: RequestId, request: Request, principal: Operator) -> Erased:
    """Stored files, and those of this server that wait to be stored. What the audit says of the request stays."""
    parts = parts_of(request)
    async with recorded(request, principal) as record:
        record.details["of"] = id
        waited = 0 if parts.keeper is None else await parts.keeper.forget(id)
        store = RequestAudio(parts.blobs.objects)
        deleted = await store.calls.run(store.delete, id)
        if not waited + deleted:
            raise _nothing()
        return {"deleted": waited + deleted}


def _nothing() -> NotFound:
    return NotFound("No audio is kept of this request.", hint="It may have expired.")


def _view(file: KeptAudio) -> KeptFile:
    facts = file.facts
    return KeptFile(
        name=file.name,
        media_type=facts.media_type,
        size_bytes=file.size_bytes,
        sha256=file.sha256,
        duration_s=facts.duration_s,
        principal=facts.principal,
        route=facts.route,
        model=facts.model,
        at_s=facts.at_s,
        expires_s=file.expires_s,
        text=facts.text,
    )
