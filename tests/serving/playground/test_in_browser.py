"""The playground as people use it, in Chromium."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.staticfiles import StaticFiles
from tests.client.contract_server import KEY, Contract, running, transcription
from tests.serving.playground.conftest import wait_until

from harken.client.results import TranscriptionResult, read
from harken.inference.formats import render

pytestmark = [pytest.mark.browser, pytest.mark.slow]

Open = Callable[..., Any]
# What the live text said at every change: committed text, and the tentative text behind it.
WATCH = """() => {
    window.seen = [];
    const text = document.getElementById("live-text");
    new MutationObserver(() => {
        const tentative = text.querySelector(".tentative")?.textContent ?? "";
        const all = [...text.querySelectorAll("p")].map((line) => line.textContent).join("|");
        window.seen.push([all.slice(0, all.length - tentative.length).trim(), tentative]);
    }).observe(text, { childList: true, subtree: true, characterData: true });
}"""


def texts(page: Any, selector: str) -> list[str]:
    return [text.strip() for text in page.locator(selector).all_inner_texts()]


def listen(page: Any, words: int) -> None:
    """Start, and stop once so many words are committed."""
    page.click("#start")
    wait_until(page, f"document.getElementById('live-text').textContent.includes('word{words} ')")
    page.click("#stop")
    wait_until(page, "!document.getElementById('start').disabled")


def saved(page: Any, place: str, style: str) -> str:
    with page.expect_download() as waiting:
        page.click(f"#{place} button:text-is('Save {style}')")
    return Path(waiting.value.path()).read_text(encoding="utf-8")


def test_speech_is_tentative_then_committed_and_a_pause_ends_its_line(open_page: Open, contract: Contract) -> None:
    page = open_page()
    page.evaluate(WATCH)
    listen(page, 4)
    assert texts(page, "#live-text p") == ["word1 word2 word3", "word4"]
    assert texts(page, "#live-text .tentative") == []
    assert page.inner_text("#live-status").startswith("Done: 4.")
    seen = [tuple(item) for item in page.evaluate("window.seen")]
    order = [seen.index(state) for state in (("", "word1"), ("word1", ""), ("word1", "word2"), ("word1 word2", ""))]
    assert order == sorted(order)
    assert ("word1 word2 word3 |", "word4") in seen
    start, finish = contract.messages[0], contract.messages[-1]
    assert start["encoding"] == "linear16"
    assert start["sample_rate"] == page.evaluate("new AudioContext().sampleRate")
    assert finish == {"type": "finish"}
    assert saved(page, "live-export", "txt") == "word1 word2 word3\nword4\n"
    assert json.loads(saved(page, "live-export", "json"))["segments"][1]["words"][0]["text"] == "word4"


def test_the_level_moves_with_the_sound_and_falls_back(open_page: Open) -> None:
    page = open_page()
    assert page.evaluate("document.getElementById('level').value") == 0
    page.click("summary")
    page.click("#start")
    # 0.3 of full scale is -13.5 dB, on a scale from -60 dB.
    wait_until(page, "Math.abs(document.getElementById('level').value - 0.776) < 0.01")
    page.click("#stop")
    wait_until(page, "document.getElementById('level').value === 0")


def test_a_refused_microphone_is_explained(open_page: Open) -> None:
    page = open_page(microphone=False)
    page.click("#start")
    wait_until(page, "!document.getElementById('live-problem').hidden")
    assert page.inner_text("#live-problem") == (
        "The microphone was not allowed. Allow it for this page in the browser's settings, then press Start."
    )
    assert page.is_enabled("#start")


def test_no_microphone_is_explained(open_page: Open) -> None:
    page = open_page()
    page.evaluate("""() => { navigator.mediaDevices.getUserMedia = () =>
        Promise.reject(new DOMException("Requested device not found", "NotFoundError")); }""")
    page.click("#start")
    wait_until(page, "!document.getElementById('live-problem').hidden")
    assert page.inner_text("#live-problem") == "There is no microphone. Connect one, then press Start."


def test_a_key_is_asked_for_and_used_for_requests_and_streams(open_page: Open, contract: Contract) -> None:
    contract.key = KEY
    page = open_page(expected=("401", "HTTP Authentication failed"))
    assert page.inner_text("#settings-problem") == (
        "The server asks for a key that it knows. Put one into the field Key."
    )
    page.click("#start")
    wait_until(page, "!document.getElementById('live-problem').hidden")
    assert "asks for a key" in page.inner_text("#live-problem")
    page.fill("#key", KEY)
    page.press("#key", "Tab")
    wait_until(page, "document.getElementById('settings-problem').hidden")
    assert texts(page, "#model option") == ["Default", "tiny", "other"]
    page.select_option("#model", "other")
    page.fill("#language", "hi")
    listen(page, 1)
    assert texts(page, "#live-text p") == ["word1"]
    starts = [message for message in contract.messages if message.get("type") == "start"]
    assert [(start["model"], start["language"]) for start in starts] == [("other", "hi")]
    kept = page.evaluate("JSON.stringify([localStorage, sessionStorage, document.cookie, location.href])")
    assert KEY not in kept


def test_a_server_that_goes_away_is_named(open_page: Open, contract: Contract) -> None:
    contract.close_after_s = (0.5, 1012)
    page = open_page(expected=("net::ERR_FAILED",))
    page.click("#start")
    wait_until(page, "!document.getElementById('live-problem').hidden")
    assert page.inner_text("#live-problem") == "The server is stopping. Start again in a moment."
    assert page.is_enabled("#start")
    page.route("**/transcribe", lambda route: route.abort())
    send(page, b"RIFF")
    assert page.inner_text("#file-problem") == "The server does not answer. Check that it runs, and your network."


def send(page: Any, data: bytes, name: str = "talk.wav") -> None:
    page.set_input_files("#file", {"name": name, "mimeType": "audio/wav", "buffer": data})
    page.click("#send")
    wait_until(page, "!document.getElementById('send').disabled")


def test_a_file_is_transcribed_and_saved_in_each_style(open_page: Open, contract: Contract) -> None:
    page = open_page()
    page.select_option("#model", "other")
    page.fill("#language", "en")
    send(page, b"sound & <more>", "a talk.wav")
    answer = transcription(b"sound & <more>", "other", word_times=True, language="en")
    assert page.inner_text("#file-status") == "1.5 s, en, by other in 0.06 s."
    assert texts(page, "#file-text p") == [f"00:00{answer['segments'][0]['text']}", "00:01bytes"]
    assert page.get_attribute("#file-text p span:nth-of-type(2)", "title") == "0.00 to 0.40 s, 90 % sure"
    [call] = contract.calls
    assert (call["name"], call["model"], call["language_hint"], call["word_times"]) == (
        "a talk.wav",
        "other",
        "en",
        True,
    )
    transcript = read(TranscriptionResult, answer).transcript
    for style in ("txt", "srt", "vtt"):
        assert saved(page, "file-export", style) == render(transcript, style)
    assert json.loads(saved(page, "file-export", "json")) == answer


def test_what_the_server_says_of_a_bad_file_is_shown(open_page: Open) -> None:
    page = open_page(expected=("415",))
    send(page, b"not audio")
    assert page.inner_text("#file-problem") == "The file is not audio of a known kind. Send WAV or FLAC."
    assert page.is_hidden("#file-text")


def test_subtitles_are_cut_and_escaped_as_the_library_does(open_page: Open) -> None:
    page = open_page()
    words = [{"text": f"w<{n}>&", "start_s": 0.7 * n + 3599.0004, "end_s": 0.7 * n + 3599.5, "confidence": None}
             for n in range(30)]  # fmt: skip
    text = " ".join(str(word["text"]) for word in words)
    segments = [{"text": text, "start_s": 3599.0, "end_s": 3620.0, "words": words},
                {"text": "no words", "start_s": 3621.0, "end_s": 3621.0}]  # fmt: skip
    answer = {"text": text, "model": "m", "duration_s": 3622.0, "segments": segments}
    transcript = read(TranscriptionResult, answer).transcript
    for style in ("srt", "vtt"):
        made = page.evaluate(
            """async ([answer, style]) => (await import("/playground/transcript.js")).render(answer, style)""",
            [answer, style],
        )
        assert made == render(transcript, style)


@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (1280, "dark")])
def test_nothing_sticks_out_and_every_control_has_a_name(
    open_page: Open, width: int, scheme: str, tmp_path: Path
) -> None:
    page = open_page(width=width, color_scheme=scheme)
    send(page, b"sound")
    listen(page, 4)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    nameless = page.evaluate("""[...document.querySelectorAll("button, input, select, meter, a")].filter((item) =>
        !item.labels?.length && !item.ariaLabel && !item.textContent.trim()).map((item) => item.outerHTML)""")
    assert nameless == []
    page.screenshot(path=tmp_path / "page.png", full_page=True)


def test_the_keyboard_is_enough(open_page: Open) -> None:
    page = open_page()
    order = []
    for _ in range(12):
        page.keyboard.press("Tab")
        order.append(page.evaluate("document.activeElement.id || document.activeElement.tagName"))
    assert [name for name in order if name not in ("A", "BODY")] == [
        "model", "language", "key", "start", "SUMMARY", "live-text", "file", "drop"
    ][: len([name for name in order if name not in ("A", "BODY")])]  # fmt: skip
    page.focus("#start")
    page.keyboard.press("Enter")
    wait_until(page, "document.activeElement.id === 'stop'")
    wait_until(page, "document.getElementById('live-text').textContent.includes('word1 ')")
    page.keyboard.press("Enter")
    wait_until(page, "document.activeElement.id === 'start'")
    assert texts(page, "#live-text p")[0].startswith("word1")


def test_the_example_for_pages_of_your_own(browser: Any, contract: Contract) -> None:
    """`examples/serving/microphone.html`, from an origin of its own."""
    pages = FastAPI()
    pages.mount("/", StaticFiles(directory=Path(__file__).resolve().parents[3] / "examples" / "serving"))
    with running(pages) as origin:
        page = browser.new_context(permissions=["microphone"]).new_page()
        page.goto(f"{origin}/microphone.html?server={contract.url}")
        page.click("#start")
        wait_until(page, "document.getElementById('committed').textContent.includes('word2 ')")
        page.click("#stop")
        wait_until(page, "!document.getElementById('start').disabled")
        assert page.inner_text("#committed").strip() == "word1 word2"
        assert page.inner_text("#problem") == ""
        page.context.close()
