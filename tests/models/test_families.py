"""Both CTC families answer the same contract."""

import pytest
import torch
from torch import Tensor

from harken.core import InputError, MissingPart
from harken.models.conformer import ConformerCtc, ConformerSettings
from harken.models.family import CtcModel, count_parameters, family_names, find_family
from harken.models.recurrent import RecurrentCtc, RecurrentSettings

DIMENSIONS, VOCAB = 20, 7


def tiny(name: str) -> CtcModel:
    torch.manual_seed(0)
    if name == "recurrent-ctc":
        return RecurrentCtc(RecurrentSettings(width=16, layers=2), DIMENSIONS, VOCAB).eval()
    return ConformerCtc(ConformerSettings(width=16, layers=2, heads=2, kernel=5), DIMENSIONS, VOCAB).eval()


@pytest.fixture(params=["recurrent-ctc", "conformer-ctc"])
def model(request: pytest.FixtureRequest) -> CtcModel:
    return tiny(request.param)


def test_both_families_are_found_by_name() -> None:
    assert {"conformer-ctc", "recurrent-ctc"} <= set(family_names())
    assert find_family("conformer-ctc").name == "conformer-ctc"
    with pytest.raises(MissingPart, match="conformer-ctc"):
        find_family("conformr")


def test_settings_are_checked_at_the_door() -> None:
    with pytest.raises(InputError, match="did you mean 'layers'"):
        find_family("recurrent-ctc").parse({"layer": 3}, source="recipe.yaml")
    with pytest.raises(InputError, match="width is 7"):
        find_family("recurrent-ctc").parse({"width": 7}, source="recipe.yaml")
    with pytest.raises(InputError, match="kernel is 4"):
        find_family("conformer-ctc").parse({"kernel": 4}, source="recipe.yaml")


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 5, 8, 9, 33, 100])
def test_output_frames_are_what_forward_gives(model: CtcModel, frames: int) -> None:
    with torch.no_grad():
        scores, lengths = model(torch.randn(1, frames, DIMENSIONS), torch.tensor([frames]))
    assert lengths.tolist() == [-(-frames // 4)] == model.output_frames(torch.tensor([frames])).tolist()
    assert scores.shape == (1, -(-frames // 4), VOCAB)
    assert torch.isfinite(scores).all()


def test_an_utterance_does_not_depend_on_its_company(model: CtcModel) -> None:
    features = torch.randn(3, 90, DIMENSIONS)
    frames = torch.tensor([90, 41, 7])
    with torch.no_grad():
        together, lengths = model(features, frames)
        for row, count in enumerate(frames.tolist()):
            alone, _ = model(features[row : row + 1, :count], frames[row : row + 1])
            torch.testing.assert_close(together[row, : lengths[row]], alone[0], atol=1e-5, rtol=0)


def test_padding_content_is_ignored_in_training_too(model: CtcModel) -> None:
    model.train()
    frames = torch.tensor([60, 33])
    features = torch.randn(2, 60, DIMENSIONS)
    other = features.clone()
    other[1, 33:] = 1e3
    first = model(features, frames)[0]
    second = model(other, frames)[0]
    torch.testing.assert_close(first[1, :9], second[1, :9], atol=1e-5, rtol=0)


def test_bidirectional_layer_equals_a_packed_lstm() -> None:
    layer = tiny("recurrent-ctc").layers[0]  # type: ignore[index]
    lstm = torch.nn.LSTM(16, 8, batch_first=True, bidirectional=True)
    with torch.no_grad():
        for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            getattr(lstm, f"{kind}_l0").copy_(getattr(layer.ahead, f"{kind}_l0"))
            getattr(lstm, f"{kind}_l0_reverse").copy_(getattr(layer.back, f"{kind}_l0"))
        x, lengths = torch.randn(3, 12, 16), torch.tensor([12, 7, 1])
        packed = torch.nn.utils.rnn.pack_padded_sequence(layer.norm(x), lengths, batch_first=True)
        expected, _ = torch.nn.utils.rnn.pad_packed_sequence(lstm(packed)[0], batch_first=True)
        got = layer(x, lengths) - x
    for row, count in enumerate(lengths.tolist()):
        torch.testing.assert_close(got[row, :count], expected[row, :count], atol=1e-6, rtol=0)


def first_change(model: CtcModel, features: Tensor, changed_from: int) -> int:
    """First output frame that differs when features from `changed_from` on are replaced."""
    frames = torch.tensor([features.shape[1]])
    other = features.clone()
    other[:, changed_from:] = torch.randn_like(other[:, changed_from:])
    with torch.no_grad():
        difference = (model(features, frames)[0] - model(other, frames)[0]).abs().amax(-1)[0]
    return int((difference > 1e-6).nonzero()[0])


def test_chunked_conformer_does_not_look_past_its_chunk() -> None:
    settings = ConformerSettings(width=16, layers=3, heads=2, kernel=5, chunk_frames=4, left_chunks=1)
    torch.manual_seed(1)
    model = ConformerCtc(settings, DIMENSIONS, VOCAB).eval()
    features = torch.randn(1, 128, DIMENSIONS)
    # Output frame t needs features up to 4 t + 6; frames before the chunk that holds the change stay as they were.
    assert first_change(model, features, 80) >= (80 - 6) // 4 // 4 * 4
    full = ConformerCtc(ConformerSettings(width=16, layers=3, heads=2, kernel=5), DIMENSIONS, VOCAB).eval()
    assert first_change(full, features, 80) == 0


def test_masked_batch_norm_equals_torch_on_full_batches() -> None:
    from harken.models.conformer import MaskedBatchNorm

    ours, theirs = MaskedBatchNorm(5), torch.nn.BatchNorm1d(5)
    x = torch.randn(4, 9, 5)
    mask = torch.ones(4, 9, dtype=torch.bool)
    torch.testing.assert_close(ours(x, mask), theirs(x.transpose(1, 2)).transpose(1, 2), atol=1e-5, rtol=0)
    torch.testing.assert_close(ours.running_mean, theirs.running_mean, atol=1e-6, rtol=0)
    torch.testing.assert_close(ours.running_variance, theirs.running_var, atol=1e-6, rtol=0)


def test_reference_sizes() -> None:
    assert count_parameters(RecurrentCtc(RecurrentSettings(), 80, 12)) == 710_412
    assert count_parameters(ConformerCtc(ConformerSettings(), 80, 12)) == 2_096_940
