"""The `harken` command: one module per group, each importing its room inside the function that runs.

Results go to stdout, logs and progress to stderr. An error raised on purpose becomes its message and its exit code.
"""

import logging
import os
import sys
from typing import Annotated

import typer

from harken.cli import (
    augment,
    bench,
    compare,
    data,
    demo,
    evaluate,
    export,
    language_model,
    models,
    plan,
    preview,
    runs,
    search,
    serve,
    shard,
    speech,
    stream,
    tokens,
    training,
    worker,
)
from harken.cli.output import complain

app = typer.Typer(
    name="harken",
    help="From a folder of audio to a speech recogniser in production.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo")(demo.demo)
data.app.command("augment")(augment.augment)
data.app.command("preview")(preview.preview)
data.app.command("shard")(shard.shard)
app.add_typer(data.app, name="data")
app.command("train")(training.train)
app.command("plan")(plan.plan)
app.command("search")(search.search)
app.command("evaluate")(evaluate.evaluate)
app.command("score")(evaluate.score)
app.command("compare")(compare.compare)
app.command("transcribe")(speech.transcribe)
app.command("stream")(stream.stream)
app.command("export")(export.export)
app.command("serve")(serve.serve)
app.command("worker")(worker.worker)
app.add_typer(bench.app, name="bench")
app.add_typer(language_model.app, name="lm")
app.add_typer(models.app, name="models")
app.add_typer(runs.app, name="runs")
app.add_typer(tokens.app, name="tokens")


@app.command("doctor")
def doctor(
    json_output: Annotated[bool, typer.Option("--json", help="Print the checks as JSON.")] = False,
) -> None:
    """Check what works on this machine, and say what to do about what does not."""
    from harken.cli.doctor import doctor as examine

    raise typer.Exit(examine(json_output))


def _version(asked: bool) -> None:
    if asked:
        from harken import __version__

        typer.echo(f"harken {__version__}")
        raise typer.Exit


@app.callback()
def options(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log what happens, to stderr.")] = False,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    """Common options come before the command."""
    default = "INFO" if verbose else "WARNING"
    level = os.environ.get("LOG_LEVEL", default).upper()
    if level not in logging.getLevelNamesMapping():
        complain(f"LOG_LEVEL is {level!r}. Use DEBUG, INFO, WARNING or ERROR.")
        raise typer.Exit(2)
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("harken").setLevel(level)


def main() -> None:
    """Run the command line; never shows a traceback for an error raised on purpose, nor for a disk that refuses."""
    try:
        app(prog_name="harken")  # the same words whichever way it was started
    except SystemExit as stop:
        if stop.code == 130:  # what Typer makes of a Ctrl-C
            complain("Interrupted.")
        raise
    except Exception as err:
        from harken.core.errors import HarkenError, RunFailed  # only now: it brings NumPy, and --help needs none

        if isinstance(err, OSError) and not logging.getLogger("harken").isEnabledFor(logging.INFO):
            file = err.filename2 or err.filename  # of a renaming the target: the source is a temporary file
            what = f"{file}: {err.strerror}." if file else f"{err}."
            err = RunFailed(what, hint="Check the path, its permissions and the space on its disk; -v says more.")
        if not isinstance(err, HarkenError):
            raise
        complain(str(err))
        sys.exit(err.exit_code)


if __name__ == "__main__":
    main()
