"""Sinks for real: MLflow on SQLite, TensorBoard read back with its own reader, and what happens when one breaks."""

import base64
import logging
from pathlib import Path
from typing import Any

import pytest

from harken.core import InputError, MetricSink, MissingPart
from harken.tracking.mlflow_sink import flattened
from harken.tracking.sinks import MlflowSink, SafeSink, TensorBoardSink, open_sinks

# One red pixel.
PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC")


class Clock:
    def __init__(self) -> None:
        self.now = 1_795_271_130.0

    def __call__(self) -> float:
        return self.now


class Broken:
    """Fails at the named method."""

    def __init__(self, at: str) -> None:
        self.at = at
        self.calls: list[str] = []

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if name == self.at:
            raise ConnectionError("server is gone")

    def start(self, run_id: str, name: str, parameters: dict[str, Any], tags: dict[str, str]) -> None:
        self._call("start")

    def log(self, metrics: dict[str, float], step: int) -> None:
        self._call("log")

    def artifact(self, path: Path) -> None:
        self._call("artifact")

    def finish(self, status: str) -> None:
        self._call("finish")


def read_back(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder))
    found.Reload()
    return found


def test_tensorboard_reads_what_was_written(tmp_path: Path) -> None:
    clock = Clock()
    sink = TensorBoardSink(home=tmp_path / "home", run_folder=tmp_path / "run", clock=clock)
    sink.start("digits-1", "digits", {"optimizer": {"rate": 0.001}}, {"gpu": "none"})
    sink.log({"train/loss": 2.5, "wer": 1.0}, step=10)
    clock.now += 5
    sink.log({"train/loss": 1.5}, step=20)
    sink.log({"train/loss": float("nan")}, step=30)
    found = read_back(tmp_path / "run/tensorboard")  # while it is still open
    assert [(e.step, e.value) for e in found.Scalars("train/loss")][:2] == [(10, 2.5), (20, 1.5)]
    (tmp_path / "training.png").write_bytes(PNG)
    sink.artifact(tmp_path / "training.png")
    sink.artifact(tmp_path)  # not a picture: nothing to show
    sink.finish("finished")
    found = read_back(tmp_path / "run/tensorboard")
    losses = found.Scalars("train/loss")
    assert [e.step for e in losses] == [10, 20, 30]
    assert losses[2].value != losses[2].value  # noqa: PLR0124 - NaN
    assert losses[1].wall_time == clock.now
    assert [(e.step, e.value) for e in found.Scalars("wer")] == [(10, 1.0)]
    picture = found.Images("training")[0]
    assert (picture.step, picture.width, picture.height, picture.encoded_image_string) == (30, 1, 1, PNG)
    texts = {tag: found.Tensors(tag)[0].tensor_proto.string_val[0].decode() for tag in found.Tags()["tensors"]}
    assert texts["run/text_summary"] == "digits (digits-1)"
    assert '"rate": 0.001' in texts["settings/text_summary"]
    assert texts["status/text_summary"] == "finished"


def test_tensorboard_joins_the_files_of_a_resumed_run(tmp_path: Path) -> None:
    for step in (10, 20):
        sink = TensorBoardSink(home=tmp_path, run_folder=tmp_path, clock=Clock())
        sink.start("r", "r", {}, {})
        sink.log({"loss": 1.0 / step}, step=step)
        sink.finish("interrupted")
    assert len(list((tmp_path / "tensorboard").iterdir())) == 2
    assert [e.step for e in read_back(tmp_path / "tensorboard").Scalars("loss")] == [10, 20]


def test_tensorboard_files_without_a_finish_keep_their_numbers(tmp_path: Path) -> None:
    sink = TensorBoardSink(home=tmp_path, run_folder=tmp_path, clock=Clock())
    sink.start("r", "r", {}, {})
    sink.log({"loss": 0.5}, step=1)
    assert [e.value for e in read_back(tmp_path / "tensorboard").Scalars("loss")] == [0.5]
    sink.finish("failed")
    with pytest.raises(RuntimeError, match="not open"):
        sink.log({"loss": 0.5}, step=2)


def test_a_picture_that_is_none_is_refused(tmp_path: Path) -> None:
    sink = TensorBoardSink(home=tmp_path, run_folder=tmp_path)
    sink.start("r", "r", {}, {})
    (tmp_path / "x.png").write_bytes(b"JFIF")
    with pytest.raises(ValueError, match="x is not a PNG"):
        sink.artifact(tmp_path / "x.png")
    sink.finish("failed")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")  # MLflow's use of SQLAlchemy
def test_mlflow_on_sqlite(tmp_path: Path) -> None:
    from mlflow import MlflowClient

    home, clock = tmp_path / "home", Clock()
    parameters = {"seed": 42, "optimizer": {"name": "adamw", "betas": [0.9, 0.999]}, "long": "x" * 10_000}
    sink = MlflowSink(home=home, run_folder=tmp_path / "run", every_s=60, clock=clock)
    sink.start("digits-1", "digits", parameters, {"gpu": "none", "commit": "abc"})
    client = MlflowClient(f"sqlite:///{home}/mlflow.db")
    experiment = client.get_experiment_by_name("harken")
    assert experiment is not None

    def only_run() -> Any:
        runs = client.search_runs([experiment.experiment_id])
        assert len(runs) == 1
        return runs[0]

    run = only_run()
    assert (run.info.run_name, run.info.status) == ("digits", "RUNNING")
    assert run.data.params | {"long": ""} == {
        "seed": "42", "optimizer.name": "adamw", "optimizer.betas": "[0.9, 0.999]", "long": "",
    }  # fmt: skip
    assert (run.data.tags["gpu"], run.data.tags["harken.run_id"]) == ("none", "digits-1")

    for step in range(1, 301):
        sink.log({"loss": 1 / step, "bad": float("nan"), "wer%": 0.5, "a": 1.0, "b": 2.0}, step=step)
    history = client.get_metric_history(run.info.run_id, "loss")
    assert [m.step for m in history] == list(range(1, 251))  # 1000 numbers went together, the rest still waits
    clock.now += 61
    sink.log({"loss": 0.0}, step=301)
    history = client.get_metric_history(run.info.run_id, "loss")
    assert (history[-1].step, history[-1].timestamp) == (301, int(clock.now * 1000))

    (tmp_path / "report").mkdir()
    (tmp_path / "report/report.json").write_text("{}")
    (tmp_path / "recipe.yaml").write_text("seed: 42\n")
    sink.artifact(tmp_path / "recipe.yaml")
    sink.artifact(tmp_path / "report")
    sink.log({"loss": 9.0}, step=302)
    sink.finish("interrupted")
    run = only_run()
    assert (run.info.status, run.data.metrics["loss"]) == ("KILLED", 9.0)
    assert set(run.data.metrics) == {"loss", "wer_", "a", "b"}
    assert sorted(item.path for item in client.list_artifacts(run.info.run_id)) == ["recipe.yaml", "report"]
    assert (home / "mlflow-artifacts" / run.info.run_id / "artifacts/report/report.json").read_text() == "{}"

    resumed = MlflowSink(home=home, run_folder=tmp_path / "run", clock=clock)
    resumed.start("digits-1", "digits", parameters, {"gpu": "none"})
    assert only_run().info.status == "RUNNING"
    resumed.log({"loss": 8.0}, step=303)
    resumed.finish("finished")
    assert (only_run().info.status, only_run().data.metrics["loss"]) == ("FINISHED", 8.0)


def test_mlflow_default_place_and_a_given_one(tmp_path: Path) -> None:
    assert MlflowSink(home=tmp_path, run_folder=tmp_path).tracking_uri == f"sqlite:///{tmp_path}/mlflow.db"
    server = MlflowSink(home=tmp_path, run_folder=tmp_path, tracking_uri="http://127.0.0.1:5000")
    assert server.tracking_uri == "http://127.0.0.1:5000"
    with pytest.raises(RuntimeError, match="start was not called"):
        server.finish("failed")


def test_nested_settings_get_dotted_names() -> None:
    nested = {"a": {"b": {"c": 1}, "d": None}, "e": {}, "f": [1]}
    assert list(flattened(nested)) == [("a.b.c", 1), ("a.d", None), ("e", {}), ("f", [1])]


def test_sinks_are_found_by_name_and_guarded(tmp_path: Path) -> None:
    sinks = open_sinks(["tensorboard"], home=tmp_path / "home", run_folder=tmp_path / "run")
    assert [type(s) for s in sinks] == [SafeSink]
    assert isinstance(sinks[0], SafeSink)
    sinks[0].start("r", "r", {}, {})
    sinks[0].log({"loss": 1.0}, 1)
    sinks[0].finish("finished")
    assert [e.value for e in read_back(tmp_path / "run/tensorboard").Scalars("loss")] == [1.0]
    assert open_sinks([], home=tmp_path, run_folder=tmp_path) == []


def test_wrong_names_and_options_are_refused(tmp_path: Path) -> None:
    place = {"home": tmp_path, "run_folder": tmp_path}
    with pytest.raises(MissingPart, match=r"no harken\.sinks called 'comet'.*mlflow"):
        open_sinks(["comet"], **place)
    with pytest.raises(InputError, match="'mlflow' is listed twice"):
        open_sinks(["mlflow", "mlflow"], **place)
    with pytest.raises(InputError, match="options for the sink 'mlflow', which is not in use"):
        open_sinks(["tensorboard"], **place, options={"mlflow": {}})
    with pytest.raises(InputError, match=r"'tensorboard' does not take these options.*colour"):
        open_sinks(["tensorboard"], **place, options={"tensorboard": {"colour": "red"}})


@pytest.mark.parametrize("at", ["log", "artifact", "finish"])
def test_a_sink_that_breaks_is_reported_once_and_left_alone(
    at: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[tuple[str, str]] = []
    inner = Broken(at)
    sink: MetricSink = SafeSink("far", inner, on_failure=lambda name, err: told.append((name, str(err))))
    with caplog.at_level(logging.WARNING):
        sink.start("r", "r", {}, {})
        for step in range(3):
            sink.log({"loss": 1.0}, step)
        sink.artifact(tmp_path)
        sink.finish("finished")
    assert told == [("far", "server is gone")]
    assert caplog.text.count("far stopped taking this run's numbers (ConnectionError: server is gone)") == 1
    assert (
        inner.calls
        == ["start", "log", "log", "log", "artifact", "finish"][: {"log": 2, "artifact": 5, "finish": 6}[at]]
    )
    assert isinstance(sink, SafeSink)
    assert isinstance(sink.failed, ConnectionError)


def test_a_sink_that_cannot_start_is_an_error() -> None:
    with pytest.raises(ConnectionError):
        SafeSink("far", Broken("start")).start("r", "r", {}, {})


@pytest.mark.parametrize(
    ("name", "module"), [("mlflow", "mlflow"), ("tensorboard", "tensorboard.compat.proto.event_pb2")]
)
def test_an_absent_package_says_what_to_install(
    name: str, module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    from harken.tracking import tensorboard_sink

    tensorboard_sink._board.cache_clear()
    monkeypatch.setitem(sys.modules, module, None)
    (sink,) = open_sinks([name], home=tmp_path, run_folder=tmp_path)
    with pytest.raises(MissingPart, match=r"pip install 'harken\[tracking\]'"):
        sink.start("r", "r", {}, {})
