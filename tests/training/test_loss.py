import itertools

import numpy as np
import pytest
import torch

from harken.training.loss import ctc_losses, frames_needed


def enumerated_loss(log_probs: np.ndarray, labels: list[int]) -> float:
    """-log of the summed probability of every path that collapses to the labels: the definition, by brute force."""
    frames, vocab = log_probs.shape
    total = -np.inf
    for path in itertools.product(range(vocab), repeat=frames):
        collapsed = [unit for i, unit in enumerate(path) if unit and (i == 0 or unit != path[i - 1])]
        if collapsed == labels:
            total = np.logaddexp(total, sum(log_probs[t, unit] for t, unit in enumerate(path)))
    return -total


def test_ctc_is_the_sum_over_paths() -> None:
    torch.manual_seed(0)
    scores = torch.randn(2, 5, 3)
    frames = torch.tensor([5, 3])
    labels = torch.tensor([[1, 2, 1], [2, 0, 0]])
    losses = ctc_losses(scores, frames, labels, torch.tensor([3, 1]))
    log_probs = scores.log_softmax(-1).numpy()
    assert losses[0].item() == pytest.approx(enumerated_loss(log_probs[0], [1, 2, 1]), rel=1e-5)
    assert losses[1].item() == pytest.approx(enumerated_loss(log_probs[1, :3], [2]), rel=1e-5)


def test_smoothing_adds_the_cross_entropy_of_real_frames() -> None:
    scores = torch.randn(1, 6, 4)
    arguments = (torch.tensor([4]), torch.tensor([[1, 2]]), torch.tensor([2]))
    plain = ctc_losses(scores, *arguments)
    uniform = -scores[0, :4].log_softmax(-1).mean(-1).sum()
    torch.testing.assert_close(ctc_losses(scores, *arguments, smoothing=0.1), 0.9 * plain + 0.1 * uniform)


def test_labels_that_do_not_fit_have_an_infinite_loss() -> None:
    losses = ctc_losses(torch.randn(1, 2, 3), torch.tensor([2]), torch.tensor([[1, 1]]), torch.tensor([2]))
    assert torch.isinf(losses).all()


@pytest.mark.parametrize(("labels", "frames"), [([], 0), ([1], 1), ([1, 2], 2), ([1, 1], 3), ([1, 1, 2, 2, 2], 8)])
def test_frames_needed(labels: list[int], frames: int) -> None:
    assert frames_needed(labels) == frames
