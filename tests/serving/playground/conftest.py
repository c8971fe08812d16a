"""The page in Chromium, with a microphone that plays a file."""

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from tests.client.contract_server import Contract, contract_app, running

from harken.serving.routes.playground import playground_router

RATE_HZ = 48_000


def wait_until(page: Any, expression: str, *, seconds: float = 20.0) -> None:
    """Polls from outside: the page's policy forbids the evaluation that playwright's own waiting needs."""
    end = time.monotonic() + seconds
    while not page.evaluate(expression):
        assert time.monotonic() < end, expression
        page.wait_for_timeout(20)


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 s of a tone; Chromium plays it in a loop."""
    path = tmp_path_factory.mktemp("microphone") / "tone.wav"
    times_s = np.arange(20 * RATE_HZ) / RATE_HZ
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * 440 * times_s), RATE_HZ, subtype="PCM_16")
    return path


@pytest.fixture(scope="module")
def browser(spoken: Path) -> Iterator[Any]:
    """Chromium as the system has it, whose microphone plays `spoken`."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("needs chromium on the PATH")
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    microphone = ["--use-fake-device-for-media-stream", f"--use-file-for-fake-audio-capture={spoken}"]
    with api.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=program, args=["--no-sandbox", *microphone])
        yield chromium
        chromium.close()


@pytest.fixture
def contract() -> Iterator[Contract]:
    """A running server with the page."""
    told = Contract()
    app = contract_app(told)
    app.include_router(playground_router())
    with running(app) as url:
        told.url = url
        yield told


@pytest.fixture
def open_page(browser: Any, contract: Contract) -> Iterator[Callable[..., Any]]:
    """Opens the page and waits until it works; fails at the end for console messages other than `expected`, for errors
    and for requests to elsewhere.
    """
    contexts: list[Any] = []
    complaints: list[str] = []
    requests: list[str] = []
    allowed: list[str] = []

    def opened(*, width: int = 1280, microphone: bool = True, expected: tuple[str, ...] = (), **options: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        context.grant_permissions(["microphone"] if microphone else [])
        contexts.append(context)
        allowed.extend(expected)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(f"{contract.url}/playground")
        page.wait_for_selector("html[data-ready]")
        return page

    yield opened
    for context in contexts:
        context.close()
    kept = [text for text in complaints if not any(part in text for part in allowed)]
    assert kept == []
    assert [url for url in requests if not url.startswith((contract.url, "blob:", "data:"))] == []
