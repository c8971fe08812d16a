"""Settings of the server: where they come from, which one wins, what is shown of them."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from harken.core import InputError
from harken.serving.settings import ServeSettings, read_settings, shown

MODELS: dict[str, Any] = {"models": {"models": [{"path": "/m/digits"}]}}
SECRETS = ("s" * 40, "hunter2", "abcdefgh" * 5, "t0ken", "k3ypass")


def read(environment: dict[str, str] | None = None, file: Path | None = None, **given: Any) -> ServeSettings:
    return read_settings(file, environment=environment or {}, given={**MODELS, **given})


def test_without_anything_it_is_open_to_this_machine_only() -> None:
    settings = read()
    assert (settings.host, settings.port, settings.is_local, settings.allow_anybody) == ("127.0.0.1", 8000, True, False)
    assert [model.shown_name for model in settings.models.models] == ["digits"]


def test_options_win_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "serve.yaml"
    file.write_text("port: 1\nhost: localhost\ndrain_s: 5\njobs: {workers: 3, sync_files: 2}\n")
    environment = {"HARKEN_SERVE_PORT": "2", "HARKEN_SERVE_HOST": "::1", "HARKEN_SERVE_JOBS__WORKERS": "4"}
    settings = read(environment, file, port=3)
    assert (settings.port, settings.host, settings.drain_s) == (3, "::1", 5.0)
    assert (settings.jobs.workers, settings.jobs.sync_files) == (4, 2)


def test_the_environment_writes_lists_as_yaml_and_leaves_other_variables_alone() -> None:
    settings = read({
        "HARKEN_SERVE_CORS__ORIGINS": "[https://a.example.com]",
        "HARKEN_SERVE_HOSTS": "[asr.example.com]",
        "HARKEN_SERVE_AUDIT__TEXT": "true",
        "HARKEN_SERVE_LIMITS__RATE": "",
        "HARKEN_HOME": "/x",
    })  # fmt: skip
    assert settings.cors.origins == ("https://a.example.com",)
    assert settings.hosts == ("asr.example.com",)
    assert settings.audit.text is True
    assert settings.limits.rate is None


def test_paths_of_a_file_are_relative_to_it(tmp_path: Path) -> None:
    file = tmp_path / "serve.yaml"
    file.write_text("models: {models: [{path: digits/model}]}\ntls: {certificate: c.pem, key: /k.pem}\n")
    settings = read_settings(file, environment={})
    assert settings.models.models[0].path == tmp_path / "digits/model"
    assert settings.tls is not None
    assert (settings.tls.certificate, settings.tls.key) == (tmp_path / "c.pem", Path("/k.pem"))


def test_folders_of_models_are_relative_to_their_file_and_none_by_default(tmp_path: Path) -> None:
    assert read().models.folders == ()
    file = tmp_path / "serve.yaml"
    file.write_text("models: {models: [{path: m/digits}], folders: [m, /srv/models]}\n")
    settings = read_settings(file, environment={})
    assert settings.models.folders == (tmp_path / "m", Path("/srv/models"))


@pytest.mark.parametrize(
    ("environment", "given", "message"),
    [
        ({"HARKEN_SERVE_PROT": "1"}, {}, "HARKEN_SERVE_PROT is not a setting; did you mean HARKEN_SERVE_PORT?"),
        ({"HARKEN_SERVE_JOBS__WORKRES": "1"}, {}, "did you mean HARKEN_SERVE_JOBS__WORKERS?"),
        ({}, {"cors": {"origins": "https://a.org"}}, "cors.origins is 'https://a.org'; use a list, such as [a, b]."),
        ({"HARKEN_SERVE_PORT__X": "1", "HARKEN_SERVE_PORT": "1"}, {}, "HARKEN_SERVE_PORT__X: port is a value"),
        ({"HARKEN_SERVE_HOSTS": "[a"}, {}, "HARKEN_SERVE_HOSTS is '[a', which is not valid YAML"),
        ({"HARKEN_SERVE_PORT": "many"}, {}, "port"),
        ({}, {"port": 70_000}, "port is 70000; use 1 to 65535"),
        ({}, {"drain_s": float("nan")}, "drain_s is nan; use seconds, 0 or more"),
        ({}, {"audit": {"keep_s": 0}}, "keep_s is 0.0; use seconds above 0"),
        ({}, {"hosts": ["https://asr.example.com"]}, "hosts has 'https://asr.example.com'; use names without scheme"),
        ({}, {"hosts": ["asr.example.com:443"]}, "hosts has 'asr.example.com:443'"),
        ({}, {"webhooks": {"secret": "short"}}, "secret has 5 characters; use 32 or more"),
        ({}, {"jobs": {"workers": 65}}, "workers is 65; use 0 to 64"),
        ({}, {"jobs": {"sync_files": 9, "most_files": 8}}, "sync_files is 9; use 0 to most_files (8)"),
        ({}, {"jobs": {"lease_s": 0}}, "lease_s is 0.0; use seconds above 0"),
        ({}, {"models": {"models": []}}, "No model is named"),
    ],
)
def test_what_is_wrong_is_named(environment: dict[str, str], given: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        read(environment, **given)


def test_a_file_is_named_with_what_is_wrong_in_it(tmp_path: Path) -> None:
    file = tmp_path / "serve.yaml"
    file.write_text("webhoks: {}\n")
    with pytest.raises(InputError, match=r"serve\.yaml.*webhoks"):
        read({}, file)


def test_nothing_secret_is_shown() -> None:
    settings = read(
        auth={"jwt": {"algorithms": ["HS256"], "secret": SECRETS[0], "audience": "asr"}},
        storage={"database": f"postgresql+psycopg://harken:{SECRETS[1]}@db.example.com/asr"},
        limits={"url": f"redis://:{SECRETS[1]}@cache.example.com:6379/0"},
        webhooks={"secret": SECRETS[2]},
        telemetry={"endpoint": "https://otel.example.com/v1/traces", "headers": {"authorization": SECRETS[3]}},
        tls={"certificate": "c.pem", "key": "k.pem", "key_password": SECRETS[4]},
    )
    text = yaml.safe_dump(shown(settings))
    assert [secret for secret in SECRETS if secret in text or secret in repr(settings)] == []
    told = shown(settings)
    assert told["webhooks"]["secret"] == told["tls"]["key_password"] == "***"
    assert told["telemetry"]["headers"] == {"authorization": "***"}
    assert told["storage"]["database"] == "postgresql+psycopg://harken:***@db.example.com/asr"
    assert told["limits"]["url"] == "redis://:***@cache.example.com:6379/0"


def test_what_is_shown_is_a_file_of_settings(tmp_path: Path) -> None:
    settings = read(storage={"database": "sqlite:////tmp/x.db", "blobs": "file:///tmp/store"}, port=9, hosts=["a"])
    file = tmp_path / "shown.yaml"
    file.write_text(yaml.safe_dump(shown(settings)))
    assert read_settings(file, environment={}) == settings


@pytest.mark.parametrize(
    ("host", "is_local"),
    [
        ("localhost", True), ("127.0.0.1", True), ("127.8.9.1", True), ("::1", True), ("0.0.0.0", False), ("::", False),
        ("192.168.1.2", False), ("localhost.example.com", False), ("asr", False),
    ],
)  # fmt: skip
def test_only_loopback_is_this_machine(host: str, is_local: bool) -> None:
    assert read(host=host).is_local is is_local
