"""The synthetic corpus of Uzbek, Russian and mixed sentences."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from harken.core import InputError, Utterance
from harken.data.code_switched import VARIANTS, VOCABULARY, code_switched_corpus
from harken.data.manifest import read_manifest

pytest.importorskip("espeakng_loader")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Utterance]]:
    folder = tmp_path_factory.mktemp("switching") / "a"
    return folder, code_switched_corpus(folder, utterances=40, seed=3)


def test_files_and_manifest_say_the_same(corpus: tuple[Path, list[Utterance]]) -> None:
    folder, utterances = corpus
    assert read_manifest(folder / "manifest.jsonl") == utterances
    assert sorted(path.name for path in folder.iterdir()) == ["audio", "manifest.jsonl"]
    for utterance in utterances:
        waveform, rate_hz = soundfile.read(utterance.audio, dtype="float32")
        assert (rate_hz, waveform.ndim) == (16_000, 1)
        assert len(waveform) / rate_hz == utterance.duration_s
        assert np.abs(waveform).max() > 0.05
        words = (utterance.text or "").split()
        assert 0.12 * len(words) < utterance.duration_s < 1.2 * len(words) + 0.6


def test_shares_and_labels(corpus: tuple[Path, list[Utterance]]) -> None:
    utterances = corpus[1]
    assert Counter(item.language for item in utterances) == {"mixed": 16, "uz": 12, "ru": 12}
    for language in ("mixed", "uz", "ru"):
        kinds = Counter(item.tags["noise"] for item in utterances if item.language == language)
        assert kinds["clean"] == kinds["noisy"]
    for item in utterances:
        words, labels = (item.text or "").split(), item.extra["word_languages"]
        assert len(words) == len(labels)
        assert set(labels) == ({"uz", "ru"} if item.language == "mixed" else {item.language})
        for word, label in zip(words, labels, strict=True):
            assert all("а" <= letter <= "ё" for letter in word) == (label == "ru")
            phrases = (phrase for kind in VOCABULARY[label].values() for phrase in kind)
            assert any(word in phrase.split() for phrase in phrases)


def test_no_speaker_is_in_both_splits(corpus: tuple[Path, list[Utterance]]) -> None:
    speakers: dict[str, set[str | None]] = {"train": set(), "test": set()}
    for item in corpus[1]:
        speakers[item.tags["split"]].add(item.speaker)
        assert (item.tags["variant"] in VARIANTS[-2:]) == (item.tags["split"] == "test")
    assert not speakers["train"] & speakers["test"]


def test_noise_is_heard_in_the_silence_at_the_edges(corpus: tuple[Path, list[Utterance]]) -> None:
    for item in corpus[1]:
        edge = soundfile.read(item.audio, dtype="float32")[0][:1_500]
        assert (np.abs(edge).max() > 0) == (item.tags["noise"] == "noisy")


def test_the_scorer_takes_the_labels(corpus: tuple[Path, list[Utterance]]) -> None:
    from harken.evaluation.code_switching.word_languages import labels_of

    assert labels_of(corpus[1]) == [item.extra["word_languages"] for item in corpus[1]]


def test_the_same_arguments_give_the_same_bytes(corpus: tuple[Path, list[Utterance]], tmp_path: Path) -> None:
    folder, _ = corpus
    for _ in range(2):  # the second time into a folder that has them already
        code_switched_corpus(tmp_path, utterances=40, seed=3)
        for path in sorted((folder / "audio").iterdir()):
            assert path.read_bytes() == (tmp_path / "audio" / path.name).read_bytes()
        assert (folder / "manifest.jsonl").read_bytes() == (tmp_path / "manifest.jsonl").read_bytes()
    with_another_seed = code_switched_corpus(tmp_path / "other", utterances=40, seed=4)
    assert [item.text for item in with_another_seed] != [item.text for item in corpus[1]]


def test_own_words_and_extremes(tmp_path: Path) -> None:
    words = {"uz": {"a": ("bir ikki",)}, "ru": {"a": ("три",)}}
    made = code_switched_corpus(
        tmp_path, utterances=3, mixed_share=1, noisy_share=0, vocabulary=words, templates=[("a", "a")], variants=["m1"]
    )
    assert {item.text for item in made} <= {"bir ikki три", "три bir ikki"}
    assert all(item.language == "mixed" and item.tags == {"noise": "clean", "split": "train", "variant": "m1"}
               for item in made)  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"utterances": 0}, "utterances is 0"),
        ({"mixed_share": 1.5}, r"mixed_share is 1\.5"),
        ({"snr_db": (9.0, 3.0)}, "snr_db is"),
        ({"variants": ()}, "variants is"),
        ({"variants": ("m1", "m1")}, "variants is"),
        ({"templates": [("digit",)]}, "fewer than two"),
        ({"templates": [("digit", "verb")]}, "no phrases of the kind 'verb'"),
        ({"vocabulary": {"uz": {"a": ("bir",)}}}, "1 languages"),
        ({"variants": ("nobody",)}, "nobody"),
    ],
)
def test_wrong_arguments(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        code_switched_corpus(tmp_path, **{"utterances": 2, **change})
    assert not list(tmp_path.rglob("*.flac"))
