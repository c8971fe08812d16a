"""Scoring a model on a whole set while it trains.

Shapes: B batch, F feature frames, M feature dimensions, T output frames, V vocab.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from harken.core import Features, Tokenizer, Utterance
from harken.evaluation.code_switching.scoring import label_words
from harken.evaluation.code_switching.word_languages import WORD_LANGUAGES
from harken.evaluation.scoring.metrics import Score, score
from harken.inference.torch_engine import decode_scores, pad_features
from harken.models.family import CtcModel
from harken.training.loss import ctc_losses
from harken.training.precision import Precision
from harken.training.preparation import Subset


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationResult:
    """Pooled error rates as fractions; `loss` in nats per label over the utterances that have labels, or None.

    `languages` holds the WER of each language, where the set has several; `switch_f1` the F1 of directed switch points
    at their exact place, where the manifest says the language of each word.
    """

    wer: float
    cer: float
    loss: float | None
    hypotheses: dict[str, str]
    languages: dict[str, float] = field(default_factory=dict)
    switch_f1: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationItem:
    """One utterance ready to be scored: features (frames, dimensions), reference text, labels if it has any."""

    id: str
    features: Features
    labels: list[int] | None


class ValidationSet:
    """A set that is scored again and again: batches of similar length, their features read one batch ahead.

    `read` gives the features of an utterance, from a cache if the caller has one; memory holds two batches of them.
    """

    def __init__(self, subset: Subset, *, read: Callable[[Utterance], Features], batch_s: float) -> None:
        self.subset = subset
        self.utterances = [replace(u, text=text) for u, text in zip(subset.utterances, subset.texts, strict=True)]
        self.references = {u.id: u.text or "" for u in self.utterances}
        self.has_word_languages = all(_labels_fit(u) for u in self.utterances)
        self._read = read
        self._groups = grouped_by_duration([u.duration_s for u in subset.utterances], batch_s=batch_s)

    def batches(self) -> Iterator[list[ValidationItem]]:
        """Every utterance once, longest first, at most `batch_s` seconds with padding at a time."""
        with ThreadPoolExecutor(1, thread_name_prefix="harken-validation") as pool:
            pending = pool.submit(self._items, self._groups[0])
            for following in [*self._groups[1:], None]:
                items = pending.result()
                if following is not None:
                    pending = pool.submit(self._items, following)
                yield items

    def _items(self, group: Sequence[int]) -> list[ValidationItem]:
        chosen = [(self.subset.utterances[i], self.subset.labels[i]) for i in group]
        return [ValidationItem(id=u.id, features=self._read(u), labels=labels) for u, labels in chosen]


def _labels_fit(utterance: Utterance) -> bool:
    """Whether the normalised text has as many words as there are languages of words."""
    labels = utterance.extra.get(WORD_LANGUAGES)
    return isinstance(labels, list) and len(labels) == len((utterance.text or "").split())


def grouped_by_duration(durations_s: Sequence[float], *, batch_s: float) -> list[list[int]]:
    """Indices, longest first, in groups whose padded duration is at most `batch_s` (or that hold one)."""
    groups: list[list[int]] = []
    for index in sorted(range(len(durations_s)), key=lambda i: -durations_s[i]):
        if groups and durations_s[groups[-1][0]] * (len(groups[-1]) + 1) <= batch_s:
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups


def validate(
    model: CtcModel, validation: ValidationSet, *, tokenizer: Tokenizer, precision: Precision
) -> ValidationResult:
    """Greedy decoding of every utterance and its pooled WER, CER and mean loss. The model's mode is put back after."""
    was_training = model.training
    model.eval()
    hypotheses: dict[str, str] = {}
    loss, labels = 0.0, 0
    try:
        for batch in validation.batches():
            features_BFM, frames_B = pad_features([item.features for item in batch], precision.device)
            with torch.inference_mode(), precision.autocast():
                scores_BTV, lengths_B = model(features_BFM, frames_B)
            transcripts = decode_scores(scores_BTV, lengths_B, tokenizer, frame_s=0.0, durations_s=[0.0] * len(batch))
            hypotheses |= {item.id: t.text for item, t in zip(batch, transcripts, strict=True)}
            batch_loss, batch_labels = _labelled_loss(scores_BTV, lengths_B, batch)
            loss, labels = loss + batch_loss, labels + batch_labels
    finally:
        model.train(was_training)
    result = score(validation.references, hypotheses, normalizer="none")
    if result.wer is None or result.cer is None:  # preparation keeps only utterances that have words
        raise ValueError("the validation set has no words")
    return ValidationResult(
        wer=result.wer,
        cer=result.cer,
        loss=loss / labels if labels else None,
        hypotheses=hypotheses,
        languages=_by_language(result, validation.utterances),
        switch_f1=_switch_f1(result, validation),
    )


def _by_language(result: Score, utterances: Sequence[Utterance]) -> dict[str, float]:
    """Pooled WER of each language that has words; nothing for a set of one language."""
    errors: Counter[str] = Counter()
    words: Counter[str] = Counter()
    for utterance, wrong, length in zip(
        utterances, result.counts.errors.tolist(), result.counts.words.tolist(), strict=True
    ):
        if utterance.language is not None:
            errors[utterance.language] += wrong
            words[utterance.language] += length
    rates = {language: errors[language] / count for language, count in sorted(words.items()) if count}
    return rates if len(rates) > 1 else {}


def _switch_f1(result: Score, validation: ValidationSet) -> float | None:
    if not validation.has_word_languages:
        return None
    labelled = label_words(result, validation.utterances)
    if labelled is None:
        return None
    f1: float | None = labelled.summarize(result)["switch_points"]["0"]["f1"]
    return f1


def _labelled_loss(scores_BTV: Tensor, lengths_B: Tensor, batch: Sequence[ValidationItem]) -> tuple[float, int]:
    known = [i for i, item in enumerate(batch) if item.labels]
    if not known:
        return 0.0, 0
    labels = [batch[i].labels or [] for i in known]
    padded = np.zeros((len(labels), max(map(len, labels))), dtype=np.int64)
    for row, ids in zip(padded, labels, strict=True):
        row[: len(ids)] = ids
    device = scores_BTV.device
    with torch.inference_mode():
        losses_B = ctc_losses(
            scores_BTV[known],
            lengths_B[known],
            torch.from_numpy(padded).to(device),
            torch.tensor([len(ids) for ids in labels], device=device),
        )
    return float(losses_B.double().sum()), sum(map(len, labels))
