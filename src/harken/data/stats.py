"""Statistics of a data set: totals, lengths, speaking rates, vocabulary, and what its files take on disk and in memory.

One pass over the utterances; of each, only three numbers are kept.
"""

from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from harken.core import InputError, Utterance, derive_seed
from harken.core.units import DEFAULT_SAMPLE_RATE_HZ, format_bytes, format_duration, seconds_to_samples
from harken.data.manifest_line import local_file

PERCENTILES = (0, 5, 25, 50, 75, 95, 100)


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """How much of a data set belongs to one speaker, language or tag."""

    utterances: int
    duration_s: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CorpusStats:
    """A data set in numbers.

    `durations_s`, `characters_per_s` and `words_per_s` have one value for each utterance (for the rates: for each with
    a text); characters are counted without spaces. `speakers`, `languages` and `tags` ("name=value") are largest
    first; utterances that name none are under "". `words` and `characters` count the vocabulary, most frequent first.
    """

    utterances: int
    duration_s: float
    files: int
    speakers: Mapping[str, Share]
    languages: Mapping[str, Share]
    tags: Mapping[str, Share]
    words: Mapping[str, int]
    characters: Mapping[str, int]
    without_text: int
    durations_s: npt.NDArray[np.float64]
    characters_per_s: npt.NDArray[np.float64]
    words_per_s: npt.NDArray[np.float64]

    def as_json(self, *, most: int = 1000) -> dict[str, Any]:
        """Plain values for a JSON file; of the words and speakers the `most` frequent, with the full numbers beside."""
        counts, edges = duration_histogram(self.durations_s)
        return {
            "utterances": self.utterances,
            "duration_s": round(self.duration_s, 3),
            "files": self.files,
            "without_text": self.without_text,
            "duration_percentiles_s": percentiles(self.durations_s),
            "duration_histogram": {"edges_s": edges.tolist(), "counts": counts.tolist()},
            "characters_per_s": percentiles(self.characters_per_s),
            "words_per_s": percentiles(self.words_per_s),
            "speaker_count": len(self.speakers.keys() - {""}),
            "speakers": _first(self.speakers, most),
            "languages": _first(self.languages, most),
            "tags": _first(self.tags, most),
            "running_words": sum(self.words.values()),
            "vocabulary": len(self.words),
            "words": dict(list(self.words.items())[:most]),
            "characters": dict(self.characters),
        }

    def table(self) -> str:
        """Lines for people."""
        lengths = percentiles(self.durations_s)
        rates = percentiles(self.characters_per_s)
        rows = [
            ("utterances", f"{self.utterances:,} in {self.files:,} files"),
            ("audio", format_duration(self.duration_s)),
            ("length", _spread(lengths, "s")),
            ("characters per second", _spread(rates, "")),
            ("words", f"{sum(self.words.values()):,} running, {len(self.words):,} different"),
            ("characters", f"{len(self.characters):,} different"),
            ("speakers", _largest(self.speakers)),
            ("languages", _largest(self.languages)),
        ]
        rows += [("without text", f"{self.without_text:,}")] if self.without_text else []
        return "\n".join(f"{name:<22} {value}" for name, value in rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSample:
    """What `sampled` files drawn at random take; bytes in memory are those of float32 samples at `sample_rate_hz`."""

    sampled: int
    files: int
    average_duration_s: float
    max_duration_s: float
    sampled_bytes: int
    average_file_bytes: float
    average_memory_bytes: float
    max_memory_bytes: int
    sample_rate_hz: int
    estimated_total_bytes: int

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def table(self) -> str:
        """Lines for people."""
        disk, memory = format_bytes(self.average_file_bytes), format_bytes(self.average_memory_bytes)
        rows = [
            ("sampled", f"{self.sampled:,} of {self.files:,} files"),
            ("length", f"{self.average_duration_s:.2f} s on average, {self.max_duration_s:.2f} s at most"),
            ("size on disk", f"{disk} on average, about {format_bytes(self.estimated_total_bytes)} altogether"),
            (
                f"memory at {self.sample_rate_hz:,} Hz",
                f"{memory} on average, {format_bytes(self.max_memory_bytes)} at most",
            ),
        ]
        return "\n".join(f"{name:<22} {value}" for name, value in rows)


def summarize(utterances: Iterable[Utterance]) -> CorpusStats:
    """Statistics of utterances, which may be a generator (`iterate_manifest`). An empty set gives zeros."""
    durations, characters_per_s, words_per_s = array("d"), array("d"), array("d")
    speakers: dict[str, list[float]] = {}
    languages: dict[str, list[float]] = {}
    tags: dict[str, list[float]] = {}
    words: Counter[str] = Counter()
    characters: Counter[str] = Counter()
    files: set[int] = set()  # hashes: a million paths would be a hundred times the size
    without_text = 0
    for utterance in utterances:
        durations.append(utterance.duration_s)
        files.add(hash(utterance.audio))
        _count(speakers, utterance.speaker or "", utterance.duration_s)
        _count(languages, utterance.language or "", utterance.duration_s)
        for name, value in utterance.tags.items():
            _count(tags, f"{name}={value}", utterance.duration_s)
        spoken = (utterance.text or "").split()
        if not spoken:
            without_text += 1
            continue
        words.update(spoken)
        for word in spoken:
            characters.update(word)
        characters_per_s.append(sum(map(len, spoken)) / utterance.duration_s)
        words_per_s.append(len(spoken) / utterance.duration_s)
    return CorpusStats(
        utterances=len(durations),
        duration_s=sum(durations),
        files=len(files),
        speakers=_shares(speakers),
        languages=_shares(languages),
        tags=_shares(tags),
        words=dict(sorted(words.items(), key=lambda pair: (-pair[1], pair[0]))),
        characters=dict(sorted(characters.items(), key=lambda pair: (-pair[1], pair[0]))),
        without_text=without_text,
        durations_s=np.array(durations),
        characters_per_s=np.array(characters_per_s),
        words_per_s=np.array(words_per_s),
    )


def sample_files(
    utterances: Iterable[Utterance], count: int = 100, *, seed: int = 0, sample_rate_hz: int = DEFAULT_SAMPLE_RATE_HZ
) -> FileSample:
    """Draw up to `count` files (all of a smaller set) and measure what they take on disk and, decoded, in memory.

    A file's length is the sum of its utterances in the set. The draw depends on the ids and the seed only. Raises
    InputError for no utterances, a count below 1, and when every drawn file is absent or remote.
    """
    if count < 1:
        raise InputError(f"The number of files to sample is {count}.", hint="Use 1 or more.")
    lengths: dict[str, float] = {}
    keys: dict[str, int] = {}
    for utterance in utterances:
        lengths[utterance.audio] = lengths.get(utterance.audio, 0.0) + utterance.duration_s
        keys.setdefault(utterance.audio, derive_seed(seed, "sample", utterance.id))
    if not lengths:
        raise InputError("There are no utterances to sample.", hint="Import some first.")
    drawn = sorted(lengths, key=lambda audio: (keys[audio], audio))[:count]
    paths = {audio: path for audio in drawn if (path := local_file(audio)) and path.is_file()}
    if not paths:
        raise InputError(
            f"None of the {len(drawn)} sampled files is on this machine, such as {drawn[0]}.", hint="Check the paths."
        )
    sizes = [path.stat().st_size for path in paths.values()]
    seconds = [lengths[audio] for audio in paths]
    memory = [4 * seconds_to_samples(length, sample_rate_hz=sample_rate_hz) for length in seconds]
    # Scaled by audio, not by files: a few long files in the sample would otherwise weigh on every file.
    estimated = sum(sizes) * sum(lengths.values()) / sum(seconds)
    return FileSample(
        sampled=len(paths),
        files=len(lengths),
        average_duration_s=sum(seconds) / len(seconds),
        max_duration_s=max(seconds),
        sampled_bytes=sum(sizes),
        average_file_bytes=sum(sizes) / len(sizes),
        average_memory_bytes=sum(memory) / len(memory),
        max_memory_bytes=max(memory),
        sample_rate_hz=sample_rate_hz,
        estimated_total_bytes=round(estimated),
    )


def percentiles(values: npt.NDArray[np.float64]) -> dict[str, float]:
    """PERCENTILES by name ("p0" is the least, "p100" the greatest) and the mean; empty for no values."""
    if not len(values):
        return {}
    found = np.percentile(values, PERCENTILES)
    return {f"p{p}": round(float(v), 3) for p, v in zip(PERCENTILES, found, strict=True)} | {
        "mean": round(float(values.mean()), 3)
    }


def duration_histogram(
    durations_s: npt.NDArray[np.float64], *, bins: int = 40
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """(bins,) counts and (bins + 1,) edges in seconds, from 0 to the 99.5th percentile; the last bin has the rest."""
    if not len(durations_s):
        return np.zeros(bins, np.int64), np.linspace(0, 1, bins + 1)
    end_s = float(np.percentile(durations_s, 99.5))
    edges = np.linspace(0, end_s, bins + 1)
    counts, _ = np.histogram(np.minimum(durations_s, end_s), edges)
    return counts.astype(np.int64), edges.round(6)


def _count(table: dict[str, list[float]], name: str, duration_s: float) -> None:
    entry = table.setdefault(name, [0, 0.0])
    entry[0] += 1
    entry[1] += duration_s


def _shares(table: Mapping[str, Sequence[float]]) -> dict[str, Share]:
    ordered = sorted(table.items(), key=lambda pair: (-pair[1][1], pair[0]))
    return {name: Share(utterances=int(entry[0]), duration_s=entry[1]) for name, entry in ordered}


def _first(shares: Mapping[str, Share], most: int) -> dict[str, Any]:
    return {name: asdict(share) for name, share in list(shares.items())[:most]}


def _spread(values: Mapping[str, float], unit: str) -> str:
    if not values:
        return "unknown"
    unit = f" {unit}" if unit else ""
    return (
        f"{values['mean']:.2f}{unit} on average, {values['p0']:.2f} to {values['p100']:.2f}{unit}, "
        f"nine in ten from {values['p5']:.2f} to {values['p95']:.2f}{unit}"
    )


def _largest(shares: Mapping[str, Share]) -> str:
    named = [f"{name or 'unknown'} ({format_duration(share.duration_s)})" for name, share in list(shares.items())[:5]]
    more = f", and {len(shares) - 5:,} more" if len(shares) > 5 else ""
    return f"{', '.join(named)}{more}" if named else "none"
