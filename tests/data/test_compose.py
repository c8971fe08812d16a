import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from harken.core import InputError, Utterance, parse_settings
from harken.core.seeds import keyed_generator
from harken.data.compose import ComposeConfig, compose_utterances, draw_lengths, join_clips
from harken.data.importers import import_corpus
from harken.data.manifest import read_manifest

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@pytest.fixture
def clips(tmp_path: Path) -> list[Utterance]:
    """20 clips of two speakers; clip n is 100 + n samples of the constant 16-bit value n + 1 (+ 100 for speaker b)."""
    found = []
    for speaker, base in (("a", 0), ("b", 100)):
        for n in range(10):
            path = tmp_path / "clips" / f"{speaker}{n}.wav"
            path.parent.mkdir(exist_ok=True)
            soundfile.write(path, np.full(100 + n, base + n + 1, np.int16), 8_000, subtype="PCM_16")
            found.append(
                Utterance(
                    id=path.stem,
                    audio=str(path),
                    duration_s=(100 + n) / 8_000,
                    text=WORDS[n],
                    speaker=speaker,
                    language="en",
                    tags={"split": "train", "index": str(n)},
                )
            )
    return found


def test_every_clip_is_used_once_a_pass_with_its_text_and_samples(clips: list[Utterance], tmp_path: Path) -> None:
    config = ComposeConfig(min_clips=2, max_clips=4, gap_s=(0.01, 0.02), passes=3)
    composed = compose_utterances(clips, tmp_path / "out", config)
    by_id = {clip.id: clip for clip in clips}
    uses = Counter(name for item in composed for name in item.extra["clips"])
    assert uses == dict.fromkeys(by_id, 3)
    for item in composed:
        members = [by_id[name] for name in item.extra["clips"]]
        assert 2 <= len(members) <= 4
        assert len(set(item.extra["clips"])) == len(members)
        assert item.text == " ".join(str(member.text) for member in members)
        assert {member.speaker for member in members} == {item.speaker}
        assert (item.language, dict(item.tags)) == ("en", {"split": "train"})
        samples, rate = soundfile.read(item.audio, dtype="int16")
        assert rate == 8_000
        assert item.duration_s == len(samples) / 8_000
        runs = [run for run in np.split(samples, np.flatnonzero(np.diff(samples)) + 1) if run[0]]
        base = {"a": 1, "b": 101}
        assert [(int(run[0]), len(run)) for run in runs] == [
            (base[member.id[0]] + int(member.id[1]), 100 + int(member.id[1])) for member in members
        ]
        gaps = len(samples) - sum(map(len, runs))
        assert 80 * (len(members) - 1) <= gaps <= 160 * (len(members) - 1)
    assert read_manifest(tmp_path / "out" / "manifest.jsonl") == composed


def test_equal_input_gives_equal_files_whatever_its_order(clips: list[Utterance], tmp_path: Path) -> None:
    config = ComposeConfig(max_clips=3, gain_db=6, passes=2, seed=5)

    def files(name: str, items: list[Utterance], config: ComposeConfig = config, threads: int = 1) -> dict[str, bytes]:
        compose_utterances(items, tmp_path / name, config, threads=threads)
        folder = tmp_path / name
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    first = files("one", clips)
    assert files("two", clips[::-1], threads=4) == first
    assert files("three", clips, ComposeConfig(max_clips=3, gain_db=6, passes=2, seed=6)) != first
    only_a = files("four", clips[:10])
    assert {name: first[name] for name in only_a if name.endswith(".flac")} == {
        name: content for name, content in only_a.items() if name.endswith(".flac")
    }


def test_splits_and_sample_rates_are_kept_apart(clips: list[Utterance], tmp_path: Path) -> None:
    stereo = tmp_path / "stereo.wav"
    soundfile.write(stereo, np.array([[8, 4]] * 160, np.int16), 16_000, subtype="PCM_16")
    other = Utterance(id="s", audio=str(stereo), duration_s=0.01, text="ten", speaker="a", tags={"split": "train"})
    test = Utterance(id="t", audio=clips[0].audio, duration_s=0.0125, text="one", speaker="a", tags={"split": "test"})
    composed = compose_utterances([*clips, other, test], tmp_path / "out", ComposeConfig(min_clips=1, max_clips=9))
    alone = {name: item for item in composed if len(item.extra["clips"]) == 1 for name in item.extra["clips"]}
    assert {"s", "t"} <= alone.keys()
    assert alone["t"].tags == {"split": "test"}
    samples, rate = soundfile.read(alone["s"].audio, dtype="int16")
    assert (rate, set(samples.tolist())) == (16_000, {6})
    assert len({item.id for item in composed}) == len(composed)


def test_segments_of_a_longer_file(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "long.wav", np.repeat(np.arange(1, 5, dtype=np.int16), 100), 8_000, subtype="PCM_16")
    clips = [
        Utterance(
            id=str(n), audio=str(tmp_path / "long.wav"), offset_s=n / 80, duration_s=1 / 80, text=WORDS[n], speaker="a"
        )
        for n in range(4)
    ]
    (item,) = compose_utterances(clips, tmp_path / "out", ComposeConfig(min_clips=4, max_clips=4, gap_s=(0, 0)))
    samples, _ = soundfile.read(item.audio, dtype="int16")
    assert samples.tolist() == [int(name) + 1 for name in item.extra["clips"] for _ in range(100)]


def test_loudness_changes_stay_within_the_range_and_below_full_scale() -> None:
    tone = np.full(50, 0.1, np.float32)
    config = ComposeConfig(gain_db=6, gap_s=(0, 0))
    joined = join_clips([tone] * 200, config, keyed_generator(1), sample_rate_hz=8_000)
    gains_db = 20 * np.log10(joined.reshape(200, 50)[:, 0] / 0.1)
    assert -6 <= gains_db.min() < -5
    assert 5 < gains_db.max() <= 6
    loud = join_clips([np.ones(50, np.float32)] * 200, config, keyed_generator(1), sample_rate_hz=8_000)
    assert np.abs(loud).max() == pytest.approx(32_767 / 32_768)
    np.testing.assert_allclose(loud / loud[0], joined / joined[0], rtol=1e-5)


def test_gaps_of_noise_are_as_loud_as_the_quiet_part_of_the_next_clip() -> None:
    generator = np.random.default_rng(1)
    quiet, loud = (generator.normal(0, level, 4_000).astype(np.float32) for level in (0.01, 0.2))
    clip = np.concatenate([loud, quiet, loud])
    config = ComposeConfig(gap_s=(1.0, 1.0), gap_fill="noise")
    joined = join_clips([loud, clip], config, keyed_generator(4), sample_rate_hz=8_000)
    np.testing.assert_array_equal(joined[:4_000], loud)
    np.testing.assert_array_equal(joined[12_000:], clip)
    assert joined[4_000:12_000].std() == pytest.approx(0.01, rel=0.2)
    silent = join_clips([loud, clip], ComposeConfig(gap_s=(1.0, 1.0)), keyed_generator(4), sample_rate_hz=8_000)
    assert not silent[4_000:12_000].any()
    tiny = join_clips([loud, loud[:20]], config, keyed_generator(4), sample_rate_hz=8_000)
    assert len(tiny) == 12_020


def test_cross_fade_overlaps_and_keeps_the_power() -> None:
    generator = np.random.default_rng(0)
    first, second = (generator.normal(0, 0.1, 8_000).astype(np.float32) for _ in range(2))
    config = ComposeConfig(gap_s=(0, 0), crossfade_s=0.5)
    joined = join_clips([first, second], config, keyed_generator(0), sample_rate_hz=8_000)
    assert len(joined) == 12_000
    np.testing.assert_array_equal(joined[:4_000], first[:4_000])
    np.testing.assert_array_equal(joined[8_000:], second[4_000:])
    assert joined[4_000:8_000].std() == pytest.approx(0.1, rel=0.05)
    short = join_clips([first[:10], second[:5]], config, keyed_generator(0), sample_rate_hz=8_000)
    assert len(short) == 10  # an overlap cannot be longer than a clip


@pytest.mark.parametrize(("low", "high"), [(1, 1), (1, 7), (3, 4), (4, 6), (7, 7)])
def test_lengths_add_up_exactly_when_possible(low: int, high: int) -> None:
    config = ComposeConfig(min_clips=low, max_clips=high)
    possible = {0}
    for _ in range(60):
        possible |= {total + length for total in possible for length in range(low, high + 1) if total + length <= 60}
    for total in range(1, 61):
        if total in possible:
            lengths = draw_lengths(total, config, keyed_generator(total), name="x")
            assert sum(lengths) == total
            assert all(low <= length <= high for length in lengths)
        else:
            with pytest.raises(InputError, match=f"The {total} clips of speaker 'x' cannot be divided"):
                draw_lengths(total, config, keyed_generator(total), name="x")


def test_lengths_are_about_equally_frequent() -> None:
    counts = Counter(draw_lengths(100_000, ComposeConfig(max_clips=7), keyed_generator(3), name="x"))
    assert min(counts.values()) > 0.94 * sum(counts.values()) / 7


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"text": None}, "has no text"), ({"text": "  "}, "has no text"), ({"speaker": None}, "has no speaker"),
     ({"audio": "/none.wav"}, "none.wav")],
)  # fmt: skip
def test_clips_that_cannot_be_joined_are_named(
    clips: list[Utterance], tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    broken = dataclasses.replace(clips[3], **changes)
    with pytest.raises(InputError, match=message):
        compose_utterances([*clips[:3], broken], tmp_path / "out", ComposeConfig())
    assert not (tmp_path / "out" / "manifest.jsonl").exists()


def test_no_clips_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no clips"):
        compose_utterances([], tmp_path / "out", ComposeConfig())


def test_speakers_with_strange_names_get_folders_of_their_own(clips: list[Utterance], tmp_path: Path) -> None:
    names = ["../up", "a/b", "a_b", "A_B", "…", "", "x" * 300]
    strange = [dataclasses.replace(clip, speaker=name) for clip, name in zip(clips, names, strict=False)]
    composed = compose_utterances(strange, tmp_path / "out", ComposeConfig(max_clips=1, min_clips=1))
    folders = {Path(item.audio).parent for item in composed}
    assert len(folders) == len(names)
    assert {folder.parent for folder in folders} == {tmp_path / "out" / "audio"}
    assert {item.speaker for item in composed} == set(names)


@pytest.mark.parametrize(
    "settings",
    [{"min_clips": 0}, {"min_clips": 8}, {"gap_s": (0.3, 0.1)}, {"gap_s": (-1, 0)}, {"gap_s": (0, float("inf"))},
     {"crossfade_s": 0.1}, {"gap_s": (0, 0), "crossfade_s": -1}, {"gain_db": -1}, {"gain_db": 99}, {"passes": 0},
     {"gap_fill": "hum"}, {"gap_fill": "noise", "gap_s": (0, 0)}, {"clips": 3}],
)  # fmt: skip
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        parse_settings(ComposeConfig, settings, source="test")


@pytest.mark.shared
def test_connected_digits_of_the_real_data_set(shared_fsdd: Path, tmp_path: Path) -> None:
    clips = [item for item in import_corpus("fsdd", shared_fsdd).utterances if item.tags["split"] == "test"]
    composed = compose_utterances(clips, tmp_path, ComposeConfig())
    assert sum(len(str(item.text).split()) for item in composed) == 250
    assert Counter(name for item in composed for name in item.extra["clips"]) == dict.fromkeys([c.id for c in clips], 1)
    first = composed[0]
    source, _ = soundfile.read(next(c.audio for c in clips if c.id == first.extra["clips"][0]), dtype="int16")
    joined, rate = soundfile.read(first.audio, dtype="int16")
    assert rate == 8_000
    np.testing.assert_array_equal(joined[: len(source)], source)
