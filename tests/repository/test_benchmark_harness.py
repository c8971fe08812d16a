"""How benchmarks measure."""

import json
import os
import time
from pathlib import Path

import pytest
from benchmarks import run as runner
from benchmarks.harness import Timing, interleaved, machine_facts, peak_memory, thread_environment, timed

MEBIBYTE = 1024**2


def test_everybody_runs_once_a_round_and_the_first_place_goes_round() -> None:
    order: list[str] = []
    names = ("a", "b", "c")
    times = interleaved({name: lambda name=name: order.append(name) for name in names}, 3, warm_up=1)
    assert "".join(order) == "abc" + "bca" + "cab" + "abc"
    assert {name: len(timing.cpu_s) for name, timing in times.items()} == dict.fromkeys(names, 3)


def test_cpu_time_is_work_and_wall_time_is_waiting() -> None:
    times = interleaved({"sleep": lambda: time.sleep(0.05), "work": lambda: sum(range(2_000_000))}, 3, warm_up=0)
    assert times["sleep"].median_wall_s >= 0.05
    assert times["sleep"].median_cpu_s < 0.02
    assert times["work"].median_cpu_s > 0.005


def test_work_of_children_counts() -> None:
    def child() -> None:
        process = os.fork()
        if process == 0:
            sum(range(5_000_000))
            os._exit(0)
        os.waitpid(process, 0)

    assert timed(child)[1] > 0.02


def test_medians_and_spread() -> None:
    timing = Timing(wall_s=[3.0, 1.0, 2.0], cpu_s=[0.3, 0.1, 0.4])
    assert (timing.median_wall_s, timing.median_cpu_s) == (2.0, 0.3)
    assert timing.as_json() == {
        "rounds": 3,
        "median_cpu_s": 0.3,
        "median_wall_s": 2.0,
        "spread_cpu_s": [0.1, 0.4],
        "spread_wall_s": [1.0, 3.0],
    }


def test_measurements_of_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Timing(wall_s=[], cpu_s=[])
    with pytest.raises(ValueError, match="at least one"):
        interleaved({"a": lambda: None}, 0)
    with pytest.raises(ValueError, match="at least one"):
        interleaved({}, 1)


def test_peak_memory_is_that_of_the_call_alone() -> None:
    ballast = bytearray(400 * MEBIBYTE)  # makes this process large; the child must not inherit the number
    ballast[:: os.sysconf("SC_PAGE_SIZE")] = b"x" * len(ballast[:: os.sysconf("SC_PAGE_SIZE")])
    use = peak_memory("builtins:len", "nothing")
    assert use.peak_bytes < 150 * MEBIBYTE
    del ballast


def test_peak_memory_sees_what_was_freed_again() -> None:
    use = peak_memory("builtins:eval", f"len(b'x' * {64 * MEBIBYTE})")
    assert 60 * MEBIBYTE < use.added_bytes < 80 * MEBIBYTE
    assert use.result == 64 * MEBIBYTE


def test_threads_are_limited_for_every_library() -> None:
    environment = thread_environment(3)
    assert environment["OMP_NUM_THREADS"] == environment["OPENBLAS_NUM_THREADS"] == "3"
    assert environment["PATH"] == os.environ["PATH"]


def test_a_result_says_where_it_was_measured() -> None:
    facts = machine_facts()
    assert facts["cores"] == os.cpu_count()
    assert facts["cpu"]
    assert facts["memory_bytes"] > 2**28
    assert facts["packages"]["numpy"]
    json.dumps(facts, allow_nan=False)


# The runner


@pytest.fixture
def bench_folder(tmp_path: Path) -> Path:
    (tmp_path / "bench_one.py").write_text("NAME = 'uno'\nTHREADS = 2\nimport no_such_module\n", encoding="utf-8")
    (tmp_path / "bench_two.py").write_text("X = [i for i in 'a']\n", encoding="utf-8")
    return tmp_path


def test_benchmarks_are_found_without_importing_them(bench_folder: Path) -> None:
    found = runner.discover(bench_folder)
    assert {name: (one.module, one.threads) for name, one in found.items()} == {
        "uno": ("benchmarks.bench_one", 2),
        "two": ("benchmarks.bench_two", 1),
    }


def test_two_benchmarks_of_one_name_are_refused(bench_folder: Path) -> None:
    (bench_folder / "bench_three.py").write_text("NAME = 'uno'\n", encoding="utf-8")
    with pytest.raises(ValueError, match="both called 'uno'"):
        runner.discover(bench_folder)


def _result(*, met: bool | None) -> dict[str, object]:
    return {"name": "x", "title": "X", "target": "1 s", "met": met, "figures": {"a": {"value": 1234.5, "unit": "ms"}}}


@pytest.mark.parametrize(
    ("met", "strict", "code"),
    [(True, True, 0), (False, False, 0), (False, True, 1), (None, True, 0)],
)
def test_a_missed_target_fails_only_when_asked(
    met: bool | None,
    strict: bool,
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(runner, "measure", lambda _: _result(met=met))
    assert runner.main(["cli", "--out", str(tmp_path), *(["--strict"] if strict else [])]) == code
    assert json.loads((tmp_path / "cli.json").read_text(encoding="utf-8"))["met"] is met
    text = capsys.readouterr().out
    assert "1,234 ms" in text or "1,235 ms" in text
    assert ("MISSED" in text) == (met is False)


def test_a_benchmark_that_breaks_keeps_its_earlier_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = runner.Benchmark(name="broken", module="benchmarks.no_such_bench")
    monkeypatch.setattr(runner, "discover", lambda: {"broken": broken})
    (tmp_path / "broken.json").write_text("earlier", encoding="utf-8")
    assert runner.main(["--out", str(tmp_path)]) == 1
    assert (tmp_path / "broken.json").read_text(encoding="utf-8") == "earlier"


def test_an_unknown_name_lists_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        runner.main(["no-such-bench"])
    assert "cli" in capsys.readouterr().err
