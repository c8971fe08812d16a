"""The W&B sink: real offline runs read back with W&B's own reader, and a stand-in for what needs a server."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from harken.core import HarkenError, MetricSink, MissingPart, ServiceRefused
from harken.tracking.run import RunFolder
from harken.tracking.sinks import SafeSink
from harken.tracking.wandb_sink import WandbSink

PARAMETERS = {"seed": 42, "optimizer": {"name": "adamw", "betas": [0.9, 0.999]}, "stages": None}
TAGS = {"kind": "training"}


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No account and no setting of the user's own; what the sink sets does not outlive the test."""
    before = dict(os.environ)
    for name in before:
        if name.startswith("WANDB_"):
            del os.environ[name]
    os.environ |= {"HOME": str(tmp_path / "nobody"), "NETRC": str(tmp_path / "nobody/netrc")}
    yield
    monkeypatch.undo()
    os.environ.clear()
    os.environ.update(before)


# The real package, without a network


@pytest.fixture
def wandb() -> Iterator[ModuleType]:
    package = pytest.importorskip("wandb")
    package.teardown()  # the package reads the environment once and keeps it
    yield package
    package.teardown()


def records(run_folder: Path) -> list[dict[str, Any]]:
    """Every record of the newest offline run in a run folder, as `wandb leet inspect` gives them."""
    folder = max((run_folder / "wandb").glob("offline-run-*"), key=lambda path: path.stat().st_mtime_ns)
    (file,) = folder.glob("run-*.wandb")
    done = subprocess.run(
        [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(file)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def of_type(found: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [record[kind] for record in found if record["type"] == kind]


def rows(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """History without the clock: metrics, and W&B's step as `_step`."""
    clock = ("_runtime", "_timestamp")
    return [{k: v for k, v in row["item"].items() if k not in clock} for row in of_type(found, "history")]


def test_an_offline_run_holds_settings_numbers_files_and_the_result(
    wandb: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    folder = tmp_path / "digits-1"
    with RunFolder.create(
        folder,
        name="digits",
        kind="training",
        settings=PARAMETERS,
        provenance={"git": {"commit": "abc"}, "packages": {"numpy": "2.4"}},
    ) as run:
        sink: MetricSink = WandbSink(home=tmp_path / "home", run_folder=folder)
        sink.start(run.id, "digits", PARAMETERS, TAGS)
        sink.log({"train/loss": 2.5, "epoch": 0.1}, step=10)
        sink.log({"validation/wer": 1.0}, step=10)
        sink.log({"train/loss": float("nan")}, step=20)
        (folder / "recipe.yaml").write_text("seed: 42\n")
        (folder / "report/data").mkdir(parents=True)
        (folder / "report/data/[1].json").write_text("{}")
        sink.artifact(folder / "recipe.yaml")
        sink.artifact(folder / "report")
        run.update(result={"best_wer": 0.25})
        sink.finish("finished")

    found = records(folder)
    (begun,) = of_type(found, "run")
    assert (begun["run_id"], begun["display_name"], begun["project"]) == ("digits-1", "digits", "harken")
    assert (begun["tags"], begun["resume"]) == (["kind:training"], True)
    config = begun["config"]["update"]
    assert {key: config[key] for key in PARAMETERS} == PARAMETERS
    assert config["provenance"] == {"git": {"commit": "abc"}}
    assert rows(found) == [
        {"_step": 10, "step": 10, "train/loss": 2.5, "epoch": 0.1, "validation/wer": 1.0},
        {"_step": 20, "step": 20, "train/loss": "NaN"},
    ]
    axes = {metric.get("name") or metric["glob_name"]: metric.get("step_metric") for metric in of_type(found, "metric")}
    assert axes["*"] == "step"
    summary: dict[str, Any] = {}
    for record in of_type(found, "summary"):
        summary |= record["update"]
    assert (summary["status"], summary["best_wer"], summary["validation/wer"]) == ("finished", 0.25, 1.0)
    kept = {file["path"] for record in of_type(found, "files") for file in record["files"]}
    assert kept >= {"recipe.yaml", "report/data/[1].json"}
    assert of_type(found, "exit")[0].get("exit_code", 0) == 0


@pytest.mark.parametrize(("status", "code"), [("interrupted", 255), ("failed", 1)])
def test_how_a_run_ended(
    status: str, code: int, wandb: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    sink = WandbSink(home=tmp_path, run_folder=tmp_path)
    sink.start("r", "r", {}, {})
    sink.finish(status)
    assert of_type(records(tmp_path), "exit")[0]["exit_code"] == code
    with pytest.raises(RuntimeError, match="start was not called"):
        sink.log({"loss": 1.0}, step=1)


def test_a_resumed_offline_run_keeps_its_id_and_steps(
    wandb: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    for steps in ((10, 20, 30), (20, 30, 40)):
        sink = WandbSink(home=tmp_path, run_folder=tmp_path, project="calls")
        sink.start("a/b:1", "r", {}, {})
        for step in steps:
            sink.log({"loss": 1 / step}, step)
        sink.finish("interrupted")
    assert len(list((tmp_path / "wandb").glob("offline-run-*"))) == 2
    found = records(tmp_path)
    (begun,) = of_type(found, "run")
    assert (begun["run_id"], begun["project"], begun["resume"]) == ("a-b-1", "calls", True)
    assert rows(found) == [{"_step": step, "step": step, "loss": 1 / step} for step in (20, 30, 40)]


def test_a_run_of_the_callers_stays_open(wandb: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    mine = wandb.init(project="mine", dir=str(tmp_path))
    sink = WandbSink(home=tmp_path, run_folder=tmp_path / "run")
    sink.start("r", "r", {}, {})
    sink.finish("finished")
    assert wandb.run is mine
    mine.log({"still": 1.0})
    mine.finish()


def test_nobody_logged_in_is_said_at_once(wandb: ModuleType, tmp_path: Path) -> None:
    sink = SafeSink("wandb", WandbSink(home=tmp_path, run_folder=tmp_path))
    with pytest.raises(MissingPart, match=r"Nobody is logged in to W&B\. Run wandb login, .*WANDB_MODE=offline"):
        sink.start("r", "r", {}, {})


def test_a_key_that_is_none_is_said_at_once(wandb: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "abc")
    with pytest.raises(ServiceRefused, match=r"did not accept the run: .*WANDB_API_KEY invalid.*wandb login --relogin"):
        WandbSink(home=tmp_path, run_folder=tmp_path).start("r", "r", {}, {})


def test_the_mode_disabled_writes_nothing(wandb: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    sink = WandbSink(home=tmp_path, run_folder=tmp_path / "run")
    sink.start("r", "r", {}, {})
    sink.log({"loss": 1.0}, step=1)
    sink.finish("finished")
    assert not list((tmp_path / "run").rglob("*.wandb"))


# What needs a server, or the lack of the package


class FakeRun:
    """Keeps what it is given; `starting_step` is what a server says of a run that has been there before."""

    def __init__(self, starting_step: int) -> None:
        self.starting_step = starting_step
        self.summary: dict[str, Any] = {}
        self.rows: list[tuple[dict[str, Any], int | None]] = []
        self.exit_code: int | None = None
        self.gone = False

    def define_metric(self, name: str, **options: Any) -> None: ...

    def log(self, row: dict[str, Any], step: int | None = None) -> None:
        if self.gone:
            raise ConnectionError("wandb-core is gone")
        self.rows.append((row, step))

    def finish(self, exit_code: int) -> None:
        self.exit_code = exit_code


class FakeWandb(ModuleType):
    """As much of the package as the sink uses, as if a server were there."""

    class Error(Exception):
        pass

    def __init__(self, *, starting_step: int = 0, refuse: str = "", logged_in: bool = True) -> None:
        super().__init__("wandb")
        self.run: object = None
        self.begun = FakeRun(starting_step)
        self.asked: dict[str, Any] = {}
        self.logins: list[dict[str, Any]] = []
        self._refuse, self._logged_in = refuse, logged_in

    def setup(self) -> Any:
        return SimpleNamespace(settings=SimpleNamespace(mode="online"))

    def login(self, **options: Any) -> bool:
        self.logins.append(options)
        return self._logged_in

    def init(self, **options: Any) -> FakeRun:
        if self._refuse:
            raise self.Error(self._refuse)
        self.asked = options
        return self.begun


def started(fake: FakeWandb, folder: Path, monkeypatch: pytest.MonkeyPatch) -> WandbSink:
    monkeypatch.setitem(sys.modules, "wandb", fake)
    sink = WandbSink(home=folder, run_folder=folder)
    sink.start("digits-1", "digits", PARAMETERS, TAGS | {"long": "x" * 100})
    return sink


def test_what_the_server_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeWandb()
    started(fake, tmp_path, monkeypatch)
    assert fake.asked == {
        "project": "harken",
        "id": "digits-1",
        "name": "digits",
        "config": PARAMETERS,
        "tags": ["kind:training", "long:" + "x" * 59],
        "dir": str(tmp_path),
        "resume": "allow",
        "reinit": "create_new",
    }
    assert fake.logins == [{"prompt": False, "verify": True}]
    assert (os.environ["WANDB_ERROR_REPORTING"], os.environ["WANDB_FINISH_TIMEOUT"]) == ("false", "600")


def test_a_users_own_words_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_CONSOLE", "wrap")
    fake = FakeWandb(logged_in=False)
    fake.run = object()  # one that is open means that the account is settled
    started(fake, tmp_path, monkeypatch)
    assert os.environ["WANDB_CONSOLE"] == "wrap"
    assert fake.logins == []


@pytest.mark.parametrize(
    ("every", "sent"),
    [
        # Killed at 30, sent until then, resumed from 20: what is repeated goes on W&B's own count.
        (10, [(30, None), (40, 40), (50, 50)]),
        # Denser: the count is ahead of Harken's steps and stays so.
        (1, [(21, None), (22, None), (23, None)]),
    ],
)
def test_no_number_is_lost_when_a_run_repeats_steps(
    every: int, sent: list[tuple[int, int | None]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeWandb(starting_step=31)
    sink = started(fake, tmp_path, monkeypatch)
    for number in range(1, 4):
        sink.log({"loss": 1.0}, step=20 + every * number)
    assert [(row["step"], step) for row, step in fake.begun.rows] == sent


def test_two_logs_of_one_step_make_one_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeWandb()
    sink = started(fake, tmp_path, monkeypatch)
    sink.log({"train/loss": 1.0}, step=5)
    sink.log({"validation/wer": 0.5}, step=5)
    assert [step for _, step in fake.begun.rows] == [5, 5]


@pytest.mark.parametrize(
    ("fake", "kind", "words"),
    [
        (FakeWandb(logged_in=False), MissingPart, "Nobody is logged in"),
        (FakeWandb(refuse="entity\nnot  found"), ServiceRefused, r"entity not found\. Check the network"),
    ],
)
def test_a_run_that_cannot_begin_ends_before_training(
    fake: FakeWandb, kind: type[HarkenError], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(kind, match=words):
        started(fake, tmp_path, monkeypatch)


def test_a_break_in_the_middle_costs_no_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeWandb()
    told: list[str] = []
    sink = SafeSink("wandb", started(fake, tmp_path, monkeypatch), on_failure=lambda _, err: told.append(str(err)))
    sink.log({"loss": 1.0}, 1)
    fake.begun.gone = True
    for step in (2, 3):
        sink.log({"loss": 1.0}, step)
    sink.finish("finished")
    assert told == ["wandb-core is gone"]
    assert (len(fake.begun.rows), fake.begun.exit_code) == (1, None)


def test_an_absent_package_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(MissingPart, match=r"pip install 'harken\[wandb\]'"):
        WandbSink(home=tmp_path, run_folder=tmp_path).start("r", "r", {}, {})


def test_the_module_loads_without_the_package() -> None:
    script = "import sys; sys.modules['wandb'] = None; import harken.tracking.wandb_sink"
    subprocess.run([sys.executable, "-c", script], timeout=60, check=True)
