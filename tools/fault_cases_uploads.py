"""The cases that are uploads: audio that cannot be heard, bodies that lie, parameters that are wrong."""

import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from tests.serving.faults import sounds
from tests.serving.faults.canaries import PLAYLISTS, Watch
from tests.serving.faults.raw_bodies import NAMES, chunk, form, head, part
from tests.serving.faults.test_audio import BAD

from tools.fault_cases_server import MIB, Answer, Target

SENT_BYTES = 64 * MIB
"""How much a body without an end sends at most."""


class Pose(dict[str, Any]):
    """One thing that was done: `what`, its `outcome` in words, and whether it is `as_asked`."""

    def __init__(self, what: str, outcome: object, as_asked: bool) -> None:
        super().__init__(what=what, outcome=str(outcome), as_asked=as_asked)


def bad_audio(*kinds: str) -> Callable[[Target], list[Pose]]:
    """Refused with a status of the client's."""

    def run(target: Target) -> list[Pose]:
        poses = []
        for kind in kinds:
            answer = target.post(BAD[kind][0]())
            poses.append(Pose(kind, answer, answer.refused))
        return poses

    return run


def forged_header(kind: str) -> Callable[[Target], list[Pose]]:
    """Refused, and not believed: memory stays."""

    def run(target: Target) -> list[Pose]:
        with target.watched() as growth:
            answer = target.post(BAD[kind][0]())
        return [Pose(kind, f"{answer}; {_grown(growth.bytes)}", answer.refused and growth.bytes < 64 * MIB)]

    return run


def playlists(*kinds: str) -> Callable[[Target], list[Pose]]:
    """Refused, with the file that they name unread and no socket opened."""

    def run(target: Target) -> list[Pose]:
        return [_playlist(target, kind) for kind in kinds]

    return run


def _playlist(target: Target, kind: str) -> Pose:
    name, text = PLAYLISTS[kind]
    with tempfile.TemporaryDirectory() as folder, closing(socket.create_server(("127.0.0.1", 0))) as listener:
        canary = Path(folder) / "secret.wav"
        canary.write_bytes(sounds.recording())
        listener.setblocking(False)
        port = listener.getsockname()[1]
        with closing(Watch([canary])) as watch, target.watched() as growth:
            body = text.format(canary=canary, url=f"http://127.0.0.1:{port}/secret.ts", port=port)
            answer = target.post(body.encode(), name=name)
            touched = ["the canary was read"] if watch.was_opened() else []
        try:
            listener.accept()[0].close()
            touched.append("a connection was opened")
        except BlockingIOError:
            pass
        touched += ["a UDP port was opened"] if growth.ports else []
    return Pose(kind, "; ".join([str(answer), *touched]), answer.refused and not touched)


def hour_of_opus(target: Target) -> list[Pose]:
    with target.watched() as growth, Pulse(target) as pulse:
        answer = target.post(sounds.hours_of_opus(3600), name="a.opus")
    grown = f"{answer}; {_grown(growth.bytes)}; {pulse}"
    return [Pose("1 h in 1 MB, limit 10 min", grown, answer.status == 413 and growth.bytes < 64 * MIB)]


def chunked_over_the_limit(target: Target) -> list[Pose]:
    pieces = [chunk(part("file", b"", file="a.wav")[:-2]), *[chunk(bytes(MIB))] * (SENT_BYTES // MIB)]
    with target.watched() as growth:
        answer, sent = target.send_raw(_head(target, "Transfer-Encoding: chunked"), *pieces)
    outcome = f"{answer}; {sent // MIB} of {SENT_BYTES // MIB} MiB were taken; {_grown(growth.bytes)}"
    return [Pose("no end of chunks", outcome, answer.status == 413)]


def wrong_lengths(target: Target) -> list[Pose]:
    poses = []
    for length, wanted in (("-5", 400), ("99999999999999999", 413), ("99999999999999999999999999", 400)):
        answer, _ = target.send_raw(_head(target, f"Content-Length: {length}"), timeout_s=8)
        poses.append(Pose(f"Content-Length: {length}", answer, answer.refused and answer.status in (wanted, 400, 413)))
    return poses


def many_parts(target: Target) -> list[Pose]:
    poses = []
    for what, file in (("fields", None), ("files", "a.wav")):
        body = b"".join(part(f"f{n}", b"x", file=file) for n in range(10_000)) + b"--limit--\r\n"
        with target.watched() as growth:
            answer, _ = target.send_raw(_head(target, f"Content-Length: {len(body)}"), body)
        fine = answer.refused and growth.bytes < 64 * MIB
        poses.append(Pose(f"10,000 {what}", f"{answer}; {_grown(growth.bytes)}", fine))
    return poses


def slow_body(target: Target) -> list[Pose]:
    pieces = (_head(target, "Content-Length: 1000"), part("file", b"RIFF", file="a.wav"))
    answer, _ = target.send_raw(*pieces, timeout_s=30)
    return [Pose("nothing more comes", answer, answer.status == 408)]


def parameters(target: Target) -> list[Pose]:
    """400 in the shape of the API that is asked."""
    audio = sounds.recording(0.5)
    asked: dict[str, tuple[bytes | None, dict[str, str | None]]] = {
        "no file": (None, {}),
        "an unknown parameter": (audio, {"volume": "11"}),
        "a temperature of 9": (audio, {"temperature": "9"}),
        "no number as temperature": (audio, {"temperature": "warm"}),
        "an unknown format": (audio, {"response_format" if target.shape == "openai" else "format": "docx"}),
    }
    if target.shape == "openai":
        asked["no model"] = (audio, {"model": None})
    return _in_shape(target, {what: target.post(sent, **fields) for what, (sent, fields) in asked.items()}, (400,))


def unknown_model_or_language(target: Target) -> list[Pose]:
    audio = sounds.recording(0.5)
    hint = "language" if target.shape == "openai" else "language_hint"
    answers = {
        "an unknown model": target.post(audio, model="gpt-9"),
        "a path as model": target.post(audio, model="../../etc"),
        "an unknown language": target.post(audio, **{hint: "klingon"}),
    }
    return _in_shape(target, answers, (400, 404))


def names_of_files(target: Target) -> list[Pose]:
    """Heard, or refused as no name; nothing of the name gets anywhere."""
    poses = []
    for kind, name in NAMES.items():
        body = form(target.path, sounds.recording(0.5), name).replace(b"whisper-1", target.model.encode() or b"-")
        answer, _ = target.send_raw(_head(target, f"Content-Length: {len(body)}"), body, timeout_s=target.timeout_s)
        escaped = Path("/tmp/harken-escaped.wav").exists() or "set-cookie" in answer.headers
        poses.append(Pose(kind, answer, (answer.status == 200 or answer.refused) and not escaped))
    return poses


def good_file(seconds: float, seed: int = 0) -> bytes:
    """Noise at speaking level, cached by no server."""
    samples = 0.2 * np.random.default_rng(seed).standard_normal(round(seconds * sounds.RATE))
    return sounds.wav(np.rint(np.clip(samples, -1, 1) * 32_767).astype("<i2").tobytes())


class Pulse:
    """The longest that /health took within the context, asked again and again."""

    def __init__(self, target: Target) -> None:
        self.longest_s = 0.0
        self._target, self._over = target, threading.Event()
        self._thread = threading.Thread(target=self._beat)

    def _beat(self) -> None:
        while not self._over.wait(0.1):
            began_s = time.monotonic()
            self._target.get("/health", timeout_s=self._target.timeout_s)
            self.longest_s = max(self.longest_s, time.monotonic() - began_s)

    def __enter__(self) -> "Pulse":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def __str__(self) -> str:
        return f"/health took {self.longest_s:.1f} s at most"


def _in_shape(target: Target, answers: dict[str, Answer], statuses: Iterable[int]) -> list[Pose]:
    return [
        Pose(what, answer, answer.status in tuple(statuses) and answer.shape == target.shape)
        for what, answer in answers.items()
    ]


def _head(target: Target, *headers: str) -> bytes:
    return head(target.path, *(f"{name}: {value}" for name, value in target.headers.items()), *headers)


def _grown(size: int) -> str:
    return f"memory +{max(size, 0) / MIB:.0f} MiB"
