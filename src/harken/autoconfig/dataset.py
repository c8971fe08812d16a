"""The profile of a data set: what a plan needs to know of its utterances, without decoding any audio."""

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harken.autoconfig.dataset_huggingface import is_huggingface, read_huggingface_rows
from harken.autoconfig.dataset_sampling import draw, estimate_mean, evenly_sampled
from harken.autoconfig.dataset_sources import (
    AudioFacts,
    Entry,
    Rows,
    look_at_audio,
    read_item_rows,
    read_manifest_rows,
)
from harken.core import HarkenError, InputError
from harken.core.units import DEFAULT_SAMPLE_RATE_HZ, seconds_to_samples
from harken.data.manifest_line import local_file
from harken.data.stats import percentiles

_LONGEST = 5  # utterances named
_BYTES_PER_SAMPLE = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class LongUtterance:
    """One of the longest utterances of a data set."""

    id: str
    duration_s: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DatasetProfile:
    """A data set as a plan sees it.

    `durations_s` and `characters` (of the texts, without the space around them; 0 where there is none) are those of
    all utterances in order, or of a sample in which each utterance is as likely as any other. `exact` says whether
    every duration is known; where not, `total_s` is estimated and the half width of its 95 % interval is
    `total_s_error`. `total_bytes` is the share of the audio files that the utterances take, from a sample of files, or
    None where none can be read here, like `sample_rate_hz`, the most frequent rate. `longest` names the longest of the
    utterances whose length is known. `missing_durations` counts utterances whose length the source does not give.
    `sha256` is that of all the durations and characters that are known, in order.
    """

    source: str
    utterances: int
    durations_s: npt.NDArray[np.float32]
    characters: npt.NDArray[np.int32]
    exact: bool
    total_s: float
    total_s_error: float
    total_bytes: int | None
    sample_rate_hz: int | None
    longest: tuple[LongUtterance, ...]
    missing_durations: int
    sha256: str

    @property
    def mean_s(self) -> float:
        """Mean duration in seconds."""
        return self.total_s / self.utterances

    @property
    def waveform_bytes(self) -> int:
        """Main memory that all the audio takes as float32 samples at 16 kHz, the form in which a cache keeps it."""
        return _BYTES_PER_SAMPLE * seconds_to_samples(self.total_s, sample_rate_hz=DEFAULT_SAMPLE_RATE_HZ)

    def as_json(self) -> dict[str, Any]:
        """Plain values for a JSON file: percentiles in place of the arrays."""
        return {
            "source": self.source,
            "utterances": self.utterances,
            "exact": self.exact,
            "total_s": round(self.total_s, 3),
            "total_s_error": round(self.total_s_error, 3),
            "mean_s": round(self.mean_s, 3),
            "duration_percentiles_s": percentiles(self.durations_s.astype(np.float64)),
            "character_percentiles": percentiles(self.characters.astype(np.float64)),
            "total_bytes": self.total_bytes,
            "waveform_bytes": self.waveform_bytes,
            "sample_rate_hz": self.sample_rate_hz,
            "longest": [asdict(utterance) for utterance in self.longest],
            "missing_durations": self.missing_durations,
            "sha256": self.sha256,
        }


def profile_dataset(
    source: object, *, sample: int = 500, files: int = 200, utterances: int | None = None, seed: int = 0
) -> DatasetProfile:
    """Profile a manifest (a path), a Hugging Face `Dataset` or `IterableDataset`, or a list.

    A list holds utterances, manifest lines (mappings) or durations in seconds. Lengths come from the source; where it
    gives none, from the headers of up to `sample` files drawn at random, and the total is estimated. Of an
    `IterableDataset` the first `sample` rows are read and taken as a random sample; `utterances` is how many it has
    where its split does not say so. The headers of `files` files give the size and the rate. Audio is never decoded,
    and remote files are not opened for their size.

    The same source and `seed` give the same profile. Raises InputError for an unknown kind of source, an empty one,
    lengths that are not above 0, and utterances without a length whose audio has none either, each named.
    """
    if sample < 2 or files < 1:
        raise InputError(f"sample is {sample} and files is {files}.", hint="Use 2 or more, and 1 or more.")
    rows = _read_rows(source, first=sample, utterances=utterances)
    if not len(rows.durations_s):
        raise InputError(f"{rows.source} holds no utterances.", hint="Import or select some data first.")
    missing = np.flatnonzero(np.isnan(rows.durations_s))
    drawn = draw(missing, sample, seed, "durations")
    durations_s, looked_at = _with_headers(rows, drawn)
    total_s, error_s = _total(rows, durations_s, missing, drawn)
    if not drawn.size:
        looked_at = _look_at_files(rows, durations_s, draw(np.arange(len(durations_s)), files, seed, "files"))
    kept = evenly_sampled(durations_s, missing, drawn, seed)
    return DatasetProfile(
        source=rows.source,
        utterances=rows.utterances,
        durations_s=durations_s[kept].astype(np.float32),
        characters=rows.characters[kept],
        exact=len(kept) == rows.utterances,
        total_s=total_s,
        total_s_error=error_s,
        total_bytes=_total_bytes(looked_at, total_s),
        sample_rate_hz=_most_frequent_rate(looked_at),
        longest=_longest(rows, durations_s),
        missing_durations=missing.size,
        sha256=_identity(rows.utterances, durations_s, rows.characters),
    )


def longest_characters(profile: DatasetProfile, edges_s: Sequence[float]) -> list[int]:
    """The largest text length of each duration bucket (lower, upper], 0 where it is empty.

    `edges_s` are ascending upper edges, compared in single precision as by `BucketPlan`. Utterances beyond the last
    edge are in no bucket. In a sampled profile the longest text of the whole set may be longer.
    """
    buckets = _bucket_numbers(profile, edges_s)
    longest = np.zeros(len(edges_s) + 1, np.int32)
    np.maximum.at(longest, buckets, profile.characters)
    return [int(count) for count in longest[:-1]]


def members(profile: DatasetProfile, edges_s: Sequence[float]) -> list[int]:
    """The number of utterances in each bucket of `longest_characters`, of the whole set where a sample was profiled."""
    counts = np.bincount(_bucket_numbers(profile, edges_s), minlength=len(edges_s) + 1)
    scale = profile.utterances / len(profile.durations_s)
    up_to = np.rint(np.concatenate([[0], np.cumsum(counts)]) * scale)  # rounding sums keeps their total
    return [int(count) for count in np.diff(up_to)[:-1]]


def _read_rows(source: object, *, first: int, utterances: int | None) -> Rows:
    stream = is_huggingface(source) and not hasattr(source, "__len__")
    if utterances is not None and not (stream and utterances > 0):
        raise InputError(
            f"utterances is {utterances}, which means nothing here.", hint="Give it for a stream only, 1 or more."
        )
    if is_huggingface(source):
        return read_huggingface_rows(source, first=first, utterances=utterances)
    if isinstance(source, str | Path):
        return read_manifest_rows(source)
    if isinstance(source, np.ndarray) and source.ndim == 1:
        return read_item_rows(source)
    if isinstance(source, Sequence) and not isinstance(source, bytes | bytearray):
        return read_item_rows(source)
    raise InputError(
        f"A data set of the type {type(source).__name__} cannot be profiled.",
        hint="Pass the path of a manifest, a datasets.Dataset, or a list of utterances or of durations in seconds.",
    )


def _with_headers(
    rows: Rows, drawn: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.float64], list[tuple[float, AudioFacts]]]:
    """The durations (rows,) with those of the drawn rows filled in, and for each of these what its file says."""
    durations_s = rows.durations_s.copy()
    looked_at = []
    for position, entry in zip(drawn.tolist(), _entries(rows, drawn), strict=True):
        facts = _facts_of_unknown(entry)
        durations_s[position] = facts.duration_s - entry.offset_s
        looked_at.append((float(durations_s[position]), facts))
    return durations_s, looked_at


def _facts_of_unknown(entry: Entry) -> AudioFacts:
    if entry.audio is None:
        raise InputError(
            f"{entry.id} ({entry.where}) has neither a duration nor audio that can be read.",
            hint="Give its duration in seconds, or leave it out.",
        )
    try:
        facts = look_at_audio(entry.audio)
    except HarkenError as err:
        raise InputError(
            f"{entry.id} ({entry.where}) has no duration, and its audio does not tell: {err.message}",
            hint="Give its duration in seconds, restore the file, or leave the utterance out.",
        ) from err
    if facts.duration_s <= entry.offset_s:
        raise InputError(
            f"{entry.id} ({entry.where}) begins at {entry.offset_s:.3f} s, its file ends at {facts.duration_s:.3f} s.",
            hint="Correct the offset.",
        )
    return facts


def _look_at_files(
    rows: Rows, durations_s: npt.NDArray[np.float64], drawn: npt.NDArray[np.int64]
) -> list[tuple[float, AudioFacts]]:
    """Durations of the drawn rows with what their files say; without those that are elsewhere or unreadable."""
    looked_at = []
    for position, entry in zip(drawn.tolist(), _entries(rows, drawn), strict=True):
        if entry.audio is None or (isinstance(entry.audio, str) and local_file(entry.audio) is None):
            continue
        try:
            looked_at.append((float(durations_s[position]), look_at_audio(entry.audio)))
        except HarkenError:  # a plan may be made where the audio is not; `harken data validate` finds damaged files
            continue
    return looked_at


def _entries(rows: Rows, positions: npt.NDArray[np.int64]) -> Iterator[Entry]:
    return rows.entries(positions.tolist()) if positions.size else iter(())


def _total(
    rows: Rows, durations_s: npt.NDArray[np.float64], missing: npt.NDArray[np.int64], drawn: npt.NDArray[np.int64]
) -> tuple[float, float]:
    """The seconds of the whole set and the half width of their 95 % interval."""
    if rows.utterances > len(durations_s):
        certain_s, sampled_s, population = 0.0, durations_s, rows.utterances
    else:
        certain_s, sampled_s, population = float(np.nansum(rows.durations_s)), durations_s[drawn], missing.size
    if not population:
        return certain_s, 0.0
    mean_s, error_s = estimate_mean(sampled_s, population)
    return certain_s + population * mean_s, population * error_s


def _total_bytes(looked_at: Sequence[tuple[float, AudioFacts]], total_s: float) -> int | None:
    """Bytes of audio for `total_s` seconds: of a file that several utterances share, each takes its share."""
    if not looked_at:
        return None
    taken = sum(facts.size_bytes * min(1.0, duration_s / facts.duration_s) for duration_s, facts in looked_at)
    return round(taken * (total_s / math.fsum(duration_s for duration_s, _ in looked_at)))


def _most_frequent_rate(looked_at: Iterable[tuple[float, AudioFacts]]) -> int | None:
    counts = Counter(facts.sample_rate_hz for _, facts in looked_at)
    return max(counts, key=lambda rate: (counts[rate], rate), default=None)


def _longest(rows: Rows, durations_s: npt.NDArray[np.float64]) -> tuple[LongUtterance, ...]:
    known = np.nan_to_num(durations_s, nan=0.0)
    positions = np.argsort(-known, kind="stable")[:_LONGEST]
    positions = positions[known[positions] > 0]
    ascending = np.sort(positions)
    names = dict(zip(ascending.tolist(), (entry.id for entry in _entries(rows, ascending)), strict=True))
    return tuple(
        LongUtterance(id=names[position], duration_s=float(durations_s[position])) for position in positions.tolist()
    )


def _identity(utterances: int, durations_s: npt.NDArray[np.float64], characters: npt.NDArray[np.int32]) -> str:
    digest = hashlib.sha256(str(utterances).encode())
    single = durations_s.astype("<f4")
    single[np.isnan(single)] = np.nan  # one NaN of the many
    digest.update(single.tobytes())
    digest.update(characters.astype("<i4").tobytes())
    return digest.hexdigest()


def _bucket_numbers(profile: DatasetProfile, edges_s: Sequence[float]) -> npt.NDArray[np.int64]:
    return np.searchsorted(np.asarray(edges_s, np.float32), profile.durations_s, side="left").astype(np.int64)
