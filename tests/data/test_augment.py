"""Augmented sets: copies that know where they come from, whole files or none, and work that goes on."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from harken.audio.augment import AugmentConfig, augment_waveform
from harken.audio.augment_config import (
    ClippingConfig,
    CodecConfig,
    NoiseConfig,
    SpecAugmentConfig,
    SpeedConfig,
    VocalTractConfig,
)
from harken.core import InputError, Utterance, keyed_generator
from harken.data import augment as module
from harken.data.augment import CopyNotWritten, Treatment, augment_utterances, random_treatments
from harken.data.manifest import read_manifest, write_manifest
from harken.data.split import split_by_ratio

RATE = 8_000
NOISE = AugmentConfig(noise=NoiseConfig(kinds=("pink",), snr_db=(5, 20), probability=1))
MIXED = AugmentConfig(
    speed=SpeedConfig(), noise=NoiseConfig(), clipping=ClippingConfig(), codec=CodecConfig(kinds=("telephone", "mp3"))
)


@pytest.fixture
def originals(tmp_path: Path) -> list[Utterance]:
    """Six utterances of three speakers; two of them are parts of one file, one of which has two channels."""
    generator = np.random.default_rng(0)
    (tmp_path / "in").mkdir()
    found = []
    for number in range(4):
        samples = np.asarray(0.1 * generator.standard_normal(4_000 + 100 * number), np.float32)
        soundfile.write(tmp_path / "in" / f"{number}.wav", samples, RATE, subtype="PCM_16")
        found.append(
            Utterance(
                id=f"u{number}",
                audio=str(tmp_path / "in" / f"{number}.wav"),
                duration_s=len(samples) / RATE,
                text=f"сўз {number}",
                speaker=f"s{number % 2}",
                language="uz",
                tags={"split": "train"},
                extra={"note": number},
            )
        )
    both = np.asarray(0.1 * generator.standard_normal((8_000, 2)), np.float32)
    soundfile.write(tmp_path / "in" / "long.wav", both, RATE, subtype="PCM_16")
    for number, start in enumerate((0.0, 0.5)):
        found.append(
            Utterance(
                id=f"part/{number}",
                audio=str(tmp_path / "in" / "long.wav"),
                duration_s=0.4,
                offset_s=start,
                text="икки",
            )
        )
    return found


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_copies_are_the_augmentation_of_their_originals(originals: list[Utterance], tmp_path: Path) -> None:
    treatments = random_treatments(NOISE, copies=2, seed=4)
    result = augment_utterances(originals, tmp_path / "out", treatments)
    assert (result.written, result.reused, result.rejected) == (12, 0, ())
    assert [u.id for u in result.utterances][:4] == ["u0", "u0-aug1", "u0-aug2", "u1"]
    assert read_manifest(tmp_path / "out" / "manifest.jsonl") == list(result.utterances)
    by_id = {utterance.id: utterance for utterance in result.utterances}
    for original in originals:
        assert by_id[original.id] == original
        start = round(original.offset_s * RATE)
        samples, _ = soundfile.read(original.audio, dtype="float32", always_2d=True)
        mono = samples.mean(axis=1)[start : start + round(original.duration_s * RATE)]
        for number in (1, 2):
            copy = by_id[f"{original.id}-aug{number}"]
            expected = augment_waveform(
                mono, NOISE, sample_rate_hz=RATE, generator=keyed_generator(4, "augment", number, original.id)
            )
            written, rate = soundfile.read(copy.audio, dtype="int16")
            assert rate == RATE
            assert np.abs(written - np.clip(np.rint(expected * 32_768), -32_768, 32_767)).max() <= 1
            assert copy.duration_s == len(written) / RATE
            assert (copy.text, copy.speaker, copy.language) == (original.text, original.speaker, original.language)
            assert copy.tags == {**original.tags, "augmentation": "noise", "augmented_from": original.id}
            told = copy.extra["augmentation"]["noise"]
            assert told["kind"] == "pink"
            assert 5 <= told["snr_db"] <= 20
            assert copy.offset_s == 0


def test_copies_never_leave_their_speaker_or_recording(originals: list[Utterance], tmp_path: Path) -> None:
    result = augment_utterances(originals, tmp_path / "out", random_treatments(NOISE, copies=3))
    named = [utterance for utterance in result.utterances if utterance.speaker]
    for by, items in (("speaker", named), ("recording", result.utterances)):
        parts = split_by_ratio(items, {"train": 0.5, "test": 0.5}, by=by).parts  # type: ignore[arg-type]
        origins = [{u.tags.get("augmented_from", u.id) for u in part} for part in parts.values()]
        assert not origins[0] & origins[1], by


def test_without_the_originals(originals: list[Utterance], tmp_path: Path) -> None:
    result = augment_utterances(originals, tmp_path / "out", random_treatments(NOISE), keep_original=False)
    assert [u.id for u in result.utterances] == [f"{u.id}-aug1" for u in originals]


def test_what_chance_left_alone_says_so(originals: list[Utterance], tmp_path: Path) -> None:
    never = AugmentConfig(noise=NoiseConfig(probability=0))
    result = augment_utterances(originals[:1], tmp_path / "out", random_treatments(never), keep_original=False)
    copy = result.utterances[0]
    assert (copy.tags["augmentation"], copy.extra["augmentation"]) == ("none", {})
    np.testing.assert_array_equal(
        soundfile.read(copy.audio, dtype="int16")[0], soundfile.read(originals[0].audio, dtype="int16")[0]
    )


def test_equal_bytes_whatever_the_threads_and_the_order(originals: list[Utterance], tmp_path: Path) -> None:
    treatments = random_treatments(MIXED, copies=3, seed=1)
    augment_utterances(originals, tmp_path / "one" / "out", treatments, threads=1)
    augment_utterances(originals, tmp_path / "two" / "out", treatments, threads=4)
    augment_utterances(originals[::-1], tmp_path / "three" / "out", treatments, threads=3)
    first, second, third = (contents(tmp_path / name / "out" / "audio") for name in ("one", "two", "three"))
    assert first == second == third
    assert len(first) == 18


def test_a_second_run_makes_nothing_again(originals: list[Utterance], tmp_path: Path) -> None:
    treatments = random_treatments(MIXED, copies=2)
    first = augment_utterances(originals, tmp_path / "out", treatments)
    before = contents(tmp_path / "out")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "audio").rglob("*.flac")}
    second = augment_utterances(originals, tmp_path / "out", treatments)
    assert (second.written, second.reused) == (0, 12)
    assert second.utterances == first.utterances
    assert contents(tmp_path / "out") == before
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_damaged_stale_and_foreign_files_are_made_again(originals: list[Utterance], tmp_path: Path) -> None:
    treatments = random_treatments(NOISE)
    augment_utterances(originals, tmp_path / "out", treatments)
    before = contents(tmp_path / "out")
    folder = tmp_path / "out" / "audio" / "aug1"
    (folder / "u0.flac").write_bytes((folder / "u0.flac").read_bytes()[:-500])  # cut off
    (folder / "u1.flac").unlink()
    later = (folder / "u2.flac").stat().st_mtime_ns + 10**9
    os.utime(originals[2].audio, ns=(later, later))  # the source has changed since
    soundfile.write(folder / "u3.flac", np.zeros(100), RATE)  # somebody else's
    again = augment_utterances(originals, tmp_path / "out", treatments)
    assert (again.written, again.reused) == (4, 2)
    assert contents(tmp_path / "out") == before
    other = augment_utterances(originals, tmp_path / "out", random_treatments(NOISE, seed=9))
    assert (other.written, other.reused) == (6, 0)


def test_an_interrupted_run_leaves_whole_files_and_goes_on(
    originals: list[Utterance], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    treatments = random_treatments(NOISE, copies=2)
    augment_utterances(originals, tmp_path / "whole" / "out", treatments)
    calls = 0
    make = module.augment_and_tell

    def interrupted(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 6:
            raise KeyboardInterrupt
        return make(*arguments, **options)

    monkeypatch.setattr(module, "augment_and_tell", interrupted)
    with pytest.raises(KeyboardInterrupt):
        augment_utterances(originals, tmp_path / "cut" / "out", treatments, threads=1)
    left = contents(tmp_path / "cut" / "out")
    whole = contents(tmp_path / "whole" / "out")
    assert len(left) == 5
    assert left.items() <= whole.items()  # and so no manifest and no half file
    monkeypatch.setattr(module, "augment_and_tell", make)
    result = augment_utterances(originals, tmp_path / "cut" / "out", treatments, threads=1)
    assert (result.written, result.reused) == (7, 5)
    assert contents(tmp_path / "cut" / "out" / "audio") == contents(tmp_path / "whole" / "out" / "audio")


def test_what_cannot_be_read_is_left_out_by_name(originals: list[Utterance], tmp_path: Path) -> None:
    Path(originals[1].audio).write_bytes(b"no audio")
    Path(originals[3].audio).unlink()
    seen: list[tuple[int, int]] = []
    result = augment_utterances(
        originals, tmp_path / "out", random_treatments(NOISE, copies=2), progress=lambda *at: seen.append(at)
    )
    assert [item.item for item in result.rejected] == ["u1", "u3"]
    assert [u.id for u in result.utterances if not u.tags.get("augmented_from")] == ["u0", "u2", "part/0", "part/1"]
    listing = (tmp_path / "out" / "manifest.rejected.tsv").read_text(encoding="utf-8")
    assert [line.split("\t")[0] for line in listing.splitlines()] == ["u1", "u3"]
    assert seen == [(done, 6) for done in range(1, 7)]
    augment_utterances([originals[0]], tmp_path / "out", random_treatments(NOISE, copies=2))
    assert not (tmp_path / "out" / "manifest.rejected.tsv").exists()


def test_a_set_of_which_nothing_can_be_read(originals: list[Utterance], tmp_path: Path) -> None:
    for original in originals:
        Path(original.audio).unlink(missing_ok=True)
    with pytest.raises(InputError, match="None of the 6 utterances could be used; u0:"):
        augment_utterances(originals, tmp_path / "out", random_treatments(NOISE))
    assert not (tmp_path / "out").exists()


def test_ids_that_no_file_system_takes(originals: list[Utterance], tmp_path: Path) -> None:
    audio, duration_s = originals[0].audio, originals[0].duration_s
    ids = ["a/b", "a_b", "A_B", "../x", ".hidden", "с лово", "x" * 300]
    items = [Utterance(id=name, audio=audio, duration_s=duration_s) for name in ids]
    result = augment_utterances(items, tmp_path / "out", random_treatments(NOISE), keep_original=False)
    paths = [Path(utterance.audio) for utterance in result.utterances]
    assert {path.parent for path in paths} == {tmp_path / "out" / "audio" / "aug1"}
    assert len({path.name.casefold() for path in paths}) == len(ids)
    assert all(path.is_file() and not path.name.startswith(".") for path in paths)


def test_requests_that_make_no_sense(originals: list[Utterance], tmp_path: Path) -> None:
    for augmentation, message in (
        (AugmentConfig(), "no block"),
        (AugmentConfig(spec_augment=SpecAugmentConfig()), "change features"),
        (AugmentConfig(vocal_tract=VocalTractConfig(), noise=NoiseConfig()), "change features"),
    ):
        with pytest.raises(InputError, match=message):
            random_treatments(augmentation)
    with pytest.raises(InputError, match="copies is 0"):
        random_treatments(NOISE, copies=0)
    with pytest.raises(InputError, match="no utterances"):
        augment_utterances([], tmp_path / "out", random_treatments(NOISE))
    twice = [Treatment(name="a", augmentation=NOISE, keys=(0,))] * 2
    for treatments in ([], twice):
        with pytest.raises(InputError, match="name of its own"):
            augment_utterances(originals, tmp_path / "out", treatments)
    result = augment_utterances(originals, tmp_path / "out", random_treatments(NOISE))
    with pytest.raises(InputError, match=r"copy of 'u0' would be called u0-aug1"):
        augment_utterances(result.utterances, tmp_path / "again", random_treatments(NOISE))


def test_absent_noise_is_said_before_anything_is_written(originals: list[Utterance], tmp_path: Path) -> None:
    absent = str(tmp_path / "absent.wav")
    noise = AugmentConfig(noise=NoiseConfig(kinds=("file",), files=(absent,), probability=0.1))
    with pytest.raises(InputError, match=r"absent\.wav does not exist"):
        augment_utterances(originals, tmp_path / "out", random_treatments(noise))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", ["mine", "", '{"id": "u0", "audio": "0.wav", "duration_s": 0.5}\n'])
def test_a_manifest_of_something_else_stays(originals: list[Utterance], tmp_path: Path, content: str) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "manifest.jsonl").write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=r"manifest\.jsonl is there, and augmentation has not made it\."):
        augment_utterances(originals, tmp_path / "out", random_treatments(NOISE))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["manifest.jsonl"]
    assert (tmp_path / "out" / "manifest.jsonl").read_text(encoding="utf-8") == content


@pytest.mark.parametrize("threads", [1, 2])
def test_a_disk_that_refuses_ends_the_work_and_leaves_nobody_out(
    originals: list[Utterance], tmp_path: Path, threads: int
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "audio").write_text("in the way", encoding="utf-8")
    with pytest.raises(CopyNotWritten, match=r"u0\.flac cannot be written: .*\. Check the folder and the space"):
        augment_utterances(originals, out, random_treatments(NOISE), threads=threads)
    assert sorted(path.name for path in out.iterdir()) == ["audio"]


def test_a_full_disk_while_a_file_is_written(
    originals: list[Utterance], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: soundfile.SoundFile, data: Any) -> None:
        raise soundfile.LibsndfileError(2, "Error : ")

    with monkeypatch.context() as patched:
        patched.setattr(soundfile.SoundFile, "write", refuse)
        with pytest.raises(CopyNotWritten, match=r"cannot be written"):
            augment_utterances(originals, tmp_path / "out", random_treatments(NOISE))
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(augment_utterances(originals, tmp_path / "out", random_treatments(NOISE)).utterances) == 12


def test_a_folder_can_be_moved(originals: list[Utterance], tmp_path: Path) -> None:
    result = augment_utterances(originals, tmp_path / "out", random_treatments(NOISE), keep_original=False)
    (tmp_path / "out").rename(tmp_path / "moved")
    moved = read_manifest(tmp_path / "moved" / "manifest.jsonl")
    assert [u.id for u in moved] == [u.id for u in result.utterances]
    assert all(Path(u.audio).is_file() for u in moved)
    assert write_manifest(tmp_path / "copy.jsonl", moved) == 6
