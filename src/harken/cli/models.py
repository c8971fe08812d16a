"""`harken models`: look at model folders, keep versions of them, publish them."""

import json
import os
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harken.cli.model_import import import_model
from harken.cli.model_swap import swap_model
from harken.cli.model_variants import list_variants
from harken.cli.output import complain, counted, note, print_json

if TYPE_CHECKING:
    from harken.models.overview import Evaluation, ModelSummary
    from harken.models.registry import ModelRegistry, RegisteredModel

app = typer.Typer(help="Import, list, look at, register, promote and publish models.", no_args_is_help=True)
UriOption = Annotated[
    str | None, typer.Option("--uri", help="MLflow server or database instead of the one in Harken's home.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
app.command("import")(import_model)
app.command("variants")(list_variants)
app.command("swap")(swap_model)


@app.command("list")
def list_models(
    folder: Annotated[Path, typer.Option("--dir", help="Folder to look for model folders in.")] = Path("runs"),
    registered: Annotated[bool, typer.Option("--registered", help="List the registry instead of folders.")] = False,
    name: Annotated[str | None, typer.Option("--name", help="Only this registered model.")] = None,
    uri: UriOption = None,
    json_output: JsonOption = False,
) -> None:
    """List model folders, or with --registered (implied by --name and --uri) the versions in the registry.

    A damaged model folder is reported; the exit code is 2 then.
    """
    if registered or name or uri:
        versions = _registry(uri).versions(name)
        if json_output:
            print_json([_plain(item) for item in versions])
        elif versions:
            typer.echo(_registered_table(versions))
        else:
            note("No model is registered. Do so with: harken models register FOLDER NAME.")
        return
    from harken.core import HarkenError, MissingPart
    from harken.models.overview import find_model_folders, summarize

    if not folder.is_dir():
        wrong = "is a file, not a folder" if folder.exists() else "does not exist"
        raise MissingPart(f"{folder} {wrong}.", hint="Name the folder of your runs with --dir.")
    summaries, damaged = [], 0
    for path in find_model_folders(folder):
        try:
            summaries.append(summarize(path))
        except HarkenError as err:
            complain(str(err))
            damaged += 1
    if json_output:
        print_json([_plain(item) for item in summaries])
    elif summaries:
        typer.echo(_local_table(summaries))
    else:
        note(f"{folder} holds no model folder{' that can be read' if damaged else ''}.")
    if damaged:
        raise typer.Exit(2)


@app.command("show")
def show(
    model: Annotated[str, typer.Argument(help="Model folder, or NAME@ALIAS or NAME/VERSION from the registry.")],
    uri: UriOption = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print everything harken.json says.")] = False,
) -> None:
    """Say what a model is and how well it does."""
    from harken.core.tables import text_table
    from harken.models.card import output_units
    from harken.models.description import read_description
    from harken.models.overview import DESCRIPTION, evaluations_of

    folder = _folder(model, uri)
    description = read_description(folder)
    if json_output:
        data = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        print_json(data | {"sample_rate": description.sample_rate_hz})
        return
    typer.echo(f"family       {description.family}")
    typer.echo(f"parameters   {description.parameters:,}")
    typer.echo(f"sample rate  {description.sample_rate_hz} Hz")
    typer.echo(f"output units {output_units(description.vocab_size, description.tokenizer)}")
    typer.echo(f"languages    {', '.join(description.languages) or 'not stated'}")
    if description.adapters:
        active = ", ".join(description.active_adapters) or "none"
        typer.echo(f"adapters     {', '.join(description.adapters)} (active: {active})")
    typer.echo(f"run          {description.provenance.get('run', 'unknown')}")
    rows = [
        (item.on, _percent(item.wer), _interval(item), _percent(item.cer), item.words or "", item.utterances or "")
        for item in evaluations_of(description.metrics)
    ]
    if rows:
        typer.echo("\n" + text_table([("set", "WER", "interval", "CER", "words", "utterances"), *rows]))
    else:
        note("Not evaluated yet: harken evaluate MODEL MANIFEST.")


@app.command("register")
def register(
    folder: Annotated[Path, typer.Argument(help="Model folder.")],
    name: Annotated[str, typer.Argument(help="Name to register it under.")],
    copy: Annotated[
        bool | None,
        typer.Option("--copy/--no-copy", help="Copy the files into MLflow's store; a server always gets one."),
    ] = None,
    uri: UriOption = None,
    json_output: JsonOption = False,
) -> None:
    """Make a model folder the next version of a name. Its lineage is read from the folder and its run."""
    item, new = _registry(uri).register(folder, name, copy=copy)
    if json_output:
        print_json({**_plain(item), "new": new})
    elif new:
        typer.echo(f"{item.name} version {item.version}: {item.source}")
    else:
        typer.echo(f"{item.name} version {item.version} has these weights already: {item.source}")


@app.command("promote")
def promote(
    name: Annotated[str, typer.Argument(help="Registered name.")],
    version: Annotated[int, typer.Argument(help="Its version.", min=1)],
    alias: Annotated[str, typer.Option("--alias", help="What the version becomes.")] = "champion",
    uri: UriOption = None,
    json_output: JsonOption = False,
) -> None:
    """Give a version an alias, such as champion or candidate; it moves there from the version that had it."""
    before = _registry(uri).promote(name, version, alias)
    if json_output:
        print_json({"name": name, "alias": alias, "version": version, "before": before})
        return
    was = "" if before in (None, version) else f" (before: version {before})"
    typer.echo(f"{name}@{alias} is version {version}{was}")


@app.command("push")
def push(
    folder: Annotated[Path, typer.Argument(help="Model folder.")],
    repository: Annotated[str, typer.Argument(metavar="REPO", help="NAME or OWNER/NAME on the hub.")],
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
    endpoint: Annotated[str | None, typer.Option("--endpoint", help="Address of another hub.")] = None,
    revision: Annotated[str | None, typer.Option("--revision", help="Branch to push to.")] = None,
    message: Annotated[str | None, typer.Option("--message", "-m", help="Message of the commit.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and list the files, send nothing.")] = False,
    json_output: JsonOption = False,
) -> None:
    """Push a model folder to a model hub. The access token is read from HF_TOKEN."""
    from harken.core import InputError
    from harken.core.units import format_bytes
    from harken.models.hub import check_repository_name, files_to_push, push_to_hub

    if endpoint is not None and not endpoint.startswith(("https://", "http://")):
        raise InputError(f"--endpoint is {endpoint!r}.", hint="Use an address such as https://hub.example.org.")
    if dry_run:
        check_repository_name(repository)
        files = files_to_push(folder)
        if json_output:
            print_json({"files": [{"path": path, "bytes": size} for path, size in files]})
        else:
            typer.echo("\n".join(f"{size:>14,}  {path}" for path, size in files))
        return
    pushed = push_to_hub(
        folder,
        repository,
        token=os.environ.get("HF_TOKEN"),
        endpoint=endpoint,
        private=private,
        revision=revision,
        message=message,
        on_start=lambda files: note(
            f"pushing {counted(len(files), 'file')}, {format_bytes(sum(size for _, size in files))}"
        ),
    )
    if json_output:
        print_json(asdict(pushed) | {"files": [{"path": path, "bytes": size} for path, size in pushed.files]})
    else:
        typer.echo(pushed.url)


def _registry(uri: str | None) -> "ModelRegistry":
    from harken.core import InputError
    from harken.core.home import home_folder
    from harken.models.registry import ModelRegistry

    if uri is not None and "://" not in uri and not uri.startswith("databricks"):
        raise InputError(
            f"--uri is {uri!r}.", hint="Use a server (https://mlflow.example.org) or a database (sqlite:///mlflow.db)."
        )
    return ModelRegistry(home=home_folder(), uri=uri)


def _folder(model: str, uri: str | None) -> Path:
    """A folder by its path, or by NAME@ALIAS or NAME/VERSION in the registry where no such path exists."""
    named = "@" in model or re.fullmatch(r"[^/]+/\d+", model) is not None
    if Path(model).exists() or (uri is None and not named):
        return Path(model)
    return Path(_registry(uri).find(model).source)


def _plain(item: "ModelSummary | RegisteredModel") -> dict[str, Any]:
    """A model for JSON: the fields of its class, the figures of its main evaluation on top."""
    best = item.evaluation
    fields = asdict(item)
    fields.pop("metrics", None)
    fields.pop("run_record", None)
    folder = fields.pop("folder", None)
    place = {} if folder is None else {"folder": str(folder)}
    wer = None if best is None else {"value": best.wer, "low": best.low, "high": best.high, "on": best.on}
    return place | fields | {"wer": wer}


def _local_table(items: "Sequence[ModelSummary]") -> str:
    from harken.core.tables import text_table

    rows = [
        (item.name, *_figures(item.evaluation), item.family, f"{item.parameters:,}", item.created_at[:16], _short(item))
        for item in items
    ]
    return text_table([("name", "WER", "interval", "on", "family", "parameters", "created", "folder"), *rows])


def _registered_table(items: "Sequence[RegisteredModel]") -> str:
    from harken.core.tables import text_table

    rows = [
        (
            item.name,
            item.version,
            ", ".join(item.aliases),
            *_figures(item.evaluation),
            item.family,
            f"{item.parameters:,}",
            item.created_at[:16],
            item.source,
        )
        for item in items
    ]
    head = ("name", "version", "aliases", "WER", "interval", "on", "family", "parameters", "created", "folder")
    return text_table([head, *rows])


def _short(item: "ModelSummary") -> str:
    here = Path.cwd()
    return str(item.folder.relative_to(here) if item.folder.is_relative_to(here) else item.folder)


def _figures(best: "Evaluation | None") -> tuple[str, str, str]:
    return ("", "", "") if best is None else (_percent(best.wer), _interval(best), best.on)


def _percent(rate: float | None) -> str:
    return "" if rate is None else f"{100 * rate:.2f} %"


def _interval(item: "Evaluation") -> str:
    return "" if item.low is None or item.high is None else f"{100 * item.low:.2f} to {100 * item.high:.2f}"
