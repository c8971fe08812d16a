"""`PUT /models/{name}`: another model folder behind a name, without a request that notices."""

import asyncio
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from typing_extensions import TypedDict

from harken.core import MissingPart
from harken.serving.errors import CannotBeServed
from harken.serving.parts import parts_of
from harken.serving.routes.documents import refusals
from harken.serving.routes.json_bodies import read_text_fields
from harken.serving.routes.native import refuse_query
from harken.serving.routes.operators import Operator
from harken.serving.routes.records import recorded
from harken.serving.served.folders import LONGEST_PATH, allowed_folder

router = APIRouter(tags=["Models"])

_BODY = {
    "type": "object",
    "properties": {
        "path": {
            "type": "string",
            "minLength": 1,
            "maxLength": LONGEST_PATH,
            "description": "A model folder on the server, inside one of its models.folders; relative to that, or "
            "absolute.",
            "example": "digits-2026-11-22/model",
        }
    },
    "required": ["path"],
    "additionalProperties": False,
}
_NAME = {
    "name": "name",
    "in": "path",
    "required": True,
    "description": "A model of GET /v1/models, or another of its names.",
    "schema": {"type": "string", "minLength": 1},
}
_EXAMPLE = {
    "error": {
        "code": "missing_parameter",
        "message": "path is missing.",
        "hint": "Send path in a JSON object.",
        "request_id": "8f1c0a52d6e94b7c",
    }
}


class ModelFacts(TypedDict):
    """A served model. `created_s` is the Unix time of its folder, `path` that folder."""

    name: str
    family: str
    sample_rate_hz: int
    languages: list[str]
    created_s: int
    loaded: bool
    can_translate: bool
    can_stream: bool
    path: str


@router.put(
    "/models/{name:path}",
    summary="Exchange a model",
    openapi_extra={
        "parameters": [_NAME],
        "requestBody": {"required": True, "content": {"application/json": {"schema": _BODY}}},
    },
    responses={200: {"model": ModelFacts}, **refusals(400, 404, 408, 409, 413, 422, example=_EXAMPLE)},
)
async def exchange(request: Request, principal: Operator) -> Response:
    """Loads the folder, and answers once every new request gets it. Requests that are being heard finish with the old
    model, which stays where the new one cannot be loaded. A restart brings back the models of the settings.
    """
    parts = parts_of(request)
    async with recorded(request, principal) as record:
        refuse_query(request)
        name = str(request.path_params["name"])
        with suppress(MissingPart):  # a model that is not there may be replaced too
            name = parts.catalog.find(name).name
        asked = await read_text_fields(request, ("path",), longest=LONGEST_PATH)
        record.details |= {"model": name, "path": asked["path"]}
        folder = await asyncio.to_thread(allowed_folder, asked["path"], parts.settings.models.folders)
        try:
            found = await parts.catalog.swap(name, folder)
        except MissingPart as err:
            raise CannotBeServed(err.message, hint=err.hint or "The model of before goes on.") from err
        facts: dict[str, Any] = {**asdict(found), "path": str(folder)}
        return JSONResponse(facts)
