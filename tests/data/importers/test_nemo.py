import json
from collections.abc import Callable
from pathlib import Path

from harken.data.importers.nemo import import_nemo
from harken.testing import check_importer

SaveTone = Callable[..., Path]


def save(path: Path, *lines: object) -> Path:
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


def test_one_manifest(tmp_path: Path, save_tone: SaveTone) -> None:
    save_tone(tmp_path / "wavs" / "a.wav", seconds=2)
    (tmp_path / "wavs" / "b.wav").write_bytes(b"nothing")
    manifest = save(
        tmp_path / "train_manifest.json",
        {"audio_filepath": "wavs/a.wav", "duration": 0.75, "offset": 1.0, "text": "x", "lang": "de", "pnc": "yes"},
        {"audio_filepath": "wavs/a.wav", "duration": 0.52, "offset": 1.5, "text": "end"},
        {"audio_filepath": "wavs/a.wav", "duration": 1.5, "offset": 1.0, "text": "too long"},
        {"audio_filepath": "wavs/a.wav", "duration": 1.5, "offset": 7.0, "text": "after the end"},
        {"audio_filepath": "wavs/b.wav", "duration": 1.0},
        {"audio_filepath": "wavs/none.wav", "duration": 1.0},
        {"audio_filepath": "s3://bucket/a.wav", "duration": 1.0},
        {"audio_filepath": "a.wav", "duration": 1.0, "shard_id": 3},
        {"audio_filepath": "wavs/a.wav", "duration": "long", "text": 4},
        "nonsense",
    )
    utterances, rejections = check_importer(import_nemo, manifest, 10)
    assert [(u.id, u.duration_s, u.offset_s, u.language, dict(u.extra)) for u in utterances] == [
        ("wavs/a@1.000", 0.75, 1.0, "de", {"pnc": "yes"}),
        ("wavs/a@1.500", 0.5, 1.5, None, {}),  # cut at the end of the file
    ]
    reasons = dict(rejections)
    assert sorted(int(item.rpartition(":")[2]) for item in reasons) == list(range(3, 11))
    assert reasons["train_manifest.json:3"].startswith("it ends at 2.500 s but ")
    assert reasons["train_manifest.json:4"].startswith("it begins at 7.000 s but ")
    assert reasons["train_manifest.json:7"] == "s3://bucket/a.wav is not a file on this machine"
    assert "unpack the shards" in reasons["train_manifest.json:8"]
    assert reasons["train_manifest.json:9"] == (
        'duration is "long"; use seconds, a number above 0; text is 4; use text, or leave the key out'
    )


def test_a_folder_of_manifests_names_the_parts(tmp_path: Path, save_tone: SaveTone) -> None:
    save_tone(tmp_path / "a.wav")
    for name in ("dev", "test"):
        save(tmp_path / f"{name}.json", {"audio_filepath": "a.wav", "duration": 0.5, "text": name})
    utterances, _ = check_importer(import_nemo, tmp_path, 2)
    assert [(u.id, u.text, dict(u.tags)) for u in utterances] == [
        ("dev/a", "dev", {"part": "dev"}),
        ("test/a", "test", {"part": "test"}),
    ]


def test_without_probing_the_manifest_is_believed(tmp_path: Path, save_tone: SaveTone) -> None:
    save_tone(tmp_path / "a.wav")
    manifest = save(tmp_path / "m.json", {"audio_filepath": "a.wav", "duration": 99.0})
    assert check_importer(import_nemo, manifest, 1, probe=False)[0][0].duration_s == 99.0
