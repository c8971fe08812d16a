"""A small server that speaks the contract of Harken's native API, on a socket of its own, for the clients' tests.

Its text is made of what came: the length of a file, the seconds of a stream. It records requests and can be told to
refuse, so that a test decides what a client meets.
"""

import hashlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any

import uvicorn
from fastapi import APIRouter, FastAPI, File, Form, Request, UploadFile, WebSocket
from starlette.responses import JSONResponse, Response
from starlette.websockets import WebSocketDisconnect

KEY = "hk_test_secret-of-the-tests"


@dataclass
class Contract:
    """What the server does, and what it was asked."""

    key: str | None = None
    refusals: list[tuple[int, dict[str, str], dict[str, Any]]] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)
    messages: list[Any] = field(default_factory=list)
    delays_s: dict[str, float] = field(default_factory=dict)  # by file name
    close_after_s: tuple[float, int] | None = None  # of audio, and the code
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    silent: bool = False  # a stream without an answer
    url: str = ""

    def denied(self, headers: Any, protocols: list[str]) -> bool:
        shown = [headers.get("authorization", "").removeprefix("Bearer "), *(p[11:] for p in protocols)]
        return self.key is not None and self.key not in shown


def error(status: int, code: str, message: str, hint: str = "", **headers: str) -> JSONResponse:
    fields = {"code": code, "message": message, "hint": hint, "request_id": "req-1"}
    return JSONResponse({"error": fields}, status_code=status, headers=headers)


def contract_app(contract: Contract) -> FastAPI:
    app = FastAPI()

    @app.middleware("http")
    async def gate(request: Request, call_next: Callable[..., Any]) -> Response:
        if contract.refusals and not request.url.path.startswith("/playground"):
            status, headers, body = contract.refusals.pop(0)
            return JSONResponse(body, status_code=status, headers=headers)
        private = request.url.path not in ("/health", "/ready") and not request.url.path.startswith("/playground")
        if private and contract.denied(request.headers, []):
            return error(401, "not_authenticated", "There is no valid key.", "Send one.")
        return await call_next(request)  # type: ignore[no-any-return]

    app.include_router(_files(contract))
    app.include_router(_jobs(contract))
    app.include_router(_info())
    app.websocket("/ws/transcribe")(_live(contract))
    return app


def transcription(data: bytes, model: str | None, *, word_times: bool, language: str | None) -> dict[str, Any]:
    """A text that says how long the file is and begins with its hash; two segments, of two and one words."""
    words = [
        {"text": text, "start_s": 0.5 * n, "end_s": 0.5 * n + 0.4, "confidence": 0.9}
        for n, text in enumerate([hashlib.sha256(data).hexdigest()[:8], str(len(data)), "bytes"])
    ]
    segments: list[dict[str, Any]] = [
        {"text": " ".join(w["text"] for w in part), "start_s": part[0]["start_s"], "end_s": part[-1]["end_s"],
         "language": language} | ({"words": part} if word_times else {})
        for part in (words[:2], words[2:])
    ]  # fmt: skip
    timings = {"decode_s": 0.01, "queue_s": 0.02, "inference_s": 0.03, "total_s": 0.06}
    answer = {"text": " ".join(w["text"] for w in words), "language_detected": language, "model": model or "tiny",
              "duration_s": 1.5, "confidence": 0.9, "segments": segments, "timings": timings, "batch_size": 2,
              "cached": False, "request_id": "req-1", "new_in_a_later_version": 1}  # fmt: skip
    return answer | ({"words": words} if word_times else {})


def _files(contract: Contract) -> APIRouter:
    router = APIRouter()

    @router.post("/transcribe")
    def transcribe(request: Request, file: UploadFile, model: Annotated[str | None, Form()] = None,
                   language_hint: Annotated[str | None, Form()] = None, word_times: Annotated[bool, Form()] = False,
                   hotwords: Annotated[str | None, Form()] = None, prompt: Annotated[str | None, Form()] = None,
                   temperature: Annotated[float | None, Form()] = None,
                   format: Annotated[str, Form()] = "json") -> Response:  # fmt: skip
        data = file.file.read()
        fields = {"model": model, "language_hint": language_hint, "word_times": word_times, "hotwords": hotwords,
                  "prompt": prompt, "temperature": temperature, "format": format}  # fmt: skip
        contract.calls.append({"name": file.filename, "size": len(data), "headers": dict(request.headers), **fields})
        time.sleep(contract.delays_s.get(file.filename or "", 0.0))
        if data.startswith(b"not audio"):
            return error(415, "audio_decode_error", "The file is not audio of a known kind.", "Send WAV or FLAC.")
        if model == "absent":
            return error(404, "unknown_model", "No model is called 'absent'.", "Use one of tiny.")
        return JSONResponse(transcription(data, model, word_times=word_times, language=language_hint))

    return router


def _jobs(contract: Contract) -> APIRouter:
    router = APIRouter()

    def view(id_: str) -> dict[str, Any]:
        job = contract.jobs[id_]
        job["asked"] += 1
        if job["state"] != "cancelled":
            job["state"] = ("queued", "running", "done")[min(job["asked"], 3) - 1]
        items, done = len(job["names"]), job["state"] == "done"
        counts = {"queued": 0 if done else items, "running": 0, "done": items if done else 0, "failed": 0}
        return {"job": {"id": id_, "kind": "transcribe", "state": job["state"], "items": items, **counts,
                        "cancelled": 0, "created_s": 1.0, "finished_s": 2.0 if done else None}}  # fmt: skip

    @router.post("/transcribe/batch", status_code=202)
    def submit(request: Request, files: Annotated[list[UploadFile], File()], mode: Annotated[str, Form()],
               webhook: Annotated[str | None, Form()] = None,
               model: Annotated[str | None, Form()] = None) -> Any:  # fmt: skip
        contents = [file.file.read() for file in files]
        contract.jobs["job1"] = {"names": [f.filename for f in files], "contents": contents, "webhook": webhook,
                                 "mode": mode, "model": model, "state": "queued", "asked": 0}  # fmt: skip
        contract.calls.append({"key": request.headers["idempotency-key"]})
        return view("job1")

    @router.get("/jobs/{id_}")
    def job(id_: str) -> Any:
        return view(id_) if id_ in contract.jobs else error(404, "not_found", "There is no such job.")

    @router.get("/jobs/{id_}/results")
    def results(id_: str, offset: int, limit: int) -> Any:
        names, contents = contract.jobs[id_]["names"], contract.jobs[id_]["contents"]

        def answer(index: int) -> dict[str, Any]:
            if contents[index].startswith(b"not audio"):
                told = {"code": "audio_decode_error", "message": "no audio", "hint": ""}
                return {"index": index, "name": names[index], "state": "failed", "result": None, "error": told}
            made = transcription(contents[index], None, word_times=False, language=None)
            return {"index": index, "name": names[index], "state": "done", "result": made, "error": None}

        return {"results": [answer(index) for index in range(len(names))][offset : offset + limit]}

    @router.delete("/jobs/{id_}")
    def cancel(id_: str) -> Any:
        contract.jobs[id_]["state"] = "cancelled"
        return view(id_)

    return router


def _info() -> APIRouter:
    router = APIRouter()

    @router.get("/v1/models")
    def models() -> Any:
        return {"object": "list", "data": [
            {"id": name, "object": "model", "created": 1700000000, "owned_by": "harken"} for name in ("tiny", "other")
        ]}  # fmt: skip

    @router.get("/health")
    def health() -> Any:
        return {"status": "live"}

    @router.get("/ready")
    def ready() -> Any:
        return JSONResponse(
            {"status": "not_ready", "checks": {
                "model": {"ok": False, "required": True, "detail": "loading", "ms": 1.5}}},
            status_code=503,
        )  # fmt: skip

    @router.get("/stats")
    def stats() -> Any:
        return {"requests": 3}

    return router


def _live(contract: Contract) -> Callable[[WebSocket], Any]:
    """A word for each second of audio: a hypothesis of it after half of that, an endpoint after each third word."""

    async def live(socket: WebSocket) -> None:
        protocols = socket.scope["subprotocols"]
        if contract.refusals:
            status, headers, body = contract.refusals.pop(0)
            await socket.send_denial_response(JSONResponse(body, status_code=status, headers=headers))
            return
        if contract.denied(socket.headers, protocols):
            await socket.send_denial_response(error(401, "not_authenticated", "There is no valid key."))
            return
        await socket.accept(subprotocol="harken" if "harken" in protocols else None)
        start = json.loads(await socket.receive_text())
        contract.messages.append(start)
        if contract.silent:
            await socket.receive()
            return
        if start.get("model") == "absent":
            fields = {"code": "unknown_model", "message": "No model is called 'absent'.", "hint": "Use tiny."}
            await socket.send_json({"type": "error", "error": fields})
            await socket.close(1008)
            return
        ready = {"session_id": "s-1", "model": start.get("model") or "tiny", "sample_rate": 16000}
        await socket.send_json({"type": "ready", **ready})
        try:
            await _hear(socket, contract, 2 * start["sample_rate"] * start.get("channels", 1))
        except WebSocketDisconnect as gone:
            contract.messages.append({"gone": gone.code})

    return live


async def _hear(socket: WebSocket, contract: Contract, bytes_per_s: int) -> None:
    heard, lines, told = 0, [[]], 0  # type: int, list[list[str]], int

    async def say(**event: Any) -> None:
        await socket.send_json(event)

    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code") or 1006)
        if (audio := message.get("bytes")) is not None:
            heard += len(audio)
            at_s = heard / bytes_per_s
            while told < int(2 * at_s):
                told += 1
                word = f"word{(told + 1) // 2}"
                if told % 2:
                    await say(type="hypothesis", text=word, at_s=at_s)
                    continue
                end_s = told / 2
                timed = {"text": word, "start_s": end_s - 0.8, "end_s": end_s - 0.1, "confidence": 0.8}
                await say(type="committed", text=word, words=[timed], at_s=at_s)
                lines[-1].append(word)
                if len(lines[-1]) == 3:
                    await say(type="endpoint", rule="pause", silence_s=end_s, at_s=at_s)
                    lines.append([])
            if contract.close_after_s is not None and at_s >= contract.close_after_s[0]:
                await socket.close(contract.close_after_s[1])
                return
            continue
        data = json.loads(message["text"])
        contract.messages.append(data)
        if data["type"] == "flush":
            await say(type="endpoint", rule="flush", silence_s=heard / bytes_per_s, at_s=heard / bytes_per_s)
        elif data["type"] == "finish":
            text = "\n".join(" ".join(line) for line in lines if line)
            await say(type="final", text=text, duration_s=heard / bytes_per_s)
            await socket.close(1000)
            return
        elif data["type"] != "keepalive":
            fields = {"code": "input_error", "message": "That is no message.", "hint": "Send another."}
            await say(type="error", error=fields)


@contextmanager
def running(app: FastAPI) -> Iterator[str]:
    """The address of `app` on a free port of this machine, for as long as the context lasts."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="websockets-sansio", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="contract-server")
    thread.start()
    try:
        deadline = time.monotonic() + 20
        while not server.started and time.monotonic() < deadline:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()
