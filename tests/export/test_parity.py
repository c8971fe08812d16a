"""The check at the end of an export, on scorers whose mistakes are known."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from harken.core import RunFailed
from harken.export.parity import LIMITS, Parity, ParityLimits, check_parity, measure_parity, reference_clips
from harken.text.tokenize import WordTokenizer

Array = npt.NDArray[np.float32]
TOKENIZER = WordTokenizer(["<pad>", "one", "three", "two"])
ITEMS = [("a", [1, 0, 2], "one three"), ("b", [3], "two"), ("c", [1, 1, 0, 1], "one two")]  # c is heard as "one one"


def features(ids: list[int]) -> Array:
    return np.eye(4, dtype=np.float32)[ids] * 5


def original(features_BFM: Array, frames_B: npt.NDArray[np.int64]) -> tuple[Array, npt.NDArray[np.int64]]:
    """Features are scores already."""
    return features_BFM - np.log(np.exp(features_BFM).sum(-1, keepdims=True)), frames_B


def parity_of(change: Callable[[Array], Array], *, texts: bool = True) -> Parity:
    def exported(features_BFM: Array, frames_B: npt.NDArray[np.int64]) -> tuple[Array, npt.NDArray[np.int64]]:
        scores_BTV, lengths_B = original(features_BFM, frames_B)
        return change(scores_BTV), lengths_B

    items = [(name, features(ids), text if texts else None) for name, ids, text in ITEMS]
    clips = reference_clips(original, TOKENIZER, items)
    assert [clip.greedy for clip in clips] == ["one three", "two", "one one"]
    return measure_parity(exported, TOKENIZER, clips, audio_s=3.0, normalizer="basic")


def test_the_same_scores_pass_everything() -> None:
    parity = parity_of(lambda scores: scores)
    assert parity == Parity(
        clips=3, audio_s=3.0, comparisons=6, largest_difference=0.0, texts_differing=0, cer=0.0, wer=0.2,
        wer_original=0.2,
    )  # fmt: skip
    assert all(parity.failures(limits) == [] for limits in LIMITS.values())


def test_a_difference_in_padded_batches_only_is_seen() -> None:
    def leak(scores_BTV: Array) -> Array:
        return scores_BTV + (0.5 if len(scores_BTV) > 1 else 0.0)

    parity = parity_of(leak)
    assert parity.largest_difference == pytest.approx(0.5)
    assert parity.texts_differing == 0
    assert parity.failures(LIMITS["fp32"]) == ["log probabilities differ by 0.5 (limit 0.001)"]
    with pytest.raises(RunFailed, match=r"model\.onnx does not say .* differ by 0\.5 \(limit 0\.001\)"):
        check_parity(parity, LIMITS["fp32"], name="model.onnx")


def test_other_texts_are_counted_and_rated() -> None:
    def deaf_to_two(scores_BTV: Array) -> Array:
        found = scores_BTV.copy()
        found[:, :, 3] = -20.0
        found[:, :, 0] = np.where(scores_BTV.argmax(-1) == 3, 0.0, found[:, :, 0])
        return found

    parity = parity_of(deaf_to_two)
    assert parity.texts_differing == 2  # "two" is lost, alone and in a batch
    assert parity.wer == pytest.approx(0.4)
    assert parity.wer_original == pytest.approx(0.2)
    assert len(parity.failures(LIMITS["int8"])) == 1
    assert "WER rises from" in parity.failures(LIMITS["int8"])[0]


def test_characters_decide_where_nothing_is_known_to_be_said() -> None:
    parity = parity_of(lambda scores: scores[:, :, [0, 3, 2, 1]], texts=False)  # "one" for "two" and back
    assert parity.wer is None
    assert parity.wer_original is None
    assert parity.cer > 0.05
    assert "of the characters differ (limit 5%)" in parity.failures(LIMITS["int8"])[0]


def test_scores_that_are_no_numbers_fail_every_limit() -> None:
    parity = parity_of(lambda scores: np.where(scores == scores.max(), np.nan, scores))
    for limits in (*LIMITS.values(), ParityLimits()):
        assert "the scores are not all finite" in parity.failures(limits)
    assert parity.record(LIMITS["fp32"])["largest_difference"] is None


def test_another_number_of_frames_is_an_infinite_difference() -> None:
    parity = parity_of(lambda scores: scores[:, :-1])
    assert parity.largest_difference == float("inf")
