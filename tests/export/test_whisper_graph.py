"""The two graphs compute what transformers' own model computes, a token at a time and for several hypotheses."""

from pathlib import Path
from typing import Any

import pytest
import torch

from harken.export.whisper_graph import DecoderGraph, EncoderGraph
from harken.models.whisper import WhisperSeq2Seq, load_whisper
from harken.testing import random_whisper


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, WhisperSeq2Seq]:
    folder: Path = tmp_path_factory.mktemp("pretrained")
    network = random_whisper(folder, seed=1, init_std=0.15)
    with torch.no_grad():  # of the attentions, which start at zero
        for name, parameter in network.named_parameters():
            if name.endswith("proj.bias"):
                parameter.normal_(std=0.3, generator=torch.Generator().manual_seed(len(name)))
    network.save_pretrained(folder)
    model = load_whisper(folder).model
    assert isinstance(model, WhisperSeq2Seq)
    return network, model


@torch.no_grad()
def test_steps_of_several_hypotheses(pair: tuple[Any, WhisperSeq2Seq]) -> None:
    network, model = pair
    encoder, decoder = EncoderGraph(model).eval(), DecoderGraph(model, [1]).eval()
    draw = torch.Generator().manual_seed(3)
    windows, hypotheses, length = 2, 3, 7
    features = torch.randn(windows, 150, 80, generator=draw)
    tokens = torch.randint(0, 256, (windows, hypotheses, length), generator=draw)
    cross = encoder(features)
    assert [tuple(part.shape) for part in cross] == [(2, 2, 32, 75)] * 2 + [(2, 2, 75, 32)] * 2
    rows = windows * hypotheses
    expected = network(
        input_features=features.transpose(1, 2).repeat_interleave(hypotheses, 0),
        decoder_input_ids=tokens.reshape(rows, length),
    ).logits.reshape(windows, hypotheses, length, -1)
    caches = [torch.zeros(windows, hypotheses, 2, 32, 0)] * 2 + [torch.zeros(windows, hypotheses, 2, 0, 32)] * 2
    first = 0
    for end, wanted in ((4, [1, 3]), (5, [0]), (7, [0, 1])):
        scores, *rest = decoder(tokens[:, :, first:end], torch.tensor(wanted), *cross, *caches)
        caches = rest[:4]
        torch.testing.assert_close(scores, expected[:, :, [first + place for place in wanted]], atol=1e-4, rtol=1e-4)
        first = end
    assert tuple(rest[4].shape) == (2, 3, 2, 2, 32)


@torch.no_grad()
def test_queries_and_keys_give_the_attention(pair: tuple[Any, WhisperSeq2Seq]) -> None:
    network, model = pair
    network.config._attn_implementation = "eager"
    encoder, decoder = EncoderGraph(model).eval(), DecoderGraph(model, [0, 1]).eval()
    features = torch.randn(1, 150, 80, generator=torch.Generator().manual_seed(4))
    tokens = torch.arange(5)[None]
    expected = network(
        input_features=features.transpose(1, 2), decoder_input_ids=tokens, output_attentions=True
    ).cross_attentions
    cross = encoder(features)
    empty = [torch.zeros(1, 1, 2, 32, 0)] * 2 + [torch.zeros(1, 1, 2, 0, 32)] * 2
    found = decoder(tokens[None], torch.arange(5), *cross, *empty)
    for layer, query in enumerate(found[5:]):
        torch.testing.assert_close((query[:, 0] @ cross[layer]).softmax(-1), expected[layer], atol=1e-5, rtol=1e-4)
