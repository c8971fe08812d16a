"""Runs in MLflow: by default a SQLite file in Harken's home, or any MLflow server or database by its address."""

import math
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harken.core import MissingPart

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

RUN_ID_TAG = "harken.run_id"

_STATUS = {"finished": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}
_LARGEST_BATCH = 1000  # metrics per request, MLflow's limit
_PARAMETERS_PER_BATCH = 100
_LONGEST_VALUE = 6000
_LONGEST_KEY = 250
_NOT_IN_A_KEY = re.compile(r"[^\w\-. /:]")


class MlflowSink:
    """Sends numbers in batches, because one request per number would take 20 to 35 ms of every step.

    They are sent when 1000 wait or `every_s` seconds have passed, and at `artifact` and `finish`. A run that is
    resumed goes on in the MLflow run it began, found by the tag `harken.run_id`. Numbers that are not finite are
    left out: the databases behind MLflow disagree on them, and the run folder marks them.
    """

    def __init__(
        self,
        *,
        home: Path,
        run_folder: Path,
        tracking_uri: str | None = None,
        experiment: str = "harken",
        every_s: float = 30.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`tracking_uri` None means `<home>/mlflow.db`, with artifacts in `<home>/mlflow-artifacts`."""
        self.tracking_uri = tracking_uri or f"sqlite:///{(home / 'mlflow.db').absolute()}"
        self.experiment = experiment
        self._artifacts = None if tracking_uri else (home / "mlflow-artifacts").absolute()
        self._home = home
        self._every_s = every_s
        self._clock = clock
        self._client: MlflowClient | None = None
        self._run_id = ""
        self._waiting: list[Metric] = []
        self._sent_at = 0.0

    def start(self, run_id: str, name: str, parameters: dict[str, Any], tags: dict[str, str]) -> None:
        """Begin, or go on with, the MLflow run of `run_id`. Nested parameters get dotted names.

        Raises MissingPart when MLflow is not installed, and MLflow's own errors when the address does not answer.
        """
        client = self._client = connect_mlflow(self.tracking_uri, home=self._home, user="The sink mlflow")
        experiment_id = self._experiment_id(client)
        known = find_run(client, experiment_id, run_id)
        if known is not None:
            self._run_id = known
            client.update_run(self._run_id, status="RUNNING")
        else:
            self._run_id = client.create_run(experiment_id, tags={RUN_ID_TAG: run_id}, run_name=name).info.run_id
            self._log_parameters(client, parameters)
        for key, value in tags.items():
            client.set_tag(self._run_id, _key(key), value)
        self._sent_at = self._clock()

    def log(self, metrics: dict[str, float], step: int) -> None:
        """Add numbers of one step to what waits."""
        from mlflow.entities import Metric

        now = self._clock()
        self._waiting += [
            Metric(key=_key(name), value=float(value), timestamp=int(now * 1000), step=step)
            for name, value in metrics.items()
            if math.isfinite(value)
        ]
        if len(self._waiting) >= _LARGEST_BATCH or now - self._sent_at >= self._every_s:
            self._send()

    def artifact(self, path: Path) -> None:
        """Copy a file, or a folder with everything in it, to the run's artifacts."""
        self._send()
        client = self._started()
        if path.is_dir():
            client.log_artifacts(self._run_id, str(path), artifact_path=path.name)
        else:
            client.log_artifact(self._run_id, str(path))

    def finish(self, status: str) -> None:
        """Send what waits and close the MLflow run with `status` (finished, failed or interrupted)."""
        self._send()
        self._started().set_terminated(self._run_id, status=_STATUS.get(status, "FAILED"))

    def _experiment_id(self, client: "MlflowClient") -> str:
        found = client.get_experiment_by_name(self.experiment)
        if found is not None:
            return str(found.experiment_id)
        location = None if self._artifacts is None else self._artifacts.as_uri()
        return str(client.create_experiment(self.experiment, artifact_location=location))

    def _log_parameters(self, client: "MlflowClient", parameters: dict[str, Any]) -> None:
        from mlflow.entities import Param

        flat = [Param(_key(name), str(value)[:_LONGEST_VALUE]) for name, value in flattened(parameters)]
        for first in range(0, len(flat), _PARAMETERS_PER_BATCH):
            client.log_batch(self._run_id, params=flat[first : first + _PARAMETERS_PER_BATCH])

    def _send(self) -> None:
        client = self._started()
        self._sent_at = self._clock()
        while self._waiting:
            client.log_batch(self._run_id, metrics=self._waiting[:_LARGEST_BATCH])
            del self._waiting[:_LARGEST_BATCH]

    def _started(self) -> "MlflowClient":
        if self._client is None:
            raise RuntimeError("start was not called")
        return self._client


def connect_mlflow(uri: str, *, home: Path, user: str) -> "MlflowClient":
    """A client of the runs and the models at `uri`. Makes the folder `home`, where the default database lies.

    Raises MissingPart, which names the `user`, when MLflow is not installed.
    """
    # Before the import, where MLflow reads it: a toolkit must not report on its users. A user's own word stands.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    try:
        from mlflow import MlflowClient
    except ImportError as err:
        raise MissingPart(
            f"{user} needs the package mlflow-skinny.", hint="Install it with: pip install 'harken[tracking]'."
        ) from err
    home.mkdir(parents=True, exist_ok=True)
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def find_run(client: "MlflowClient", experiment_id: str, run_id: str) -> str | None:
    """MLflow's id of the run that mirrors Harken's run `run_id`, None without one."""
    found = client.search_runs([experiment_id], f"tags.`{RUN_ID_TAG}` = '{run_id}'", max_results=1)
    return str(found[0].info.run_id) if found else None


def flattened(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted name, value) of every leaf of nested mappings, in order."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from flattened(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _key(name: str) -> str:
    return _NOT_IN_A_KEY.sub("_", name)[:_LONGEST_KEY]
