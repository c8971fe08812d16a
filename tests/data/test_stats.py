import json
import statistics
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from harken.core import InputError, Utterance
from harken.data.stats import Share, duration_histogram, percentiles, sample_files, summarize

Make = Callable[..., Utterance]
SaveTone = Callable[..., Path]


@pytest.fixture
def items(make_utterance: Make) -> list[Utterance]:
    return [
        make_utterance("a", duration_s=2.0, text="one two", speaker="x", language="en", tags={"split": "train"}),
        make_utterance("b", duration_s=1.0, text="two  oʻn\n", speaker="y", language="uz", tags={"split": "train"}),
        make_utterance("c", duration_s=4.0, text=None, speaker="y", tags={"split": "test", "age": "9"}),
        make_utterance("d", duration_s=1.0, text="", audio="/corpus/a.wav"),
    ]


def test_totals_shares_rates_and_vocabulary(items: list[Utterance]) -> None:
    stats = summarize(iter(items))
    assert (stats.utterances, stats.duration_s, stats.files, stats.without_text) == (4, 8.0, 3, 2)
    assert stats.speakers == {
        "y": Share(utterances=2, duration_s=5.0), "x": Share(utterances=1, duration_s=2.0),
        "": Share(utterances=1, duration_s=1.0),
    }  # fmt: skip
    assert list(stats.languages) == ["", "en", "uz"]
    assert stats.tags["split=train"] == Share(utterances=2, duration_s=3.0)
    assert list(stats.words.items()) == [("two", 2), ("one", 1), ("oʻn", 1)]
    assert stats.characters == {"o": 4, "t": 2, "w": 2, "n": 2, "e": 1, "ʻ": 1}
    assert stats.characters_per_s.tolist() == [3.0, 6.0]
    assert stats.words_per_s.tolist() == [1.0, 2.0]


def test_percentiles_are_those_of_the_standard_library() -> None:
    values = np.random.default_rng(0).lognormal(1.6, 0.6, 999)
    quartiles = statistics.quantiles(values.tolist(), n=4, method="inclusive")
    found = percentiles(values)
    assert [found["p25"], found["p50"], found["p75"]] == pytest.approx(quartiles, abs=1e-3)
    assert (found["p0"], found["p100"]) == (round(values.min(), 3), round(values.max(), 3))
    assert percentiles(np.array([])) == {}


def test_the_histogram_counts_everything() -> None:
    values = np.append(np.linspace(1, 2, 999), 1000.0)
    counts, edges = duration_histogram(values, bins=10)
    assert counts.sum() == 1000
    assert edges[-1] < 3
    assert duration_histogram(np.array([]))[0].sum() == 0


def test_it_can_be_printed_and_saved(items: list[Utterance]) -> None:
    stats = summarize(items)
    data = json.loads(json.dumps(stats.as_json(most=1)))
    assert (data["utterances"], data["vocabulary"], data["running_words"], data["speaker_count"]) == (4, 3, 4, 2)
    assert data["words"] == {"two": 2}
    assert data["speakers"] == {"y": {"utterances": 2, "duration_s": 5.0}}
    assert stats.table().splitlines()[:2] == ["utterances             4 in 3 files", "audio                  8.0 s"]
    empty = summarize([])
    assert json.loads(json.dumps(empty.as_json()))["utterances"] == 0
    assert "unknown" in empty.table()


def test_a_sample_of_files(tmp_path: Path, save_tone: SaveTone, make_utterance: Make) -> None:
    items = [
        make_utterance(f"u{n}", audio=str(save_tone(tmp_path / f"{n}.wav", seconds=n + 1)), duration_s=float(n + 1))
        for n in range(10)
    ]
    everything = sample_files(items, 100)
    assert (everything.sampled, everything.files) == (10, 10)
    assert (everything.average_duration_s, everything.max_duration_s) == (5.5, 10.0)
    assert everything.estimated_total_bytes == sum(path.stat().st_size for path in tmp_path.glob("*.wav"))
    assert (everything.average_memory_bytes, everything.max_memory_bytes) == (5.5 * 64_000, 640_000)
    some = sample_files(items, 3)
    assert some.sampled == 3
    assert some == sample_files(items[::-1], 3)
    assert some.estimated_total_bytes == pytest.approx(everything.estimated_total_bytes, rel=0.001)
    assert "3 of 10 files" in some.table()


def test_segments_of_one_file_count_as_one(tmp_path: Path, save_tone: SaveTone, make_utterance: Make) -> None:
    path = str(save_tone(tmp_path / "long.wav", seconds=4))
    items = [make_utterance(f"u{n}", audio=path, offset_s=float(n), duration_s=1.0) for n in range(4)]
    sample = sample_files(items, 2, sample_rate_hz=8_000)
    assert (sample.sampled, sample.files, sample.max_duration_s, sample.max_memory_bytes) == (1, 1, 4.0, 128_000)


def test_nothing_to_sample(make_utterance: Make) -> None:
    with pytest.raises(InputError, match="no utterances"):
        sample_files([])
    with pytest.raises(InputError, match="is 0"):
        sample_files([make_utterance("a")], 0)
    with pytest.raises(InputError, match=r"None of the 2 sampled files"):
        sample_files([make_utterance("a"), make_utterance("b", audio="s3://x/b.wav")])
