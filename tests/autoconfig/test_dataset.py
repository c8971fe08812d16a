import gzip
import hashlib
import json
import struct
import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from scipy import stats as scipy_stats

from harken.autoconfig import dataset, dataset_huggingface
from harken.autoconfig.dataset import DatasetProfile, longest_characters, members, profile_dataset
from harken.autoconfig.dataset_sampling import estimate_mean
from harken.autoconfig.dataset_sources import look_at_audio
from harken.core import InputError, Utterance
from harken.data.manifest import ManifestError, read_manifest, write_manifest
from harken.data.stats import sample_files, summarize


def utterances(count: int, *, seed: int = 0) -> list[Utterance]:
    generator = np.random.default_rng(seed)
    texts = ("", "  one \n", "oʻzbek tili", "ё" * 70, None)
    return [
        Utterance(
            id=f"u{number}",
            audio=f"/corpus/{number}.wav",
            duration_s=round(float(generator.lognormal(1.5, 0.6)), 4),
            text=texts[number % len(texts)],
            offset_s=0.5 * (number % 2),
        )
        for number in range(count)
    ]


def save_audio(folder: Path, durations_s: npt.ArrayLike, *, rate: int = 8000) -> list[Path]:
    """Silent files of these lengths, named by their number."""
    paths = [folder / f"{number:04d}.wav" for number in range(len(np.asarray(durations_s)))]
    folder.mkdir(parents=True, exist_ok=True)
    for path, seconds in zip(paths, np.asarray(durations_s).tolist(), strict=True):
        soundfile.write(path, np.zeros(round(seconds * rate), np.float32), rate, subtype="PCM_16")
    return paths


def save_lines(path: Path, records: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def test_a_manifest_is_profiled_as_the_slow_way_does(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    write_manifest(path, utterances(300))
    slow = read_manifest(path)
    stats = summarize(slow)
    profile = profile_dataset(path)
    assert profile.durations_s.tolist() == stats.durations_s.astype(np.float32).tolist()
    assert profile.characters.tolist() == [len((item.text or "").strip()) for item in slow]
    assert (profile.utterances, profile.exact, profile.missing_durations) == (300, True, 0)
    assert profile.total_s == pytest.approx(stats.duration_s, rel=1e-12)
    assert profile.mean_s == pytest.approx(stats.duration_s / 300, rel=1e-12)
    assert profile.total_s_error == 0.0
    longest = sorted(slow, key=lambda item: -item.duration_s)[:5]
    assert [(item.id, item.duration_s) for item in profile.longest] == [(u.id, u.duration_s) for u in longest]
    assert (profile.total_bytes, profile.sample_rate_hz) == (None, None)  # there are no such files
    assert profile.source == str(path)


def test_the_identity_is_that_of_durations_and_character_counts(tmp_path: Path) -> None:
    items = utterances(7)
    counts = [len((item.text or "").strip()) for item in items]
    plain = b"7" + struct.pack("<7f", *(item.duration_s for item in items)) + struct.pack("<7i", *counts)
    path = tmp_path / "m.jsonl"
    write_manifest(path, items)
    assert profile_dataset(path).sha256 == hashlib.sha256(plain).hexdigest()
    assert profile_dataset(items).sha256 == profile_dataset(path).sha256
    assert profile_dataset(items[::-1]).sha256 != profile_dataset(items).sha256


def test_other_ways_to_write_a_manifest(tmp_path: Path) -> None:
    items = utterances(4)
    nemo = [
        {"audio_filepath": item.audio, "duration": item.duration_s, "offset": item.offset_s, "text": item.text}
        for item in items
    ]
    lines = "\r\n\r\n".join(json.dumps(record) for record in nemo)
    (tmp_path / "m.jsonl").write_bytes(b"\xef\xbb\xbf" + lines.encode())
    with gzip.open(tmp_path / "m.jsonl.gz", "wt", encoding="utf-8") as file:
        file.write(lines)
    profile = profile_dataset(str(tmp_path / "m.jsonl"))
    assert profile.sha256 == profile_dataset(items).sha256
    assert profile_dataset(tmp_path / "m.jsonl.gz").sha256 == profile.sha256
    longest = max(read_manifest(tmp_path / "m.jsonl"), key=lambda item: item.duration_s)
    assert profile.longest[0].id == longest.id


def test_lists_of_lines_of_utterances_and_of_durations() -> None:
    items = utterances(20)
    lines = [{"id": u.id, "audio": u.audio, "duration_s": u.duration_s, "text": u.text} for u in items]
    lengths = [u.duration_s for u in items]
    assert profile_dataset(lines).sha256 == profile_dataset(items).sha256
    assert profile_dataset(lines).longest == profile_dataset(items).longest
    bare = profile_dataset(lengths)
    assert bare.sha256 == profile_dataset(np.array(lengths)).sha256 == profile_dataset(tuple(lengths)).sha256
    assert bare.characters.tolist() == [0] * 20
    assert bare.longest[0].id == f"item {int(np.argmax(lengths))}"
    assert bare.total_s == pytest.approx(sum(lengths))
    short = profile_dataset([{"duration": 3, "text": " ab "}, {"id": 7, "duration_s": np.float32(4), "audio": "a.wav"}])
    assert (short.durations_s.tolist(), short.characters.tolist()) == ([3.0, 4.0], [2, 0])
    assert [item.id for item in short.longest] == ["7", "item 0"]


def test_files_of_known_length_give_bytes_and_rate(tmp_path: Path) -> None:
    lengths = [1.0, 2.0, 3.0, 0.5]
    paths = save_audio(tmp_path, lengths)
    items = [Utterance(id=path.name, audio=str(path), duration_s=s) for path, s in zip(paths, lengths, strict=True)]
    profile = profile_dataset(items)
    assert profile.total_bytes == sum(path.stat().st_size for path in paths)
    assert profile.total_bytes == sample_files(items).estimated_total_bytes
    assert profile.sample_rate_hz == 8000
    assert profile.waveform_bytes == 6.5 * 16_000 * 4
    some = profile_dataset(items, files=2)
    assert some.total_bytes == pytest.approx(profile.total_bytes, rel=0.01)


def test_utterances_that_share_a_file_share_its_bytes(tmp_path: Path) -> None:
    (path,) = save_audio(tmp_path, [10.0])
    items = [Utterance(id=f"{n}", audio=str(path), duration_s=2.5, offset_s=2.5 * n) for n in range(4)]
    assert profile_dataset(items).total_bytes == path.stat().st_size


def test_damaged_and_remote_files_do_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[object] = []
    monkeypatch.setattr(dataset, "look_at_audio", lambda audio: (opened.append(audio), look_at_audio(audio))[1])
    (path,) = save_audio(tmp_path, [1.0])
    (tmp_path / "bad.wav").write_bytes(b"RIFF")
    items = [
        Utterance(id=name, audio=audio, duration_s=1.0)
        for name, audio in (("a", str(path)), ("b", str(tmp_path / "bad.wav")), ("c", "s3://bucket/c.wav"))
    ]
    assert profile_dataset(items).total_bytes == 3 * path.stat().st_size
    assert opened == [str(path), str(tmp_path / "bad.wav")]


def lines_without_durations(folder: Path, durations_s: npt.ArrayLike, known: int = 0) -> Path:
    """A manifest of real files of which only the first `known` lines give a length."""
    records: list[dict[str, Any]] = []
    for number, seconds in enumerate(np.asarray(durations_s).tolist()):
        given = {"duration_s": seconds} if number < known else {}
        records.append({"id": f"u{number}", "audio": f"audio/{number:04d}.wav", "text": "x" * number, **given})
    save_audio(folder / "audio", durations_s)
    return save_lines(folder / "m.jsonl", records)


def test_missing_durations_come_from_headers(tmp_path: Path) -> None:
    lengths = [0.5, 0.25, 0.75, 0.125]
    path = lines_without_durations(tmp_path, lengths, known=1)
    profile = profile_dataset(path)
    assert profile.durations_s.tolist() == lengths
    assert profile.characters.tolist() == [0, 1, 2, 3]
    assert (profile.exact, profile.missing_durations) == (True, 3)
    assert (profile.total_s, profile.total_s_error) == (1.625, 0.0)
    assert profile.sample_rate_hz == 8000
    assert profile.longest[0].id == "u2"
    complete = [Utterance(id="a", audio="a", duration_s=s, text="x" * n) for n, s in enumerate(lengths)]
    assert profile.sha256 == profile_dataset(complete).sha256


def test_an_offset_shortens_what_the_header_says(tmp_path: Path) -> None:
    (path,) = save_audio(tmp_path, [2.0])
    line = {"id": "a", "audio": str(path), "offset_s": 0.5}
    assert profile_dataset([line, 1.0]).durations_s.tolist() == [1.5, 1.0]
    assert profile_dataset(save_lines(tmp_path / "m.jsonl", [line])).durations_s.tolist() == [1.5]


def test_a_sample_of_headers_estimates_the_total(tmp_path: Path) -> None:
    lengths = np.random.default_rng(3).integers(800, 8000, 120) / 8000
    path = lines_without_durations(tmp_path, lengths)
    profile = profile_dataset(path, sample=40)
    assert (profile.utterances, len(profile.durations_s), profile.missing_durations) == (120, 40, 120)
    assert not profile.exact
    drawn = profile.characters  # the text of line n has n characters
    assert sorted(set(drawn.tolist())) == drawn.tolist()
    assert profile.durations_s.tolist() == lengths[drawn].astype(np.float32).tolist()
    mean_s, standard_error = lengths[drawn].mean(), lengths[drawn].std(ddof=1) / 40**0.5
    low, high = scipy_stats.t.interval(0.95, 39, loc=mean_s, scale=standard_error * (2 / 3) ** 0.5)
    assert profile.total_s == pytest.approx(120 * mean_s)
    assert profile.total_s_error == pytest.approx(120 * (high - low) / 2)
    assert abs(profile.total_s - lengths.sum()) < 2 * profile.total_s_error
    assert profile.total_bytes == pytest.approx(profile.total_s * 16_000, rel=0.05)
    again, other = profile_dataset(path, sample=40), profile_dataset(path, sample=40, seed=1)
    assert (again.sha256, again.as_json()) == (profile.sha256, profile.as_json())
    assert other.sha256 != profile.sha256


def test_known_durations_stay_certain_beside_sampled_ones(tmp_path: Path) -> None:
    lengths = np.concatenate([np.full(60, 0.25), np.random.default_rng(4).integers(800, 1600, 60) / 8000])
    profile = profile_dataset(lines_without_durations(tmp_path, lengths, known=60), sample=20)
    known = profile.characters < 60
    assert (np.count_nonzero(known), np.count_nonzero(~known)) == (20, 20)  # a third of either
    sampled = profile.durations_s[~known].astype(np.float64)
    assert profile.total_s == pytest.approx(60 * 0.25 + 60 * sampled.mean(), rel=1e-6)
    assert abs(profile.total_s - lengths.sum()) < profile.total_s_error
    assert (profile.missing_durations, profile.utterances) == (60, 120)


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    population = np.random.default_rng(5).lognormal(1.7, 0.6, 5_000)
    covered = 0
    for trial in range(200):
        drawn = np.random.default_rng([6, trial]).choice(population, 500, replace=False)
        mean_s, error_s = estimate_mean(drawn, len(population))
        covered += abs(mean_s - population.mean()) <= error_s
    assert 0.90 <= covered / 200 <= 0.99
    assert estimate_mean(population, len(population)) == (pytest.approx(population.mean()), 0.0)


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ('{"id": "b", "audio": "b.wav", "duration_s": 0}', "duration_s: is 0"),
        ('{"id": "b", "audio": "b.wav", "duration": -1.5}', "duration: is -1.5"),
        ('{"id": "b", "audio": "b.wav", "duration_s": NaN}', "NaN is not a JSON number"),
        ('{"id": "b", "audio": "b.wav", "duration_s": "3"}', 'is "3"'),
        ('{"id": "b", "audio": "b.wav", "duration_s": true}', "is true"),
        ('{"id": "b", "audio": "b.wav", "duration_s": 1' + 400 * "0" + "}", "duration_s: is 1000"),
        ('{"id": "b", "audio": "b.wav", "duration_s": 1, "duration": 1}', "given twice"),
        ('{"id": "b", "audio": "b.wav", "text": 5}', "text: is 5"),
        ('["b"]', "holds an array"),
        ('{"id": ', "not JSON"),
        ('{"id": "b", "text": "long enough", "duration_s": 9}', "audio: is missing"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, bad: str, says: str) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text(f'{{"id": "a", "audio": "a.wav", "duration_s": 1}}\n\n{bad}\n', encoding="utf-8")
    with pytest.raises(ManifestError, match="line 3") as caught:
        profile_dataset(path)
    assert says in str(caught.value)
    assert caught.value.line == 3
    assert caught.value.hint


def test_a_manifest_that_is_empty_or_absent(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_text("\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"m\.jsonl holds no utterances"):
        profile_dataset(tmp_path / "m.jsonl")
    with pytest.raises(InputError, match="does not exist"):
        profile_dataset(tmp_path / "absent.jsonl")


def test_a_header_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    absent = save_lines(tmp_path / "m.jsonl", [{"id": "a", "audio": "absent.wav"}])
    with pytest.raises(InputError, match=r"a \(.*m\.jsonl, line 1\) has no duration.*absent\.wav does not exist"):
        profile_dataset(absent)
    (path,) = save_audio(tmp_path, [1.0])
    with pytest.raises(InputError, match=r"begins at 1\.500 s, its file ends at 1\.000 s"):
        profile_dataset([{"id": "a", "audio": str(path), "offset_s": 1.5}])


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ([], "a list holds no utterances"),
        ([1.0, 0.0], "Item 1 .* duration_s is 0"),
        ([1.0, float("nan")], "Item 1 .* duration_s is nan"),
        ([-1], "Item 0 .* duration_s is -1"),
        ([1.0, "a.wav"], "Item 1 .* type str"),
        ([True], "Item 0 .* type bool"),
        ([{"duration_s": "3"}], "Item 0 .* duration_s is '3'"),
        ([{"duration_s": 3, "text": 4}], "Item 0 .* text is 4"),
        ([1.0, {"text": "no length"}], "item 1 .* neither a duration nor audio"),
        (b"m.jsonl", "type bytes cannot be profiled"),
        (3.0, "type float cannot be profiled"),
        (iter([1.0]), "type list_iterator cannot be profiled"),
        (np.ones((2, 2)), "type ndarray cannot be profiled"),
    ],
)
def test_sources_that_cannot_be_used(source: object, says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        profile_dataset(source)
    assert caught.value.hint


def test_options_that_make_no_sense() -> None:
    with pytest.raises(InputError, match="sample is 1"):
        profile_dataset([1.0], sample=1)
    with pytest.raises(InputError, match="files is 0"):
        profile_dataset([1.0], files=0)
    with pytest.raises(InputError, match="utterances is 5"):
        profile_dataset([1.0], utterances=5)


def by_hand(profile: DatasetProfile, edges_s: list[float]) -> tuple[list[int], list[int]]:
    texts, counts = Counter[float](), Counter[float]()
    for seconds, count in zip(profile.durations_s, profile.characters, strict=True):
        edge = next((edge for edge in edges_s if seconds <= np.float32(edge)), np.inf)
        texts[edge] = max(texts[edge], int(count))
        counts[edge] += 1
    return [texts[edge] for edge in edges_s], [counts[edge] for edge in edges_s]


def test_buckets_know_their_longest_text_and_their_members() -> None:
    items = utterances(500, seed=2)
    edges_s = [0.1, 2.0, items[3].duration_s, items[8].duration_s, 10.0]
    edges_s.sort()
    profile = profile_dataset(items)
    texts, counts = by_hand(profile, edges_s)
    assert longest_characters(profile, edges_s) == texts
    assert members(profile, edges_s) == counts
    assert (texts[0], counts[0]) == (0, 0)
    assert sum(counts) < 500  # some are beyond the last edge


def test_members_of_a_sample_are_scaled_to_the_whole(tmp_path: Path) -> None:
    lengths = np.random.default_rng(8).integers(800, 8000, 100) / 8000
    profile = profile_dataset(lines_without_durations(tmp_path, lengths), sample=30)
    edges_s = [0.2, 0.4, 0.6, 0.8, 1.0]
    scaled = members(profile, edges_s)
    assert sum(scaled) == 100
    assert scaled == pytest.approx([count * 100 / 30 for count in by_hand(profile, edges_s)[1]], abs=1)


def test_it_can_be_saved() -> None:
    profile = profile_dataset(utterances(50))
    data = json.loads(json.dumps(profile.as_json(), allow_nan=False))
    assert (data["utterances"], data["exact"], data["sha256"]) == (50, True, profile.sha256)
    assert data["longest"][0] == {"id": profile.longest[0].id, "duration_s": profile.longest[0].duration_s}
    assert data["duration_percentiles_s"]["p100"] == pytest.approx(profile.longest[0].duration_s, abs=1e-3)
    assert data["character_percentiles"]["p100"] == 70
    assert len(json.dumps(data)) < 2000


@pytest.fixture
def datasets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """The package without network, progress bars or a cache outside the test, and with the warnings it raises."""
    for name, value in (("HF_HUB_OFFLINE", "1"), ("HF_DATASETS_OFFLINE", "1"), ("HF_HOME", str(tmp_path / "home"))):
        monkeypatch.setenv(name, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = pytest.importorskip("datasets")
        module.disable_progress_bars()
        yield module


def audio_rows(datasets: Any, folder: Path, lengths: npt.ArrayLike) -> Any:
    """Audio as bytes in even rows and as paths in odd ones, an id and a text for each."""
    paths = save_audio(folder, lengths)
    audio = [
        {"bytes": None, "path": str(path)} if number % 2 else {"bytes": path.read_bytes(), "path": None}
        for number, path in enumerate(paths)
    ]
    rows = {
        "audio": audio,
        "sentence": [" x" * n for n in range(len(paths))],
        "id": [f"u{n}" for n in range(len(paths))],
    }
    return datasets.Dataset.from_dict(rows).cast_column("audio", datasets.Audio(sampling_rate=16_000))


def test_a_hugging_face_data_set_with_durations(datasets: Any) -> None:
    items = utterances(40)
    rows = {"duration": [u.duration_s for u in items], "text": [u.text for u in items], "segment_id": list(range(40))}
    data = datasets.Dataset.from_dict(rows)
    profile = profile_dataset(data)
    assert profile.sha256 == profile_dataset(items).sha256
    assert [f"u{item.id}" for item in profile.longest] == [item.id for item in profile_dataset(items).longest]
    reordered = profile_dataset(data.select(range(39, -1, -1)).with_format("numpy"))
    assert reordered.sha256 == profile_dataset(items[::-1]).sha256
    assert profile_dataset(data["duration"]).total_s == pytest.approx(profile.total_s)
    assert profile_dataset(data.remove_columns("segment_id")).longest[0].id.startswith("row ")


def test_a_hugging_face_data_set_of_many_batches(datasets: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset_huggingface, "_ROWS_AT_ONCE", 3)
    items = utterances(10)
    lengths = [u.duration_s for u in items]
    data = datasets.Dataset.from_dict({"duration": lengths, "transcription": [u.text for u in items]})
    assert profile_dataset(data).sha256 == profile_dataset(items).sha256
    with pytest.raises(InputError, match="Row 7 "):
        profile_dataset(datasets.Dataset.from_dict({"duration": [*lengths[:7], -1.0]}))


def test_a_hugging_face_data_set_whose_audio_tells(datasets: Any, tmp_path: Path) -> None:
    lengths = [0.5, 1.0, 0.25, 2.0]
    data = audio_rows(datasets, tmp_path, lengths)
    profile = profile_dataset(data)
    assert profile_dataset(data.with_transform(lambda rows: {"nothing": rows["id"]})).sha256 == profile.sha256
    assert profile.durations_s.tolist() == lengths
    assert profile.characters.tolist() == [0, 1, 3, 5]
    assert (profile.exact, profile.missing_durations) == (True, 4)
    assert profile.total_bytes == sum(path.stat().st_size for path in tmp_path.glob("*.wav"))
    assert profile.sample_rate_hz == 8000
    assert [item.id for item in profile.longest] == ["u3", "u1", "u0", "u2"]
    paths = datasets.Dataset.from_dict({"audio": [str(path) for path in sorted(tmp_path.glob("*.wav"))]})
    assert profile_dataset(paths).durations_s.tolist() == lengths


def test_a_hugging_face_data_set_is_sampled(datasets: Any, tmp_path: Path) -> None:
    lengths = np.random.default_rng(9).integers(800, 8000, 60) / 8000
    data = audio_rows(datasets, tmp_path, lengths)
    profile = profile_dataset(data, sample=30)
    assert (profile.utterances, len(profile.durations_s), profile.exact) == (60, 30, False)
    assert abs(profile.total_s - lengths.sum()) < 1.5 * profile.total_s_error
    given = data.add_column("duration_s", lengths.tolist())
    assert profile_dataset(given).total_bytes == sum(path.stat().st_size for path in tmp_path.glob("*.wav"))


def test_missing_and_bad_rows_of_a_hugging_face_data_set(datasets: Any, tmp_path: Path) -> None:
    data = audio_rows(datasets, tmp_path, [0.5, 1.0]).add_column("duration", [None, 3.0])
    profile = profile_dataset(data)
    assert (profile.durations_s.tolist(), profile.missing_durations) == ([0.5, 3.0], 1)
    for bad in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match=r"Row 2 of the data set: duration_s is"):
            profile_dataset(datasets.Dataset.from_dict({"duration": [1.0, None, bad]}))
    with pytest.raises(InputError, match=r"row 1 \(row 1 of the data set\) has neither a duration nor audio"):
        profile_dataset(datasets.Dataset.from_dict({"duration": [1.0, None]}))
    with pytest.raises(InputError, match="neither durations nor audio; its columns: text"):
        profile_dataset(datasets.Dataset.from_dict({"text": ["a"]}))
    with pytest.raises(InputError, match="holds no utterances"):
        profile_dataset(data.select([]))
    with pytest.raises(InputError, match=r"2 splits: train, test\. Pass one of them, such as dataset\['train'\]"):
        profile_dataset(datasets.DatasetDict({"train": data, "test": data}))


def test_a_stream_is_read_as_far_as_the_sample(datasets: Any, tmp_path: Path) -> None:
    lengths = np.random.default_rng(10).integers(800, 8000, 20) / 8000
    stream = audio_rows(datasets, tmp_path, lengths).to_iterable_dataset()
    whole = profile_dataset(stream)
    assert (whole.exact, whole.utterances) == (True, 20)
    assert whole.durations_s.tolist() == lengths.astype(np.float32).tolist()
    assert whole.total_bytes == sum(path.stat().st_size for path in tmp_path.glob("*.wav"))
    part = profile_dataset(stream, sample=15, utterances=2000)
    assert (part.exact, part.utterances, part.missing_durations) == (False, 2000, 15)
    assert part.total_s == pytest.approx(2000 * lengths[:15].mean())
    half_s = scipy_stats.sem(lengths[:15]) * scipy_stats.t.ppf(0.975, 14) * (1 - 15 / 2000) ** 0.5
    assert part.total_s_error == pytest.approx(2000 * half_s)
    assert sum(members(part, [0.5, 1.0])) == 2000
    with pytest.raises(InputError, match="does not say how many rows"):
        profile_dataset(stream, sample=15)
    with pytest.raises(InputError, match="does not say which columns"):
        profile_dataset(stream.map(lambda row: row))


def test_a_stream_that_knows_its_length(datasets: Any) -> None:
    data = datasets.Dataset.from_dict({"duration": [1.0, 2.0, 3.0, 4.0], "text": ["a", " b ", None, ""]})
    splits = datasets.SplitDict({"train": datasets.SplitInfo("train", num_examples=4)})
    stream = data.to_iterable_dataset()
    stream.info.splits, stream._split = splits, datasets.Split("train")
    profile = profile_dataset(stream, sample=3)
    assert (profile.utterances, profile.total_s) == (4, 8.0)
    assert (profile.durations_s.tolist(), profile.characters.tolist()) == ([1.0, 2.0, 3.0], [1, 1, 0])
    with pytest.raises(InputError, match="Row 1 of the data set: duration_s is -2"):
        profile_dataset(datasets.Dataset.from_dict({"duration": [1.0, -2.0]}).to_iterable_dataset())


def test_lists_are_profiled_without_the_package_datasets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "datasets", raising=False)
    assert profile_dataset([1.0]).total_s == 1.0
    assert "datasets" not in sys.modules
