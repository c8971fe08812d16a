"""`harken transcribe --server`: the same output and exit codes as without, from a server."""

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.client.contract_server import KEY, Contract, contract_app, running, transcription

from harken.client.results import TranscriptionResult, read
from harken.core import Transcript
from harken.inference.formats import FORMATS, render

Harken = Callable[..., Any]


@pytest.fixture
def contract() -> Iterator[Contract]:
    told = Contract()
    with running(contract_app(told)) as url:
        told.url = url
        yield told


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    made = [tmp_path / "a.wav", tmp_path / "b.wav"]
    for number, path in enumerate(made):
        path.write_bytes(b"RIFF" + bytes(number))
    return made


def transcript_of(path: Path) -> Transcript:
    answer = transcription(path.read_bytes(), None, word_times=True, language=None)
    return read(TranscriptionResult, answer).transcript


@pytest.mark.parametrize("style", FORMATS)
def test_one_file_in_every_format(harken: Harken, contract: Contract, files: list[Path], style: str) -> None:
    answer = harken("transcribe", files[0], "--server", contract.url, "-f", style)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out == render(transcript_of(files[0]), style)
    assert (contract.calls[0]["model"], contract.calls[0]["language_hint"]) == (None, None)


def test_a_bad_file_among_good_ones_stops_nothing(
    harken: Harken, contract: Contract, files: list[Path], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_text("not audio", encoding="utf-8")
    answer = harken("transcribe", files[0], broken, tmp_path / "absent.wav", files[1], "--server", contract.url)
    assert answer.code == 2
    assert answer.out == "".join(f"{path}\t{transcript_of(path).text}\n" for path in files)
    assert f"error: {broken}: The file is not audio of a known kind. Send WAV or FLAC." in answer.err
    assert "absent.wav does not exist." in answer.err
    assert answer.err.endswith("2 files of 4 could not be transcribed.\n")


def test_options_a_server_takes_are_sent(harken: Harken, contract: Contract, files: list[Path], tmp_path: Path) -> None:
    words = tmp_path / "words.txt"
    words.write_text("# names\nTashkent\n\nNew Delhi\n", encoding="utf-8")
    answer = harken("transcribe", files[0], "--server", contract.url, "-m", "other", "--language", "hi",
                    "--hotwords", words, "--json")  # fmt: skip
    assert answer.json["language"] == "hi"
    [call] = contract.calls
    assert (call["model"], call["language_hint"], call["hotwords"]) == ("other", "hi", "Tashkent\nNew Delhi")


def test_transcripts_into_a_folder_and_those_that_are_there(
    harken: Harken, contract: Contract, files: list[Path], tmp_path: Path
) -> None:
    command = ("transcribe", *files, "--server", contract.url, "-f", "srt", "--out", tmp_path / "out")
    assert harken(*command).code == 0
    assert (tmp_path / "out" / "a.srt").read_text() == render(transcript_of(files[0]), "srt")
    (tmp_path / "out" / "b.srt").unlink()
    assert "1 file of 2 have a transcript already." in harken(*command, "--resume").err
    assert [call["name"] for call in contract.calls].count("a.wav") == 1
    assert (tmp_path / "out" / "b.srt").is_file()


def test_tidy_is_done_here(harken: Harken, contract: Contract, files: list[Path]) -> None:
    plain = harken("transcribe", files[0], "--server", contract.url).out
    tidy = harken("transcribe", files[0], "--server", contract.url, "--tidy").out
    assert tidy == plain[:1].upper() + plain[1:]


@pytest.mark.parametrize(
    ("options", "name"),
    [(["--routes", "r.yaml"], "--routes"), (["--engine", "onnx"], "--engine"), (["--device", "cpu"], "--device"),
     (["--precision", "int8"], "--precision"), (["--threads", "2"], "--threads"), (["--beam", "4"], "--beam"),
     (["--lm", "x.arpa"], "--lm"), (["--lm-weight", "0.5"], "--lm-weight"), (["--task", "translate"], "--task"),
     (["--word-times"], "--word-times")],
)  # fmt: skip
def test_options_that_do_nothing_with_a_server(
    harken: Harken, contract: Contract, files: list[Path], options: list[str], name: str
) -> None:
    answer = harken("transcribe", files[0], "--server", contract.url, *options)
    assert (answer.code, answer.out) == (2, "")
    assert f"error: {name} does nothing with --server." in answer.err
    assert contract.calls == []


def test_options_that_need_a_server(harken: Harken, files: list[Path]) -> None:
    answer = harken("transcribe", files[0], "-m", "x", "--api-key-env", "NAME")
    assert answer.code == 2
    assert "--api-key-env does nothing without --server. Name the server." in answer.err
    assert "Give one of --model and --routes." in harken("transcribe", files[0]).err


def test_the_key_comes_from_the_environment_and_is_never_shown(
    harken: Harken, contract: Contract, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    contract.key = KEY
    command = ("transcribe", *files, "--server", contract.url)
    refused = harken(*command)
    assert (refused.code, refused.out) == (5, "")
    assert refused.err == ("error: There is no valid key. Put a key of the server into the variable HARKEN_API_KEY.\n")
    monkeypatch.setenv("HARKEN_API_KEY", KEY)
    assert harken(*command).code == 0
    monkeypatch.setenv("HARKEN_API_KEY", "hk_wrong_key")
    assert harken(*command).code == 5
    absent = harken(*command, "--api-key-env", "MY_KEY")
    assert (absent.code, absent.err) == (
        2, "error: The environment variable MY_KEY is not set. Put the server's key there.\n"
    )  # fmt: skip
    monkeypatch.setenv("MY_KEY", KEY)
    assert harken(*command, "--api-key-env", "MY_KEY").code == 0
    monkeypatch.setenv("MY_KEY", f"{KEY}\nnext")
    broken = harken(*command, "--api-key-env", "MY_KEY")
    assert broken.code == 2
    assert KEY not in broken.err


def test_an_address_with_no_such_route_is_told_once(harken: Harken, contract: Contract, files: list[Path]) -> None:
    answer = harken("transcribe", *files, "--server", f"{contract.url}/v1")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.count("Check that the address is that of a Harken server.") == 1


def test_a_server_that_is_away_stops_the_command(harken: Harken, files: list[Path]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    answer = harken("transcribe", *files, "--server", f"http://127.0.0.1:{port}")
    assert (answer.code, answer.out) == (5, "")
    assert f"error: No server answers at http://127.0.0.1:{port}" in answer.err
    assert answer.err.count("error") == 1


def test_a_model_the_server_lacks_stops_the_command(harken: Harken, contract: Contract, files: list[Path]) -> None:
    answer = harken("transcribe", *files, "--server", contract.url, "-m", "absent")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == "error: No model is called 'absent'. Use one of tiny.\n"


def test_what_cannot_be_sent_is_refused(harken: Harken, contract: Contract, files: list[Path], tmp_path: Path) -> None:
    def said(*arguments: object) -> str:
        answer = harken("transcribe", *arguments)
        assert answer.code in (2, 3)
        return str(answer.err)

    server = ("--server", contract.url)
    assert "https://x.example/a.wav is no file of this machine." in said("https://x.example/a.wav", *server)
    assert "--server: url is '127.0.0.1:8000'; use the server's address" in said(files[0], "--server", "127.0.0.1:8000")
    boosted = tmp_path / "boosted.txt"
    boosted.write_text("word\t3.0\n", encoding="utf-8")
    assert "boosted.txt has boosts of its own." in said(files[0], *server, "--hotwords", boosted)
    boosted.write_text("# none\n", encoding="utf-8")
    assert "boosted.txt holds no phrases." in said(files[0], *server, "--hotwords", boosted)
    assert "absent.txt does not exist." in said(files[0], *server, "--hotwords", tmp_path / "absent.txt")
    assert contract.calls == []


def test_several_files_as_json_lines(harken: Harken, contract: Contract, files: list[Path]) -> None:
    answer = harken("transcribe", *files, "--server", contract.url, "--json")
    lines = [json.loads(line) for line in answer.out.splitlines()]
    assert [line["file"] for line in lines] == [str(path) for path in files]
    assert len(lines[0]["segments"][0]["words"]) == 2
