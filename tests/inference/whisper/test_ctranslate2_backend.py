"""CTranslate2 gives what PyTorch gives on the same weights, whose own search this checks at the same time."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harken.core import InputError, MissingPart
from harken.export.clips import Clip
from harken.export.ctranslate2 import export_ctranslate2
from harken.inference.whisper.backend import Search
from harken.inference.whisper.ctranslate2_backend import CTranslate2Backend, share_threads
from harken.inference.whisper.special import never_text

pytest.importorskip("ctranslate2")


@pytest.fixture(scope="module")
def exported(whisper: Any) -> Path:
    noise = np.random.default_rng(0).standard_normal(9_000).astype(np.float32) * 0.1
    export_ctranslate2(whisper.folder, precision="fp32", clips=[Clip(name="noise", waveform=noise)])
    return Path(whisper.folder) / "ctranslate2"


def open_backend(whisper: Any, folder: Path, **options: Any) -> CTranslate2Backend:
    return CTranslate2Backend(
        folder, whisper.tokenizer, window_frames=150, longest_tokens=200, **{"device": "cpu", "threads": 1, **options}
    )


@pytest.fixture(scope="module")
def backend(whisper: Any, exported: Path) -> CTranslate2Backend:
    return open_backend(whisper, exported)


@pytest.fixture(scope="module")
def sound() -> np.ndarray:
    return np.random.default_rng(3).standard_normal((5, 150, 80)).astype(np.float32)


def test_its_sizes_are_those_of_the_model(whisper: Any, backend: CTranslate2Backend) -> None:
    torch_backend = whisper.backend
    for name in ("window_frames", "dimensions", "longest_tokens", "vocab_rows"):
        assert getattr(backend, name) == getattr(torch_backend, name)


@pytest.mark.parametrize("timestamps", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"beam_size": 2},
        {"beam_size": 5, "length_penalty": 0.6},
        {"beam_size": 3, "repetition_penalty": 1.4},
        {"no_repeat_ngram": 2},
        {"beam_size": 2, "max_tokens": 150},
    ],
)
def test_tokens_and_scores_are_those_of_torch(
    whisper: Any, backend: CTranslate2Backend, sound: np.ndarray, timestamps: bool, options: dict[str, Any]
) -> None:
    suppress = never_text(whisper.tokenizer, vocab_rows=backend.vocab_rows, timestamps=timestamps)
    values = {"max_tokens": 25, **options}
    search = Search(suppress=suppress, timestamps=timestamps, latest_first=20, **values)
    plain = whisper.tokenizer.prompt(language="ru", timestamps=timestamps)
    before = [whisper.tokenizer.token_id("<|startofprev|>"), *whisper.tokenizer.encode("said before")]
    for prompt in (plain, [*before, *plain]):
        rows = [one.generate(one.encode(sound), [prompt] * len(sound), search) for one in (whisper.backend, backend)]
        assert [row.ids for row in rows[1]] == [row.ids for row in rows[0]]
        assert all(len(row.ids) <= values["max_tokens"] for row in rows[1])
        for mine, theirs in zip(*rows, strict=True):
            assert theirs.average_log_prob == pytest.approx(mine.average_log_prob, abs=1e-4)
            assert theirs.no_speech_prob == pytest.approx(mine.no_speech_prob, rel=1e-3)


def test_languages_are_those_of_torch(whisper: Any, backend: CTranslate2Backend, sound: np.ndarray) -> None:
    mine, theirs = (one.detect(one.encode(sound)) for one in (whisper.backend, backend))
    for a, b in zip(mine, theirs, strict=True):
        assert a == pytest.approx(b, abs=1e-5)
        assert set(a) == {"en", "uz", "ru"}


def test_alignment_is_that_of_torch(whisper: Any, backend: CTranslate2Backend, sound: np.ndarray) -> None:
    prompt = whisper.tokenizer.prompt(language="ru", timestamps=True)
    texts = [whisper.tokenizer.encode(text) for text in ("one two three", "a", "four", "five six", "b")]
    frames = [150, 150, 90, 31, 3]
    mine, theirs = (one.align(one.encode(sound), prompt, texts, frames) for one in (whisper.backend, backend))
    for a, b, text, count in zip(mine, theirs, texts, frames, strict=True):
        np.testing.assert_array_equal(a.positions, b.positions)
        np.testing.assert_allclose(a.probabilities, b.probabilities, rtol=1e-3)
        assert len(b.positions) == len(text) + 1
        assert b.positions.max() <= count // 2
        assert (np.diff(b.positions) >= 0).all()


def test_a_part_of_what_was_encoded(whisper: Any, backend: CTranslate2Backend, sound: np.ndarray) -> None:
    encoded = backend.encode(sound)
    part = encoded.take([3, 1])
    assert (len(encoded), len(part)) == (5, 2)
    prompt, search = whisper.tokenizer.prompt(language="en"), Search(max_tokens=8)
    rows = backend.generate(encoded, [prompt] * 5, search)
    assert backend.generate(part, [prompt] * 2, search) == [rows[3], rows[1]]


def test_draws_begin_with_the_seed_of_the_loaded_model(whisper: Any, exported: Path, sound: np.ndarray) -> None:
    prompt = whisper.tokenizer.prompt(language="en")
    search = Search(max_tokens=10, temperature=1.0, best_of=3, seeds=(0,) * 5)
    found = []
    for seed in (1, 1, 2):
        fresh = open_backend(whisper, exported, seed=seed)
        found.append([fresh.generate(fresh.encode(sound), [prompt] * 5, search) for _ in range(2)])
    assert found[0] == found[1]
    assert found[0] != found[2]
    assert found[0][0] != found[0][1]


def test_an_empty_text_counts_as_sure(whisper: Any, backend: CTranslate2Backend, sound: np.ndarray) -> None:
    everything = tuple(id_ for id_ in range(backend.vocab_rows) if id_ != whisper.tokenizer.end)
    prompt = whisper.tokenizer.prompt(language="en")
    for beams in (1, 2):
        search = Search(max_tokens=3, beam_size=beams, suppress=everything)
        found = backend.generate(backend.encode(sound[:1]), [prompt], search)[0]
        assert found.ids == []
        assert found.average_log_prob == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(
    ("threads", "workers", "each"), [(1, 1, 1), (2, 2, 1), (3, 3, 1), (4, 2, 2), (8, 2, 4), (16, 4, 4), (64, 16, 4)]
)
def test_threads_are_shared_among_workers(threads: int, workers: int, each: int) -> None:
    assert share_threads(threads) == (workers, each)


def test_several_workers_give_what_one_gives(whisper: Any, exported: Path, sound: np.ndarray) -> None:
    prompt, search = whisper.tokenizer.prompt(language="en"), Search(max_tokens=20, beam_size=2)
    one, three = (open_backend(whisper, exported, threads=threads) for threads in (1, 3))
    assert (one._workers, three._workers) == (1, 3)
    found = [each.generate(each.encode(sound), [prompt] * 5, search) for each in (one, three)]
    assert [row.ids for row in found[0]] == [row.ids for row in found[1]]
    assert len({tuple(row.ids) for row in found[0]}) > 1


def test_refusals(whisper: Any, backend: CTranslate2Backend, exported: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="features are 100 frames of 80; this Whisper reads 150"):
        backend.encode(np.zeros((1, 100, 80), np.float32))
    with pytest.raises(MissingPart, match="cannot load"):
        open_backend(whisper, tmp_path)
    with pytest.raises(InputError, match=r"cannot load .* on tpu"):
        open_backend(whisper, exported, device="tpu")
