"""`harken models swap` against a stand-in of the client: what it asks, what it says."""

from typing import Any

import pytest
from typer.testing import CliRunner

from harken.cli.main import app
from harken.client import ModelFacts, sync_client
from harken.core import InputError

FACTS = ModelFacts(
    name="digits", path="/srv/models/digits-2", family="conformer-ctc", sample_rate_hz=16_000, languages=("en", "uz"),
)  # fmt: skip


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    calls: list[tuple[Any, ...]] = []

    class Client:
        def __init__(self, server: str, *, api_key: str | None) -> None:
            calls.append((server, api_key))

        def __enter__(self) -> "Client":
            return self

        def __exit__(self, *_: object) -> None:
            calls.append(("closed",))

        def swap_model(self, name: str, path: str) -> ModelFacts:
            calls.append((name, path))
            return FACTS

    monkeypatch.setattr(sync_client, "HarkenClient", Client)
    return calls


def swap(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["models", "swap", *arguments], catch_exceptions=False)


def test_the_server_is_asked_with_the_key_of_the_variable(
    asked: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARKEN_API_KEY", "hk_admin")
    result = swap("digits", "digits-2", "--server", "https://asr.example.com")
    assert result.exit_code == 0
    assert asked == [("https://asr.example.com", "hk_admin"), ("digits", "digits-2"), ("closed",)]
    assert result.stderr == "digits is /srv/models/digits-2 now (conformer-ctc, en, uz).\n"


def test_the_facts_as_json(asked: list[tuple[Any, ...]]) -> None:
    result = swap("digits", "digits-2", "--server", "http://127.0.0.1:1", "--json")
    assert '"path": "/srv/models/digits-2"' in result.stdout


def test_an_address_that_is_none() -> None:
    with pytest.raises(InputError, match=r"^--server: "):
        swap("digits", "digits-2", "--server", "ftp://example.com")
