"""Seconds as frames, against the models' own count of what comes out."""

import math
from typing import Any

import numpy as np
import pytest

from harken.autoconfig.frames import Frames
from harken.autoconfig.model import planned_model
from harken.models.variants import Variant

torch = pytest.importorskip("torch", reason="needs the extra `train`")
pytest.importorskip("transformers", reason="needs the extra `train`")

NAMES = ["wav2vec2-base", "xls-r-300m", "wavlm-base", "hubert-base-ls960", "stt_en_conformer_ctc_small",
         "stt_en_fastconformer_ctc_large", "conformer-ctc", "recurrent-ctc"]  # fmt: skip


def model_of(name: str) -> Any:
    if name.endswith("-ctc"):
        return planned_model(Variant(name=name, hub_id=None, family=name, config={}, dimensions=80))
    return planned_model("facebook/wav2vec2-xls-r-300m" if name == "xls-r-300m" else name)


@pytest.mark.parametrize("name", NAMES)
def test_frames_of_durations(name: str) -> None:
    planned = model_of(name)
    frames, model = planned.frames, planned.build()
    durations = np.random.default_rng(3).uniform(0.05, 40, 200)
    found = [frames.of(duration) for duration in durations]
    assert [count for count, _ in found] == [math.ceil(duration * frames.per_s) for duration in durations]
    positions = model.output_frames(torch.tensor([count for count, _ in found]))
    assert [position for _, position in found] == positions.tolist()


@pytest.mark.parametrize("name", NAMES)
def test_the_fewest_frames_of_a_position(name: str) -> None:
    planned = model_of(name)
    frames, model = planned.frames, planned.build()
    for position in (1, 2, 3, 125, 299, 1501):
        slow = next(count for count in range(10**6) if _positions(model, count) >= position) if position < 4 else None
        at = frames.at_position(position)
        assert _positions(model, at) == position
        assert _positions(model, at - 1) == position - 1
        assert slow is None or at == slow


def _positions(model: Any, frames: int) -> int:
    return int(model.output_frames(torch.tensor([frames]))[0])


def test_positions_are_equally_far_apart() -> None:
    for name in NAMES:
        frames = model_of(name).frames
        steps = {frames.at_position(p + 1) - frames.at_position(p) for p in range(5, 60)}
        assert steps == {frames.subsampling}


def test_whisper_hears_its_window() -> None:
    frames = planned_model("whisper-tiny").frames
    assert [frames.of(duration) for duration in (0.1, 5.0, 30.0)] == [(3000, 1)] * 3
    assert frames.at_position(17) == 3000


def test_very_short_audio_has_a_position() -> None:
    frames = Frames(per_s=100, subsampling=4, positions=lambda count: (count + 3) // 4)
    assert [frames.of(s) for s in (0.0, 0.001, 0.01, 0.011, 0.05, 0.051)] == [
        (1, 1),
        (1, 1),
        (1, 1),
        (2, 1),
        (5, 2),
        (6, 2),
    ]
