"""`harken serve`: its options, and what it shows of its settings."""

from pathlib import Path

import pytest
import typer
import yaml
from typer.testing import CliRunner

from harken.cli.serve import _announce, models_given, serve
from harken.core import InputError

app = typer.Typer()
app.command()(serve)


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.environ", {"HARKEN_SERVE_PORT": "9", "HARKEN_SERVE_DRAIN_S": "7", "HARKEN_HOME": "/h"})


def show(*options: str) -> dict[str, object]:
    done = CliRunner().invoke(app, [*options, "--show-settings"], catch_exceptions=False)
    assert done.exit_code == 0
    shown: dict[str, object] = yaml.safe_load(done.stdout)
    return shown


def test_shown_settings_come_from_file_environment_and_options(tmp_path: Path) -> None:
    file = tmp_path / "serve.yaml"
    file.write_text("port: 1\nhost: localhost\nwebhooks: {secret: " + "s" * 40 + "}\n")
    shown = show("--model", "one=/m/a", "-m", "/m/b", "--engine", "onnx", "--port", "3", "--settings", str(file))
    assert (shown["port"], shown["host"], shown["drain_s"], shown["allow_anybody"]) == (3, "localhost", 7.0, False)
    models = shown["models"]["models"]  # type: ignore[index]
    assert [(model["name"], model["path"], model["engine"]) for model in models] == [
        ("one", "/m/a", "onnx"), (None, "/m/b", "onnx")
    ]  # fmt: skip
    assert shown["webhooks"]["secret"] == "***"  # type: ignore[index]
    assert show("--model", "/m/a")["port"] == 9
    assert show("--model", "/m/a", "--allow-anybody")["allow_anybody"] is True


def test_without_a_model_it_says_how_to_name_one() -> None:
    with pytest.raises(InputError, match=r"No model is named\. Name a model folder: harken serve --model"):
        CliRunner().invoke(app, [], catch_exceptions=False)


def test_an_engine_without_a_model_does_nothing() -> None:
    with pytest.raises(InputError, match=r"--engine does nothing without --model"):
        models_given(None, "onnx")


@pytest.mark.parametrize(
    ("url", "opened"),
    [("http://0.0.0.0:9", "http://127.0.0.1:9"), ("https://[::]:9", "https://[::1]:9"), ("http://a:9", "http://a:9")],
)
def test_the_page_to_try_can_be_opened(url: str, opened: str, capsys: pytest.CaptureFixture[str]) -> None:
    _announce(False)(url)
    said = capsys.readouterr().err
    assert f"Harken listens on {url}\n" in said
    assert f"Try it: {opened}/playground, {opened}/docs" in said
