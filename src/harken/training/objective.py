"""What training minimises and how validation reads a model, for each kind of model.

Shapes: B batch, F feature frames, M feature dimensions, T label positions, V vocab, N labels of a batch in a row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from harken.core import Features, Tokenizer, Utterance
from harken.inference.decoding import decode_scores, read_tokens
from harken.models.family import AcousticModel, CtcModel, Seq2SeqModel
from harken.models.frontend import frame_mask
from harken.training.labels import CtcLabeller, Labeller, Seq2SeqLabeller
from harken.training.loss import ctc_losses
from harken.training.precision import Precision


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationItem:
    """One utterance ready to be scored: features (frames, dimensions), and labels if it has any."""

    utterance: Utterance
    features: Features
    labels: list[int] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a model made of an utterance: its text, and the loss of its labels in nats (None without labels)."""

    text: str
    loss: float | None


class Objective(Protocol):
    """The loss of one model, and its greedy reading."""

    @property
    def precision(self) -> Precision: ...

    def losses(self, features_BFM: Tensor, frames_B: Tensor, labels_BT: Tensor, label_lengths_B: Tensor) -> Tensor:
        """(B,) losses in nats, summed over each row's labels, float32."""
        ...

    def read(self, features_BFM: Tensor, frames_B: Tensor, items: Sequence[ValidationItem]) -> list[Reading]:
        """Greedy texts, and losses without smoothing."""
        ...


def make_objective(
    model: AcousticModel, labeller: Labeller, *, precision: Precision, smoothing: float = 0.0
) -> Objective:
    """The objective of this kind of model and its labels."""
    if isinstance(model, Seq2SeqModel) and isinstance(labeller, Seq2SeqLabeller):
        return Seq2SeqObjective(model=model, labeller=labeller, precision=precision, smoothing=smoothing)
    if isinstance(model, CtcModel) and isinstance(labeller, CtcLabeller):
        return CtcObjective(model=model, tokenizer=labeller.tokenizer, precision=precision, smoothing=smoothing)
    raise TypeError(f"a {type(model).__name__} cannot learn the labels of a {type(labeller).__name__}")


@dataclass(frozen=True, slots=True, kw_only=True)
class CtcObjective:
    """CTC (see `harken.training.loss`), in float32 whatever the precision of the model."""

    model: CtcModel
    tokenizer: Tokenizer
    precision: Precision
    smoothing: float = 0.0

    def losses(self, features_BFM: Tensor, frames_B: Tensor, labels_BT: Tensor, label_lengths_B: Tensor) -> Tensor:
        return ctc_step(
            self.model, features_BFM, frames_B, labels_BT, label_lengths_B, self.precision, smoothing=self.smoothing
        )

    def read(self, features_BFM: Tensor, frames_B: Tensor, items: Sequence[ValidationItem]) -> list[Reading]:
        with self.precision.autocast():
            scores_BTV, lengths_B = self.model(features_BFM, frames_B)
        durations_s = [item.utterance.duration_s for item in items]
        texts = decode_scores(scores_BTV, lengths_B, self.tokenizer, frame_s=0.0, durations_s=durations_s)
        known = [place for place, item in enumerate(items) if item.labels]
        losses: dict[int, float] = {}
        if known:
            labels = padded_labels([items[place].labels or [] for place in known], scores_BTV.device)
            losses = dict(
                zip(known, ctc_losses(scores_BTV[known], lengths_B[known], *labels).double().tolist(), strict=True)
            )
        return [Reading(text=item.text, loss=losses.get(place)) for place, item in enumerate(texts)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seq2SeqObjective:
    """Cross entropy of each label after those before it (teacher forcing), prompt and end included.

    The mean over labels is the loss that transformers' encoder-decoder models give. `smoothing` is that of Szegedy et
    al. 2016, section 7.
    """

    model: Seq2SeqModel
    labeller: Seq2SeqLabeller
    precision: Precision
    smoothing: float = 0.0

    def losses(self, features_BFM: Tensor, frames_B: Tensor, labels_BT: Tensor, label_lengths_B: Tensor) -> Tensor:
        return seq2seq_step(
            self.model,
            features_BFM,
            labels_BT,
            label_lengths_B,
            self.precision,
            start=self.labeller.start,
            smoothing=self.smoothing,
        )

    def read(self, features_BFM: Tensor, frames_B: Tensor, items: Sequence[ValidationItem]) -> list[Reading]:
        with self.precision.autocast():
            encoded_BPD = self.model.encode(features_BFM)
            texts = read_tokens(
                self.model,
                self.labeller.tokenizer,
                encoded_BPD,
                prompts=[self.labeller.prompt(item.utterance) for item in items],
                durations_s=[item.utterance.duration_s for item in items],
            )
        known = [place for place, item in enumerate(items) if item.labels]
        losses: dict[int, float] = {}
        if known:
            labels = padded_labels([items[place].labels or [] for place in known], encoded_BPD.device)
            values = _token_losses(
                self.model, encoded_BPD[known], *labels, self.precision, start=self.labeller.start, smoothing=0.0
            )
            losses = dict(zip(known, values.double().tolist(), strict=True))
        return [Reading(text=text, loss=losses.get(place)) for place, text in enumerate(texts)]


def ctc_step(
    model: CtcModel,
    features_BFM: Tensor,
    frames_B: Tensor,
    labels_BT: Tensor,
    label_lengths_B: Tensor,
    precision: Precision,
    *,
    smoothing: float,
) -> Tensor:
    """(B,) losses of a CTC model: the forward pass of a training step."""
    with precision.autocast():
        scores_BTV, lengths_B = model(features_BFM, frames_B)
    return ctc_losses(scores_BTV, lengths_B, labels_BT, label_lengths_B, smoothing=smoothing)


def seq2seq_step(
    model: Seq2SeqModel,
    features_BFM: Tensor,
    labels_BT: Tensor,
    label_lengths_B: Tensor,
    precision: Precision,
    *,
    start: int,
    smoothing: float,
) -> Tensor:
    """(B,) losses of an encoder-decoder model: the forward pass of a training step. `start` begins every sequence."""
    with precision.autocast():
        encoded_BPD = model.encode(features_BFM)
    return _token_losses(model, encoded_BPD, labels_BT, label_lengths_B, precision, start=start, smoothing=smoothing)


def _token_losses(
    model: Seq2SeqModel,
    encoded_BPD: Tensor,
    labels_BT: Tensor,
    label_lengths_B: Tensor,
    precision: Precision,
    *,
    start: int,
    smoothing: float,
) -> Tensor:
    tokens_BT = functional.pad(labels_BT[:, :-1], (1, 0), value=start)
    wanted_BT = frame_mask(label_lengths_B, labels_BT.shape[1])
    with precision.autocast():
        scores_NV = model.score_tokens(encoded_BPD, tokens_BT, wanted_BT)
    losses_N = functional.cross_entropy(
        scores_NV.float(), labels_BT[wanted_BT], reduction="none", label_smoothing=smoothing
    )
    losses_BT = torch.zeros(wanted_BT.shape, device=losses_N.device)
    return losses_BT.masked_scatter(wanted_BT, losses_N).sum(1)


def padded_labels(labels: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Labels (B, T), padded with 0, and their lengths (B,)."""
    padded = np.zeros((len(labels), max(map(len, labels))), dtype=np.int64)
    for row, ids in zip(padded, labels, strict=True):
        row[: len(ids)] = ids
    return torch.from_numpy(padded).to(device), torch.tensor([len(ids) for ids in labels], device=device)
