"""`harken stream` on a file: lines for people, events for machines, and what it refuses."""

import json
from pathlib import Path

import pytest
import soundfile
import torch
import typer
from typer.testing import CliRunner, Result

from harken.audio.features import FeatureConfig
from harken.cli.stream import stream
from harken.core import HarkenError, Word
from harken.inference.streaming.events import Committed, Final, Partial
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
    noise = 0.1 * torch.randn(32_000, generator=torch.Generator().manual_seed(3))
    noise *= 1 + torch.sin(torch.arange(32_000) / 1500)
    soundfile.write(path, noise.numpy(), 16_000)
    return path


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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to hear"),
        (["x.wav", "--mic"], "exclude each other"),
        (["x.wav", "--duration", "3"], "--duration is for --mic"),
        (["--mic", "--realtime"], "--realtime is for a file"),
        (["x.wav", "--policy", "best"], "policy"),
        (["x.wav", "--pause", "0"], "pause_s is 0"),
    ],
)
def test_what_makes_no_sense_is_refused(model: Path, arguments: list[str], message: str) -> None:
    result = run(*arguments, "--model", model)
    assert isinstance(result.exception, HarkenError)
    assert message in str(result.exception)
