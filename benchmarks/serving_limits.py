"""What a loaded server does to everybody else: lag of its event loop, refusals, and how soon it is ready."""

import re
import statistics
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.serving_clients import Answer, form, load
from benchmarks.serving_load import AT_ONCE, latency
from benchmarks.serving_server import Server, running
from benchmarks.serving_streams import in_real_time

SOCKETS = 20
PLACE = 0.99
_BUCKET = re.compile(r'^asr_event_loop_lag_seconds_bucket\{le="([^"]+)"\} ([0-9.e+]+)$', re.MULTILINE)


def event_loop(server: Server, files: Sequence[Path], seconds: float) -> dict[str, Any]:
    """Lag of the event loop while files come, 8 at a time, beside sockets in real time; by the server's own metric."""
    bodies, answers = [form(path) for path in files], []
    load(server.port, bodies, at_once=AT_ONCE)
    quiet = _lags(server, min(seconds, 5.0))
    with in_real_time(server, SOCKETS) as heard:
        time.sleep(1.0)  # until the sockets are open
        before, until = buckets(server.get("/metrics")), time.monotonic() + seconds
        while time.monotonic() < until:
            answers += load(server.port, bodies, at_once=AT_ONCE)
        after = buckets(server.get("/metrics"))
    counts = _difference(after, before)
    failed = sum(answer.status != 200 for answer in answers)
    return {
        "event loop's lag without load, p99": {"value": quantile(quiet, PLACE), "unit": "s",
                                               "spread": [quantile(quiet, 0.5), quantile(quiet, 1.0)]},
        "event loop's lag, p99": {
            "value": quantile(counts, PLACE), "unit": "s", "at_most": 0.02,
            "spread": [quantile(counts, 0.5), quantile(counts, 1.0)], "looks": int(max(counts.values())),
        },
        "files that failed beside streams": {"value": failed, "unit": f"of {len(answers)}", "at_most": 0},
        "streams that failed beside files": {
            "value": len(heard.failures), "unit": f"of {SOCKETS}", "at_most": 0, "events": heard.events,
            "first": heard.failures[:1],
        },
    }  # fmt: skip


def _lags(server: Server, seconds: float) -> dict[float, float]:
    """Of a server that nobody asks anything: what the machine's other work does."""
    before = buckets(server.get("/metrics"))
    time.sleep(seconds)
    return _difference(buckets(server.get("/metrics")), before)


def _difference(after: dict[float, float], before: dict[float, float]) -> dict[float, float]:
    return {edge_s: after[edge_s] - before.get(edge_s, 0.0) for edge_s in after}


def buckets(metrics: str) -> dict[float, float]:
    """Cumulative counts of the lag by upper edge."""
    return {float(edge): float(count) for edge, count in _BUCKET.findall(metrics)}


def quantile(counts: dict[float, float], place: float) -> float:
    """The upper edge of the bucket that holds a quantile: the lag is that or less. 10 s stand for beyond the last."""
    total = max(counts.values())
    edge_s = min(edge for edge, count in counts.items() if count >= place * total)
    return min(edge_s, 10.0)


def full_queue(server: Server, file: Path, requests: int) -> dict[str, Any]:
    """Refusals of a server with hardly any places, as clients see them: the upload is part of it."""
    body = form(file)
    answers = load(server.port, [body], at_once=AT_ONCE, requests=4 * requests)
    refused = [answer for answer in answers if answer.status == 503 and answer.code == "queue_full"]
    failed = [answer for answer in answers if answer.status != 200 and answer not in refused]
    if not refused:
        raise RuntimeError("nothing was refused; the queue is too large for the load")
    return {
        "a refusal, p95": {**latency([answer.took_s for answer in refused], 95), "at_most": 0.05},
        "a refusal, p50": latency([answer.took_s for answer in refused], 50),
        "a refusal beside one upload, p95": {**_one_refused(server, body, requests), "at_most": 0.05},
        "admitted requests that failed": {"value": len(failed), "unit": f"of {len(answers) - len(refused)}",
                                          "at_most": 0},
    }  # fmt: skip


def _one_refused(server: Server, body: bytes, requests: int) -> dict[str, Any]:
    """Refusals of one client beside others that fill the queue with long work."""
    stop, refused = threading.Event(), list[Answer]()

    def fill() -> None:
        while not stop.is_set():
            load(server.port, [body], at_once=1)

    fillers = [threading.Thread(target=fill) for _ in range(4)]
    for thread in fillers:
        thread.start()
    while len(refused) < requests:
        refused += [answer for answer in load(server.port, [body], at_once=1) if answer.code == "queue_full"]
    stop.set()
    for thread in fillers:
        thread.join()
    return latency([answer.took_s for answer in refused], 95)


def starts(model: Path, times: int) -> dict[str, Any]:
    """From the start of the process until /ready says yes, and the CPU time of it with its decode workers."""
    wall_s, cpu_s = [], []
    for _ in range(times):
        with running(model) as server:
            wall_s.append(server.ready_s)
            cpu_s.append(server.cpu_s)
    return {
        "start to ready": {
            "value": round(statistics.median(wall_s), 3), "unit": "s", "spread": [min(wall_s), max(wall_s)],
            "at_most": 3.0, "starts": times,
        },
        "start to ready, CPU": {
            "value": round(statistics.median(cpu_s), 3), "unit": "s", "spread": [min(cpu_s), max(cpu_s)],
        },
    }  # fmt: skip
