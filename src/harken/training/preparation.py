"""From manifests to what a run trains on, with everything unusable found and named before step 1."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harken.audio.decode import probe_audio
from harken.audio.features import FeatureExtractor
from harken.core import HarkenError, InputError, Utterance, Waveform, keyed_generator
from harken.core.units import seconds_to_samples
from harken.data.manifest import read_manifest
from harken.text.normalize import normalize
from harken.training.labels import Labeller, Unlabelled
from harken.training.recipe import DataConfig

logger = logging.getLogger(__name__)

AudioCheck = Callable[[Utterance], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """An utterance left out of a run, and why. `reason` is one of a few phrases, `detail` says more."""

    id: str
    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subset:
    """Utterances a run uses and those it does not; together they are the manifest.

    `texts` are the normalised references. `labels` are the ids of each text, or None for a validation text outside
    the vocabulary (it counts in the WER, but has no loss).
    """

    utterances: tuple[Utterance, ...]
    texts: tuple[str, ...]
    labels: tuple[list[int] | None, ...]
    rejected: tuple[Rejection, ...]

    @property
    def duration_s(self) -> float:
        return sum(u.duration_s for u in self.utterances)

    def only(self, places: Sequence[int]) -> "Subset":
        """The utterances at these places; nothing counts as rejected."""
        return Subset(
            utterances=tuple(self.utterances[place] for place in places),
            texts=tuple(self.texts[place] for place in places),
            labels=tuple(self.labels[place] for place in places),
            rejected=(),
        )


def read_subset(
    path: str, *, samples: int | None, config: DataConfig, seed: int, window_s: float | None = None
) -> tuple[list[Utterance], list[Rejection]]:
    """Utterances of a manifest that have a text and a usable length, at most `samples` of them, drawn by `seed`.

    `window_s` is the most a model hears at once, if there is a bound.
    """
    kept: list[Utterance] = []
    rejected: list[Rejection] = []
    for utterance in read_manifest(Path(path)):
        reason = _unusable(utterance, config, window_s)
        if reason:
            rejected.append(Rejection(id=utterance.id, reason=reason[0], detail=reason[1]))
        else:
            kept.append(utterance)
    if samples is not None and samples < len(kept):
        order = keyed_generator(seed, "samples").permutation(len(kept))
        chosen = set(order[:samples].tolist())
        rejected += [
            Rejection(id=u.id, reason="beyond the sample limit") for i, u in enumerate(kept) if i not in chosen
        ]
        kept = [u for i, u in enumerate(kept) if i in chosen]
    return kept, rejected


def _unusable(utterance: Utterance, config: DataConfig, window_s: float | None) -> tuple[str, str] | None:
    if utterance.text is None or not normalize(utterance.text, config.normalizer):
        return "empty text", repr(utterance.text)
    if utterance.duration_s < config.min_duration_s:
        return "shorter than min_duration_s", f"{utterance.duration_s:.3f} s < {config.min_duration_s} s"
    if utterance.duration_s > config.max_duration_s:
        return "longer than max_duration_s", f"{utterance.duration_s:.1f} s > {config.max_duration_s} s"
    if window_s is not None and utterance.duration_s > window_s:
        return "longer than the model's window", f"{utterance.duration_s:.2f} s > {window_s:g} s"
    return None


def check_audio(
    utterances: Sequence[Utterance], check: AudioCheck, *, workers: int
) -> tuple[list[Utterance], list[Rejection]]:
    """Utterances whose audio passes `check` (it raises HarkenError for the others), in order.

    `check` may be the loader's own audio function: then a small set is decoded once, into the cache.
    """

    def problem(utterance: Utterance) -> str | None:
        try:
            check(utterance)
        except HarkenError as err:
            return str(err)
        return None

    with ThreadPoolExecutor(max_workers=max(1, workers), thread_name_prefix="check") as pool:
        problems = list(pool.map(problem, utterances))
    kept = [u for u, p in zip(utterances, problems, strict=True) if p is None]
    rejected = [
        Rejection(id=u.id, reason="unreadable audio", detail=p)
        for u, p in zip(utterances, problems, strict=True)
        if p is not None
    ]
    return kept, rejected


def header_check(utterance: Utterance) -> None:
    """Cheap check for large sets: the header opens and promises enough audio."""
    info = probe_audio(utterance.audio)
    if info.duration_s + 0.05 < utterance.offset_s + utterance.duration_s:
        raise InputError(
            f"{utterance.audio} has {info.duration_s:.2f} s, but the manifest wants up to "
            f"{utterance.offset_s + utterance.duration_s:.2f} s."
        )


def full_check(load_audio: Callable[[Utterance], Waveform], *, sample_rate_hz: int) -> AudioCheck:
    """Decode each file whole and compare its length with the manifest's."""

    def check(utterance: Utterance) -> None:
        samples = len(load_audio(utterance))
        promised = seconds_to_samples(utterance.duration_s, sample_rate_hz=sample_rate_hz)
        if samples < promised - max(0.05 * sample_rate_hz, 0.01 * promised):
            raise InputError(
                f"{utterance.audio} has {samples / sample_rate_hz:.2f} s of audio where the manifest says "
                f"{utterance.duration_s:.2f} s."
            )

    return check


def encode_subset(
    utterances: Sequence[Utterance],
    rejected: Sequence[Rejection],
    *,
    labeller: Labeller,
    normalizer: str,
    training: bool,
) -> Subset:
    """Texts and labels. Training utterances that have no labels are rejected."""
    kept: list[Utterance] = []
    texts: list[str] = []
    labels: list[list[int] | None] = []
    out = list(rejected)
    for utterance in utterances:
        text = normalize(utterance.text or "", normalizer)
        ids: list[int] | None = None
        try:
            ids = labeller(utterance, text)
        except Unlabelled as found:
            if training:
                out.append(Rejection(id=utterance.id, reason=found.reason, detail=found.detail))
                continue
        kept.append(utterance)
        texts.append(text)
        labels.append(ids)
    return Subset(utterances=tuple(kept), texts=tuple(texts), labels=tuple(labels), rejected=tuple(out))


def fewest_output_frames(
    extractor: FeatureExtractor, output_frames: Callable[[int], int], *, fastest: float
) -> Callable[[Utterance], int]:
    """Output frames an utterance has left at the fastest speed perturbation."""
    rate = extractor.config.sample_rate_hz

    def frames(utterance: Utterance) -> int:
        samples = int(seconds_to_samples(utterance.duration_s, sample_rate_hz=rate) / fastest)
        return output_frames(extractor.frame_count(samples))

    return frames


def require_some(subset_name: str, path: str, kept: Sequence[Utterance], rejected: Iterable[Rejection]) -> None:
    """Refuse to go on with nothing. The message counts the reasons."""
    if kept:
        return
    rejected = list(rejected)
    reasons = ", ".join(f"{count} {reason}" for reason, count in count_reasons(rejected).items())
    first = f" The first: {rejected[0].id}, {rejected[0].detail or rejected[0].reason}." if rejected else ""
    raise InputError(
        f"{path}: none of the {subset_name} utterances can be used ({reasons}).{first}",
        hint="`harken data validate` shows what is wrong with files and texts.",
    )


def count_reasons(rejected: Iterable[Rejection]) -> dict[str, int]:
    """Rejections per reason, most frequent first."""
    return dict(Counter(item.reason for item in rejected).most_common())


def mean_duration_s(utterances: Sequence[Utterance]) -> float:
    return float(np.mean([u.duration_s for u in utterances]))
