"""Real digits, spoken by people the model knows, in takes it never heard: every client hears what the commands hear."""

import json
import os
import subprocess
import threading
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from deepgram import DeepgramClient
from deepgram.core.events import EventType
from deepgram.environment import DeepgramClientEnvironment
from deepgram.listen.v1.types.listen_v1results import ListenV1Results
from openai import OpenAI
from tests.serving.playground import conftest as page_fixtures
from tests.serving.spoken_digits import (
    RATE_HZ,
    SPEAKERS,
    Spoken,
    command,
    for_microphone,
    held_out,
    serving,
    train_digits,
    with_pauses,
)
from websockets.sync.client import connect

from harken.client.events import Committed, Final
from harken.client.sync_client import HarkenClient
from harken.evaluation import score

pytestmark = [
    pytest.mark.slow,
    pytest.mark.shared,
    pytest.mark.filterwarnings("ignore::DeprecationWarning:deepgram"),
    pytest.mark.filterwarnings("ignore:websockets:DeprecationWarning"),
]


@pytest.fixture(scope="module")
def model(shared_fsdd: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model folder that HARKEN_DIGITS_MODEL names, else one that is trained now."""
    named = os.environ.get("HARKEN_DIGITS_MODEL")
    return Path(named) if named else train_digits(shared_fsdd, tmp_path_factory.mktemp("digits"))


@pytest.fixture(scope="module")
def utterances(shared_fsdd: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Spoken]]:
    return held_out(shared_fsdd, tmp_path_factory.mktemp("utterances"))


@pytest.fixture(scope="module")
def recordings(utterances: dict[str, list[Spoken]]) -> list[Spoken]:
    """Two utterances of each speaker."""
    return [one for speaker in SPEAKERS for one in utterances[speaker][:2]]


@pytest.fixture(scope="module")
def talk(utterances: dict[str, list[Spoken]], tmp_path_factory: pytest.TempPathFactory) -> Spoken:
    """Three utterances of one speaker with pauses between them."""
    return with_pauses(utterances["yweweler"][:3], tmp_path_factory.mktemp("talk") / "talk.wav")


@pytest.fixture(scope="module")
def transcripts(model: Path, recordings: list[Spoken]) -> list[dict[str, Any]]:
    """What `harken transcribe` says of the recordings."""
    lines = command("transcribe", *(one.path for one in recordings), "--model", model, "-f", "json").splitlines()
    return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def streamed(model: Path, talk: Spoken) -> str:
    """What `harken stream` says of the talk, one line a segment."""
    last = json.loads(command("stream", talk.path, "--model", model, "--json").splitlines()[-1])
    return str(last["text"])


@pytest.fixture(scope="module")
def url(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(model, tmp_path_factory.mktemp("server")) as found:
        yield found


def raw_of(spoken: Spoken) -> bytes:
    with wave.open(str(spoken.path), "rb") as file:
        return file.readframes(file.getnframes())


def on_one_line(text: str) -> str:
    return text.replace("\n", " ")


def test_the_model_hears_the_digits(
    recordings: list[Spoken], transcripts: list[dict[str, Any]], talk: Spoken, streamed: str
) -> None:
    """Else equal texts would mean little."""
    errors = score([one.text for one in recordings], [transcript["text"] for transcript in transcripts])
    assert errors.words >= 30
    assert errors.wer is not None
    assert errors.wer < 0.1
    assert streamed == talk.text
    assert len(streamed.splitlines()) == 3


def test_the_openai_sdk(url: str, recordings: list[Spoken], transcripts: list[dict[str, Any]]) -> None:
    client = OpenAI(base_url=f"{url}/v1", api_key="any")
    for one, expected in zip(recordings, transcripts, strict=True):
        plain = client.audio.transcriptions.create(model="whisper-1", file=one.path)
        assert plain.text == expected["text"]
        events = list(client.audio.transcriptions.create(model="default", file=one.path, stream=True))
        assert [event.type for event in events].count("transcript.text.done") == 1
        assert events[-1].type == "transcript.text.done"
        assert events[-1].text == expected["text"]
        assert "".join(event.delta for event in events[:-1]) == expected["text"]
        verbose = client.audio.transcriptions.create(
            model="default", file=one.path, response_format="verbose_json", timestamp_granularities=["word", "segment"]
        )
        assert verbose.text == expected["text"]
        words = [word for segment in expected["segments"] for word in segment["words"]]
        assert [word.word for word in verbose.words or []] == [word["text"] for word in words]
        assert [time_s for word in verbose.words or [] for time_s in (word.start, word.end)] == pytest.approx(
            [time_s for word in words for time_s in (word["start_s"], word["end_s"])], abs=0.011
        )


def test_the_native_client(url: str, recordings: list[Spoken], transcripts: list[dict[str, Any]]) -> None:
    texts = [expected["text"] for expected in transcripts]
    with HarkenClient(url) as client:
        assert [client.transcribe(one.path).text for one in recordings] == texts
        together = list(client.transcribe_many([one.path for one in recordings], concurrency=6))
        assert [answer.text for _, answer in together] == texts  # type: ignore[union-attr]
        job = client.submit_batch([one.path for one in recordings])
        assert client.wait(job.id, poll_s=0.1, timeout_s=60).ended
        assert [item.result.text for item in client.results(job.id) if item.result] == texts


def test_curl_s_form(url: str, recordings: list[Spoken], transcripts: list[dict[str, Any]]) -> None:
    for one, expected in zip(recordings, transcripts, strict=True):
        done = subprocess.run(
            ["curl", "-fsS", "-F", f"file=@{one.path}", "-F", "format=txt", f"{url}/transcribe"],
            capture_output=True, text=True, check=True, timeout=60,
        )  # fmt: skip
        assert done.stdout.strip() == expected["text"]


def test_the_command_with_a_server(url: str, recordings: list[Spoken], transcripts: list[dict[str, Any]]) -> None:
    lines = command("transcribe", *(one.path for one in recordings), "--server", url, "-f", "json").splitlines()
    assert [json.loads(line)["text"] for line in lines] == [expected["text"] for expected in transcripts]


def test_the_native_stream(url: str, talk: Spoken, streamed: str) -> None:
    raw = raw_of(talk)
    pieces = [raw[first : first + 1_600] for first in range(0, len(raw), 1_600)]
    with HarkenClient(url) as client:
        events = list(client.stream(pieces, sample_rate_hz=RATE_HZ))
    assert isinstance(events[-1], Final)
    assert events[-1].text == streamed
    committed = [event.text for event in events if isinstance(event, Committed)]
    assert " ".join(committed) == on_one_line(streamed)


@pytest.mark.parametrize("rate_hz", [RATE_HZ, None])
def test_the_deepgram_sdk(url: str, talk: Spoken, streamed: str, rate_hz: int | None) -> None:
    """Raw samples, and the WAV file as it is."""
    address = url.replace("http", "ws", 1)
    here = DeepgramClientEnvironment(base=url, production=address, agent=address, agent_rest=url)
    client = DeepgramClient(api_key="any", environment=here)
    options: dict[str, Any] = {"encoding": "linear16", "sample_rate": rate_hz} if rate_hz else {}
    data = raw_of(talk) if rate_hz else talk.path.read_bytes()
    messages: list[Any] = []
    closed = threading.Event()
    with client.listen.v1.connect(model="nova-3", endpointing=1200, interim_results=True, **options) as connection:
        connection.on(EventType.MESSAGE, messages.append)
        connection.on(EventType.CLOSE, lambda _: closed.set())
        listening = threading.Thread(target=connection.start_listening)
        listening.start()
        for first in range(0, len(data), 4_000):
            connection.send_media(data[first : first + 4_000])
        connection.send_close_stream()
        assert closed.wait(30)
        listening.join()
    finals = [message for message in messages if isinstance(message, ListenV1Results) and message.is_final]
    texts = [text for final in finals if (text := final.channel.alternatives[0].transcript)]
    assert " ".join(texts) == on_one_line(streamed)
    ends = [final.channel.alternatives[0].transcript for final in finals if final.speech_final]
    assert [text for text in ends if text] == streamed.splitlines()


def test_a_vosk_client(url: str, talk: Spoken, streamed: str) -> None:
    """Step by step what test.py of vosk-server's repository does: a reply to each message before the next is sent."""
    results, partials = [], []
    with wave.open(str(talk.path), "rb") as file, connect(url.replace("http", "ws", 1)) as socket:
        socket.send('{ "config" : { "sample_rate" : %d } }' % file.getframerate())  # noqa: UP031  as test.py has it
        while data := file.readframes(int(file.getframerate() * 0.2)):
            socket.send(data)
            reply = json.loads(socket.recv(10))
            (results if "text" in reply else partials).append(reply)
        socket.send('{"eof" : 1}')
        results.append(json.loads(socket.recv(10)))
    assert [result["text"] for result in results if result["text"]] == streamed.splitlines()
    assert [word["word"] for result in results for word in result.get("result", [])] == on_one_line(streamed).split()
    assert any(partial["partial"] for partial in partials)


@pytest.fixture(scope="module")
def spoken(talk: Spoken, tmp_path_factory: pytest.TempPathFactory) -> str:
    """For the fixture `browser`, which plays it."""
    return for_microphone(talk, tmp_path_factory.mktemp("microphone") / "talk.wav")


browser = page_fixtures.browser


@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 360])
def test_the_microphone_page_shows_what_was_said(
    browser: Any, url: str, talk: Spoken, width: int, tmp_path: Path
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900})
    context.grant_permissions(["microphone"])
    try:
        page = context.new_page()
        problems: list[str] = []
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(f"{url}/playground")
        page.wait_for_selector("html[data-ready]")
        page.click("summary")
        page.click("#start")
        line_count = "document.querySelectorAll('#live-text p').length"
        page_fixtures.wait_until(page, f"{line_count} >= 3", seconds=60)
        page.wait_for_timeout(4_000)  # the last line's own pause
        page.screenshot(path=tmp_path / "live.png", full_page=True)
        page.click("#stop")
        page_fixtures.wait_until(page, "!document.getElementById('start').disabled")
        lines = [text.strip() for text in page.locator("#live-text p").all_inner_texts()]
        page.screenshot(path=tmp_path / "done.png", full_page=True)
        assert [line for line in lines if line] == talk.text.splitlines()
        assert page.locator("#live-text .tentative").all_inner_texts() == []
        assert page.is_hidden("#live-problem")
        assert problems == []
    finally:
        context.close()
