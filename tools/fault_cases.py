"""The 40 cases of bad input and faults, posed from outside to a server by its URL.

    python -m tools.fault_cases --url http://127.0.0.1:8000 --name "Harken 0.1" --key KEY --pid PID --out cases.json
    python -m tools.fault_cases --url http://127.0.0.1:9091 --ws ws://127.0.0.1:9090 --sockets whisperlive ...

It runs on the machine of the server, whose memory it looks at by `--pid`. Cases that need more than the server's URL
are posed where that is given: `--rated-url`, `--rated-key` (may ask three times in a minute), `--broken-url` (was
started with a model that is not there), `--metrics-url`, `--streams` (how many it takes). SIGTERM comes last. A server
that does not come back after a case within a minute is started anew by `--restart`, a command that prints its PID.
"""

import argparse
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from benchmarks.harness import machine_facts
from tests.serving.faults.test_cases import CASES

from tools import fault_cases_callers as callers
from tools import fault_cases_sockets as sockets
from tools import fault_cases_uploads as uploads
from tools.fault_cases_server import MIB, Target

INSIDE = "needs a hand inside the server"
_REST_S = 60.0
"""How long a server may take to come to rest after a case."""

Case = Callable[[Target], list[uploads.Pose]]


def cases(options: argparse.Namespace) -> Iterator[tuple[int, Case | str]]:
    """Each case by its number: what poses it, or why it is not posed."""
    yield 1, uploads.bad_audio("empty")
    yield 2, uploads.bad_audio("zero samples")
    yield 3, uploads.bad_audio("99 ms")
    yield 4, uploads.bad_audio("random bytes")
    yield 5, uploads.bad_audio("truncated")
    yield 6, uploads.bad_audio("video only")
    yield 7, uploads.playlists("ffconcat by content", "ffconcat by name", "m3u8 by content", "m3u8 by name")
    yield 8, lambda target: uploads.playlists("DASH", "SDP")(target) + uploads.bad_audio("IAMF")(target)
    yield 9, uploads.hour_of_opus
    yield 10, uploads.bad_audio("1 Hz")
    yield 11, uploads.forged_header("655,350 Hz of 8 channels")
    yield 12, uploads.bad_audio("1024 channels", "65,535 channels")
    yield 13, uploads.forged_header("a RIFF of 4 GB")
    yield 14, uploads.bad_audio("NaN")
    yield 15, uploads.chunked_over_the_limit
    yield 16, uploads.wrong_lengths
    yield 17, uploads.many_parts
    yield 18, uploads.slow_body
    yield 19, uploads.parameters
    yield 20, uploads.unknown_model_or_language
    yield 21, callers.tokens if options.key else "not offered: no keys"
    yield 22, _rated(options) if options.rated_key or options.rated_url else "not offered: no rates"
    yield 23, callers.full_queue
    yield 24, callers.client_gone if options.pid else "not posed: needs --pid"
    socket_cases: list[tuple[int, Case]] = [
        (25, sockets.bad_json),
        (26, sockets.odd_bytes),
        (27, sockets.oversized_frame),
        (28, sockets.flood),
        (29, lambda target: sockets.one_too_many(target, options.streams)),
    ]
    for number, case in socket_cases:
        yield number, case if options.sockets else "not offered: no WebSockets"
    yield 31, _broken(options) if options.broken_url else "not posed: needs --broken-url"
    yield 32, f"not posed: {INSIDE}"
    yield 33, callers.killed_workers if options.pid else "not posed: needs --pid"
    yield 34, f"not posed: {INSIDE}" if options.jobs else "not offered: no batch jobs"
    yield 35, uploads.names_of_files
    yield 36, callers.preflight
    metrics_url = options.metrics_url
    yield 37, (lambda target: callers.metrics_of_users(target, metrics_url)) if metrics_url else "not offered"
    yield 38, f"not posed: {INSIDE}" if options.jobs else "not offered: no such services"
    yield 39, f"not posed: {INSIDE}"
    yield 40, callers.webhooks if options.jobs else "not offered: no webhooks"
    yield 30, callers.sigterm if options.pid else "not posed: needs --pid"


def _rated(options: argparse.Namespace) -> Case:
    def run(target: Target) -> list[uploads.Pose]:
        url, key = options.rated_url or target.url, options.rated_key or target.key
        return callers.over_the_rate(replace(target, url=url, key=key, pid=0))

    return run


def _broken(options: argparse.Namespace) -> Case:
    return lambda target: callers.model_missing(replace(target, url=options.broken_url, pid=0))


def pose(target: Target, number: int, case: Case | str) -> dict[str, Any]:
    """One case, and how the server is afterwards."""
    found: dict[str, Any] = {"number": number, "name": CASES[number][0]}
    if isinstance(case, str):
        return found | {"verdict": case, "poses": []}
    began_s = time.monotonic()
    with target.watched() as growth:
        poses = case(target)
    found |= {"took_s": round(time.monotonic() - began_s, 1), "growth_mib": round(growth.bytes / MIB)}
    if not poses:
        return found | {"verdict": "not offered: no processes of its own for that", "poses": []}
    if number != 30:
        found["alive"] = target.alive(within_s=10)
        found["came_back"] = rested(target, number)
    return found | {"verdict": verdict(found, poses), "poses": poses}


def rested(target: Target, seed: int = 0) -> bool:
    """It lives and hears a good file, within a minute."""
    return target.alive(within_s=_REST_S) and target.post(uploads.good_file(0.5, seed)).status == 200


def restart(target: Target, command: str) -> None:
    """End the server, and start it anew."""
    if target.pid and psutil.pid_exists(target.pid):
        psutil.Process(target.pid).kill()
    done = subprocess.run(command, shell=True, check=True, stdout=subprocess.PIPE, text=True)
    target.pid = int(done.stdout)
    if not rested(target):
        raise SystemExit("the server does not come back")


def verdict(found: dict[str, Any], poses: list[uploads.Pose]) -> str:
    """In the words of the table."""
    others = [f"{each['what']}: {each['outcome']}" for each in poses if not each["as_asked"]]
    others += ["afterwards /health does not answer within 10 s"] if not found.get("alive", True) else []
    others += ["a minute later a good file is not heard"] if not found.get("came_back", True) else []
    return f"answers otherwise: {'; '.join(others)}" if others else "as asked"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--name", required=True, help="the server and its version")
    parser.add_argument("--started", default="", help="how it was started, in words")
    parser.add_argument("--shape", choices=("openai", "harken"), default="openai")
    parser.add_argument("--model", default="whisper-1")
    parser.add_argument("--sockets", choices=("", "harken", "whisperlive"), default="")
    for name in ("--ws", "--key", "--rated-url", "--rated-key", "--broken-url", "--metrics-url", "--restart"):
        parser.add_argument(name, default="")
    parser.add_argument("--pid", type=int, default=0)
    parser.add_argument("--streams", type=int, default=4)
    parser.add_argument("--jobs", action="store_true", help="it has Harken's batch jobs and services")
    parser.add_argument("--only", type=int, nargs="*", help="numbers of cases")
    options = parser.parse_args()
    target = Target(
        url=options.url, shape=options.shape, key=options.key, model=options.model, pid=options.pid,
        ws=options.ws or options.url.replace("http", "ws", 1), sockets=options.sockets, timeout_s=60,
    )  # fmt: skip
    for seed in range(3):
        print("warm-up:", target.post(uploads.good_file(5, seed)))
    found = []
    for number, case in cases(options):
        if options.only and number not in options.only:
            continue
        found.append(pose(target, number, case))
        if not found[-1].get("came_back", True) and options.restart:
            restart(target, options.restart)
        print(number, found[-1]["name"], "|", found[-1]["verdict"][:200], flush=True)
    result = {
        "server": options.name,
        "started": options.started,
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine_facts(),
        "cases": sorted(found, key=lambda each: each["number"]),
    }
    options.out.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
