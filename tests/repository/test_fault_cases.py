"""The 40 cases as they are posed to a server by its URL, and the page of what two servers did."""

import argparse
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tools import fault_cases, fault_cases_page, fault_cases_uploads
from tools.fault_cases_server import Answer, Target
from tools.fault_cases_uploads import Pose


def options(**given: Any) -> argparse.Namespace:
    none = dict.fromkeys(("key", "rated_key", "rated_url", "pid", "sockets", "broken_url", "jobs", "metrics_url"), "")
    return argparse.Namespace(**none | {"streams": 4} | given)


@contextmanager
def server(answer: tuple[int, bytes], *, obeys: bool = False) -> Iterator[str]:
    """A server that answers all uploads alike; one that obeys opens the file that an upload names."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if obeys and (named := re.search(rb"/\S+/secret\.wav", body)):
                Path(named[0].decode()).read_bytes()
            self._answer(*answer)

        def do_GET(self) -> None:
            self._answer(200, b"{}")

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listener:
        thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.server_address[1]}"
        finally:
            listener.shutdown()
            thread.join()


def test_the_page_says_what_the_results_say() -> None:
    assert fault_cases_page.PAGE.read_text(encoding="utf-8") == fault_cases_page.page(fault_cases_page.read())


def test_both_servers_were_posed_all_cases() -> None:
    harken, other = fault_cases_page.read()
    assert [case["number"] for case in harken["cases"]] == list(range(1, 41))
    assert [case["number"] for case in other["cases"]] == list(range(1, 41))
    assert "Harken" in harken["server"]
    assert not [case for case in harken["cases"] if case["verdict"].startswith("answers otherwise")]


@pytest.mark.parametrize(
    "given", [{}, {"key": "k", "rated_key": "k", "pid": 1, "sockets": "harken", "broken_url": "u", "jobs": True}]
)
def test_each_case_is_posed_once_and_sigterm_last(given: dict[str, Any]) -> None:
    numbers = [number for number, _ in fault_cases.cases(options(**given))]
    assert sorted(numbers) == list(range(1, 41))
    assert numbers[-1] == 30


def test_what_a_server_lacks_is_said() -> None:
    cases = dict(fault_cases.cases(options()))
    assert cases[21] == "not offered: no keys"
    assert cases[27] == "not offered: no WebSockets"
    assert cases[24] == "not posed: needs --pid"


def test_a_playlist_that_is_obeyed_is_noticed() -> None:
    with server((400, b"{}"), obeys=True) as url:
        (pose,) = fault_cases_uploads.playlists("m3u8 by name")(Target(url=url))
    assert pose == {"what": "m3u8 by name", "outcome": "400 {}; the canary was read", "as_asked": False}
    with server((400, b"{}")) as url:
        (pose,) = fault_cases_uploads.playlists("m3u8 by name")(Target(url=url))
    assert (pose["outcome"], pose["as_asked"]) == ("400 {}", True)


def test_a_case_with_its_verdict() -> None:
    with server((200, b'{"text": "one"}')) as url:
        found = fault_cases.pose(Target(url=url), 1, fault_cases_uploads.bad_audio("empty"))
    assert found["verdict"] == 'answers otherwise: empty: 200 {"text": "one"}'
    assert (found["name"], found["alive"], found["came_back"]) == ("empty", True, True)
    with server((415, b"{}")) as url:
        found = fault_cases.pose(Target(url=url), 1, fault_cases_uploads.bad_audio("empty"))
    assert found["verdict"] == "answers otherwise: a minute later a good file is not heard", "it refuses everything"


def test_shapes_of_errors() -> None:
    openai = '{"error": {"message": "m", "type": "t", "param": null, "code": "c"}}'
    harken = '{"error": {"code": "c", "message": "m", "hint": "h", "request_id": "r"}}'
    assert Answer(status=400, text=openai).shape == "openai"
    assert Answer(status=400, text=harken).shape == "harken"
    assert Answer(status=422, text='{"detail": []}').shape == '{"detail": []}'
    assert Answer(status=500, text="oops").shape == "no JSON"


def test_the_worst_is_shown_first_and_nothing_breaks_the_table() -> None:
    case = {"number": 7, "name": "a|b", "alive": False, "came_back": True, "verdict": "answers otherwise: ..."}
    poses = [Pose("x", '500 {"error": "a | <b>"}', False), Pose("y", "400 {}; the canary was read", False)]
    machine = {"cores": 2, "cpu": "CPU", "load_average": [1.5]}
    result = {"server": "S", "started": "so", "measured": "2026-11-22T00:00:00", "machine": machine}
    text = fault_cases_page.page([result | {"cases": [case | {"poses": poses}]}])
    outcome = "y: 400; the canary was read; x: 500; afterwards `/health` did not answer within 10 s"
    assert f"| 7 | a\\|b | {outcome} |" in text
    assert "| S | 0 | 1 | 0 | 2026-11-22 |" in text


def test_a_server_that_never_answers_hangs() -> None:
    with server((200, b"{}")) as url:
        answer, _ = Target(url=url).send_raw(b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n", timeout_s=0.3)
    assert answer.status == "hung"
