"""Training with chunks drawn anew for each batch: resumed bit by bit, and planned without memory."""

import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from harken.autoconfig.dry_run.step import DryStep, StepConfig, StepShape, Target
from harken.core.files import sha256_file
from harken.models.conformer import ConformerCtc, ConformerSettings
from harken.training.loop import Interrupted
from harken.training.progress import SilentView, Standing
from harken.training.recipe import Recipe
from harken.training.run import resume, train

CONFORMER = (
    "features.normalize=none",
    "model.family=conformer-ctc",
    "model.settings={width: 16, layers: 1, heads: 2, kernel: 3, dropout: 0.1, chunk_frames: 2, left_chunks: 2, "
    "dynamic_chunks: [1, 4], full_context: 0.3, input_mean: 5.0, input_scale: 0.3}",
)


class StopAtFive(SilentView):
    """Asks the run to stop, as Ctrl-C does."""

    def show(self, standing: Standing) -> None:
        if standing.update == 5:
            signal.raise_signal(signal.SIGINT)


def weights(run: Path) -> str:
    return sha256_file(run / "model" / "model.safetensors")


def test_ctrl_c_and_resume_draw_the_same_chunks(tiny_recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    recipe = tiny_recipe(*CONFORMER)
    train(recipe, tmp_path / "whole")
    with pytest.raises(Interrupted):
        train(recipe, tmp_path / "run", view=StopAtFive())
    resume(tmp_path / "run")
    assert weights(tmp_path / "run") == weights(tmp_path / "whole")
    without = tiny_recipe(*CONFORMER, "model.settings.dynamic_chunks=null", "model.settings.full_context=0.0")
    train(without, tmp_path / "without")
    assert weights(tmp_path / "without") != weights(tmp_path / "whole")


def test_a_step_with_drawn_chunks_can_be_planned() -> None:
    def peak(**settings: object) -> int:
        with torch.device("meta"):
            model = ConformerCtc(ConformerSettings(width=32, layers=2, heads=2, **settings), 80, 30)  # type: ignore[arg-type]
        step = DryStep(model, 80, StepConfig(target=Target(device="cpu")))
        return step.trace(StepShape(batch=2, frames=200, tokens=5)).peak()

    chunks = {"chunk_frames": 4, "left_chunks": 2}
    drawn = peak(**chunks, dynamic_chunks=(2, 8), full_context=0.25)
    assert drawn == pytest.approx(peak(**chunks), rel=0.05)
