import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harken.core import InputError, MissingPart, RunFailed
from harken.data.importers import import_corpus
from harken.data.importers.hf import HUB_NAMES, import_hf
from harken.testing import check_importer

SaveTone = Callable[..., Path]


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """datasets without network, progress bars or a cache outside the test, and with the warnings its imports raise."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf-home"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture
def datasets() -> Any:
    module = pytest.importorskip("datasets")
    module.disable_progress_bars()
    return module


def wav(save_tone: SaveTone, path: Path) -> bytes:
    return save_tone(path, seconds=0.5).read_bytes()


@pytest.fixture
def saved(tmp_path: Path, save_tone: SaveTone, datasets: Any) -> Path:
    """Two splits in the columns of minds14: bytes, a path, no audio, no text, unreadable bytes."""
    content = wav(save_tone, tmp_path / "source" / "a.wav")

    def rows(*audio: Any, text: tuple[str | None, ...]) -> Any:
        columns = {"path": "x.wav", "english_transcription": "wrong", "intent_class": 1, "lang_id": 1}
        data = datasets.Dataset.from_dict(
            {"audio": list(audio), "transcription": list(text), **{k: [v] * len(audio) for k, v in columns.items()}}
        )
        data = data.cast_column("audio", datasets.Audio())
        data = data.cast_column("intent_class", datasets.ClassLabel(names=["balance", "joint"]))
        return data.cast_column("lang_id", datasets.ClassLabel(names=["cs-CZ", "en-US"]))

    train = rows(
        {"bytes": content, "path": "en/a.wav"}, {"bytes": None, "path": str(tmp_path / "source" / "a.wav")}, None,
        {"bytes": content, "path": None}, {"bytes": b"junk", "path": "../../evil.sh"},
        text=("one", "two", "three", None, "five"),
    )  # fmt: skip
    test = rows({"bytes": content, "path": "t.wav"}, text=("",))
    datasets.DatasetDict({"train": train, "test": test}).save_to_disk(tmp_path / "saved")
    return tmp_path / "saved"


def test_a_saved_folder_in_the_columns_of_minds14(saved: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    utterances, rejections = check_importer(import_hf, saved, 6, out=out)
    tags = {"english_transcription": "wrong", "intent_class": "joint"}
    assert [(u.id, u.text, u.speaker, u.language, dict(u.tags), u.duration_s) for u in utterances] == [
        ("train/000000", "one", None, "en-US", {**tags, "split": "train"}, 0.5),
        ("train/000001", "two", None, "en-US", {**tags, "split": "train"}, 0.5),
        ("test/000000", "", None, "en-US", {**tags, "split": "test"}, 0.5),
    ]
    names = ["train/000000.wav", "train/000001.wav", "test/000000.wav"]  # saving took the file of the second in
    assert [u.audio for u in utterances] == [str(out / "audio" / name) for name in names]
    assert Path(utterances[0].audio).read_bytes() == (tmp_path / "source" / "a.wav").read_bytes()
    assert {item for item, _ in rejections} == {"train[2]", "train[3]", "train[4]"}
    assert dict(rejections)["train[2]"] == "the row has no audio"
    assert dict(rejections)["train[3]"] == "the column 'transcription' is empty"
    written = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert written == {f"audio/{name}" for name in (*names, "train/000004.bin")}


def test_columns_and_splits_can_be_named(saved: Path, tmp_path: Path) -> None:
    utterances, _ = check_importer(
        import_hf,
        saved,
        1,
        out=tmp_path / "out",
        splits="test",
        text_column="english_transcription",
        speaker_column="path",
    )
    assert [(u.text, u.speaker) for u in utterances] == [("wrong", "x.wav")]
    with pytest.raises(InputError, match=r"no split 'dev'.*train, test"):
        check_importer(import_hf, saved, 1, out=tmp_path / "out", splits=["dev"])
    with pytest.raises(InputError, match=r"no column 'words'"):
        check_importer(import_hf, saved, 1, out=tmp_path / "out", text_column="words")


def test_bytes_need_somewhere_to_go(saved: Path) -> None:
    with pytest.raises(InputError, match="out=FOLDER"):
        check_importer(import_hf, saved, 6)


def test_librispeech_and_common_voice_columns(tmp_path: Path, save_tone: SaveTone, datasets: Any) -> None:
    path = str(save_tone(tmp_path / "a.flac"))
    data = datasets.Dataset.from_dict(
        {"file": [path], "audio": [path], "text": ["HI"], "speaker_id": [1272], "chapter_id": [7], "id": ["1272-7-0"]}
    ).cast_column("audio", datasets.Audio())
    data.save_to_disk(tmp_path / "saved")
    utterances, _ = check_importer(import_hf, tmp_path / "saved", 1, out=tmp_path / "out")
    written = str(tmp_path / "out" / "audio" / "all" / "000000.flac")
    assert [(u.id, u.text, u.speaker, u.audio, dict(u.tags)) for u in utterances] == [
        ("all/1272-7-0", "HI", "1272", written, {"split": "all", "chapter_id": "7"})
    ]


def test_data_without_audio_and_other_folders_are_refused(tmp_path: Path, datasets: Any) -> None:
    datasets.Dataset.from_dict({"text": ["x"]}).save_to_disk(tmp_path / "texts")
    with pytest.raises(InputError, match="no column of audio; its columns: text"):
        check_importer(import_hf, tmp_path / "texts", 1)
    (tmp_path / "other").mkdir()
    with pytest.raises(InputError, match="not a data set saved by datasets"):
        check_importer(import_hf, tmp_path / "other", 1)


def test_the_hub_out_of_reach(datasets: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def unreachable(name: str, config: str | None = None, **_: Any) -> Any:
        raise ConnectionError(f"Couldn't reach {name!r} ({config})")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    with pytest.raises(RunFailed, match=r"'PolyAI/minds14' could not be loaded.*\(en-US\).*save_to_disk"):
        import_corpus("hf", "minds14", out=tmp_path)
    with pytest.raises(RunFailed, match="'someone/speech'"):
        import_corpus("hf", "someone/speech", out=tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        import_corpus("hf", tmp_path / "none")


def test_the_hub_within_reach(
    datasets: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, save_tone: SaveTone
) -> None:
    path = str(save_tone(tmp_path / "a.wav"))
    asked = []

    def load(name: str, config: str | None = None, split: str | None = None, *, streaming: bool) -> Any:
        assert not streaming
        asked.append((name, config, split))
        data = datasets.Dataset.from_dict({"audio": [path], "text": ["MARK"], "speaker": ["0003"]})
        data = data.cast_column("audio", datasets.Audio())
        return data if split else datasets.DatasetDict({"train": data, "test": data})

    monkeypatch.setattr(datasets, "load_dataset", load)
    result = import_corpus("hf", "speechocean762")
    assert [(u.id, u.speaker) for u in result.utterances] == [("train/000000", "0003"), ("test/000000", "0003")]
    assert [u.id for u in import_corpus("hf", "librispeech").utterances] == ["test/000000"]
    import_corpus("hf", "librispeech", config="other", splits="train.500")
    assert asked == [
        ("mispeech/speechocean762", None, None),
        ("openslr/librispeech_asr", "clean", "test"),
        ("openslr/librispeech_asr", "other", "train.500"),
    ]


@pytest.fixture
def published(datasets: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, save_tone: SaveTone) -> Path:
    """A data set in the hub's layout, parquet files with the audio in them, that the name `mine` stands for."""
    folder = tmp_path / "published"
    for split, count in (("train", 5), ("test", 2)):
        paths = [str(save_tone(tmp_path / f"{split}-{number}.wav")) for number in range(count)]
        data = datasets.Dataset.from_dict({"audio": paths, "text": [f"{split} {number}" for number in range(count)]})
        data = data.cast_column("audio", datasets.Audio(decode=False))
        data = data.map(lambda row: {"audio": {"bytes": Path(row["audio"]["path"]).read_bytes(), "path": "a.wav"}})
        (folder / "data").mkdir(parents=True, exist_ok=True)
        data.cast_column("audio", datasets.Audio()).to_parquet(folder / "data" / f"{split}-00000-of-00001.parquet")
    monkeypatch.setitem(HUB_NAMES, "mine", (str(folder), None, None))
    return folder


def test_a_stream_gives_what_a_download_gives(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    streamed = import_corpus("hf", "mine", out=tmp_path / "streamed", streaming=True)
    assert not list((tmp_path / "cache").rglob("*.arrow"))  # nothing is kept besides the audio
    whole = import_corpus("hf", "mine", out=tmp_path / "whole")
    assert list((tmp_path / "cache").rglob("*.arrow"))
    assert [(u.id, u.text, u.duration_s) for u in streamed.utterances] == [
        (u.id, u.text, u.duration_s) for u in whole.utterances
    ]
    assert len(streamed.utterances) == 7
    assert [Path(u.audio).read_bytes() for u in streamed.utterances] == [
        Path(u.audio).read_bytes() for u in whole.utterances
    ]


def test_a_few_rows_of_each_split(published: Path, tmp_path: Path) -> None:
    few = import_corpus("hf", "mine", out=tmp_path / "few", rows=2)
    assert [u.text for u in few.utterances] == ["train 0", "train 1", "test 0", "test 1"]
    assert len(list((tmp_path / "few" / "audio").rglob("*.wav"))) == 4
    with pytest.raises(InputError, match="rows is 0"):
        import_corpus("hf", "mine", out=tmp_path / "few", rows=0)
    with pytest.raises(InputError, match="streaming does nothing for the folder"):
        import_corpus("hf", published, streaming=True)


def test_without_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingPart, match=r"pip install 'harken\[hf\]'"):
        import_corpus("hf", tmp_path)
