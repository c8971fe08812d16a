"""Scores of a model whose output is known."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from harken.core import Features, RunFailed, Utterance
from harken.models.family import CtcModel
from harken.text.tokenize import WordTokenizer
from harken.text.vocabulary import BLANK
from harken.training.objective import CtcObjective
from harken.training.precision import Precision
from harken.training.preparation import Subset
from harken.training.validation import ValidationSet, grouped_by_duration, validate

TOKENIZER = WordTokenizer([BLANK, "ah", "bo"])
CPU = Precision(name="fp32", device=torch.device("cpu"))
CERTAIN = 3.0


class Echo(CtcModel):
    """Its features are its scores: it says what it is given."""

    subsampling = 1

    def __init__(self) -> None:
        super().__init__()
        self.modes: list[bool] = []

    def forward(self, features_BFM: Tensor, frames_B: Tensor) -> tuple[Tensor, Tensor]:
        self.modes.append(self.training)
        assert not torch.is_grad_enabled()
        return features_BFM, frames_B


def run(model: Echo, items: dict[str, Any], read: Callable[[Utterance], Features], batch_s: float = 9.0) -> Any:
    objective = CtcObjective(model=model, tokenizer=TOKENIZER, precision=CPU)
    return validate(model, objective, ValidationSet(subset(items), read=read, batch_s=batch_s), device=CPU.device)


def spoken(ids: list[int]) -> Features:
    """One frame for each id, which has the score CERTAIN where the others have 0."""
    return CERTAIN * np.eye(3, dtype=np.float32)[ids]


def subset(items: dict[str, tuple[str, list[int] | None, float]]) -> Subset:
    """A set from id to (text, labels, duration)."""
    return Subset(
        utterances=tuple(
            Utterance(id=name, audio="/a.wav", duration_s=duration_s, text=text)
            for name, (text, _, duration_s) in items.items()
        ),
        texts=tuple(text for text, _, _ in items.values()),
        labels=tuple(labels for _, labels, _ in items.values()),
        rejected=(),
    )


def reader(spoken_ids: dict[str, list[int]]) -> Callable[[Utterance], Features]:
    return lambda utterance: spoken(spoken_ids[utterance.id])


def frame_cost(unit: int, frame: list[float]) -> float:
    """-log softmax(frame)[unit]."""
    return float(np.log(np.exp(frame).sum()) - frame[unit])


@pytest.mark.parametrize("batch_s", [0.5, 2.5, 100.0])
def test_rates_are_pooled_and_the_loss_is_per_label(batch_s: float) -> None:
    items: dict[str, tuple[str, list[int] | None, float]] = {
        "right": ("ah bo", [1, 2], 1.0),
        "wrong": ("bo", [2], 0.5),
        "unknown": ("ku", None, 0.8),
        "extra": ("ah", [1], 1.2),
        "also-right": ("bo ah", [2, 1], 1.1),
    }
    said = {"right": [1, 2], "wrong": [1], "unknown": [0, 0, 0], "extra": [1, 0, 1], "also-right": [2, 1]}
    model = Echo().train()
    result = run(model, items, reader(said), batch_s)
    texts = {"right": "ah bo", "wrong": "ah", "unknown": "", "extra": "ah ah", "also-right": "bo ah"}
    assert result.hypotheses == texts
    assert result.wer == pytest.approx(3 / 7)  # one substitution, one deletion, one insertion in seven words
    # Characters, with the space: 2 of 2, 2 of 2, and " ah" too many for 2; 5 and 5 right ones.
    assert result.cer == pytest.approx((2 + 2 + 3) / 16)
    assert model.training
    assert not any(model.modes)

    good, bad = frame_cost(0, [CERTAIN, 0, 0]), frame_cost(1, [CERTAIN, 0, 0])
    # "extra" is ah over three frames (ah blank ah): ah may begin and end anywhere.
    log_probs = -np.array([[bad, good, bad], [good, bad, bad], [bad, good, bad]])
    paths = [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [0, 1, 1], [1, 1, 1]]
    extra = -np.log(sum(np.exp(sum(log_probs[t, unit] for t, unit in enumerate(path))) for path in paths))
    assert result.loss == pytest.approx((4 * good + bad + extra) / 6, rel=1e-5)


def test_without_labels_there_is_no_loss() -> None:
    items: dict[str, tuple[str, list[int] | None, float]] = {"a": ("ku", None, 1.0)}
    model = Echo().eval()
    result = run(model, items, reader({"a": [1]}))
    assert (result.wer, result.loss) == (1.0, None)
    assert not model.training


def test_the_mode_comes_back_after_an_error() -> None:
    def broken(utterance: Utterance) -> Features:
        raise OSError("the disk has gone")

    model = Echo().train()
    items: dict[str, tuple[str, list[int] | None, float]] = {"a": ("ah", [1], 1.0)}
    with pytest.raises(OSError, match="the disk has gone"):
        run(model, items, broken)
    assert model.training


def test_every_utterance_comes_once_longest_first() -> None:
    durations_s = [1.0, 4.0, 2.0, 8.0, 0.5, 2.0]
    groups = grouped_by_duration(durations_s, batch_s=6.0)
    assert groups == [[3], [1], [2, 5, 0], [4]]
    assert grouped_by_duration(durations_s, batch_s=0.1) == [[3], [1], [2], [5], [0], [4]]
    assert grouped_by_duration(durations_s, batch_s=1e9) == [[3, 1, 2, 5, 0, 4]]


def test_a_window_of_one_size_costs_the_same_for_each() -> None:
    durations_s = {"a": 1.0, "b": 2.0, "c": 29.0}
    items: dict[str, Any] = {name: ("ah", [1], seconds) for name, seconds in durations_s.items()}

    def groups(**options: float) -> list[list[int]]:
        return ValidationSet(subset(items), read=reader({}), **options)._groups  # type: ignore[arg-type]

    assert groups(batch_s=90.0) == [[2, 1, 0]]
    assert groups(batch_s=60.0, least_s=30.0) == [[0, 1], [2]]
    assert groups(batch_s=59.0, least_s=30.0) == [[0], [1], [2]]


class Narrow(Echo):
    """Has memory for two utterances at once, or for none."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room, self.sizes = room, list[int]()

    def forward(self, features_BFM: Tensor, frames_B: Tensor) -> tuple[Tensor, Tensor]:
        self.sizes.append(len(frames_B))
        if len(frames_B) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB\nmore lines")
        return super().forward(features_BFM, frames_B)


def test_a_batch_that_does_not_fit_is_halved(caplog: pytest.LogCaptureFixture) -> None:
    items: dict[str, Any] = {name: ("ah bo", [1, 2], 1.0) for name in "abcde"}
    said = {name: [1, 2] if name in "ace" else [1] for name in "abcde"}
    expected = run(Echo(), items, reader(said))
    model = Narrow(2).train()
    assert run(model, items, reader(said)) == expected
    assert model.sizes == [5, 2, 3, 1, 2]
    assert "5 utterances to validate do not fit in memory (CUDA out of memory. Tried" in caplog.text
    assert model.training


def test_an_utterance_that_does_not_fit_alone_is_named() -> None:
    items: dict[str, Any] = {"a": ("ah", [1], 1.0), "long": ("bo", [2], 8.0)}
    with pytest.raises(RunFailed, match=r"Validating long \(8.0 s\) does not fit in memory \(CUDA out of memory"):
        run(Narrow(0), items, reader({"a": [1], "long": [2]}), 100.0)
