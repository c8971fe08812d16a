"""The data of the Whisper for streams, and what its benchmark measures."""

from pathlib import Path

import numpy as np
import pytest
from benchmarks import agreement_model
from benchmarks.agreement_model import DIGITS, LEAD_S, draw_stretch, unbroken, widened
from benchmarks.bench_agreement import POLICIES, WERS, compared, end_errors_s, reached
from benchmarks.stream_track import RATE_HZ, Sentence, Track

from harken.core import Word
from harken.inference.config import EngineConfig
from harken.inference.engines import load
from harken.inference.whisper.config import WhisperDecodingConfig
from harken.inference.whisper.recognizer import WhisperRecognizer
from harken.models.pretrained import load_pretrained
from harken.models.pretrained_import import save_parts
from harken.testing import random_whisper

SMALL = {"d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}


def track(sentences: int = 12, words: int = 4, pause_s: float = 2.0) -> Track:
    """Words of 0.4 s with gaps of 0.1 s, and pauses; a sample tells the place of its word, and silence is 0."""
    waveform, made, at_s = [], [], 0.0
    for sentence in range(sentences):
        spans = []
        for place in range(words):
            number = sentence * words + place
            spans.append((DIGITS[number % 10], at_s, at_s + 0.4))
            gap_s = 0.1 if place + 1 < words else pause_s
            waveform += [np.full(round(0.4 * RATE_HZ), (number + 1) / 1000), np.zeros(round(gap_s * RATE_HZ))]
            at_s += 0.4 + gap_s
        made.append(Sentence(words=spans))
    return Track(waveform=np.concatenate(waveform).astype(np.float32), sentences=made)


def heard(waveform: np.ndarray) -> list[int]:
    """The words that a piece of the track holds, by their places."""
    return [round(1000 * float(value)) - 1 for value in np.unique(waveform) if value > 0]


def test_without_pauses_every_word_is_where_its_sound_is() -> None:
    cut = unbroken(track())
    for number, (_, begin_s, end_s) in enumerate(cut.words):
        assert heard(cut.waveform[round(begin_s * RATE_HZ) : round(end_s * RATE_HZ)]) == [number]
        assert end_s - begin_s == pytest.approx(0.4)
    assert [word for word, _, _ in cut.words] == [word for word, _, _ in track().words]
    gaps_s = [after[1] - before[2] for before, after in zip(cut.words, cut.words[1:], strict=False)]
    assert max(gaps_s) == pytest.approx(agreement_model.UNBROKEN_GAP_S)


@pytest.mark.parametrize("longest_s", [stage.longest_s for stage in agreement_model.STAGES])
def test_a_stretch_holds_the_sound_of_its_words_and_at_most_the_end_of_another(longest_s: float) -> None:
    whole, generator = unbroken(track(sentences=40)), np.random.default_rng(0)
    counts = []
    for _ in range(300):
        begin_s, end_s, text = draw_stretch(whole, longest_s, generator)
        assert 0 <= begin_s < end_s <= begin_s + longest_s + 1e-9
        inside = [word for word, first_s, last_s in whole.words if begin_s <= first_s + 1e-9 and last_s <= end_s + 1e-9]
        assert text.split() == inside
        partly = [
            min(last_s, end_s) - max(first_s, begin_s)
            for _, first_s, last_s in whole.words
            if first_s < begin_s < last_s or first_s < end_s < last_s
        ]
        assert max(partly, default=0.0) <= agreement_model.CUT_S + 1e-9
        counts.append(len(inside))
    assert min(counts) == 1
    assert max(counts) >= int(0.8 * (longest_s - LEAD_S) / 0.54)


def test_a_widened_model_keeps_what_was_learnt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agreement_model, "SHAPE", SMALL)
    network = random_whisper(
        tmp_path / "short", languages=("en",), words=DIGITS, seed=5, max_source_positions=200, **SMALL
    )
    wide = load_pretrained(widened(tmp_path / "short", tmp_path / "wide", 16))
    assert wide.features.pad_to_s == 16.0
    learnt, kept = network.state_dict(), wide.model.state_dict()
    positions = "model.encoder.embed_positions.weight"
    assert kept[positions].shape[0] == 800
    np.testing.assert_allclose(kept[positions][:200], learnt[positions])
    for name, tensor in kept.items():
        if name != positions:
            np.testing.assert_array_equal(tensor, learnt[name], err_msg=name)


def test_stages_that_are_done_are_not_done_again_and_one_that_broke_off_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = (*agreement_model.STAGES[:2], agreement_model.STAGES[-1])
    first, second, third = (f"{stage.window_s:g}s" for stage in stages)
    (tmp_path / first / "run" / "model").mkdir(parents=True)
    (tmp_path / second / "run" / "checkpoints").mkdir(parents=True)
    done: list[tuple[object, ...]] = []
    monkeypatch.setattr(agreement_model, "resume", lambda run: done.append(("resume", run)))
    monkeypatch.setattr(agreement_model, "train", lambda recipe, run: done.append((recipe, run)))
    monkeypatch.setattr(agreement_model, "_prepared", lambda home, stage, model: (home, stage.window_s, model))
    model = agreement_model.trained(tmp_path, stages)
    assert model == tmp_path / third / "run" / "model"
    start = (tmp_path / third, 16, tmp_path / second / "run" / "model")
    assert done == [("resume", tmp_path / second / "run"), (start, tmp_path / third / "run")]


def test_ends_of_words_are_compared_with_those_of_the_same_words() -> None:
    made = track(sentences=1)  # zero one two three, which end at 0.4, 0.9, 1.4, 1.9
    ends_s = {"zero": 0.5, "nine": 0.7, "one": 0.8, "three": 2.2}
    words = [Word(text=text, start_s=0.0, end_s=end_s) for text, end_s in ends_s.items()]
    assert end_errors_s(made, words) == pytest.approx([0.1, 0.1, 0.3])


def test_both_policies_and_both_ways_offline_are_compared(tmp_path: Path) -> None:
    random_whisper(tmp_path / "start", languages=("en",), words=DIGITS, max_source_positions=200, **SMALL)
    parts = load_pretrained(tmp_path / "start")
    save_parts(parts, tmp_path / "model", normalizer="basic")
    whisper = WhisperDecodingConfig(beam_size=1, temperatures=(0.0,), max_tokens=4)
    recognizer = load(tmp_path / "model", engine="torch", config=EngineConfig(device="cpu", whisper=whisper))
    assert isinstance(recognizer, WhisperRecognizer)
    figures = compared(recognizer, track(sentences=2, pause_s=0.3))
    rates = {name: figure for name, figure in figures.items() if name.startswith("WER")}
    assert set(rates) == set(WERS)
    assert {figure["words"] for figure in rates.values()} == {8}
    for policy in POLICIES:
        assert figures[f"CPU per audio-second, {policy}"]["value"] > 0


@pytest.mark.parametrize(
    ("streamed", "fixed", "expected"), [(3.0, 9.0, True), (3.1, 9.0, False), (2.0, 2.0, False), (2.0, 2.1, True)]
)
def test_the_target_is_one_point_above_the_better_way_offline(streamed: float, fixed: float, expected: bool) -> None:
    rates = dict(zip(WERS, (2.0, 5.0, streamed, fixed), strict=True))
    assert reached(rates) is expected
