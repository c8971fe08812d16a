"""What a plugin has to answer. Contract tests for each of these are in `harken.testing`."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from harken.core.values import Transcript, Utterance, Waveform


@runtime_checkable
class Recognizer(Protocol):
    """Engine plus decoding: audio in, transcript out.

    Waveforms are (samples,) float32 in [-1, 1] at `sample_rate_hz`. A silent or very short waveform gives an empty
    text, never an error. The order of results is the order of inputs.
    """

    @property
    def sample_rate_hz(self) -> int: ...

    def transcribe(self, audio: "Waveform | str | Path") -> Transcript:
        """Transcript of one waveform at `sample_rate_hz`, or of one audio file."""
        ...

    def transcribe_batch(self, waveforms: Sequence[Waveform]) -> list[Transcript]:
        """Transcripts of several waveforms at `sample_rate_hz`; faster than one call each."""
        ...


@runtime_checkable
class Tokenizer(Protocol):
    """Text to integer ids and back. Id 0 is the CTC blank and is never produced by `encode`."""

    @property
    def vocab_size(self) -> int:
        """Number of ids, the blank included."""
        ...

    def encode(self, text: str) -> list[int]:
        """Ids of a normalised text. Raises InputError that names the first unit outside the vocabulary."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ids (blanks and repeats already removed)."""
        ...

    def word_pieces(self, ids: Sequence[int]) -> list[tuple[str, int, int]]:
        """Words of `decode(ids)` as (word, first, end): ids[first:end] are the ids the word came from."""
        ...

    def save(self, folder: Path) -> None:
        """Write the files that `load_tokenizer(folder)` needs."""
        ...


@runtime_checkable
class Importer(Protocol):
    """Turns a corpus in its published layout into utterances.

    Yields them in a stable order with absolute audio paths. What it cannot use is passed to `reject`, never dropped
    in silence: utterances out plus rejections equals the items in the corpus.
    """

    def __call__(self, source: Path, *, reject: "RejectFunction", **options: Any) -> Iterator[Utterance]: ...


class RejectFunction(Protocol):
    """Receives what an importer or a filter leaves out: the item's name and the reason."""

    def __call__(self, item: str, reason: str) -> None: ...


class MetricSink(Protocol):
    """Somewhere the numbers of a run go besides its folder (MLflow, TensorBoard, ...)."""

    def start(self, run_id: str, name: str, parameters: dict[str, Any], tags: dict[str, str]) -> None: ...

    def log(self, metrics: dict[str, float], step: int) -> None: ...

    def artifact(self, path: Path) -> None: ...

    def finish(self, status: str) -> None: ...
