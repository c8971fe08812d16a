import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from harken.core import InputError, MissingPart, plugin_names
from harken.data.importers import Rejection, import_corpus
from harken.data.importers.candidates import audio_files, comma_separated

SaveTone = Callable[..., Path]


def test_every_importer_of_the_table_is_registered() -> None:
    wanted = {"dir", "fsdd", "librispeech", "commonvoice", "nemo", "kaldi", "hf", "lhotse"}
    assert wanted <= set(plugin_names("harken.importers"))


def test_an_unknown_kind_names_those_that_exist(tmp_path: Path) -> None:
    with pytest.raises(MissingPart, match=r"'timit'.*commonvoice"):
        import_corpus("timit", tmp_path)


@pytest.mark.parametrize("kind", ["dir", "fsdd", "librispeech", "commonvoice", "nemo", "kaldi", "hf", "lhotse"])
def test_an_unknown_option_names_those_that_exist(tmp_path: Path, kind: str) -> None:
    with pytest.raises(InputError, match=r"has no option 'sped'.*It takes: .*threads"):
        import_corpus(kind, tmp_path, sped=2)


@pytest.mark.parametrize("kind", ["dir", "fsdd", "librispeech", "commonvoice", "nemo", "kaldi", "hf", "lhotse"])
def test_an_absent_or_empty_folder_is_an_input_error(tmp_path: Path, kind: str) -> None:
    with pytest.raises(InputError, match="does not exist"):
        import_corpus(kind, tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty"):
        import_corpus(kind, tmp_path / "empty")


def test_a_relative_source_gives_absolute_paths(
    tmp_path: Path, save_tone: SaveTone, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_tone(tmp_path / "c" / "a.wav").with_suffix(".txt").write_text("hello")
    monkeypatch.chdir(tmp_path)
    result = import_corpus("dir", "c")
    assert result.utterances[0].audio == str(tmp_path / "c" / "a.wav")


def test_an_id_used_twice_is_rejected(tmp_path: Path, save_tone: SaveTone) -> None:
    save_tone(tmp_path / "a.wav")
    line = '{"audio_filepath": "a.wav", "duration": 0.5, "text": "x"}\n'
    (tmp_path / "m.json").write_text(line + line)
    result = import_corpus("nemo", tmp_path / "m.json")
    assert [item.id for item in result.utterances] == ["a"]
    assert result.rejected == (
        Rejection(item=str(tmp_path / "a.wav"), reason="the id 'a' belongs to an earlier utterance"),
    )


def test_links_are_followed_once_and_hidden_folders_passed_over(tmp_path: Path, save_tone: SaveTone) -> None:
    real = save_tone(tmp_path / "store" / "x" / "a.WAV").parent
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    (corpus / "linked").symlink_to(real, target_is_directory=True)
    (corpus / "loop").symlink_to(corpus, target_is_directory=True)
    save_tone(corpus / ".cache" / "b.wav")
    (corpus / "notes.txt").touch()
    assert audio_files(corpus) == [corpus / "linked" / "a.WAV"]


@pytest.mark.parametrize(
    ("value", "names"), [("", []), ("a", ["a"]), (" a , b,", ["a", "b"]), (["a", "b "], ["a", "b"]), ((), [])]
)
def test_comma_separated(value: str | list[str], names: list[str]) -> None:
    assert comma_separated(value) == names


def test_names_that_are_not_text_or_too_long_are_rejected(tmp_path: Path, save_tone: SaveTone) -> None:
    good = save_tone(tmp_path / "a.wav")
    try:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/b\xff.wav")).write_bytes(good.read_bytes())
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    result = import_corpus("dir", tmp_path, require_text=False)
    assert [item.id for item in result.utterances] == ["a"]
    assert [(r.item, r.reason) for r in result.rejected] == [
        ("b\\udcff.wav", "its name is not UTF-8, which a manifest has to be; rename the file")
    ]
    lines = [{"audio_filepath": name, "duration": 0.5} for name in ("x" * 5000, "nul\\u0000", "a.wav")]
    (tmp_path / "m.json").write_text("\n".join(json.dumps(line) for line in lines))
    result = import_corpus("nemo", tmp_path / "m.json")
    assert [item.id for item in result.utterances] == ["a"]
    assert len(result.rejected) == 2


@pytest.mark.parametrize(
    ("kind", "file"),
    [("librispeech", "1-2.trans.txt"), ("commonvoice", "train.tsv"), ("kaldi", "wav.scp"), ("dir", "metadata.jsonl")],
)
def test_tables_in_other_encodings_are_named_with_the_line(
    tmp_path: Path, save_tone: SaveTone, kind: str, file: str
) -> None:
    save_tone(tmp_path / "clips" / "a.wav")
    (tmp_path / file).write_bytes(b"path\tsentence\n" * (kind == "commonvoice") + b"\n" + "für x".encode("latin-1"))
    with pytest.raises(InputError, match=rf"{file}, line {2 + (kind == 'commonvoice')}: not UTF-8"):
        import_corpus(kind, tmp_path)
