import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harken.core import InputError
from harken.data.importers.lhotse import import_lhotse
from harken.testing import check_importer

SaveTone = Callable[..., Path]


def save(path: Path, *lines: Any) -> Path:
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


def recording(name: str, **source: Any) -> dict[str, Any]:
    given = {"type": "file", "channels": [0], "source": f"{name}.wav", **source}
    return {"id": name, "sources": [given], "sampling_rate": 16_000, "num_samples": 32_000, "duration": 2.0}


def supervision(name: str, of: str, **fields: Any) -> dict[str, Any]:
    return {"id": name, "recording_id": of, "start": 0.5, "duration": 1.0, "channel": 0, "text": name, **fields}


def test_recordings_with_supervisions(tmp_path: Path, save_tone: SaveTone) -> None:
    save_tone(tmp_path / "a.wav", seconds=2)
    mark = tmp_path / "ran"
    save(
        tmp_path / "mini_recordings_dev.jsonl",
        recording("a"), recording("bare", source="a.wav"), recording("stereo", channels=[0, 1], source="a.wav"),
        recording("command", type="command", source=f"touch {mark}; cat {tmp_path}/a.wav"),
        recording("web", type="url", source="http://host/a.wav"),
        {**recording("fast"), "transforms": [{"name": "Speed"}]},
        {"id": "void", "sources": []}, "nonsense", "[1]",
    )  # fmt: skip
    save(
        tmp_path / "mini_supervisions_dev.jsonl",
        supervision("1", "a", speaker="s", language="en", gender="f", custom={"snr": 3}), supervision("2", "nowhere"),
        supervision("3", "stereo", channel=1), supervision("4", "a", start=1.5, duration=2.0),
        supervision("5", "a", start="x"), {"id": "6"},
    )  # fmt: skip
    save(tmp_path / "mini_cuts.jsonl", {"id": "ignored"})
    # 6 supervisions, 5 recordings nobody supervises, 2 broken lines
    utterances, rejections = check_importer(import_lhotse, tmp_path, 13)
    assert [(u.id, u.text, u.speaker, u.language, u.offset_s, u.duration_s, u.recording) for u in utterances] == [
        ("1", "1", "s", "en", 0.5, 1.0, "a"),
        ("bare", None, None, None, 0.0, 2.0, "bare"),
    ]
    assert dict(utterances[0].tags) == {"part": "mini_dev", "gender": "f"}
    assert utterances[0].extra == {"custom": {"snr": 3}}
    assert not mark.exists()
    reasons = " ".join(reason for _, reason in rejections)
    for words in (
        "never runs commands",
        "of type 'url'",
        "2 channels",
        "effects",
        "names no audio",
        "no recording 'nowhere'",
    ):
        assert words in reasons


def test_cuts(tmp_path: Path, save_tone: SaveTone) -> None:
    save_tone(tmp_path / "a.wav", seconds=2)
    cuts = save(
        tmp_path / "cuts.jsonl",
        {"id": "c1", "start": 0.5, "duration": 1.0, "type": "MonoCut", "recording": recording("a"),
         "supervisions": [supervision(n, "a", start=s, duration=0.5) for n, s in (("1", 0.25), ("2", 0.75))]},
        {"id": "c2", "start": 1.0, "duration": 0.5, "type": "MonoCut", "recording": recording("a"), "supervisions": []},
        {"id": "c3", "start": 0.0, "duration": 1.0, "type": "MonoCut", "recording": recording("a"),
         "supervisions": [supervision("3", "a", start=-0.25, duration=1.0)]},
        {"id": "c4", "type": "MixedCut", "tracks": []},
        {"id": "c5", "start": "x", "type": "MonoCut", "recording": recording("a")},
    )  # fmt: skip
    utterances, rejections = check_importer(import_lhotse, cuts, 6)
    assert [(u.id, u.text, u.offset_s, u.duration_s) for u in utterances] == [
        ("1", "1", 0.75, 0.5),
        ("2", "2", 1.25, 0.5),
        ("c2", None, 1.0, 0.5),
        ("3", "3", 0.0, 0.75),
    ]
    assert dict(rejections) == {
        "cuts.jsonl:4": "it is a MixedCut; only cuts of one recording are read",
        "cuts.jsonl:5": "its start is 'x', not a number",
    }


def test_relative_paths_count_from_root(tmp_path: Path, save_tone: SaveTone) -> None:
    save_tone(tmp_path / "audio" / "a.wav", seconds=2)
    (tmp_path / "manifests").mkdir()
    save(tmp_path / "manifests" / "recordings.jsonl", recording("a"))
    utterances, _ = check_importer(import_lhotse, tmp_path / "manifests", 1, root=tmp_path / "audio")
    assert [(u.id, dict(u.tags)) for u in utterances] == [("a", {})]


def test_other_sources_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").touch()
    with pytest.raises(InputError, match=r"no \*recordings\*"):
        check_importer(import_lhotse, tmp_path, 0)
    (tmp_path / "x.yaml").touch()
    with pytest.raises(InputError, match=r"not a \.jsonl"):
        check_importer(import_lhotse, tmp_path / "x.yaml", 0)


@pytest.mark.rival
def test_manifests_written_by_lhotse_itself(tmp_path: Path, save_tone: SaveTone) -> None:
    lhotse = pytest.importorskip("lhotse")
    for name in "ab":
        save_tone(tmp_path / f"{name}.wav", seconds=2)
    recordings = lhotse.RecordingSet.from_recordings(
        lhotse.Recording.from_file(tmp_path / f"{name}.wav") for name in "ab"
    )
    supervisions = lhotse.SupervisionSet.from_segments(
        lhotse.SupervisionSegment(id=f"{name}-1", recording_id=name, start=0.5, duration=1.0, text=name, speaker=name)
        for name in "ab"
    )
    both = tmp_path / "both"
    both.mkdir()
    recordings.to_file(both / "x_recordings_train.jsonl.gz")
    supervisions.to_file(both / "x_supervisions_train.jsonl.gz")
    from_sets, _ = check_importer(import_lhotse, both, 2)
    cuts = lhotse.CutSet.from_manifests(recordings, supervisions).trim_to_supervisions()
    cuts.to_file(tmp_path / "x_cuts_train.jsonl.gz")
    from_cuts, _ = check_importer(import_lhotse, tmp_path / "x_cuts_train.jsonl.gz", 2)
    seen = [(u.id, u.audio, u.text, u.speaker, u.offset_s, u.duration_s) for u in from_sets]
    assert seen == [(f"{n}-1", str(tmp_path / f"{n}.wav"), n, n, 0.5, 1.0) for n in "ab"]
    assert [(u.id, u.audio, u.text, u.speaker, u.offset_s, u.duration_s) for u in from_cuts] == seen
