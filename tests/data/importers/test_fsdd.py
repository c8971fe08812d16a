from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from harken.core import InputError
from harken.data.importers import import_corpus
from harken.data.importers.fsdd import import_fsdd
from harken.testing import check_importer

SaveTone = Callable[..., Path]


def test_names_become_texts_speakers_and_splits(tmp_path: Path, save_tone: SaveTone) -> None:
    for name in ("7_jackson_4", "0_de_la_cruz_5", "9_jackson_12", "10_jackson_1", "7_jackson", "x"):
        save_tone(tmp_path / "recordings" / f"{name}.wav", rate=8_000, seconds=0.3)
    (tmp_path / "recordings" / "1_george_0.wav").write_bytes(b"")
    utterances, rejections = check_importer(import_fsdd, tmp_path, 7)
    assert [(item.id, item.text, item.speaker, item.language, dict(item.tags)) for item in utterances] == [
        ("0_de_la_cruz_5", "zero", "de_la_cruz", "en", {"index": "5", "split": "train"}),
        ("7_jackson_4", "seven", "jackson", "en", {"index": "4", "split": "test"}),
        ("9_jackson_12", "nine", "jackson", "en", {"index": "12", "split": "train"}),
    ]
    assert sorted(item for item, _ in rejections) == ["10_jackson_1.wav", "1_george_0.wav", "7_jackson.wav", "x.wav"]
    assert check_importer(import_fsdd, tmp_path / "recordings", 7)[0] == utterances


def test_a_folder_of_other_audio_is_refused(tmp_path: Path, save_tone: SaveTone) -> None:
    save_tone(tmp_path / "a.wav")
    with pytest.raises(InputError, match=r"no files named like 7_jackson_32\.wav"):
        check_importer(import_fsdd, tmp_path, 1)


@pytest.mark.shared
def test_the_real_data_set(shared_fsdd: Path) -> None:
    result = import_corpus("fsdd", shared_fsdd)
    assert (len(result.utterances), result.rejected) == (2500, ())
    assert Counter(item.tags["split"] for item in result.utterances) == {"train": 2250, "test": 250}
    assert set(Counter((item.speaker, item.text) for item in result.utterances).values()) == {50}
    assert {item.speaker for item in result.utterances} == {"george", "jackson", "lucas", "nicolas", "yweweler"}
