"""What one row of a batch holds: an utterance, or a window with several of them after one another."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from harken.core import Features, Utterance
from harken.core.units import samples_to_seconds
from harken.data.reader import UtteranceFailed, UtteranceReader

Labels = Sequence[Sequence[int]] | Sequence[npt.NDArray[np.integer]]
Span = tuple[float, float]
"""Start and end of an utterance in its window, in seconds."""
LabelWindow = Callable[[Sequence[int], Sequence[Span], np.random.Generator], Sequence[int]]
"""Labels of a window from the places of its utterances, where they lie in it, and a source of chance."""

_Item = TypeVar("_Item", contravariant=True)
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of a batch. `duration_s` is the audio in it as the manifest states it."""

    id: str
    features: Features
    labels: Sequence[int] | npt.NDArray[np.integer]
    duration_s: float


class Rows(Protocol[_Item]):
    """Makes the rows of batches from what a sampler gives out."""

    @property
    def utterances(self) -> int:
        """Number of utterances that rows are made of."""
        ...

    @property
    def dimensions(self) -> int: ...

    @property
    def hop_s(self) -> float: ...

    def row(self, item: _Item, epoch: int, go_on: Callable[[], None]) -> Row:
        """The row of a sampler's item. `go_on` is called before each utterance and raises when nobody waits any more.

        Raises UtteranceFailed for an utterance that cannot be read.
        """
        ...


class _ReaderRows:
    """What rows of one reader have in common."""

    def __init__(self, utterances: Sequence[Utterance], reader: UtteranceReader) -> None:
        self.reader = reader
        self._utterances = utterances

    @property
    def utterances(self) -> int:
        return len(self._utterances)

    @property
    def dimensions(self) -> int:
        return self.reader.extractor.dimensions

    @property
    def hop_s(self) -> float:
        return self.reader.extractor.hop_s


class UtteranceRows(_ReaderRows):
    """One utterance a row."""

    def __init__(self, utterances: Sequence[Utterance], reader: UtteranceReader, labels: Labels | None = None) -> None:
        """`labels` are the ids of each utterance's text, in the order of `utterances`; None for audio without text."""
        if labels is not None and len(labels) != len(utterances):
            raise ValueError(f"{len(labels)} labels for {len(utterances)} utterances; give one for each")
        super().__init__(utterances, reader)
        self._labels = labels

    def row(self, item: int, epoch: int, go_on: Callable[[], None]) -> Row:
        utterance = self._utterances[item]
        go_on()
        return Row(
            id=utterance.id,
            features=_reading(utterance, lambda: self.reader.features(utterance, epoch)),
            labels=() if self._labels is None else self._labels[item],
            duration_s=utterance.duration_s,
        )


class WindowRows(_ReaderRows):
    """Several utterances a row, their audio joined end to end and turned into features together.

    Where a sampler gives out single utterances, a row is a window with one.
    """

    def __init__(
        self,
        utterances: Sequence[Utterance],
        reader: UtteranceReader,
        label: LabelWindow,
        *,
        sample_rate_hz: int,
    ) -> None:
        super().__init__(utterances, reader)
        self._label = label
        self._rate_hz = sample_rate_hz

    def row(self, item: int | Sequence[int], epoch: int, go_on: Callable[[], None]) -> Row:
        places = [item] if isinstance(item, int) else item
        chosen = [self._utterances[place] for place in places]
        waveforms = []
        for utterance in chosen:
            go_on()
            waveforms.append(_reading(utterance, lambda u=utterance: self.reader.augmented_waveform(u, epoch)))  # type: ignore[misc]
        ends = np.cumsum([len(waveform) for waveform in waveforms]).tolist()
        spans = [
            (
                samples_to_seconds(end - len(waveform), sample_rate_hz=self._rate_hz),
                samples_to_seconds(end, sample_rate_hz=self._rate_hz),
            )
            for waveform, end in zip(waveforms, ends, strict=True)
        ]
        generator = self.reader.generator(epoch, "window", *(utterance.id for utterance in chosen))
        return Row(
            id=" + ".join(utterance.id for utterance in chosen),
            features=self.reader.joint_features(np.concatenate(waveforms), epoch, generator),
            labels=self._label(places, spans, generator),
            duration_s=sum(utterance.duration_s for utterance in chosen),
        )


def _reading(utterance: Utterance, read: Callable[[], _Result]) -> _Result:
    try:
        return read()
    except Exception as err:
        raise UtteranceFailed(utterance, err) from err
