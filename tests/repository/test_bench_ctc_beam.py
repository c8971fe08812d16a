"""The benchmark of beam search: data that nothing was chosen on, and its comparison on a little of it."""

from pathlib import Path

import pytest
from benchmarks import bench_ctc_beam as bench


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "SENTENCES", 60)
    monkeypatch.setattr(bench, "VOCABULARY", 400)


def test_other_data_than_the_default_was_chosen_on(small: None) -> None:
    assert bench.SEED > bench.UTTERANCES  # the scores had the seeds of their utterances, from 0 on
    assert set(bench.make_sentences()).isdisjoint(bench.make_sentences(seed=0))


@pytest.mark.filterwarnings("ignore")
def test_the_language_model_has_not_seen_what_is_said(small: None, tmp_path: Path) -> None:
    shapes, sentences = bench.make_shapes(utterances=2)
    assert [len(shape.texts) for shape in shapes] == [2, 2]
    assert set(shapes[0].texts).isdisjoint(sentences)
    assert len(sentences) == 58
    words = bench.write_lm(tmp_path / "lm.arpa", sentences)
    assert words == sorted({word for sentence in sentences for word in sentence.split()})


@pytest.mark.rival
@pytest.mark.filterwarnings("ignore")
def test_it_runs(small: None, tmp_path: Path) -> None:
    pytest.importorskip("pyctcdecode", reason="pip install pyctcdecode")
    (letters, _), sentences = bench.make_shapes(utterances=2)
    arpa = tmp_path / "lm.arpa"
    figures, rivals, _ = bench.compare(letters, arpa, bench.write_lm(arpa, sentences), rounds=1)
    assert figures["32 letters, texts equal to pyctcdecode's"]["unit"] == "of 2 texts"
    assert figures["32 letters, words that differ from pyctcdecode's"]["value"] <= 10
    assert figures["32 letters, LM, WER"]["value"] < figures["32 letters, no LM, WER"]["value"]
    assert sorted(rivals) == ["32 letters, pyctcdecode", "32 letters, pyctcdecode, LM"]
