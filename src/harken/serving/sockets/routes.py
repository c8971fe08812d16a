"""The WebSocket routes of the server."""

import hashlib
import uuid
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.websockets import WebSocket

from harken.core import InputError
from harken.http.auth import requires
from harken.http.principals import Principal
from harken.http.request_ids import request_id_of
from harken.serving.contract import DEFAULT_MODEL, ModelCatalog
from harken.serving.errors import UnknownModel
from harken.serving.parts import parts_of
from harken.serving.sockets.conversation import Conversation
from harken.serving.sockets.deepgram import DeepgramDialect
from harken.serving.sockets.deepgram_query import read_query
from harken.serving.sockets.dialect import Dialect
from harken.serving.sockets.native import NativeDialect
from harken.serving.sockets.realtime import RealtimeDialect
from harken.serving.sockets.realtime_session import RealtimeSession, model_name
from harken.serving.sockets.vosk import VoskDialect

StreamPrincipal = Annotated[Principal, Depends(requires("stream"))]

router = APIRouter()


@router.websocket("/ws/transcribe")
async def transcribe(websocket: WebSocket, principal: StreamPrincipal) -> None:
    """Harken's own protocol."""
    await _converse(websocket, principal, NativeDialect(_request_id(websocket)))


@router.websocket("/v1/listen")
async def listen(websocket: WebSocket, principal: StreamPrincipal) -> None:
    """Deepgram's."""
    catalog = parts_of(websocket).catalog
    query = read_query(websocket.query_params.multi_items(), lambda name: _is_served(catalog, name))
    model = catalog.find(query.stream.model)
    dialect = DeepgramDialect(
        query,
        request_id=_request_id(websocket),
        created=datetime.now(UTC),
        model=model.name,
        model_id=str(uuid.UUID(bytes=hashlib.sha256(f"{model.name} {model.created_s}".encode()).digest()[:16])),
    )
    await _converse(websocket, principal, dialect)


@router.websocket("/v1/realtime")
async def realtime(
    websocket: WebSocket, principal: StreamPrincipal, intent: str = "", model: str = DEFAULT_MODEL
) -> None:
    """OpenAI's, for transcription."""
    if intent != "transcription":
        raise InputError(f"intent is {intent[:50]!r}.", hint="Connect with ?intent=transcription.")
    catalog = parts_of(websocket).catalog

    def knows(name: str) -> bool:
        return _is_served(catalog, name)

    session = RealtimeSession(model=catalog.find(model_name(model, knows)).name)
    session_id = f"sess_{uuid.uuid4().hex}"
    await _converse(websocket, principal, RealtimeDialect(session, session_id=session_id, knows_model=knows))


@router.websocket("/")
@router.websocket("/vosk")
async def vosk(websocket: WebSocket, principal: StreamPrincipal) -> None:
    """vosk-server's, whose clients connect to the root."""
    await _converse(websocket, principal, VoskDialect())


async def _converse(websocket: WebSocket, principal: Principal, dialect: Dialect) -> None:
    parts = parts_of(websocket)
    conversation = Conversation(
        websocket,
        dialect,
        parts=parts,
        principal=principal,
        settings=parts.settings.sockets,
        request_id=_request_id(websocket),
    )
    await conversation.run()


def _request_id(websocket: WebSocket) -> str:
    return request_id_of(websocket.scope) or uuid.uuid4().hex


def _is_served(catalog: ModelCatalog, name: str) -> bool:
    try:
        catalog.find(name)
    except UnknownModel:
        return False
    return True
