"""The encoder on its own: positions, padding, lengths, gradients. That it equals NeMo's is in test_importer.py."""

from dataclasses import replace

import pytest
import torch

from harken.models.nemo.encoder import NemoConformerCtc, relative_positions, shift_to_keys
from harken.models.nemo.settings import NemoConformerSettings

STRIDING = NemoConformerSettings(width=16, layers=2, heads=2, kernel=5, expansion=2, subsampling_channels=4)
FAST = replace(STRIDING, subsampling="dw_striding", subsampling_factor=8, untie_biases=False, use_bias=False)
LAYER_NORM = replace(STRIDING, convolution_norm="layer_norm", scale_input=False)
MELS = 20


def make_model(settings: NemoConformerSettings) -> NemoConformerCtc:
    torch.manual_seed(1)
    return NemoConformerCtc(settings, MELS, 7).eval()


def test_shift_to_keys_reads_each_distance() -> None:
    frames = 5
    distances = torch.arange(frames - 1, -frames, -1, dtype=torch.float32)
    scores = distances.expand(1, 1, frames, -1).contiguous()
    t = torch.arange(frames)
    assert torch.equal(shift_to_keys(scores)[0, 0], (t[:, None] - t[None, :]).float())


def test_relative_positions_are_sinusoids_of_the_distance() -> None:
    table = relative_positions(3, 4, torch.zeros(1))
    assert table.shape == (5, 4)
    for row, distance in zip(table, (2, 1, 0, -1, -2), strict=True):
        angle = torch.tensor([distance, distance / 100.0])
        assert torch.allclose(row, torch.stack([angle.sin(), angle.cos()], dim=1).flatten(), atol=1e-6)


@pytest.mark.parametrize("settings", [STRIDING, FAST, LAYER_NORM])
def test_scores_do_not_depend_on_the_neighbours(settings: NemoConformerSettings) -> None:
    model = make_model(settings)
    torch.manual_seed(2)
    features = torch.randn(3, 61, MELS)
    frames = torch.tensor([61, 40, 1])
    with torch.no_grad():
        together, lengths = model(features, frames)
        for i, count in enumerate(frames.tolist()):
            alone, length = model(features[i : i + 1, :count], frames[i : i + 1])
            assert int(length) == int(lengths[i]) == alone.shape[1]
            assert torch.allclose(together[i, : int(length)], alone[0], atol=1e-5)


@pytest.mark.parametrize("settings", [STRIDING, FAST])
def test_output_frames_without_running(settings: NemoConformerSettings) -> None:
    model = make_model(settings)
    for frames in range(1, 40):
        with torch.no_grad():
            scores, lengths = model(torch.zeros(1, frames, MELS), torch.tensor([frames]))
        expected = -(-frames // settings.subsampling_factor)
        assert model.output_frames(torch.tensor([frames])).tolist() == lengths.tolist() == [expected]
        assert scores.shape == (1, expected, 7)
    assert model.output_frames(torch.tensor([0])).tolist() == [0]


@pytest.mark.parametrize("settings", [STRIDING, FAST, LAYER_NORM])
def test_every_weight_learns_and_padding_gives_no_nan(settings: NemoConformerSettings) -> None:
    model = make_model(settings).train()
    scores, lengths = model(torch.randn(2, 50, MELS), torch.tensor([50, 0]))
    assert torch.isfinite(scores).all()
    scores[0, : int(lengths[0])].square().sum().backward()
    for name, weight in model.named_parameters():
        assert weight.grad is not None, name
        assert torch.isfinite(weight.grad).all(), name


def test_runs_under_bfloat16_autocast() -> None:
    model = make_model(STRIDING)
    features, frames = torch.randn(2, 50, MELS), torch.tensor([50, 31])
    with torch.no_grad():
        exact, _ = model(features, frames)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rough, _ = model(features, frames)
    assert rough.dtype == torch.float32
    assert torch.allclose(exact, rough, atol=0.2)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("width", 15, "even multiple"),
        ("heads", 0, "number of heads"),
        ("layers", 0, "layers is 0"),
        ("kernel", 4, "odd"),
        ("subsampling_factor", 3, "2, 4, 8 or 16"),
        ("dropout_attention", 1.0, "dropout_attention is 1.0"),
    ],
)
def test_settings_check_themselves(field: str, value: float, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        replace(STRIDING, **{field: value})
