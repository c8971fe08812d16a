"""kill -9 at any moment, some of them in the middle of a checkpoint: a resumed run ends with the same bits."""

import multiprocessing
import random
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest
from tests.integration import runs_without_picture

from harken.audio.augment import AugmentConfig, NoiseConfig, SpecAugmentConfig
from harken.core.files import sha256_file
from harken.data.select import SelectConfig
from harken.tracking.run import read_metrics
from harken.training.recipe import Recipe, StageConfig
from harken.training.run import resume, train

KILLS = 50
STAGE_KILLS = 8
PRELOAD = ["tests.integration.runs_without_picture", "harken.training.run", "torch._dynamo"]
PRELOAD += ["scipy.fftpack", "soundfile", "soxr", "pydantic", "tokenizers"]


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    """Children that begin with everything imported, so that a kill lands in the run and not in an import."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    return context


def outcome(folder: Path) -> tuple[str, list[tuple[int, float]]]:
    """What has to be equal: the weights, and every evaluation."""
    rows = [(row["step"], row["val_wer"]) for row in read_metrics(folder) if row.get("val_wer") is not None]
    return sha256_file(folder / "model" / "model.safetensors"), rows


def in_checkpoint(folder: Path) -> bool:
    return any(folder.glob("checkpoints/.step-*.tmp"))


def killed_after(
    processes: ForkServerContext, target: Callable[..., Any], arguments: tuple[Any, ...], ready: Callable[[], bool]
) -> bool:
    """Run `target` in a process and kill it once `ready`; False when it ended by itself before."""
    child = processes.Process(target=target, args=arguments)
    child.start()
    while child.is_alive() and not ready():
        time.sleep(0.0005)
    child.kill()
    child.join()
    return child.exitcode == -9


@pytest.mark.slow
def test_fifty_kills_leave_no_trace(
    processes: ForkServerContext, make_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    recipe = make_recipe()
    lengths_s = []
    for name in ("first", "undisturbed"):  # the first fills caches, and a kill has to come before the end
        began = time.monotonic()
        assert not killed_after(processes, runs_without_picture.train, (recipe, tmp_path / name), lambda: False)
        lengths_s.append(time.monotonic() - began)
    length_s = min(lengths_s)
    expected = outcome(tmp_path / "undisturbed")

    draw = random.Random(7)
    kills = kills_in_checkpoints = runs = 0
    while kills < KILLS:
        folder = tmp_path / f"run-{runs}"
        runs += 1
        target: Callable[..., Any] = runs_without_picture.train
        arguments: tuple[Any, ...] = (recipe, folder)
        finished = False
        while not finished:
            started = time.monotonic()
            delay_s = draw.uniform(0.05, 1.0) * length_s
            aims_at_checkpoint = draw.random() < 0.4

            def ready(
                started: float = started,
                delay_s: float = delay_s,
                aims: bool = aims_at_checkpoint,
                folder: Path = folder,
            ) -> bool:
                waited_s = time.monotonic() - started
                return waited_s > 0.2 * delay_s and in_checkpoint(folder) if aims else waited_s > delay_s

            killed = killed_after(processes, target, arguments, ready) if kills < KILLS else False
            if kills >= KILLS:
                resume(folder)
            kills += killed
            kills_in_checkpoints += killed and in_checkpoint(folder)
            finished = not killed
            if (folder / "run.json").exists() and (folder / "recipe.yaml").exists():
                target, arguments = runs_without_picture.resume, (folder,)
            elif not finished:
                break  # killed before there was anything to resume: begin again elsewhere
        if finished:
            assert outcome(folder) == expected
    assert kills_in_checkpoints >= 5
    assert runs < KILLS  # some runs were killed more than once


def stages_ended(folder: Path) -> int:
    path = folder / "events.jsonl"
    return path.read_text(encoding="utf-8").count('"stage-ended"') if path.exists() else 0


@pytest.mark.slow
def test_kills_inside_the_second_stage_leave_no_trace(
    processes: ForkServerContext, make_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    stages = (
        StageConfig(name="short", updates=6, select=SelectConfig(max_duration_s=0.45), augment=False),
        StageConfig(name="all", updates=18),
    )
    plain = make_recipe()
    recipe = replace(
        plain,
        training=replace(plain.training, updates=None),
        curriculum=stages,
        augmentation=AugmentConfig(noise=NoiseConfig(probability=1), spec_augment=SpecAugmentConfig(time_width=5)),
    )
    train(recipe, tmp_path / "undisturbed")
    expected = outcome(tmp_path / "undisturbed")
    draw = random.Random(11)
    killed = 0
    for number in range(STAGE_KILLS):
        folder, delay_s = tmp_path / f"run-{number}", draw.uniform(0.0, 0.4)
        seen: list[float] = []

        def ready(folder: Path = folder, delay_s: float = delay_s, seen: list[float] = seen) -> bool:
            if not seen and stages_ended(folder) == 1:
                seen.append(time.monotonic())
            return bool(seen) and time.monotonic() - seen[0] > delay_s

        killed += killed_after(processes, runs_without_picture.train, (recipe, folder), ready)
        resume(folder)
        assert outcome(folder) == expected
    assert killed >= STAGE_KILLS // 2
