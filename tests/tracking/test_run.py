"""The run folder: atomic, locked, and truthful after a kill at any moment."""

import errno
import json
import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harken.core import InputError, RunFailed
from harken.tracking import run as run_module
from harken.tracking.lock import RunBusyError, is_locked
from harken.tracking.run import RunFolder, new_run_id, plain, read_events, read_metrics, read_record


class Clock:
    """Stands still until told."""

    def __init__(self) -> None:
        self.now = 1_795_271_130.0  # 2026-11-21 14:25:30 UTC

    def __call__(self) -> float:
        return self.now


def begin(path: Path, **options: Any) -> RunFolder:
    return RunFolder.create(path, **{"name": "digits", "kind": "training", "settings": {"seed": 1}, **options})


def process(script: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_run_json_is_there_from_the_first_moment_and_says_how_it_ended(tmp_path: Path) -> None:
    clock = Clock()
    with begin(tmp_path / "digits-1", settings={"rate": 1e-3, "out": Path("/x")}, clock=clock) as run:
        record = json.loads((tmp_path / "digits-1/run.json").read_text())
        assert record == {
            "format": 1,
            "id": "digits-1",
            "name": "digits",
            "kind": "training",
            "status": "running",
            "created_at": "2026-11-21T14:25:30+00:00",
            "updated_at": "2026-11-21T14:25:30+00:00",
            "finished_at": None,
            "error": None,
            "settings": {"rate": 0.001, "out": "/x"},
            "provenance": {},
        }
        clock.now += 90
        run.update(provenance={"git": None}, best_wer=np.float64(0.25))
        assert run.record["best_wer"] == 0.25
    record = json.loads((tmp_path / "digits-1/run.json").read_text())
    assert (record["status"], record["finished_at"], record["error"]) == ("finished", "2026-11-21T14:27:00+00:00", None)
    assert record["provenance"] == {"git": None}


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (KeyboardInterrupt(), "interrupted", "KeyboardInterrupt"),
        (RunFailed("It broke.", hint="Look."), "failed", "RunFailed: It broke. Look."),
        (SystemExit(3), "failed", "SystemExit: 3"),
        (SystemExit(0), "finished", None),
    ],
)
def test_an_exception_sets_the_status_and_goes_on(
    tmp_path: Path, error: BaseException, status: str, text: str | None
) -> None:
    with pytest.raises(type(error)), begin(tmp_path / "r"):
        raise error
    record = read_record(tmp_path / "r")
    assert (record["status"], record["error"]) == (status, text)
    assert not is_locked(tmp_path / "r")


def test_what_the_caller_said_about_the_end_stands(tmp_path: Path) -> None:
    with begin(tmp_path / "r") as run:
        run.update(status="interrupted", error="asked to stop")
    assert read_record(tmp_path / "r")["status"] == "interrupted"
    with pytest.raises(ValueError, match="status is 'done'; use one of running"):
        run.update(status="done")


def test_a_folder_with_contents_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"is not empty \(it holds notes.txt\).*--out"):
        begin(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]
    begin(tmp_path / "r").close()
    with pytest.raises(InputError, match=r"holds a run already\. Go on with it with --resume"):
        begin(tmp_path / "r")
    with pytest.raises(InputError, match="is a file"):
        begin(tmp_path / "notes.txt")
    (tmp_path / "empty").mkdir()
    begin(tmp_path / "empty").close()


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot be used for a run: Not a directory.*--out"):
        begin(tmp_path / "file/r")


def test_what_is_no_run_folder_cannot_be_opened_or_read(tmp_path: Path) -> None:
    for act in (RunFolder.open, read_record, read_metrics, read_events):
        with pytest.raises(InputError, match=r"is not a run folder: it has no run\.json"):
            act(tmp_path)
        with pytest.raises(InputError, match="is not a run folder"):
            act(tmp_path / "absent")
    assert list(tmp_path.iterdir()) == []
    for text in ("{", "[]", '{"status": "running"}', '{"format": 1, "status": "odd"}'):
        (tmp_path / "run.json").write_text(text)
        with pytest.raises(InputError, match=r"run\.json"):
            RunFolder.open(tmp_path)


def test_two_runs_in_one_folder(tmp_path: Path) -> None:
    with begin(tmp_path / "r"):
        with pytest.raises(RunBusyError, match=rf"in use by process {os.getpid()} on ") as refusal:
            RunFolder.open(tmp_path / "r")
        assert refusal.value.exit_code == 5
        assert read_record(tmp_path / "r")["status"] == "running"
    RunFolder.open(tmp_path / "r").close()


def test_only_one_of_many_that_begin_at_once_gets_the_folder(tmp_path: Path) -> None:
    outcomes: list[object] = []
    barrier = threading.Barrier(8)

    def attempt() -> None:
        barrier.wait()
        try:
            outcomes.append(begin(tmp_path / "r"))
        except (RunBusyError, InputError) as err:
            outcomes.append(err)

    threads = [threading.Thread(target=attempt) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [outcome for outcome in outcomes if isinstance(outcome, RunFolder)]
    assert (len(winners), len(outcomes)) == (1, 8)
    winners[0].close()


def test_a_killed_process_loses_the_lock_but_no_line(tmp_path: Path) -> None:
    script = """
        import sys
        from pathlib import Path
        from harken.tracking.run import RunFolder
        with RunFolder.create(Path(sys.argv[1]), name="x", kind="training", settings={}) as run:
            for step in range(1, 10**9):
                run.log_metrics(step, step / 100, loss=1 / step)
                if step == 50:
                    print("going", flush=True)
    """
    with process(script, tmp_path / "r") as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "going\n"
        with pytest.raises(RunBusyError, match=f"process {child.pid} "):
            RunFolder.open(tmp_path / "r")
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
    record = read_record(tmp_path / "r")
    assert record["status"] == "interrupted"
    assert "killed" in record["error"]
    logged = read_metrics(tmp_path / "r")
    assert len(logged) >= 50
    assert [line["loss"] for line in logged] == [1 / step for step in range(1, len(logged) + 1)]
    with RunFolder.open(tmp_path / "r") as run:
        run.log_metrics(len(logged) + 1, 1.0, loss=0.5)
    assert read_metrics(tmp_path / "r")[-1]["loss"] == 0.5
    assert read_record(tmp_path / "r")["status"] == "finished"
    assert read_events(tmp_path / "r")[0] | {"time": 0} == {
        "event": "reopened", "step": None, "time": 0, "previous_status": "running", "previous_error": None,
    }  # fmt: skip


def test_metrics_are_lines_of_plain_numbers(tmp_path: Path) -> None:
    clock = Clock()
    with begin(tmp_path / "r", clock=clock) as run:
        run.log_metrics(10, 0.1 + 0.2, loss=np.float32(0.5), wer=1, grad=float("nan"), scale=float("inf"))
        expected = '{"step":10,"epoch":0.3,"time":1795271130.0,"loss":0.5,"wer":1,"grad":null,"scale":null}\n'
        assert (tmp_path / "r/metrics.jsonl").read_text() == expected
        with pytest.raises(ValueError, match="time is a name every line has already"):
            run.log_metrics(11, 0.3, time=3.0)


@pytest.mark.parametrize("tail", ['{"step":3,"ep', '{"step":3,"loss":"\xe9', "{", '{"step":3}{', "\x00\x00"])
def test_a_torn_last_line_is_left_out_and_removed_on_opening(tmp_path: Path, tail: str) -> None:
    with begin(tmp_path / "r") as run:
        run.log_metrics(1, 0.1, loss=1.0)
        run.log_metrics(2, 0.2, loss=0.5)
    file = tmp_path / "r/metrics.jsonl"
    whole = file.read_bytes()
    file.write_bytes(whole + tail.encode("latin-1"))
    assert [line["step"] for line in read_metrics(tmp_path / "r")] == [1, 2]
    RunFolder.open(tmp_path / "r").close()
    assert file.read_bytes() == whole
    repaired = [event for event in read_events(tmp_path / "r") if event["event"] == "repaired"]
    assert [(e["file"], e["removed_bytes"]) for e in repaired] == [("metrics.jsonl", len(tail))]


def test_a_last_line_that_lacks_only_its_end_is_kept(tmp_path: Path) -> None:
    with begin(tmp_path / "r") as run:
        run.log_metrics(1, 0.1, loss=1.0)
    file = tmp_path / "r/metrics.jsonl"
    whole = file.read_bytes()
    file.write_bytes(whole.rstrip(b"\n"))
    assert len(read_metrics(tmp_path / "r")) == 1
    RunFolder.open(tmp_path / "r").close()
    assert file.read_bytes() == whole


def test_a_broken_line_in_the_middle_is_named(tmp_path: Path) -> None:
    with begin(tmp_path / "r") as run:
        run.log_metrics(1, 0.1, loss=1.0)
    file = tmp_path / "r/metrics.jsonl"
    file.write_bytes(b"[1]\n" + file.read_bytes())
    with pytest.raises(InputError, match=r"metrics\.jsonl:1: .*holds list"):
        read_metrics(tmp_path / "r")


def test_a_resume_makes_later_steps_void(tmp_path: Path) -> None:
    with begin(tmp_path / "r") as run:
        for step in (100, 200, 300, 400):
            run.log_metrics(step, step / 100, loss=float(step))
        run.log_metrics(400, 4.0, wer=0.4)
        run.log_event("oom", step=350)
    with RunFolder.open(tmp_path / "r") as run:
        run.resumed(200)
        run.log_metrics(300, 3.0, loss=301.0)
        run.log_metrics(450, 4.5, loss=450.0)
    assert [(m["step"], m["loss"]) for m in read_metrics(tmp_path / "r")] == [
        (100, 100),
        (200, 200),
        (300, 301),
        (450, 450),
    ]
    with RunFolder.open(tmp_path / "r") as run:
        run.resumed(300)
        assert [m["step"] for m in read_metrics(tmp_path / "r")] == [100, 200, 300]
        run.log_metrics(400, 4.0, loss=402.0)
    steps = [(m["step"], m["loss"]) for m in read_metrics(tmp_path / "r")]
    assert steps == [(100, 100), (200, 200), (300, 301), (400, 402)]
    kinds = [event["event"] for event in read_events(tmp_path / "r")]
    assert kinds == ["oom", "reopened", "resumed", "reopened", "resumed"]


def test_the_last_of_equal_lines_counts_and_other_names_stand_beside_it(tmp_path: Path) -> None:
    with begin(tmp_path / "r") as run:
        run.log_metrics(2, 0.2, loss=2.0)
        run.log_metrics(1, 0.1, loss=1.0)
        run.log_metrics(2, 0.2, wer=0.5)
        run.log_metrics(2, 0.2, loss=3.0)
    lines = [{k: v for k, v in m.items() if k not in ("time", "epoch")} for m in read_metrics(tmp_path / "r")]
    assert lines == [{"step": 1, "loss": 1.0}, {"step": 2, "loss": 3.0}, {"step": 2, "wer": 0.5}]


def test_events_hold_what_happened(tmp_path: Path) -> None:
    with begin(tmp_path / "r", clock=Clock()) as run:
        run.log_event("nan-skip", step=7, loss=float("nan"), ids=("a", "b"), where=Path("/x"), sizes=np.array([1, 2]))
        run.log_event("note")
        with pytest.raises(TypeError, match="a object cannot be written as JSON"):
            run.log_event("bad", what=object())
    assert read_events(tmp_path / "r") == [
        {
            "event": "nan-skip",
            "step": 7,
            "time": 1795271130.0,
            "loss": "nan",
            "ids": ["a", "b"],
            "where": "/x",
            "sizes": [1, 2],
        },
        {"event": "note", "step": None, "time": 1795271130.0},
    ]


def test_lines_from_many_threads_stay_whole(tmp_path: Path) -> None:
    with begin(tmp_path / "r") as run:

        def work(number: int) -> None:
            for step in range(50):
                run.log_event("e", step=step, text="x" * 500, worker=number)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(read_events(tmp_path / "r")) == 300


def test_a_full_disk_is_a_clear_error_and_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = begin(tmp_path / "r")
    run.log_metrics(1, 0.1, loss=1.0)
    before = (tmp_path / "r/metrics.jsonl").read_bytes()
    real_write = os.write

    def half_then_full(handle: int, data: bytes) -> int:
        if len(data) > 20:
            return real_write(handle, data[:20])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", lambda handle, data: half_then_full(handle, data if len(data) > 60 else b""))
    with pytest.raises(RunFailed, match=r"metrics.jsonl cannot be written: No space left on device. Free some room"):
        run.log_metrics(2, 0.2, loss=0.5, a_name_long_enough_to_be_written_in_parts=1.0)
    monkeypatch.undo()
    assert (tmp_path / "r/metrics.jsonl").read_bytes() == before
    run.close()


def test_a_status_that_cannot_be_written_does_not_hide_why_the_run_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    run = begin(tmp_path / "r")
    monkeypatch.setattr(run_module, "write_json", full)
    with pytest.raises(ZeroDivisionError), run:
        raise ZeroDivisionError
    assert "No space left" in caplog.text
    with pytest.raises(RunFailed, match=r"run\.json cannot be written"):
        begin(tmp_path / "other")
    assert not is_locked(tmp_path / "other")


def test_ids_are_readable_sortable_and_unique() -> None:
    moment = datetime(2026, 11, 21, 14, 25, 30, tzinfo=UTC)
    ids = {new_run_id("Digits: größer/kleiner", now=moment) for _ in range(20)}
    assert len(ids) > 15
    assert all(i.startswith("digits--größer-kleiner-20261121-142530-") and len(i) == 43 for i in ids)
    assert new_run_id("//", now=moment).startswith("run-20261121-142530-")
    assert new_run_id("x", now=moment) < new_run_id("x", now=moment.replace(second=31))


@pytest.fixture
def quiet_logger() -> Iterator[logging.Logger]:
    logger = logging.getLogger("harken.test_run")
    yield logger
    logger.setLevel(logging.NOTSET)


def test_the_log_is_copied_into_the_folder(tmp_path: Path, quiet_logger: logging.Logger) -> None:
    root = logging.getLogger("harken")
    before = root.level, list(root.handlers)
    with begin(tmp_path / "r") as run:
        with run.capture_log() as file:
            quiet_logger.info("step %d", 3)
            quiet_logger.debug("too much")
        quiet_logger.warning("after")
    text = file.read_text()
    assert file == tmp_path / "r/training.log"
    assert text.endswith("Z INFO harken.test_run: step 3\n")
    assert text.count("\n") == 1
    assert (root.level, list(root.handlers)) == before


def test_plain_values() -> None:
    value = {"a": np.int64(3), 4: {"x", "b"}, "t": (True, None), "f": float("-inf"), "n": np.float32(0.5)}
    assert plain(value) == {"a": 3, "4": ["b", "x"], "t": [True, None], "f": "-inf", "n": 0.5}
    assert isinstance(plain(np.int64(3)), int)
