"""The cases of callers: who may not, who is too many, who leaves, and what happens to the processes behind."""

import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

import httpx
import psutil
from tests.serving.faults import sounds
from tests.serving.faults.raw_bodies import form, head
from tests.serving.faults.test_access import BAD_TOKENS, FRIEND, STRANGER, authorization

from tools.fault_cases_server import Answer, Target, socket_status
from tools.fault_cases_uploads import Pose, Pulse, good_file

AT_ONCE = 24
"""Files that are sent together to fill a queue."""

PATIENCE_S = 5.0
"""How long /health may take meanwhile: more than a busy machine explains."""


def tokens(target: Target) -> list[Pose]:
    """401 over HTTP, and before a WebSocket is accepted."""
    poses = []
    for kind in BAD_TOKENS:
        headers = authorization(kind)
        answer = target.post(sounds.recording(0.5), headers=headers)
        poses.append(Pose(kind, answer, answer.status == 401))
        if target.sockets:
            status = socket_status(target, headers)
            poses.append(Pose(f"{kind}, on a socket", status, status == 401))
    return poses


def over_the_rate(target: Target) -> list[Pose]:
    """`target` may ask three times in a minute."""
    before = [target.post(sounds.recording(0.3)).status for _ in range(3)]
    answer = target.post(sounds.recording(0.3))
    wait = answer.headers.get("retry-after")
    outcome = f"{before}, then {answer}; Retry-After: {wait}"
    return [Pose("the fourth of three in a minute", outcome, answer.status == 429 and wait is not None)]


def full_queue(target: Target) -> list[Pose]:
    """Some are refused with Retry-After, those that are let in are answered, and /health is quick meanwhile."""
    patient = replace(target, timeout_s=180)
    files = [good_file(60, seed) for seed in range(AT_ONCE)]
    with ThreadPoolExecutor(AT_ONCE) as pool, Pulse(patient) as pulse:
        answers = list(pool.map(patient.post, files))
    refused = [answer for answer in answers if answer.status in (429, 503)]
    heard = [answer for answer in answers if answer.status == 200]
    waits = {answer.headers.get("retry-after") for answer in refused}
    slowest_s = max(answer.took_s for answer in answers)
    outcome = (
        f"{len(heard)} heard, {len(refused)} refused with Retry-After {sorted(map(str, waits))}, "
        f"{AT_ONCE - len(heard) - len(refused)} otherwise; the slowest after {slowest_s:.1f} s; {pulse}"
    )
    fine = bool(refused) and None not in waits and len(heard) + len(refused) == AT_ONCE and pulse.longest_s < PATIENCE_S
    return [Pose(f"{AT_ONCE} files of 60 s at once", outcome, fine)]


def client_gone(target: Target) -> list[Pose]:
    """A second after the client left, nobody works for it any more."""
    body = form(target.path, good_file(240), "a.wav").replace(b"whisper-1", target.model.encode())
    length = f"Content-Length: {len(body)}"
    credentials = [f"{name}: {value}" for name, value in target.headers.items()]
    with target.connect() as connection:
        connection.sendall(head(target.path, *credentials, length) + body)
        begun_s, began_s = target.cpu_s(), time.monotonic()
        while target.cpu_s() - begun_s < 0.4 and time.monotonic() - began_s < 20:
            time.sleep(0.02)
    time.sleep(1.0)
    before_s = target.cpu_s()
    time.sleep(2.0)
    spent_s = target.cpu_s() - before_s
    return [Pose("from 1 s to 3 s after it left", f"{spent_s:.2f} s of CPU went into its file", spent_s < 0.4)]


def killed_workers(target: Target) -> list[Pose]:
    """Every child of the server is killed; files are heard all the same."""
    workers = target.processes()[1:]
    if not workers:
        return []
    for worker in workers:
        with suppress(psutil.NoSuchProcess):
            worker.kill()
    answers = [target.post(good_file(1, seed)) for seed in range(3)]
    outcome = f"{len(workers)} killed, then {[answer.status for answer in answers]}"
    return [Pose("all children killed", outcome, [answer.status for answer in answers] == [200] * 3)]


def preflight(target: Target) -> list[Pose]:
    """No leave for a stranger; one for the origin that is allowed."""
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    stranger = target.get(target.path, method="OPTIONS", headers={"Origin": STRANGER, **asked})
    friend = target.get(target.path, method="OPTIONS", headers={"Origin": FRIEND, **asked})
    header = "access-control-allow-origin"
    return [
        Pose("a stranger", f"{stranger}; {stranger.headers.get(header)}", header not in stranger.headers),
        Pose(
            "an origin that is allowed", f"{friend}; {friend.headers.get(header)}", friend.headers.get(header) == FRIEND
        ),
    ]


def metrics_of_users(target: Target, url: str) -> list[Pose]:
    """10,000 strings in paths, parameters and headers; none is seen in the metrics."""
    for number in range(1_000):
        own = [f"user{number}x{place}" for place in range(10)]
        path = (f"/v1/models/{own[0]}?q={own[1]}", f"/{own[0]}/{own[1]}", f"{target.path}?{own[1]}=1")[number % 3]
        names = ("User-Agent", "X-Request-ID", "Referer", "Accept-Language", "X-Forwarded-For", "Cookie", "Origin")
        target.get(path, headers=target.headers | dict(zip(names, own[3:], strict=True)))
    for number in range(20):
        target.post(sounds.recording(0.2), model=f"user{number}x0")
    page = httpx.get(url, headers=target.headers, timeout=10).text
    seen = set(re.findall(r"user\d+x\d", page))
    fine = not seen and "# HELP" in page
    return [Pose("10,000 strings", f"{len(seen)} of them in {len(page.splitlines())} lines of metrics", fine)]


def webhooks(target: Target) -> list[Pose]:
    """Refused when the job is made."""
    poses = []
    for address in ("http://127.0.0.1:9/", "http://2130706433:9/", "http://[::ffff:127.0.0.1]:9/",
                    "http://169.254.169.254/latest/meta-data", "http://10.0.0.1/"):  # fmt: skip
        answer = _job(target, address)
        poses.append(Pose(address, answer, answer.status == 400))
    return poses


def _job(target: Target, webhook: str) -> Answer:
    files = [("files", ("a.wav", sounds.recording(0.5)))]
    url, data = f"{target.url}/transcribe/batch", {"mode": "job", "webhook": webhook}
    return target.ask(lambda: httpx.post(url, files=files, data=data, headers=target.headers, timeout=30))


def model_missing(broken: Target) -> list[Pose]:
    """`broken` was started with a model folder that is not there: live 200, ready 503, files refused as 503."""
    health, ready = broken.get("/health"), broken.get("/ready")
    answer = broken.post(sounds.recording(0.5))
    return [
        Pose("live", health.status, health.status == 200),
        Pose("ready", ready.status, ready.status == 503),
        Pose("a file", answer, answer.status == 503),
    ]


def sigterm(target: Target) -> list[Pose]:
    """Files that are in are finished, and the process ends by itself. Nothing can be posed afterwards."""
    server = psutil.Process(target.pid)
    with ThreadPoolExecutor(3) as pool:
        under_way = [pool.submit(target.post, good_file(60, seed + 500)) for seed in range(3)]
        time.sleep(0.7)
        began_s = time.monotonic()
        server.send_signal(signal.SIGTERM)
        answers = [found.result() for found in under_way]
    with suppress(psutil.TimeoutExpired, psutil.NoSuchProcess):
        server.wait(30)
    statuses, ended = [answer.status for answer in answers], not server.is_running()
    ending = f"ended after {time.monotonic() - began_s:.1f} s" if ended else "did not end within 30 s"
    outcome = f"{statuses}; {ending}"
    return [Pose("3 files under way", outcome, statuses == [200] * 3 and ended)]
