"""The model registry: names, versions and aliases, kept by MLflow beside the runs.

A version points to a model folder and carries its lineage (run, data hashes, code, figures, hash of the weights),
which is read from the folder and from the run beside it. Nobody types it, so nobody mistypes it.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harken.core import InputError, MissingPart, RunFailed
from harken.models.overview import (
    Evaluation,
    ModelSummary,
    evaluations_of,
    main_evaluation,
    summarize,
    verified_weights,
)
from harken.tracking.mlflow_sink import MlflowSink, connect_mlflow, find_run

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

_PREFIX = "harken."
_PAGE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredModel:
    """One version in the registry. `source` is a model folder, or where the registry keeps its copy of one.

    `lineage` is what was read from the folder and its run: text by name, such as `run`, `train_sha256`, `commit`.
    `created_at` is when it was registered (ISO 8601, UTC).
    """

    name: str
    version: int
    aliases: list[str]
    source: str
    family: str
    parameters: int
    evaluations: list[Evaluation]
    created_at: str
    weights_sha256: str
    lineage: dict[str, str]

    @property
    def evaluation(self) -> Evaluation | None:
        """The one to show where there is room for one."""
        return main_evaluation(self.evaluations)


class ModelRegistry:
    """Versions of models in MLflow: by default the SQLite file in Harken's home where runs go too.

    `uri` is any MLflow server or database. Methods raise MissingPart when MLflow is not installed or a name, version or
    alias is unknown, InputError for a name or alias MLflow does not take, RunFailed when it does not answer.
    """

    def __init__(self, *, home: Path, uri: str | None = None, experiment: str = "harken") -> None:
        self.uri = MlflowSink(home=home, run_folder=home, tracking_uri=uri).tracking_uri
        self._home = home
        self._given_uri = uri
        self._experiment = experiment
        self._connected: MlflowClient | None = None

    def register(self, folder: Path, name: str, *, copy: bool | None = None) -> tuple[RegisteredModel, bool]:
        """Make `folder` the next version of `name`; with it, whether it is new.

        Weights that are registered under this name already are not registered again: their version comes back, and
        False. `copy` puts the files into MLflow's own store; None does so for servers only, whose other users cannot
        read this machine's folders. Raises InputError for weights that are not those of harken.json, and when
        harken.json and the run beside it disagree about the data.
        """
        summary, weights = summarize(folder), verified_weights(folder)
        tags = {_PREFIX + key: value for key, value in lineage_of(summary, weights).items()}
        with _explained(f"{name!r} cannot be registered"):
            client = self._client()
            known = [item for item in self._versions(client, name) if item.weights_sha256 == weights]
            if known:
                return known[0], False
            run = self._mlflow_run(client, summary)
            source = str(folder.resolve())
            if copy or (copy is None and self.uri.startswith(("http://", "https://"))):
                run = run or self._new_mlflow_run(client, summary)
                place = f"model-{weights[:12]}"
                client.log_artifacts(run, source, artifact_path=place)
                source = f"{client.get_run(run).info.artifact_uri}/{place}"
            if not client.search_registered_models(_named(name), max_results=1):
                client.create_registered_model(name)
            made = client.create_model_version(name, source=source, run_id=run, tags=tags, await_creation_for=0)
            return _registered(made, {}), True

    def promote(self, name: str, version: int, alias: str = "champion") -> int | None:
        """Give `alias` to a version; the version that had it before, or None.

        A version whose folder lies on this machine is looked at first. Raises MissingPart when it is gone,
        InputError when its weights are no longer those that were registered.
        """
        chosen = next((item for item in self.versions(name) if item.version == version), None)
        if chosen is None:
            raise MissingPart(f"{name!r} has no version {version}.", hint=self._known_versions(name))
        _check_unchanged(chosen)
        with _explained(f"{name!r} version {version} cannot be made {alias!r}"):
            client = self._client()
            before = _aliases(client, name).get(alias)
            client.set_registered_model_alias(name, alias, str(version))
        return before

    def versions(self, name: str | None = None) -> list[RegisteredModel]:
        """All versions, or those of one name, by name and number. Raises MissingPart for a name nobody registered."""
        with _explained("The registry cannot be read"):
            client = self._client()
            found = self._versions(client, name)
            if name is not None and not found:
                names = sorted(model.name for model in _all_pages(client.search_registered_models))
                raise MissingPart(f"No model is registered as {name!r}.", hint=f"Known: {', '.join(names) or 'none'}.")
        return sorted(found, key=lambda item: (item.name, item.version))

    def find(self, reference: str) -> RegisteredModel:
        """The version that `name@alias` or `name/version` means.

        Raises InputError for another form, MissingPart when there is no such version.
        """
        for mark in ("@", "/"):
            name, found, which = reference.partition(mark)
            if not found or not name or not which:
                continue
            for item in self.versions(name):
                if which in item.aliases if mark == "@" else which == str(item.version):
                    return item
            raise MissingPart(f"There is no {reference}.", hint=self._known_versions(name))
        raise InputError(f"{reference!r} names no registered model.", hint="Write name@alias or name/version.")

    def _client(self) -> "MlflowClient":
        if self._connected is None:
            # MLflow's own 7 retries keep a person in front of a mistyped address waiting for minutes.
            os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
            self._connected = connect_mlflow(self.uri, home=self._home, user="The model registry")
        return self._connected

    def _versions(self, client: "MlflowClient", name: str | None) -> list[RegisteredModel]:
        # Searching for versions does not tell their aliases; searching for models does.
        aliases = {
            model.name: {alias: int(version) for alias, version in model.aliases.items()}
            for model in _all_pages(client.search_registered_models, _named(name))
        }
        found = _all_pages(client.search_model_versions, _named(name))
        return [_registered(item, aliases.get(item.name, {})) for item in found]

    def _known_versions(self, name: str) -> str:
        known = [
            f"{item.version} ({', '.join(item.aliases)})" if item.aliases else str(item.version)
            for item in self.versions(name)
        ]
        return f"Known versions: {', '.join(known)}."

    def _mlflow_run(self, client: "MlflowClient", summary: ModelSummary) -> str | None:
        """The MLflow run that mirrors the run the model came from, if that run was tracked here."""
        run, experiment = summary.provenance.get("run"), client.get_experiment_by_name(self._experiment)
        if run is None or experiment is None or "'" in str(run):
            return None
        return find_run(client, experiment.experiment_id, str(run))

    def _new_mlflow_run(self, client: "MlflowClient", summary: ModelSummary) -> str:
        sink = MlflowSink(
            home=self._home, run_folder=summary.folder, tracking_uri=self._given_uri, experiment=self._experiment
        )
        run = str(summary.provenance.get("run") or summary.name)
        sink.start(run, summary.name, {}, {})
        sink.finish("finished")
        found = self._mlflow_run(client, summary)
        if found is None:
            raise InputError(
                f"{summary.folder} does not say which run it came from, so its files have no place in MLflow.",
                hint="Register it without a copy.",
            )
        return found


def lineage_of(summary: ModelSummary, weights_sha256: str) -> dict[str, str]:
    """What a version says about its origin, from harken.json and run.json: text by name.

    Raises InputError when the two disagree about the data the model was trained on.
    """
    lineage = {key: str(value) for key, value in summary.provenance.items() if isinstance(value, str | int)}
    record = summary.run_record or {}
    facts = record.get("provenance") or {}
    for name, manifest in (facts.get("manifests") or {}).items():
        key, sha256 = f"{name}_sha256", str(manifest["sha256"])
        if lineage.setdefault(key, sha256) != sha256:
            raise InputError(
                f"{summary.folder} and its run disagree about {key}: {lineage[key][:12]} and {sha256[:12]}.",
                hint="The model was copied into another run's folder; register it from where it was trained.",
            )
    if record:
        lineage |= {"run_folder": str(summary.folder.parent), "run_status": str(record["status"])}
    for key in ("commit", "dirty"):
        if key in (facts.get("git") or {}):
            lineage[key] = str(facts["git"][key])
    return lineage | {
        "family": summary.family,
        "parameters": str(summary.parameters),
        "languages": ",".join(summary.languages),
        "normalizer": summary.normalizer,
        "metrics": json.dumps(summary.metrics, ensure_ascii=False),
        "weights_sha256": weights_sha256,
    }


def _registered(item: "ModelVersion", aliases: Mapping[str, int]) -> RegisteredModel:
    """A version as MLflow gives it. One that somebody else's tool registered has no family and no figures."""
    tags = {key.removeprefix(_PREFIX): value for key, value in item.tags.items() if key.startswith(_PREFIX)}
    metrics = json.loads(tags.pop("metrics", "{}"))
    number = int(item.version)
    return RegisteredModel(
        name=item.name,
        version=number,
        aliases=sorted(alias for alias, version in aliases.items() if version == number),
        source=str(item.source),
        family=tags.pop("family", ""),
        parameters=int(tags.pop("parameters", 0)),
        evaluations=evaluations_of(metrics),
        created_at=datetime.fromtimestamp(item.creation_timestamp / 1000, UTC).isoformat(timespec="seconds"),
        weights_sha256=tags.pop("weights_sha256", ""),
        lineage=tags,
    )


def _check_unchanged(item: RegisteredModel) -> None:
    folder = Path(item.source)
    if not folder.is_absolute():  # a copy in MLflow's store, by its URI
        return
    if not folder.is_dir():
        raise MissingPart(f"{folder}, {item.name!r} version {item.version}, is gone.", hint="Put it back there.")
    found = verified_weights(folder)
    if item.weights_sha256 and found != item.weights_sha256:
        raise InputError(
            f"The weights in {folder} are not those registered as {item.name!r} version {item.version}.",
            hint="Register the folder again: it gets a version of its own.",
        )


def _aliases(client: "MlflowClient", name: str) -> dict[str, int]:
    return {alias: int(version) for alias, version in client.get_registered_model(name).aliases.items()}


def _named(name: str | None) -> str | None:
    if name is not None and (not name or any(letter in name for letter in "/:@'`")):
        raise InputError(f"{name!r} is no name for a model.", hint="Leave out / : @ and quotes.")
    return None if name is None else f"name = '{name}'"


def _all_pages(search: Any, filter_string: str | None = None) -> list[Any]:
    found, token = [], None
    while True:
        page = search(filter_string=filter_string, max_results=_PAGE, page_token=token)
        found += page
        token = page.token
        if not token:
            return found


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """MLflow's errors as Harken's."""
    try:
        yield
    except Exception as err:
        # By name: importing the class would import MLflow before it is known to be there.
        if type(err).__module__.partition(".")[0] not in ("mlflow", "sqlalchemy"):
            raise
        if getattr(err, "error_code", "") == "INVALID_PARAMETER_VALUE":
            raise InputError(f"{what}: {err}") from err
        raise RunFailed(f"{what}: {err}", hint="Check the address (--uri) and that its server answers.") from err
