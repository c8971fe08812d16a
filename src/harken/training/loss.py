"""The CTC loss (Graves et al. 2006), per utterance and in float32.

Shapes: B batch, T output frames, V vocab, L label positions.
"""

from itertools import pairwise

from torch import Tensor
from torch.nn import functional

from harken.models.frontend import frame_mask


def ctc_losses(
    scores_BTV: Tensor, frames_B: Tensor, labels_BL: Tensor, label_lengths_B: Tensor, *, smoothing: float = 0.0
) -> Tensor:
    """(B,) negative log-likelihoods of the labels, in nats, summed over each utterance's frames.

    `smoothing` mixes in the cross entropy between a uniform distribution and the output of every real frame
    (Szegedy et al. 2016, section 7, applied to frames), which keeps CTC's peaks from saturating. An utterance whose
    labels cannot fit its frames has an infinite loss.
    """
    log_probs_BTV = scores_BTV.float().log_softmax(-1)
    losses_B = functional.ctc_loss(
        log_probs_BTV.transpose(0, 1), labels_BL, frames_B, label_lengths_B, blank=0, reduction="none"
    )
    if smoothing == 0:
        return losses_B
    uniform_BT = -log_probs_BTV.mean(-1) * frame_mask(frames_B, log_probs_BTV.shape[1])
    return (1 - smoothing) * losses_B + smoothing * uniform_BT.sum(1)


def frames_needed(labels: list[int]) -> int:
    """Fewest output frames that can carry these labels: one each, and a blank between equal neighbours."""
    return len(labels) + sum(a == b for a, b in pairwise(labels))
