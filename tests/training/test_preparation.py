"""Every reason an utterance is left out for, with its name; nothing disappears in silence."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from harken.core import InputError, Utterance
from harken.data.manifest import read_manifest, write_manifest
from harken.text.tokenize import WordTokenizer
from harken.text.vocabulary import BLANK
from harken.training.assembly import Assembler
from harken.training.labels import CtcLabeller
from harken.training.preparation import (
    Rejection,
    check_audio,
    count_reasons,
    encode_subset,
    full_check,
    header_check,
    read_subset,
    require_some,
)
from harken.training.recipe import DataConfig, Recipe

MakeRecipe = Callable[..., Recipe]


def config(**fields: Any) -> DataConfig:
    return DataConfig(train="train.jsonl", validation="validation.jsonl", **fields)


def make(name: str, *, text: str | None = "ah", duration_s: float = 1.0, audio: str = "/nowhere.wav") -> Utterance:
    return Utterance(id=name, audio=audio, duration_s=duration_s, text=text)


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    def manifest(*utterances: Utterance) -> str:
        write_manifest(tmp_path / "some.jsonl", utterances)
        return str(tmp_path / "some.jsonl")

    return manifest


def test_text_and_length_are_checked_from_the_manifest(write: Callable[..., str]) -> None:
    path = write(
        make("good"),
        make("none", text=None),
        make("empty", text=""),
        make("only-signs", text="?! ..."),
        make("short", duration_s=0.0999),
        make("at-least", duration_s=0.1),
        make("at-most", duration_s=60.0),
        make("long", duration_s=60.1),
    )
    kept, rejected = read_subset(path, samples=None, config=config(), seed=1)
    assert [u.id for u in kept] == ["good", "at-least", "at-most"]
    assert [(r.id, r.reason) for r in rejected] == [
        ("none", "empty text"),
        ("empty", "empty text"),
        ("only-signs", "empty text"),
        ("short", "shorter than min_duration_s"),
        ("long", "longer than max_duration_s"),
    ]
    kept, rejected = read_subset(path, samples=None, config=config(), seed=1, window_s=30.0)
    assert [u.id for u in kept] == ["good", "at-least"]
    assert [(r.id, r.detail) for r in rejected if r.reason == "longer than the model's window"] == [
        ("at-most", "60.00 s > 30 s")
    ]
    _, rejected = read_subset(path, samples=None, config=config(), seed=1)
    assert rejected[3].detail == "0.100 s < 0.1 s"
    assert rejected[4].detail == "60.1 s > 60.0 s"
    assert count_reasons(rejected) == {
        "empty text": 3,
        "shorter than min_duration_s": 1,
        "longer than max_duration_s": 1,
    }


def test_the_sample_limit_draws_by_the_seed_and_keeps_the_order(write: Callable[..., str]) -> None:
    names = [f"u{index:02d}" for index in range(20)]
    path = write(*(make(name) for name in names), make("silent", text=""))
    draws = []
    for seed in (1, 1, 2):
        kept, rejected = read_subset(path, samples=5, config=config(), seed=seed)
        chosen = [u.id for u in kept]
        assert chosen == sorted(chosen)
        assert len(chosen) == 5
        assert count_reasons(rejected) == {"beyond the sample limit": 15, "empty text": 1}
        assert sorted(chosen + [r.id for r in rejected]) == sorted([*names, "silent"])
        draws.append(chosen)
    assert draws[0] == draws[1] != draws[2]
    kept, rejected = read_subset(path, samples=20, config=config(), seed=1)
    assert (len(kept), count_reasons(rejected)) == (20, {"empty text": 1})


@pytest.mark.parametrize("workers", [1, 4])
def test_audio_that_fails_its_check_is_named_and_the_order_stays(workers: int) -> None:
    def check(utterance: Utterance) -> None:
        if utterance.id in ("u2", "u5"):
            raise InputError(f"{utterance.id} is broken.", hint="Mend it.")

    kept, rejected = check_audio([make(f"u{index}") for index in range(7)], check, workers=workers)
    assert [u.id for u in kept] == ["u0", "u1", "u3", "u4", "u6"]
    assert rejected == [
        Rejection(id="u2", reason="unreadable audio", detail="u2 is broken. Mend it."),
        Rejection(id="u5", reason="unreadable audio", detail="u5 is broken. Mend it."),
    ]


def test_errors_of_the_program_are_not_taken_for_bad_audio() -> None:
    def check(utterance: Utterance) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        check_audio([make("a")], check, workers=1)


def test_the_full_check_compares_lengths() -> None:
    samples = {"whole": 8000, "nearly": 7600, "half": 4000}
    check = full_check(lambda u: np.zeros(samples[u.id], np.float32), sample_rate_hz=8000)
    kept, rejected = check_audio([make(name) for name in samples], check, workers=1)
    assert [u.id for u in kept] == ["whole", "nearly"]  # 0.05 s of slack
    assert "has 0.50 s of audio where the manifest says 1.00 s" in rejected[0].detail


def test_the_header_check_compares_lengths(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "one.wav", np.zeros(8000), 8000)
    good = make("good", audio=str(tmp_path / "one.wav"))
    header_check(good)
    header_check(replace(good, offset_s=0.4, duration_s=0.6))
    with pytest.raises(InputError, match=r"has 1\.00 s, but the manifest wants up to 1\.40 s"):
        header_check(replace(good, offset_s=0.4))
    with pytest.raises(InputError):
        header_check(make("absent", audio=str(tmp_path / "two.wav")))


def encode(utterances: list[Utterance], *, training: bool, frames: int = 3) -> Any:
    return encode_subset(
        utterances,
        [Rejection(id="before", reason="empty text")],
        labeller=CtcLabeller(WordTokenizer([BLANK, "ah", "bo"]), lambda u: frames),
        normalizer="basic",
        training=training,
    )


def test_training_utterances_without_usable_labels_are_rejected() -> None:
    items = [
        make("two", text="ah bo"),
        make("twice", text="bo bo"),
        make("more", text="ah bo ah bo"),
        make("no", text="ku"),
    ]
    subset = encode(items, training=True)
    assert [u.id for u in subset.utterances] == ["two", "twice"]
    assert subset.texts == ("ah bo", "bo bo")
    assert subset.labels == ([1, 2], [2, 2])
    assert [(r.id, r.reason) for r in subset.rejected] == [
        ("before", "empty text"),
        ("more", "more labels than frames"),
        ("no", "outside the vocabulary"),
    ]
    assert subset.rejected[1].detail == "4 frames needed for 4 labels, 3 there"
    assert "'ku'" in subset.rejected[2].detail
    assert subset.duration_s == 2.0


def test_a_repeated_label_needs_a_blank_between() -> None:
    subset = encode([make("twice", text="bo bo")], training=True, frames=2)
    assert subset.rejected[1].detail == "3 frames needed for 2 labels, 2 there"


def test_validation_utterances_count_in_the_wer_all_the_same() -> None:
    subset = encode(
        [make("two", text="ah bo"), make("more", text="ah bo ah bo"), make("no", text="Ku!")], training=False
    )
    assert [u.id for u in subset.utterances] == ["two", "more", "no"]
    assert subset.labels == ([1, 2], None, None)
    assert subset.texts == ("ah bo", "ah bo ah bo", "ku")
    assert [r.id for r in subset.rejected] == ["before"]


def test_nothing_left_is_an_error_that_counts_the_reasons() -> None:
    rejected = [Rejection(id=str(i), reason="empty text" if i < 3 else "unreadable audio") for i in range(5)]
    require_some("training", "a.jsonl", [make("one")], rejected)
    with pytest.raises(InputError) as caught:
        require_some("training", "a.jsonl", [], rejected)
    assert "a.jsonl: none of the training utterances can be used (3 empty text, 2 unreadable audio)" in str(
        caught.value
    )
    assert "harken data validate" in caught.value.hint


@pytest.mark.parametrize("check_audio", ["decode", "probe"])
def test_a_corpus_with_one_of_each(tiny_recipe: MakeRecipe, tone_corpus: Any, check_audio: str) -> None:
    folder = tone_corpus.folder
    (folder / "train-00.wav").write_bytes(b"RIFF")
    (folder / "train-01.wav").unlink()
    tone_corpus.edit("train-02", text=" ")
    tone_corpus.edit("train-03", duration_s=61.0)
    tone_corpus.edit("train-04", duration_s=0.05)
    tone_corpus.edit("train-05", text=" ".join(["ah bo"] * 9))
    tone_corpus.edit("train-06", duration_s=5.0)  # the file is shorter
    listed = {u.id for u in read_manifest(tone_corpus.train)}
    _, data = Assembler(tiny_recipe(f"data.check_audio={check_audio}")).assemble(None)
    reasons = {r.id: r.reason for r in data.train.rejected}
    assert reasons == {
        "train-00": "unreadable audio",
        "train-01": "unreadable audio",
        "train-02": "empty text",
        "train-03": "longer than max_duration_s",
        "train-04": "shorter than min_duration_s",
        "train-05": "more labels than frames",
        "train-06": "unreadable audio",
    }
    assert {u.id for u in data.train.utterances} | set(reasons) == listed
    assert data.stages[0].sampler.utterances == len(listed) - len(reasons)
    assert data.validation.rejected == ()


def test_a_saved_tokenizer_decides_what_is_in_the_vocabulary(tiny_recipe: MakeRecipe, tone_corpus: Any) -> None:
    parts, data = Assembler(tiny_recipe()).assemble(WordTokenizer([BLANK, "ah", "bo", "ku"]))
    assert parts.tokenizer.vocab_size == 4
    with_zi = {u.id for u in read_manifest(tone_corpus.train) if "zi" in (u.text or "").split()}
    assert len(with_zi) > 3
    assert {r.id for r in data.train.rejected} == with_zi
    assert {r.reason for r in data.train.rejected} == {"outside the vocabulary"}
    for utterance, labels in zip(data.validation.utterances, data.validation.labels, strict=True):
        assert (labels is None) == ("zi" in (utterance.text or "").split())


def test_a_corpus_with_nothing_usable_is_refused_before_training(tiny_recipe: MakeRecipe, tone_corpus: Any) -> None:
    tone_corpus.change("train", lambda items: [replace(u, text="") for u in items])
    with pytest.raises(InputError, match=r"none of the training utterances can be used \(24 empty text\)"):
        Assembler(tiny_recipe()).assemble(None)


def test_speed_perturbation_counts_against_the_frames(tiny_recipe: MakeRecipe, tone_corpus: Any) -> None:
    # 0.3 s make 28 feature frames and 7 output frames; at double speed 13 and 4.
    tone_corpus.edit("train-00", text="ah bo ku zi ah")
    _, plain = Assembler(tiny_recipe()).assemble(None)
    assert plain.train.rejected == ()
    _, fast = Assembler(tiny_recipe("augmentation.speed.factors=[0.5, 2.0]")).assemble(None)
    rejection = next(r for r in fast.train.rejected if r.id == "train-00")
    assert rejection.reason == "more labels than frames"
    assert rejection.detail == "5 frames needed for 5 labels, 4 there"
