"""The benchmarks of planning: what they decide and conclude, without their measurements."""

import json
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks import bench_plan_accuracy as accuracy
from benchmarks import bench_plan_reality as reality
from benchmarks import bench_plan_speed as speed
from benchmarks import gpu_plan, gpu_steps, gpu_training
from benchmarks.dry_runs import TINY, Setup
from tools import performance_page

from harken.autoconfig.plan import BucketPlanRow
from harken.data.manifest import read_manifest

TINY_SETUP = Setup(model="tiny-wav2vec2", way="full", precision="fp32", checkpointing=False)


def test_manifest_of_the_asked_size_and_distribution(tmp_path: Path) -> None:
    speed.write_manifest(tmp_path / "train.jsonl", 2_000)
    lines = read_manifest(tmp_path / "train.jsonl")
    durations = np.array([line.duration_s for line in lines])
    assert len(lines) == 2_000
    assert durations.mean() == pytest.approx(6.0, rel=0.03)
    assert np.percentile(durations, 95) == pytest.approx(13.5, rel=0.05)
    assert durations.max() == 25.0
    assert len(lines[0].text or "") == pytest.approx(12 * lines[0].duration_s, abs=2)


def test_recordings_are_readable_and_take_no_room(tmp_path: Path) -> None:
    speed.write_manifest(tmp_path / "train.jsonl", 1)
    recording = tmp_path / "recordings" / "0.wav"
    with wave.open(str(recording)) as file:
        assert (file.getframerate(), file.getnframes()) == (16_000, 16_000 * 3_600)
    assert recording.stat().st_blocks * 512 < 1e6


def test_every_model_is_trained_in_every_way_with_every_pair_of_precision_and_checkpointing() -> None:
    chosen = accuracy.setups()
    assert len(chosen) == len(set(chosen)) == 27
    assert len({(one.way, one.precision, one.checkpointing) for one in chosen}) == 12
    assert len(chosen) * accuracy.POINTS >= 100


def test_points_spread_over_all_shapes() -> None:
    frames = TINY_SETUP.planned().frames
    points = accuracy.points(frames, None, count=16, seed=1)
    assert sorted(int(16 * np.log(p.duration_s) / np.log(30)) for p in points) == list(range(16))
    assert min(p.batch for p in points) == 1
    assert max(p.batch for p in points) > 48
    assert all(p.tokens <= frames.positions(int(np.ceil(16_000 * p.duration_s))) for p in points)


def test_fit_finds_the_law_it_assumes() -> None:
    terms = np.array([[1.0, b, b * t, b * t * t] for b, t in accuracy.NAIVE_PROBES])
    law = np.array([5e8, 2e6, 3e7, 4e4])
    assert accuracy.fit(terms, terms @ law) == pytest.approx(law, rel=1e-6)


def _outcome(predicted: int, true: int) -> accuracy.Outcome:
    point = accuracy.Point(batch=2, duration_s=3.0, tokens=10)
    return accuracy.Outcome(setup=TINY_SETUP, point=point, predicted=predicted, naive=1.5 * true, true=true)


@pytest.mark.parametrize(("worst", "met"), [(1_030, True), (1_031, False), (990, True), (989, False)])
def test_accuracy_is_reached_within_its_bounds(worst: int, met: bool) -> None:
    result = accuracy.summary([_outcome(1_000, 1_000), _outcome(worst, 1_000)])
    assert result["met"] is met
    assert result["table"]["rows"][0][:3] == ["tiny-wav2vec2", "full, fp32", 2]
    assert result["rivals"]["naive fit"]["value"] == pytest.approx(50.0)


def test_the_page_has_a_row_for_each_configuration() -> None:
    result = accuracy.summary([_outcome(990, 1_000), _outcome(1_020, 1_000)])
    lines = performance_page.page([{**result, "machine": {"gpu": "Some GPU"}}]).splitlines()
    row = lines.index("|---|---|---|---|---|---|---|---|---|") + 1
    assert lines[row] == "| tiny-wav2vec2 | full, fp32 | 2 | -1.00 | +0.50 | +2.00 | +50.00 | +50.00 | +50.00 |"
    assert "<small>Some GPU.</small>" in lines


@pytest.mark.slow
def test_dry_run_of_a_tiny_model_is_predicted() -> None:
    (outcome,) = accuracy.outcomes([TINY_SETUP], count=1)
    assert abs(outcome.error) < 3


def test_reality_reports_the_worst_case() -> None:
    found = [
        reality.Outcome(case=reality.CASES[place], predicted=predicted, true=1_000, process=0)
        for place, predicted in ((0, 1_010), (1, 940))
    ]
    result = reality.summary(found)
    assert result["met"] is False
    assert "-6.00 % for openai/whisper-tiny, full, bf16" in result["note"]


def test_short_and_long_buckets_take_turns_and_come_back() -> None:
    assert gpu_steps.adversarial_order([4, 1, 2, 3, 0]) == [0, 4, 1, 3, 2, 2, 3, 1, 4, 0]
    assert gpu_steps.adversarial_order([]) == []


def test_full_batch_has_the_shape_of_its_bucket() -> None:
    row = BucketPlanRow(upper_edge_s=2.5, batch_size=3, tokens=7, utterances=9, peak_bytes=1, memory={}, saturated=True)
    batch = gpu_steps.full_batch(row, TINY_SETUP.planned())
    assert batch.features_BFM.shape == (3, 40_000, 1)
    assert batch.frames_B.tolist() == [40_000, 36_000, 36_000]
    assert batch.labels_BT.shape == (3, 7)


def test_first_configurations_hold_every_kind() -> None:
    first = [one for one, _ in zip(gpu_plan.candidates(gpu_plan.MODELS), range(30), strict=False)]
    assert {setup.model for setup, _ in first} == set(gpu_plan.MODELS)
    assert {setup.way for setup, _ in first} == {"full", "frozen-encoder", "lora"}
    assert {setup.precision for setup, _ in first} == {"bf16", "fp16", "fp32"}
    assert {speech for _, speech in first} == set(gpu_steps.SPEECH)


def _configuration(reserved: int, *, ran_out: bool = False) -> dict[str, Any]:
    step = {
        "predicted_bytes": 900,
        "allocated_bytes": 700,
        "reserved_bytes": reserved,
        "out_of_memory": ran_out,
    }
    return {
        "budget_bytes": 1_000,
        "context_bytes": 100,
        "plan_s": 10.0,
        "verify_s": 20.0,
        "verified": [step],
        "visited": [step],
    }


def _training(ratio: float) -> dict[str, Any]:
    run = {"audio_per_s": 10.0, "wall_s": 5.0, "batch": 8, "restarts": 1}
    return {"wav2vec2-base": {"ratio": ratio, "harken": run, "rival": run}}


def _gpu_result(reserved: int = 780, *, ran_out: bool = False, count: int = 30, ratio: float = 2.5) -> dict[str, Any]:
    configurations = {str(place): _configuration(reserved, ran_out=ran_out) for place in range(count)}
    found = {"configurations": {**configurations, "too large": None}, "failed": {}, "training": _training(ratio)}
    return gpu_plan.summary(found, "cuda")


def test_gpu_figures_compare_the_whole_memory() -> None:
    figures = _gpu_result()["figures"]
    assert figures["budget used"]["value"] == pytest.approx(88.0)
    assert figures["error against reserved memory"]["value"] == pytest.approx(100 * (900 / 880 - 1))
    assert figures["error against allocated memory, each step"]["value"] == pytest.approx(12.5)
    assert figures["plan and verify"]["value"] == 30.0
    assert figures["configurations"]["value"] == 30


def test_gpu_verdict() -> None:
    assert _gpu_result()["met"] is True
    assert _gpu_result(ran_out=True)["met"] is False
    assert _gpu_result(ratio=1.9)["met"] is False
    assert _gpu_result(reserved=850)["met"] is False  # 95 % of the budget
    assert _gpu_result(count=29)["met"] is None


def test_second_epoch_is_timed_whole() -> None:
    clock = gpu_training.SecondEpoch()
    ended = [clock.done(epoch, now) for epoch, now in ((0.5, 1.0), (1.1, 2.0), (1.9, 5.0), (2.2, 7.5))]
    assert ended == [False, False, False, True]
    assert clock.rate(100.0) == {"wall_s": 5.5, "audio_per_s": pytest.approx(110 / 5.5)}


def test_interrupted_measurement_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def measured(setup: Setup, speech: str, device: str) -> dict[str, Any]:
        asked.append(f"{setup}, {speech} speech")
        return {**_configuration(0), "context_bytes": 0}

    monkeypatch.setattr(gpu_plan, "_measured", measured)
    monkeypatch.setenv("PYTORCH_ALLOC_CONF", "")
    out = tmp_path / "gpu.json"
    for count in ("2", "3"):
        gpu_plan.main(["--device", "cpu", "--out", str(out), "--configurations", count, "--no-training"])
    assert len(asked) == len(set(asked)) == 3
    assert all(name.partition(",")[0] in TINY for name in asked)
    result = json.loads(out.read_text(encoding="utf-8"))
    assert list(result["configurations"]) == asked
    assert result["met"] is None
