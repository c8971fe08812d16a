"""Whether an exported model says what its original says: scores and texts on real audio, alone and in batches.

Shapes: B batch, F feature frames, M feature dimensions, T output frames, V vocab.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from harken.core import Features, RunFailed, Strict, Tokenizer
from harken.evaluation.scoring.metrics import score
from harken.inference.scoring import CtcScorer, LogProbs, decode_greedily, pad_features

BATCHES = (2, 3, 5)  # sizes of the batches that are formed, in turn


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityLimits(Strict):
    """What an export may differ by. None does not ask; rates are fractions."""

    log_prob: float | None = None  # largest difference of a natural log probability
    texts: bool = False  # every text has to be the same
    wer: float | None = None  # of more word error rate, where the clips have texts
    cer: float | None = None  # of characters that differ from the original's texts, where they have none


LIMITS = {
    "fp32": ParityLimits(log_prob=1e-3, texts=True),
    "fp16": ParityLimits(log_prob=0.05, texts=True),
    "int8": ParityLimits(wer=0.01, cer=0.05),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceClip:
    """A clip as the original scores it alone, and reads it greedily. `text` is what is said, if known."""

    name: str
    features: Features
    log_probs_TV: LogProbs
    greedy: str
    text: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """How close an export came. `comparisons` counts clips alone and again in padded batches.

    `cer` is that of the export's texts with the original's as reference; `wer` and `wer_original` are those of the
    clips whose text is known, and None without such. Rates are fractions.
    """

    clips: int
    audio_s: float
    comparisons: int
    largest_difference: float
    texts_differing: int
    cer: float
    wer: float | None
    wer_original: float | None

    def failures(self, limits: ParityLimits) -> list[str]:
        """What is beyond the limits, in words."""
        found = []
        if limits.log_prob is not None and not self.largest_difference <= limits.log_prob:  # NaN is beyond any
            found.append(f"log probabilities differ by {self.largest_difference:.3g} (limit {limits.log_prob:g})")
        if limits.texts and self.texts_differing:
            found.append(f"{self.texts_differing} of {self.comparisons} texts differ")
        if limits.wer is not None and self.wer is not None and self.wer_original is not None:
            if self.wer - self.wer_original > limits.wer:
                found.append(
                    f"WER rises from {self.wer_original:.2%} to {self.wer:.2%} (limit {100 * limits.wer:g} points)"
                )
        elif limits.cer is not None and self.cer > limits.cer:
            found.append(f"{self.cer:.2%} of the characters differ (limit {limits.cer:.0%})")
        if not np.isfinite(self.largest_difference):
            found.append("the scores are not all finite")
        return found

    def record(self, limits: ParityLimits) -> dict[str, Any]:
        """Figures and limits for export.json; a difference that is no number becomes null."""
        figures = {**asdict(self), "limits": asdict(limits)}
        if not np.isfinite(self.largest_difference):
            figures["largest_difference"] = None
        return figures


def check_parity(parity: Parity, limits: ParityLimits, *, name: str) -> None:
    """Raise RunFailed with the numbers where an export is beyond its limits."""
    failures = parity.failures(limits)
    if failures:
        raise RunFailed(
            f"{name} does not say what its original says: {'; '.join(failures)}.",
            hint="It was removed. Check on other audio (--data), or use another precision.",
        )


def reference_clips(
    original: CtcScorer, tokenizer: Tokenizer, items: Sequence[tuple[str, Features, str | None]]
) -> list[ReferenceClip]:
    """Clips (name, features, text) as the original scores each alone."""
    found = []
    for name, features, text in items:
        scores_BTV, lengths_B = original(*pad_features([features]))
        log_probs_TV = scores_BTV[0, : lengths_B[0]]
        greedy = _text(log_probs_TV, tokenizer)
        found.append(ReferenceClip(name=name, features=features, log_probs_TV=log_probs_TV, greedy=greedy, text=text))
    return found


def measure_parity(
    exported: CtcScorer, tokenizer: Tokenizer, clips: Sequence[ReferenceClip], *, audio_s: float, normalizer: str
) -> Parity:
    """Compare an export with its original on every clip alone, and on every clip in a padded batch of others.

    `normalizer` is the text profile of the word error rates.
    """
    largest, texts, places = 0.0, [], []
    for group in _groups(len(clips)):
        scores_BTV, lengths_B = exported(*pad_features([clips[place].features for place in group]))
        for place, scores_TV, length in zip(group, scores_BTV, lengths_B.tolist(), strict=True):
            largest = _largest(largest, scores_TV[:length], clips[place].log_probs_TV)
            texts.append(_text(scores_TV[:length], tokenizer))
            places.append(place)
    originals = [clips[place].greedy for place in places]
    wer, wer_original = _word_errors([clips[place].text for place in places], texts, originals, normalizer)
    return Parity(
        clips=len(clips),
        audio_s=round(audio_s, 3),
        comparisons=len(places),
        largest_difference=largest,
        texts_differing=sum(text != original for text, original in zip(texts, originals, strict=True)),
        cer=_character_errors(originals, texts),
        wer=wer,
        wer_original=wer_original,
    )


def _groups(clips: int) -> Iterator[list[int]]:
    """Every clip alone, then each in a batch of `BATCHES`; neighbours in a batch are far apart in length."""
    yield from ([place] for place in range(clips))
    order = sorted(range(clips), key=lambda place: (place % 3, place))
    first = turn = 0
    while first < clips > 1:
        end = first + BATCHES[turn % len(BATCHES)]
        if end + 1 == clips:  # the last one would be alone again
            end = clips
        yield order[first:end]
        first, turn = end, turn + 1


def _largest(so_far: float, found_TV: LogProbs, expected_TV: LogProbs) -> float:
    if found_TV.shape != expected_TV.shape:
        return float("inf")
    if not np.isfinite(found_TV).all():
        return float("inf")
    return max(so_far, float(np.abs(found_TV - expected_TV).max(initial=0.0)))


def _text(log_probs_TV: LogProbs, tokenizer: Tokenizer) -> str:
    return tokenizer.decode([token.id for token in decode_greedily(log_probs_TV)])


def _character_errors(originals: Sequence[str], texts: Sequence[str]) -> float:
    found = score(originals, texts, normalizer="none")
    if found.cer is not None:
        return found.cer
    return 1.0 if any(texts) else 0.0  # where the original says nothing, anything is wrong


def _word_errors(
    spoken: Sequence[str | None], texts: Sequence[str], originals: Sequence[str], normalizer: str
) -> tuple[float | None, float | None]:
    known = [place for place, text in enumerate(spoken) if text is not None]
    if not known:
        return None, None
    references = [spoken[place] or "" for place in known]
    wer, wer_original = (
        score(references, [hypotheses[place] for place in known], normalizer=normalizer).wer
        for hypotheses in (texts, originals)
    )
    return wer, wer_original
