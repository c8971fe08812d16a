"""`harken serve`: a transcription server in one process."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

ModelOption = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        "-m",
        help="A model folder, or NAME=FOLDER; a YAML file of routes by language will do. Several times for several "
        "models, the default one first.",
    ),
]
EngineOption = Annotated[str | None, typer.Option(help="What runs the models; auto without it.")]
SettingsOption = Annotated[Path | None, typer.Option("--settings", help="A YAML file of settings.", metavar="FILE")]


def serve(
    model: ModelOption = None,
    host: Annotated[str | None, typer.Option(help="The address to listen on; 127.0.0.1 without it.")] = None,
    port: Annotated[int | None, typer.Option(help="The port; 8000 without it, 0 for any that is free.")] = None,
    engine: EngineOption = None,
    settings: SettingsOption = None,
    allow_anybody: Annotated[
        bool, typer.Option("--allow-anybody", help="Let other machines connect without a key.")
    ] = False,
    show_settings: Annotated[
        bool, typer.Option("--show-settings", help="Print all settings, secrets masked, and stop.")
    ] = False,
) -> None:
    """Transcribe over HTTP and WebSockets.

    Clients of OpenAI, Deepgram and vosk speak to it as they are; see /docs and /playground of the server. Settings come
    from --settings, HARKEN_SERVE_... variables and these options, the last of which count most. Without a key or
    auth.jwt only this machine can connect.
    """
    from harken.serving.settings import read_settings, shown

    given: dict[str, Any] = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    if allow_anybody:
        given["allow_anybody"] = True
    given |= models_given(model, engine)
    found = read_settings(settings, environment=os.environ, given=given)
    if show_settings:
        import yaml

        typer.echo(yaml.safe_dump(shown(found), sort_keys=False, allow_unicode=True), nl=False)
        return
    from harken.http.logs import configure_logging
    from harken.serving.server import serve as run

    configure_logging(os.environ.get("LOG_LEVEL", found.log_level), found.log_format)
    run(found, on_ready=_announce(found.is_local))


def models_given(models: list[str] | None, engine: str | None) -> dict[str, Any]:
    """The settings that --model and --engine stand for. Raises InputError for an engine without a model."""
    if models:
        return {"models": {"models": [_model(entry, engine) for entry in models]}}
    if engine is not None:
        from harken.core import InputError

        raise InputError("--engine does nothing without --model.", hint="Write it beside its model in --settings.")
    return {}


def _model(entry: str, engine: str | None) -> dict[str, Any]:
    name, equals, path = entry.partition("=")
    made: dict[str, Any] = {"path": path if equals else entry}
    if equals:
        made["name"] = name
    if engine is not None:
        made["engine"] = engine
    return made


def _announce(is_local: bool) -> Any:
    def say(url: str) -> None:
        typer.echo(f"Harken listens on {url}{'  (this machine only)' if is_local else ''}", err=True)
        here = url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")  # all addresses: one to open
        typer.echo(f"Try it: {here}/playground, {here}/docs", err=True)

    return say
