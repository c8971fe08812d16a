"""Scoring a model on a whole set while it trains.

Shapes: B batch, F feature frames, M feature dimensions.
"""

import logging
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import torch
from torch import nn

from harken.core import Features, RunFailed, Utterance
from harken.evaluation.code_switching.scoring import label_references
from harken.evaluation.code_switching.word_languages import WORD_LANGUAGES
from harken.evaluation.scoring.metrics import Score, score
from harken.inference.torch_engine import pad_features
from harken.training.memory import failure_reason, free_memory, is_out_of_memory
from harken.training.objective import Objective, Reading, ValidationItem
from harken.training.preparation import Subset

logger = logging.getLogger(__name__)


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


class ValidationSet:
    """A set that is scored again and again: batches of similar length, their features read one batch ahead.

    `read` gives the features of an utterance, from a cache if the caller has one; memory holds two batches of them.
    `least_s` is what the model reads of the shortest utterance, with padding.
    """

    def __init__(
        self, subset: Subset, *, read: Callable[[Utterance], Features], batch_s: float, least_s: float = 0.0
    ) -> None:
        self.subset = subset
        self.utterances = [replace(u, text=text) for u, text in zip(subset.utterances, subset.texts, strict=True)]
        self.references = {u.id: u.text or "" for u in self.utterances}
        self.words = (
            label_references(self.utterances, normalizer="none") if all(map(_labels_fit, self.utterances)) else None
        )
        self._read = read
        costs_s = [max(u.duration_s, least_s) for u in subset.utterances]
        self._groups = grouped_by_duration(costs_s, batch_s=batch_s)

    def batches(self) -> Generator[list[ValidationItem], None, None]:
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
        return [ValidationItem(utterance=u, features=self._read(u), labels=labels) for u, labels in chosen]


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
    model: nn.Module, objective: Objective, validation: ValidationSet, *, device: torch.device
) -> ValidationResult:
    """Greedy decoding of every utterance and its pooled WER, CER and mean loss. The model's mode is put back after."""
    was_training = model.training
    model.eval()
    hypotheses: dict[str, str] = {}
    loss, labels = 0.0, 0
    try:
        for batch in validation.batches():
            for item, reading in zip(batch, _read(objective, batch, device), strict=True):
                hypotheses[item.utterance.id] = reading.text
                if reading.loss is not None:
                    loss, labels = loss + reading.loss, labels + len(item.labels or ())
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


def _read(objective: Objective, batch: Sequence[ValidationItem], device: torch.device) -> list[Reading]:
    """The readings of a batch; of its halves where memory does not suffice for the whole, down to single utterances.

    Raises RunFailed for an utterance that does not fit alone.
    """
    try:
        features_BFM, frames_B = pad_features([item.features for item in batch], device)
        with torch.inference_mode():
            return objective.read(features_BFM, frames_B, batch)
    except (RuntimeError, MemoryError) as err:
        if not is_out_of_memory(err):
            raise
        reason = failure_reason(err)
    # Outside the handler: its traceback would keep what the failed pass had made.
    free_memory(device)
    if len(batch) == 1:
        utterance = batch[0].utterance
        raise RunFailed(
            f"Validating {utterance.id} ({utterance.duration_s:.1f} s) does not fit in memory ({reason}).",
            hint="Lower data.max_duration_s, or use a smaller model.",
        )
    logger.warning("%d utterances to validate do not fit in memory (%s); halving them", len(batch), reason)
    half = len(batch) // 2
    return [*_read(objective, batch[:half], device), *_read(objective, batch[half:], device)]


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
    if validation.words is None:
        return None
    f1: float | None = validation.words.summarize(result)["switch_points"]["0"]["f1"]
    return f1
