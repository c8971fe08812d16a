"""Whisper's encoder and decoder as two graphs that leave nothing to compute twice.

The encoder gives the keys and values of every cross-attention, which do not change while a text is written. The decoder
takes them, and the keys and values of the tokens before, layer by layer: stacked tensors would be copied apart at every
token. Keys lie transposed, as a product with one query reads them fastest; queries come scaled; queries, keys and
values of one attention are one product.

Shapes: A windows, K hypotheses of each window, T new tokens, S tokens with those before, Q scored tokens, P positions
of the encoder, F feature frames, M mels, D width, H heads, W width of a head, V vocab.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from harken.models.whisper import WhisperSeq2Seq


class Product(nn.Module):
    """Linear maps of one input side by side: (…, in) to (…, sum of their outputs). Weights are copies."""

    weight: Tensor
    bias: Tensor

    def __init__(self, linears: Sequence[nn.Linear], scales: Sequence[float] | None = None) -> None:
        super().__init__()
        factors = scales or [1.0] * len(linears)
        weights = [linear.weight.detach() * factor for linear, factor in zip(linears, factors, strict=True)]
        biases = [_bias(linear) * factor for linear, factor in zip(linears, factors, strict=True)]
        self.register_buffer("weight", torch.cat(weights).t().contiguous())
        self.register_buffer("bias", torch.cat(biases))

    def forward(self, values: Tensor) -> Tensor:
        return values @ self.weight + self.bias


class EncoderGraph(nn.Module):
    """(A, F, M) features to the keys (A, H, W, P) of each decoder layer's cross-attention, then its values
    (A, H, P, W).
    """

    positions: Tensor

    def __init__(self, model: WhisperSeq2Seq) -> None:
        super().__init__()
        encoder, decoder = model.model.encoder, model.model.decoder
        self.heads = int(model.config.decoder_attention_heads)
        self.conv1, self.conv2 = encoder.conv1, encoder.conv2
        self.register_buffer("positions", encoder.embed_positions.weight.detach())
        self.layers = nn.ModuleList(_EncoderLayer(layer) for layer in encoder.layers)
        self.norm = encoder.layer_norm
        attentions = [layer.encoder_attn for layer in decoder.layers]
        self.keys = nn.ModuleList(Product([attention.k_proj]) for attention in attentions)
        self.values = nn.ModuleList(Product([attention.v_proj]) for attention in attentions)

    def forward(self, features_AFM: Tensor) -> tuple[Tensor, ...]:
        gelu = nn.functional.gelu
        hidden_ADP = gelu(self.conv2(gelu(self.conv1(features_AFM.transpose(1, 2)))))
        hidden_APD = hidden_ADP.transpose(1, 2) + self.positions
        for layer in self.layers:
            hidden_APD = layer(hidden_APD)
        hidden_APD = self.norm(hidden_APD)
        keys = [_split(product(hidden_APD), self.heads).permute(0, 2, 3, 1) for product in self.keys]
        values = [_split(product(hidden_APD), self.heads).transpose(1, 2) for product in self.values]
        return (*keys, *values)


class DecoderGraph(nn.Module):
    """Scores of the `wanted` ones of some new tokens, and all they leave for the next.

    In: tokens (A, K, T), wanted (Q,), then of all layers each the cross-attention's keys (A, H, W, P), its values
    (A, H, P, W), the keys (A, K, H, W, S - T) and the values (A, K, H, S - T, W) of the tokens before. Out: scores
    (A, K, Q, V), the keys and the values of all tokens so far, and (A, K, H, T, W) the queries of `query_layers` to the
    cross-attention: with its keys they tell what each token listened to.
    """

    table: Tensor
    positions: Tensor

    def __init__(self, model: WhisperSeq2Seq, query_layers: Sequence[int]) -> None:
        super().__init__()
        decoder = model.model.decoder
        self.query_layers = tuple(query_layers)
        # Transposed, as the output layer reads it: one table for the file to hold, and to round.
        self.register_buffer("table", decoder.embed_tokens.weight.detach().t().contiguous())
        self.register_buffer("positions", decoder.embed_positions.weight.detach())
        self.layers = nn.ModuleList(_DecoderLayer(layer) for layer in decoder.layers)
        self.norm = decoder.layer_norm

    def forward(self, tokens_AKT: Tensor, wanted_Q: Tensor, *caches: Tensor) -> tuple[Tensor, ...]:
        layers = len(self.layers)
        cross_keys, cross_values, past_keys, past_values = (
            caches[place * layers : (place + 1) * layers] for place in range(4)
        )
        windows, hypotheses, new = tokens_AKT.shape
        past = past_values[0].shape[3]
        embedded = self.table.index_select(1, tokens_AKT.reshape(-1)).t().reshape(windows, hypotheses, new, -1)
        places_T = torch.arange(new, device=tokens_AKT.device) + past
        hidden = embedded + self.positions.index_select(0, places_T)
        keys_S = torch.arange(past + new, device=tokens_AKT.device)
        mask_TS = torch.zeros(new, past + new).masked_fill(keys_S[None, :] > places_T[:, None], float("-inf"))
        keys, values, queries = [], [], []
        for place, layer in enumerate(self.layers):
            hidden, key, value, query = layer(
                hidden, mask_TS, cross_keys[place], cross_values[place], past_keys[place], past_values[place]
            )
            keys.append(key)
            values.append(value)
            queries.append(query)
        scores = self.norm(hidden.index_select(2, wanted_Q)) @ self.table
        return (scores, *keys, *values, *(queries[place] for place in self.query_layers))


class _EncoderLayer(nn.Module):
    def __init__(self, layer: Any) -> None:
        super().__init__()
        attention = layer.self_attn
        self.heads = int(attention.num_heads)
        self.attention_norm, self.feed_forward = layer.self_attn_layer_norm, _FeedForward(layer)
        self.joined, self.out = _queries_keys_values(attention), Product([attention.out_proj])

    def forward(self, hidden_APD: Tensor) -> Tensor:
        joined = self.joined(self.attention_norm(hidden_APD)).chunk(3, dim=-1)
        query, key, value = (_split(part, self.heads) for part in joined)
        weights_AHPP = (query.transpose(1, 2) @ key.permute(0, 2, 3, 1)).softmax(-1)
        heard = (weights_AHPP @ value.transpose(1, 2)).transpose(1, 2).flatten(2)
        hidden: Tensor = self.feed_forward(hidden_APD + self.out(heard))
        return hidden


class _DecoderLayer(nn.Module):
    def __init__(self, layer: Any) -> None:
        super().__init__()
        own, cross = layer.self_attn, layer.encoder_attn
        self.heads = int(own.num_heads)
        self.own_norm, self.cross_norm = layer.self_attn_layer_norm, layer.encoder_attn_layer_norm
        self.joined, self.own_out = _queries_keys_values(own), Product([own.out_proj])
        self.query, self.cross_out = Product([cross.q_proj], [float(cross.scaling)]), Product([cross.out_proj])
        self.feed_forward = _FeedForward(layer)

    def forward(
        self, hidden: Tensor, mask_TS: Tensor, cross_key: Tensor, cross_value: Tensor, key: Tensor, value: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        joined = self.joined(self.own_norm(hidden)).chunk(3, dim=-1)
        own_query, new_key, new_value = (_split(part, self.heads) for part in joined)
        key = torch.cat([key, new_key.permute(0, 1, 3, 4, 2)], dim=4)
        value = torch.cat([value, new_value.transpose(2, 3)], dim=3)
        weights = (own_query.transpose(2, 3) @ key + mask_TS).softmax(-1)
        hidden = hidden + self.own_out((weights @ value).transpose(2, 3).flatten(3))
        query = _split(self.query(self.cross_norm(hidden)), self.heads)  # (A, K, T, H, W)
        # All hypotheses of a window listen to the same sound: one product for all their tokens.
        weights = (query.flatten(1, 2).transpose(1, 2) @ cross_key).softmax(-1)
        heard = (weights @ cross_value).transpose(1, 2).flatten(2)
        hidden = hidden + self.cross_out(heard).reshape(hidden.shape)
        return self.feed_forward(hidden), key, value, query.transpose(2, 3)


class _FeedForward(nn.Module):
    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.norm, self.activation = layer.final_layer_norm, layer.activation_fn
        self.wide, self.narrow = Product([layer.fc1]), Product([layer.fc2])

    def forward(self, hidden: Tensor) -> Tensor:
        changed: Tensor = hidden + self.narrow(self.activation(self.wide(self.norm(hidden))))
        return changed


def _queries_keys_values(attention: Any) -> Product:
    return Product([attention.q_proj, attention.k_proj, attention.v_proj], [float(attention.scaling), 1.0, 1.0])


def _split(values: Tensor, heads: int) -> Tensor:
    """(…, D) to (…, H, W)."""
    return values.reshape(*values.shape[:-1], heads, values.shape[-1] // heads)


def _bias(linear: nn.Linear) -> Tensor:
    return linear.weight.new_zeros(linear.out_features) if linear.bias is None else linear.bias.detach()
