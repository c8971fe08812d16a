"""`harken stream` on a file: lines for people, events for machines, and what it refuses."""

import json
import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
import typer
from typer.testing import CliRunner, Result

from harken.audio.features import FeatureConfig
from harken.cli.stream import stream
from harken.core import HarkenError, Waveform, Word
from harken.inference.streaming.events import Committed, Endpoint, Final, Partial
from harken.inference.streaming.stream import StreamState
from harken.models.conformer import ConformerCtc, ConformerSettings
from harken.models.folder import describe, save_model
from harken.text.tokenize import WordTokenizer


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "model"
    tokenizer = WordTokenizer(["<pad>", "one", "two", "three"])
    settings = ConformerSettings(width=16, layers=1, heads=2, chunk_frames=4, left_chunks=2, input_mean=-5.0)
    features = FeatureConfig(kind="nemo", dimensions=20)
    torch.manual_seed(0)
    network = ConformerCtc(settings, 20, tokenizer.vocab_size)
    with torch.no_grad():
        network.output.weight.mul_(30)
    description = describe(
        network, family="conformer-ctc", settings=settings, features=features, tokenizer=tokenizer, normalizer="basic"
    )
    save_model(folder, model=network, description=description, tokenizer=tokenizer)
    return folder


@pytest.fixture(scope="module")
def audio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("audio") / "noise.wav"
    soundfile.write(path, loud(32_000), 16_000)
    return path


def loud(samples: int) -> Waveform:
    """Noise whose level changes all the time."""
    noise = 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(3))
    return np.asarray(noise * (1 + torch.sin(torch.arange(samples) / 1500)), np.float32)


def run(*arguments: object) -> Result:
    app = typer.Typer()
    app.command()(stream)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_one_event_a_line_the_last_with_the_whole_text(model: Path, audio: Path) -> None:
    result = run(audio, "--model", model, "--json")
    assert result.exit_code == 0
    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert events[-1]["type"] == "final"
    committed = [event["text"] for event in events if event["type"] == "committed"]
    assert events[-1]["text"].split() == " ".join(committed).split() != []
    lines = run(audio, "--model", model).stdout.splitlines()
    assert lines == events[-1]["text"].splitlines()


class Microphone:
    """Hears noise; at block `press_at`, and at each after it up to `presses`, somebody presses Ctrl-C."""

    press_at, presses = 30, 1

    def __init__(self, **_: object) -> None:
        self._blocks = 0
        self._noise = loud(200_000)

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def close(self) -> None: ...

    def read(self, samples: int) -> tuple[np.ndarray, bool]:
        begin = self._blocks * samples
        self._blocks += 1
        if 0 <= self._blocks - self.press_at < self.presses:
            os.kill(os.getpid(), signal.SIGINT)
        return self._noise[begin : begin + samples, None], False


@pytest.fixture
def microphone(monkeypatch: pytest.MonkeyPatch) -> type[Microphone]:
    class Made(Microphone): ...

    monkeypatch.setitem(sys.modules, "sounddevice", SimpleNamespace(InputStream=Made, PortAudioError=OSError))
    return Made


def heard(model: Path, samples: int) -> str:
    from harken.inference.streaming import StreamingASR

    asr = StreamingASR(model)
    state, _ = asr.step(asr.start(), loud(200_000)[:samples])
    final = asr.finish(state)[1][-1]
    assert isinstance(final, Final)
    return final.text


@pytest.mark.parametrize(("arguments", "exit_code"), [([], 0), (["--duration", "10"], 130)])
def test_after_ctrl_c_the_microphone_has_its_final_text(
    model: Path, microphone: type[Microphone], arguments: list[str], exit_code: int
) -> None:
    before = signal.getsignal(signal.SIGINT)
    text = heard(model, 30 * 800)
    assert text
    result = run("--mic", "--model", model, *arguments)
    assert (result.exit_code, result.stdout.splitlines()) == (exit_code, text.splitlines())
    result = run("--mic", "--model", model, "--json", *arguments)
    last = json.loads(result.stdout.splitlines()[-1])
    assert (result.exit_code, last) == (exit_code, {"type": "final", "text": text, "at_s": 1.5})
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_ctrl_c_stops_at_once(
    model: Path, microphone: type[Microphone], monkeypatch: pytest.MonkeyPatch
) -> None:
    from harken.inference.streaming import StreamingASR

    step = StreamingASR.step

    def pressed_while_computing(asr: StreamingASR, state: StreamState, chunk: Waveform) -> Any:
        if state.heard > 16_000:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
        return step(asr, state, chunk)

    monkeypatch.setattr(StreamingASR, "step", pressed_while_computing)
    microphone.presses = 0
    result = run("--mic", "--model", model, "--json")
    assert result.exit_code == 130
    assert result.stdout
    assert "final" not in result.stdout


def test_after_ctrl_c_a_file_has_its_text_so_far(model: Path, audio: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from harken.inference.streaming import StreamingASR

    whole = json.loads(run(audio, "--model", model, "--json").stdout.splitlines()[-1])
    step, calls = StreamingASR.step, 0

    def pressed(asr: StreamingASR, state: StreamState, chunk: Waveform) -> Any:
        nonlocal calls
        calls += 1
        if calls % 30 == 0:
            os.kill(os.getpid(), signal.SIGINT)
        return step(asr, state, chunk)

    monkeypatch.setattr(StreamingASR, "step", pressed)
    result = run(audio, "--model", model, "--json")
    last = json.loads(result.stdout.splitlines()[-1])
    assert (result.exit_code, last["type"], last["at_s"]) == (130, "final", 1.5)
    assert 0 < len(last["text"]) < len(whole["text"])
    lines = run(audio, "--model", model)
    assert (lines.exit_code, lines.stdout.splitlines()) == (130, last["text"].splitlines())


def test_a_terminal_sees_the_text_grow(model: Path, audio: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from harken.cli import stream as module
    from harken.inference.streaming import StreamingASR

    shown: list[str] = []
    events = list(StreamingASR(model).stream_from_file(audio))
    monkeypatch.setattr("rich.console.Console.print", lambda self, text: shown.append(text.plain))
    monkeypatch.setattr("rich.live.Live.update", lambda self, text, refresh: None)
    module._show_live(events)
    assert shown == events[-1].text.splitlines()  # type: ignore[union-attr]


def test_a_committed_word_is_no_longer_tentative(monkeypatch: pytest.MonkeyPatch) -> None:
    from harken.cli import stream as module

    seen: list[str] = []
    monkeypatch.setattr("rich.live.Live.update", lambda self, text, refresh: seen.append(text.plain))
    word = Word(text="three", start_s=0.0, end_s=0.5)
    module._show_live(
        [
            Partial(text="three four", at_s=1.0),
            Committed(words=(word,), at_s=1.5),
            Partial(text="five", at_s=1.5),
            Final(text="three", at_s=2.0),
        ]
    )
    assert seen == ["three four", "three four", "three five", ""]


def test_what_is_tentative_stays_when_a_segment_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    from harken.cli import stream as module

    seen: list[str] = []
    monkeypatch.setattr("rich.live.Live.update", lambda self, text, refresh: seen.append(text.plain))
    module._show_live(
        [
            Partial(text="three four", at_s=1.0),
            Committed(words=(Word(text="three", start_s=0.0, end_s=0.5),), at_s=1.5),
            Endpoint(rule="pause", silence_s=0.5, at_s=1.5),  # no partial event: "four" is still tentative
        ]
    )
    assert seen == ["three four", "three four", "four"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to hear"),
        (["x.wav", "--mic"], "exclude each other"),
        (["x.wav", "--duration", "3"], "--duration is for --mic"),
        (["--mic", "--realtime"], "--realtime is for a file"),
        (["x.wav", "--policy", "best"], "policy"),
        (["x.wav", "--pause", "0"], "pause_s is 0"),
        (["x.wav", "--pause", "nan"], "pause_s is nan"),
        (["x.wav", "--pause", "inf"], "pause_s is inf"),
        (["x.wav", "--chunk", "nan"], "chunk_s is nan"),
        (["x.wav", "--chunk", "inf"], "chunk_s is inf"),
        (["--mic", "--chunk", "nan"], "chunk_s is nan"),
        (["--mic", "--duration", "nan"], "duration is nan"),
        (["x.wav", "--policy", "fixed", "--pause", "3", "--endpoint", "vad"], "policy is fixed; endpoint.pause_s does"),
    ],
)
def test_what_makes_no_sense_is_refused(model: Path, arguments: list[str], message: str) -> None:
    result = run(*arguments, "--model", model)
    assert isinstance(result.exception, HarkenError)
    assert message in str(result.exception)
