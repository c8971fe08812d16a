"""The benchmark of serving: its own arithmetic, its clients, and a small run against a real server."""

import json
from pathlib import Path

import pytest
from benchmarks import serving_endurance, serving_picture
from benchmarks.bench_serving import SMOKE, run
from benchmarks.clips import write_clips
from benchmarks.run import table
from benchmarks.serving_clients import form
from benchmarks.serving_limits import buckets, quantile
from benchmarks.serving_load import latency


def test_growth_is_the_median_slope_which_one_step_does_not_move() -> None:
    points = [(float(n), 100.0 + 0.001 * n + (5.0 if n == 30 else 0.0)) for n in range(0, 100, 10)]
    found = sorted(serving_endurance.slopes(points))
    assert len(found) == 45
    assert found[22] == pytest.approx(0.001)


def test_quantiles_of_the_lag_are_upper_edges_of_buckets() -> None:
    page = "\n".join(
        f'asr_event_loop_lag_seconds_bucket{{le="{edge}"}} {count}'
        for edge, count in (("0.001", "90.0"), ("0.01", "98.0"), ("0.02", "99.0"), ("1.0", "99.0"), ("+Inf", "100.0"))
    )
    counts = buckets(page + "\nasr_event_loop_lag_seconds_sum 3.0\n")
    assert counts[0.02] == 99.0
    assert [quantile(counts, place) for place in (0.5, 0.95, 0.99, 1.0)] == [0.001, 0.01, 0.02, 10.0]


def test_latencies_are_percentiles_with_the_fastest_and_slowest() -> None:
    assert latency([0.1, 0.2, 0.3], 50) == {"value": 0.2, "unit": "s", "spread": [0.1, 0.3], "requests": 3}


def test_a_form_holds_the_file_as_it_is(tmp_path: Path) -> None:
    [clip] = write_clips(tmp_path, [0.1])
    body = form(Path(clip.audio))
    assert Path(clip.audio).read_bytes() in body
    assert body.endswith(b"--harken-benchmark--\r\n")


def test_the_picture_shows_every_point(tmp_path: Path) -> None:
    figures = {
        f"latency p{place}, {clients} at once": {"value": value}
        for place, clients, value in ((50, 8, 0.2), (50, 1, 0.1), (95, 1, 0.15), (95, 8, 0.4))
    }
    assert serving_picture.points(figures | {"start to ready": {"value": 2.0}}) == {
        "50": [(1, 100.0), (8, 200.0)],
        "95": [(1, 150.0), (8, 400.0)],
    }
    (tmp_path / "serving.json").write_text(json.dumps({"figures": figures}), encoding="utf-8")
    serving_picture.draw(tmp_path / "serving.json", tmp_path / "serving.png")
    assert (tmp_path / "serving.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_a_small_run_measures_everything() -> None:
    result = run(SMOKE)
    figures = result["figures"]
    for name in (
        "requests that failed",
        "admitted requests that failed",
        "files that failed beside streams",
        "streams that failed beside files",
    ):
        assert figures[name]["value"] == 0, figures[name]
    equal = figures["fp32: texts equal to the bare engine's"]
    assert equal["value"] == equal["at_least"]
    assert figures["event loop's lag, p99"]["looks"] > 20
    assert set(serving_picture.points(figures)) == {"50", "95"}
    assert "start to ready" in table(result)
