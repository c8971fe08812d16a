"""Memory of a server: over thousands of requests, for streams that wait, over half an hour of silence."""

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.serving_clients import form, load
from benchmarks.serving_load import AT_ONCE
from benchmarks.serving_server import Server
from benchmarks.serving_streams import idle_bytes, silence

MIB = 1 << 20
HOUR_REQUESTS = 10_000  # a busy hour of one server
LOOKS = 40
WARM_UP = 0.25


def many_requests(server: Server, files: Sequence[Path], requests: int) -> dict[str, Any]:
    """Growth of memory with the number of requests, and whether one of them failed."""
    bodies, step = [form(path) for path in files], max(1, requests // LOOKS)
    seen: list[tuple[int, float]] = []
    failed, took_s = 0, 0.0
    for done in range(step, requests + 1, step):
        answers = load(server.port, bodies, at_once=AT_ONCE, requests=step)
        failed += sum(answer.status != 200 for answer in answers)
        took_s += max(answer.began_s + answer.took_s for answer in answers) - min(answer.began_s for answer in answers)
        seen.append((done, server.rss_bytes / MIB))
    late = [(done, mib) for done, mib in seen if done > WARM_UP * requests]
    grown = [HOUR_REQUESTS * slope for slope in slopes(late)]
    low, middle, high = np.percentile(grown, [25, 50, 75])
    return {
        f"memory growth in {HOUR_REQUESTS:,} requests": {
            "value": round(float(middle), 3), "unit": "MiB", "at_most": 1.0,
            "spread": [round(float(low), 3), round(float(high), 3)], "requests": requests,
            "mib": [round(mib, 2) for _, mib in seen], "requests_per_s": round(requests / took_s, 1),
        },
        "requests that failed": {"value": failed, "unit": f"of {requests}", "at_most": 0},
    }  # fmt: skip


def slopes(points: Sequence[tuple[float, float]]) -> list[float]:
    """Of the lines through any two points; their median is the Theil-Sen estimate, which single steps do not move.

    P. K. Sen, "Estimates of the regression coefficient based on Kendall's tau" (1968).
    """
    return [(y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in combinations(points, 2)]


def idle_stream(server: Server, sockets: int, wait_s: float) -> dict[str, Any]:
    """Memory of a stream without audio, on a server that has had such streams before."""
    first = idle_bytes(server, sockets, wait_s) / MIB
    again = idle_bytes(server, sockets, wait_s) / MIB
    return {
        "memory of an idle stream": {
            "value": round(first, 3), "unit": "MiB", "at_most": 2.0,
            "spread": sorted([round(first, 3), round(again, 3)]),
            "streams": sockets,
        }
    }  # fmt: skip


def silent_socket(server: Server, minutes: float) -> dict[str, Any]:
    """Memory over minutes of silence on one socket, which the server takes faster than they last.

    A socket of a third of that comes before: the first stream also fills the pools of threads and allocators.
    """
    silence(server, minutes / 3)
    rss_bytes, took_s = silence(server, minutes)
    mib = [bytes_ / MIB for bytes_ in rss_bytes]
    settled = mib[min(2, len(mib) - 1) :]
    grown = settled[-1] - settled[0]
    return {
        "memory growth over a silent socket": {
            "value": round(grown, 3), "unit": "MiB", "at_most": 1.0,
            "spread": [round(min(settled) - settled[0], 3), round(max(settled) - settled[0], 3)],
            "minutes": minutes, "took_s": round(took_s, 1), "mib": [round(each, 2) for each in mib],
        }
    }  # fmt: skip
