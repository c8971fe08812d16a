"""Audio and features of single utterances, augmented and cached.

All chance is keyed by (seed, epoch, utterance), so an utterance is the same whoever reads it, and whenever.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from harken.core import Features, RunFailed, Utterance, Waveform, keyed_generator
from harken.data.cache import ArrayCache

LoadAudio = Callable[[Utterance], Waveform]


class Extractor(Protocol):
    """What the loader needs of `harken.audio.FeatureExtractor`."""

    @property
    def dimensions(self) -> int: ...

    @property
    def hop_s(self) -> float: ...

    def __call__(self, waveform: Waveform, /) -> Features: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """What happens to an utterance on its way; None leaves a stage out. All chance comes from the generator."""

    waveform: Callable[[Waveform, np.random.Generator], Waveform] | None = None
    features: Callable[[Features, np.random.Generator], Features] | None = None


class UtteranceFailed(RunFailed):
    """An utterance could not be prepared in the middle of a run. The cause is chained; `utterance_id` names it."""

    def __init__(self, utterance: Utterance, cause: Exception) -> None:
        super().__init__(
            f"Utterance {utterance.id} ({utterance.audio}) could not be loaded: {type(cause).__name__}: {cause}",
            hint="If the file has changed since the run began, restore it; `harken data validate` lists unusable ones.",
        )
        self.utterance_id = utterance.id


class UtteranceReader:
    """Audio and features of single utterances, through the cache. Thread-safe.

    The cache holds waveforms, or features as long as the waveform is never changed (`cache_features`; they take half
    the room of float32 samples and spare the transform as well). A waveform that is in the cache already, from a check
    before training say, makes room for its features when these are computed.
    """

    def __init__(
        self,
        extractor: Extractor,
        load_audio: LoadAudio,
        *,
        seed: int,
        cache: ArrayCache | None = None,
        augmentation: Callable[[int], Augmentation] | Augmentation | None = None,
        cache_features: bool | None = None,
    ) -> None:
        """`augmentation` may be a function of the epoch, which has to be pure. `cache_features` None decides by it:
        True when it is given outright and leaves the waveform alone, else False.
        """
        fixed = augmentation or Augmentation()
        self.extractor = extractor
        self.seed = int(seed)
        self.cache = cache or ArrayCache(0)
        self._load_audio = load_audio
        self._augmentation = (lambda _: fixed) if isinstance(fixed, Augmentation) else fixed
        keeps_waveform = isinstance(fixed, Augmentation) and fixed.waveform is None
        self._cache_features = keeps_waveform if cache_features is None else cache_features

    def waveform(self, utterance: Utterance) -> Waveform:
        """The utterance's audio (samples,), unaugmented and read-only when it comes from the cache."""
        return self.cache.get_or_load(_key("waveform", utterance), lambda: self._load_audio(utterance))

    def features(self, utterance: Utterance, epoch: int) -> Features:
        """The utterance's features (frames, dimensions) as `epoch` sees them."""
        augmentation = self._augmentation(epoch)
        generator = self.generator(epoch, utterance.id)
        if augmentation.waveform is not None:
            features = self.extractor(augmentation.waveform(self.waveform(utterance), generator))
        elif self._cache_features:
            features = self.cache.get_or_load(_key("features", utterance), lambda: self._first_features(utterance))
        else:
            features = self.extractor(self.waveform(utterance))
        return features if augmentation.features is None else augmentation.features(features, generator)

    def augmented_waveform(self, utterance: Utterance, epoch: int) -> Waveform:
        """The utterance's audio (samples,) as `epoch` hears it, for features of several utterances together."""
        change, waveform = self._augmentation(epoch).waveform, self.waveform(utterance)
        return waveform if change is None else change(waveform, self.generator(epoch, utterance.id))

    def joint_features(self, waveform: Waveform, epoch: int, generator: np.random.Generator) -> Features:
        """Features of audio that is put together from `augmented_waveform`s, augmented as features of `epoch` are."""
        change, features = self._augmentation(epoch).features, self.extractor(waveform)
        return features if change is None else change(features, generator)

    def generator(self, epoch: int, *key: str) -> np.random.Generator:
        """All chance of an utterance, or of several together, in `epoch`."""
        return keyed_generator(self.seed, int(epoch), *key)

    def _first_features(self, utterance: Utterance) -> Features:
        waveform = self.cache.pop(_key("waveform", utterance))
        return self.extractor(self._load_audio(utterance) if waveform is None else waveform)


def _key(kind: str, utterance: Utterance) -> Hashable:
    """Ids are unique in one manifest only, and a cache may serve several."""
    return kind, utterance.audio, utterance.offset_s, utterance.duration_s
