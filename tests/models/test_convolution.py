"""Against PyTorch's convolution and transformers' feature encoders, forward and backward."""

from typing import Any

import pytest
import torch
from torch import nn

from harken.models.convolution import convolve, encode_samples, encode_samples_in_graph

transformers = pytest.importorskip("transformers")


@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (2, 2), (7, 2), (2, 3), (1, 1), (4, 1)])
@pytest.mark.parametrize("bias", [False, True])
def test_convolution_and_gradients_are_those_of_pytorch(kernel: int, stride: int, bias: bool) -> None:
    torch.manual_seed(0)
    conv = nn.Conv1d(5, 7, kernel, stride=stride, bias=bias).double()
    x = torch.randn(3, 12, 5, dtype=torch.double, requires_grad=True)
    expected = conv(x.transpose(1, 2)).transpose(1, 2)
    result = convolve(x, conv.weight, conv.bias, stride=stride)[:, : expected.shape[1]]
    torch.testing.assert_close(result, expected)
    upstream, inputs = torch.randn_like(expected), [x, *conv.parameters()]
    for mine, theirs in zip(
        torch.autograd.grad(result, inputs, upstream), torch.autograd.grad(expected, inputs, upstream), strict=True
    ):
        torch.testing.assert_close(mine, theirs)


def test_autocast_computes_in_its_type() -> None:
    x, weight = torch.randn(2, 8, 4), torch.randn(6, 4, 3, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = convolve(x, weight, None, stride=2)
    assert result.dtype == torch.bfloat16
    torch.testing.assert_close(result.float(), convolve(x, weight, None, stride=2), atol=0.1, rtol=0.05)
    result.float()[:, :3].sum().backward()
    assert weight.grad is not None
    assert weight.grad.dtype == torch.float32


def feature_encoder(kind: str, norm: str) -> Any:
    torch.manual_seed(1)
    config = getattr(transformers, f"{kind}Config")(
        conv_dim=(8,) * 7, feat_extract_norm=norm, conv_bias=norm == "layer", hidden_size=16, num_hidden_layers=1,
        num_attention_heads=2, num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=2,
    )  # fmt: skip
    encoder = getattr(transformers, f"{kind}Model")(config).eval().feature_extractor
    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            if "norm" in name:
                parameter.uniform_(0.5, 1.5)
    return encoder


@pytest.mark.parametrize("norm", ["group", "layer"])
@pytest.mark.parametrize("kind", ["Wav2Vec2", "Hubert", "WavLM"])
@pytest.mark.parametrize("samples", [400, 401, 3000, 16003])
def test_feature_encoder_and_gradients_are_those_of_transformers(kind: str, norm: str, samples: int) -> None:
    encoder = feature_encoder(kind, norm)
    waveforms = torch.randn(2, samples) + 0.3
    expected = encoder(waveforms.clone()).transpose(1, 2)
    result = encode_samples(encoder.conv_layers, waveforms, torch.tensor([samples, samples]))
    torch.testing.assert_close(result, expected, atol=2e-5, rtol=1e-4)
    upstream, weights = torch.randn_like(expected), list(encoder.parameters())
    for mine, theirs in zip(
        torch.autograd.grad(result, weights, upstream), torch.autograd.grad(expected, weights, upstream), strict=True
    ):
        torch.testing.assert_close(mine, theirs, atol=2e-4 * float(theirs.abs().max()) + 1e-7, rtol=0)


@pytest.mark.parametrize("norm", ["group", "layer"])
def test_an_utterance_is_encoded_as_it_is_alone(norm: str) -> None:
    encoder = feature_encoder("Wav2Vec2", norm)
    waveforms = torch.randn(2, 9000)
    waveforms[1, 4000:] = 0
    together = encode_samples(encoder.conv_layers, waveforms, torch.tensor([9000, 4000]))
    alone = encode_samples(encoder.conv_layers, waveforms[1:, :4000], torch.tensor([4000]))
    torch.testing.assert_close(together[1:, : alone.shape[1]], alone, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("norm", ["group", "layer"])
@pytest.mark.parametrize("samples", [400, 719, 16003])
def test_the_form_for_graphs_gives_the_same_frames(norm: str, samples: int) -> None:
    encoder = feature_encoder("Wav2Vec2", norm)
    waveforms, samples_B = torch.randn(2, samples), torch.tensor([samples, 400])
    expected = encode_samples(encoder.conv_layers, waveforms, samples_B)
    result = encode_samples_in_graph(encoder.conv_layers, waveforms, samples_B)
    assert result.shape[1] == -(-samples // 320)
    torch.testing.assert_close(result[:1, : expected.shape[1]], expected[:1], atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(result[1:, :1], expected[1:, :1], atol=2e-5, rtol=1e-4)
