"""The audio of a check: spread over lengths, cut to odd ones, made where there is none."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from harken.core import MissingPart, Utterance
from harken.data.manifest import write_manifest
from harken.export.clips import Clip, find_clips, load_clips, spoken_clips, with_cuts


def test_clips_reach_from_the_shortest_to_the_longest(make_manifest: Callable[[list[str]], Path]) -> None:
    manifest = make_manifest(["a", "b", "c", "d", "e"])
    clips = load_clips(manifest, clips=3, sample_rate_hz=16_000)
    assert [(clip.name, clip.text) for clip in clips] == [("u0", "a"), ("u2", "c"), ("u4", "e")]
    assert [len(clip.waveform) for clip in clips] == [9_600, 19_200, 28_800]
    assert len(load_clips(manifest, clips=50, sample_rate_hz=8_000)) == 5


def test_utterances_too_long_for_a_check_are_left_out(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "long.wav", np.zeros(31 * 8_000), 8_000)
    write_manifest(tmp_path / "m.jsonl", [Utterance(id="long", audio=str(tmp_path / "long.wav"), duration_s=31.0)])
    with pytest.raises(MissingPart, match="no utterance of 30 s or less"):
        load_clips(tmp_path / "m.jsonl", clips=1, sample_rate_hz=8_000)


def test_files_are_heard_up_to_half_a_minute(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "long.wav", np.zeros(31 * 8_000), 8_000)
    (clip,) = find_clips(None, [tmp_path / "long.wav"], clips=1, languages=[], sample_rate_hz=8_000)
    assert (clip.name, len(clip.waveform), clip.text) == ("long.wav", 30 * 8_000, None)


def test_cuts_are_of_the_longest_and_know_no_text() -> None:
    long, short = np.zeros(100, np.float32), np.zeros(3, np.float32)
    clips = [Clip(name="a", waveform=long, text="one"), Clip(name="b", waveform=short)]
    found = with_cuts(clips)
    assert found[:2] == clips
    assert [(clip.name, len(clip.waveform), clip.text) for clip in found[2:]] == [
        ("a, 61% of it", 61, None), ("a, 13% of it", 13, None),
    ]  # fmt: skip


def test_without_audio_or_synthesis_there_is_nothing_to_check_on(monkeypatch: pytest.MonkeyPatch) -> None:
    from harken.export import clips

    def absent(*arguments: object, **more: object) -> None:
        raise MissingPart("no espeak-ng")

    monkeypatch.setattr(clips, "synthesize", absent)
    with pytest.raises(MissingPart, match=r"no audio to check the export on\. Give a manifest with --data"):
        spoken_clips(["en"], sample_rate_hz=16_000)


def test_speech_is_in_a_language_of_the_model() -> None:
    pytest.importorskip("espeakng_loader", reason="makes the speech")
    clips = spoken_clips(["kk", "ru"], sample_rate_hz=8_000)
    assert [clip.name for clip in clips] == ["1 digits (ru)", "7 digits (ru)", "3 digits (ru)", "12 digits (ru)"]
    assert all(0.2 < len(clip.waveform) / 8_000 < 12 and np.abs(clip.waveform).max() > 0.05 for clip in clips)
