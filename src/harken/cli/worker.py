"""`harken worker`: works on the jobs that servers took."""

import os
from typing import Annotated, Any

import typer

from harken.cli.serve import EngineOption, ModelOption, SettingsOption, models_given


def worker(
    model: ModelOption = None,
    workers: Annotated[
        int | None, typer.Option(help="Files to work on at a time; without it jobs.workers, and 1 where that is 0.")
    ] = None,
    engine: EngineOption = None,
    settings: SettingsOption = None,
) -> None:
    """Work on batch jobs, without HTTP, until SIGTERM.

    It reads the settings of `harken serve`, and finds the jobs in the same database. A signal lets it finish the files
    under way; a second one gives them back to other workers. One that is killed loses nothing: another takes its file
    once jobs.lease_s have passed.
    """
    from harken.serving.settings import read_settings

    given: dict[str, Any] = models_given(model, engine)
    if workers is not None:
        given["jobs"] = {"workers": workers}
    found = read_settings(settings, environment=os.environ, given=given)
    from harken.http.logs import configure_logging
    from harken.serving.jobs.run import run_worker

    configure_logging(os.environ.get("LOG_LEVEL", found.log_level), found.log_format)
    run_worker(found, on_ready=_announce)


def _announce() -> None:
    typer.echo("Harken works on jobs. Ctrl-C lets it finish what is under way.", err=True)
