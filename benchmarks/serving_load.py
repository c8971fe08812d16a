"""Throughput, overhead and latency of a server, beside the engine that it runs."""

import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import Timing, timed
from benchmarks.inference_figures import equal_texts, gain
from benchmarks.serving_clients import Answer, form, load
from benchmarks.serving_server import Server
from harken.core import Recognizer

AT_ONCE = 8


def throughput(
    server: Server, engine: Recognizer, files: Sequence[Path], rounds: int, *, needed: bool
) -> dict[str, Any]:
    """Files at once, beside the same one at a time, by the server and by the bare engine, taking turns. `needed` says
    whether all texts have to be equal: int8 scales what a pass hears together, so that company can change a text.
    """
    bodies, texts = [form(path) for path in files], [engine.transcribe(path).text for path in files]
    wall: dict[str, list[float]] = {"at once": [], "one by one": [], "engine": []}
    cpu: dict[str, list[float]] = {name: [] for name in wall}
    said: list[str] = []
    for turn in range(rounds + 1):  # the first is not counted
        for name, at_once in (("one by one", 1), ("at once", AT_ONCE)):
            answers, wall_s, cpu_s = _measured(server, bodies, at_once)
            said += [answer.text for answer in answers]
            if turn:
                wall[name].append(wall_s)
                cpu[name].append(cpu_s)
        wall_s, cpu_s = timed(lambda: [engine.transcribe(path) for path in files])
        if turn:
            wall["engine"].append(wall_s)
            cpu["engine"].append(cpu_s)
    timings = {name: Timing(wall_s=wall[name], cpu_s=cpu[name]) for name in wall}
    label = f"{AT_ONCE} files at once over one at a time"
    return {
        f"{label}, wall": gain(timings, "at once", "one by one", "wall_s", at_least=1.3),
        f"{label}, CPU": gain(timings, "at once", "one by one", "cpu_s"),
        f"{AT_ONCE} files at once over the bare engine one by one, wall": gain(timings, "at once", "engine", "wall_s"),
        f"{AT_ONCE} files at once over the bare engine one by one, CPU": gain(timings, "at once", "engine", "cpu_s"),
        "texts equal to the bare engine's": equal_texts(said, texts * (len(said) // len(texts)), needed=needed),
    }


def overhead(
    server: Server, engine: Recognizer, file: Path, name: str, *, times: int, rounds: int, at_most: float | None = None
) -> dict[str, Any]:
    """CPU of the server for one file alone beyond that of the bare engine, which decodes the file itself."""
    bodies = [form(file)] * times
    load(server.port, bodies[:3], at_once=1)
    engine.transcribe(file)
    ours, bare = [], []
    for _ in range(rounds):
        ours.append(_measured(server, bodies, 1)[2] / times)
        bare.append(timed(lambda: [engine.transcribe(file) for _ in bodies])[1] / times)
    beyond = [round(100 * (a / b - 1), 2) for a, b in zip(ours, bare, strict=True)]
    more_ms = [round(1000 * (a - b), 2) for a, b in zip(ours, bare, strict=True)]
    share = round(100 * (statistics.median(ours) / statistics.median(bare) - 1), 2)
    bound = {} if at_most is None else {"at_most": at_most}
    return {
        f"overhead, {name}": {"value": share, "unit": "% CPU", "spread": [min(beyond), max(beyond)],
                              "rounds": rounds, **bound},
        f"overhead, {name}, in time": {"value": round(1000 * (statistics.median(ours) - statistics.median(bare)), 2),
                                       "unit": "ms CPU", "spread": [min(more_ms), max(more_ms)], "rounds": rounds},
        f"the bare engine, {name}": {"value": round(1000 * statistics.median(bare), 2), "unit": "ms CPU",
                                     "spread": [round(1000 * min(bare), 2), round(1000 * max(bare), 2)]},
    }  # fmt: skip


def alone(server: Server, file: Path, times: int) -> dict[str, Any]:
    """How long a lone request takes."""
    return latency([answer.took_s for answer in load(server.port, [form(file)], at_once=1, requests=times)], 50)


def curve(server: Server, file: Path, at_once: Sequence[int], requests: int) -> dict[str, Any]:
    """Latencies of a file by how many clients send it at once."""
    body, figures = form(file), {}
    for clients in at_once:
        answers = load(server.port, [body], at_once=clients, requests=max(requests, 4 * clients))
        took_s = [answer.took_s for answer in answers]
        for place in (50, 95):
            figures[f"latency p{place}, {clients} at once"] = latency(took_s, place)
    return figures


def latency(took_s: Sequence[float], place: int) -> dict[str, Any]:
    """A percentile, and the fastest and slowest."""
    return {
        "value": round(float(np.percentile(took_s, place)), 5),
        "unit": "s",
        "spread": [round(min(took_s), 5), round(max(took_s), 5)],
        "requests": len(took_s),
    }


def _measured(server: Server, bodies: Sequence[bytes], at_once: int) -> tuple[list[Answer], float, float]:
    """(answers, wall seconds, CPU seconds of the server). Raises for an answer that is no transcript."""
    before, began = server.cpu_s, time.perf_counter()
    answers = load(server.port, bodies, at_once=at_once)
    wall_s = time.perf_counter() - began
    bad = [answer for answer in answers if answer.status != 200]
    if bad:
        raise RuntimeError(
            f"{len(bad)} of {len(answers)} requests failed, the first with {bad[0].status} {bad[0].code}"
        )
    return answers, wall_s, server.cpu_s - before
