from collections.abc import Callable
from pathlib import Path

import pytest

from harken.core import InputError
from harken.data.importers.directory import import_directory
from harken.testing import check_importer

SaveTone = Callable[..., Path]


def test_sidecars_speakers_and_rejections(tmp_path: Path, save_tone: SaveTone) -> None:
    for name in ("anna/1.wav", "anna/2.flac", "bob/deep/1.wav", "top.wav", "bob/untold.wav", "bob/latin.wav"):
        save_tone(tmp_path / name, seconds=0.25)
    (tmp_path / "anna/1.txt").write_text("\ufeffone\n two\r\n", encoding="utf-8")
    (tmp_path / "anna/2.lab").write_text("three")
    (tmp_path / "bob/deep/1.txt").write_text("")
    (tmp_path / "top.txt").write_text("oʻzbek", encoding="utf-8")
    (tmp_path / "bob/latin.txt").write_bytes("für".encode("latin-1"))
    (tmp_path / "bob/broken.wav").write_bytes(b"RIFF nonsense")
    (tmp_path / "bob/broken.txt").write_text("x")
    (tmp_path / "bob/empty.wav").touch()
    (tmp_path / "bob/empty.txt").write_text("x")
    utterances, rejections = check_importer(import_directory, tmp_path, 8, speaker_from="folder", language="en")
    assert [(item.id, item.text, item.speaker, item.language, item.duration_s) for item in utterances] == [
        ("anna/1", "one two", "anna", "en", 0.25),
        ("anna/2", "three", "anna", "en", 0.25),
        ("bob/deep/1", "", "bob", "en", 0.25),
        ("top", "oʻzbek", None, "en", 0.25),
    ]
    assert {item for item, _ in rejections} == {"bob/untold.wav", "bob/latin.wav", "bob/broken.wav", "bob/empty.wav"}
    reasons = dict(rejections)
    assert reasons["bob/untold.wav"].startswith("no table row, .txt or .lab gives its text")
    assert reasons["bob/latin.wav"] == "latin.txt is not UTF-8 text (byte 2)"


def test_audio_without_text_is_kept_on_request(tmp_path: Path, save_tone: SaveTone) -> None:
    save_tone(tmp_path / "a.wav")
    utterances, _ = check_importer(import_directory, tmp_path, 1, require_text=False)
    assert [(item.text, item.speaker) for item in utterances] == [(None, None)]


def test_one_recording_in_two_formats_counts_once(tmp_path: Path, save_tone: SaveTone) -> None:
    save_tone(tmp_path / "a.flac")
    save_tone(tmp_path / "a.wav")
    (tmp_path / "a.txt").write_text("x")
    utterances, rejections = check_importer(import_directory, tmp_path, 2)
    assert [item.audio for item in utterances] == [str(tmp_path / "a.flac")]
    assert rejections == [("a.wav", "a.flac has the same name but for the suffix; keep one")]


def test_a_hugging_face_audio_folder(tmp_path: Path, save_tone: SaveTone) -> None:
    for name in ("train/a.wav", "train/sub/b.wav", "test/a.wav", "test/untold.wav"):
        save_tone(tmp_path / name)
    (tmp_path / "train" / "metadata.csv").write_text(
        'file_name,transcription,speaker_id,accent,locale\na.wav,"one, two\nthree",7,north,uz\nsub/b.wav,four,,,\n'
        "gone.wav,five,,,\n../test/untold.wav,up,,,\na.wav,again,,,\n/etc/passwd,x,,,\n"
    )
    (tmp_path / "test" / "metadata.jsonl").write_text('{"file_name": "a.wav", "text": "six", "score": 3}\n\n')
    utterances, rejections = check_importer(import_directory, tmp_path, 4 + 3)
    assert [(item.id, item.text, item.speaker, item.language, dict(item.tags)) for item in utterances] == [
        ("test/a", "six", None, None, {"score": "3"}),
        ("test/untold", "up", None, None, {}),
        ("train/a", "one, two\nthree", "7", "uz", {"accent": "north"}),
        ("train/sub/b", "four", None, None, {}),
    ]
    assert [item for item, _ in rejections] == [f"train/metadata.csv:{line}" for line in (5, 7, 8)]


def test_tab_separated_and_lj_speech_tables(tmp_path: Path, save_tone: SaveTone) -> None:
    save_tone(tmp_path / "tsv" / "x.1.wav")
    (tmp_path / "tsv" / "transcripts.tsv").write_text('path\tsentence\nx.1\the said "hi\n')
    utterances, _ = check_importer(import_directory, tmp_path / "tsv", 1)
    assert [item.text for item in utterances] == ['he said "hi']
    save_tone(tmp_path / "lj" / "wavs" / "LJ001-0001.wav")
    (tmp_path / "lj" / "metadata.csv").write_text("LJ001-0001|Dr. No, 5|Doctor No, five\nLJ001-0002|x|x\n")
    utterances, rejections = check_importer(import_directory, tmp_path / "lj", 2)
    assert [(item.id, item.text) for item in utterances] == [("wavs/LJ001-0001", "Doctor No, five")]
    assert rejections[0][0] == "metadata.csv:2"


def test_a_table_wins_over_a_sidecar_unless_it_has_no_texts(tmp_path: Path, save_tone: SaveTone) -> None:
    save_tone(tmp_path / "a.wav").with_suffix(".txt").write_text("sidecar")
    (tmp_path / "metadata.csv").write_text("file_name,speaker\na.wav,eve\n")
    utterances, _ = check_importer(import_directory, tmp_path, 1)
    assert [(item.text, item.speaker) for item in utterances] == [("sidecar", "eve")]
    (tmp_path / "metadata.csv").write_text("file_name,text\na.wav,table\n")
    assert check_importer(import_directory, tmp_path, 1)[0][0].text == "table"


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("name,text\na.wav,x\n", r"no column that names the files; its columns: name, text"),
        ("", "no column that names the files; its columns: none"),
    ],
)
def test_a_table_that_cannot_be_read_is_an_input_error(
    tmp_path: Path, save_tone: SaveTone, table: str, message: str
) -> None:
    save_tone(tmp_path / "a.wav")
    (tmp_path / "metadata.csv").write_text(table)
    with pytest.raises(InputError, match=message):
        check_importer(import_directory, tmp_path, 1)


def test_wrong_options_and_a_file_are_input_errors(tmp_path: Path, save_tone: SaveTone) -> None:
    path = save_tone(tmp_path / "a.wav")
    (tmp_path / "metadata.csv").write_bytes("file_name,text\na.wav,für\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"metadata\.csv is not UTF-8"):
        check_importer(import_directory, tmp_path, 1)
    with pytest.raises(InputError, match="Use 'none' or 'folder'"):
        check_importer(import_directory, tmp_path, 1, speaker_from="name")
    with pytest.raises(InputError, match="is a file"):
        check_importer(import_directory, path, 1)
