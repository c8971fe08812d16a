"""Whisper's network in PyTorch.

Shapes: B windows, F feature frames, M mels, P positions of the encoder, D width, N hypotheses, T tokens, V vocab,
H attention heads.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import get_ident
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from harken.core import InputError
from harken.inference.whisper.backend import Alignment, Generated, Search
from harken.inference.whisper.rules import Ids, Scores, TokenRules
from harken.inference.whisper.search import find_best
from harken.inference.whisper.special import alignment_heads, special_ids
from harken.inference.whisper.word_times import align_tokens
from harken.models.whisper import WhisperSeq2Seq
from harken.text.whisper_tokenizer import START, WhisperTokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchEncoded:
    """(B, P, D) on the model's device."""

    encoded_BPD: Tensor

    def __len__(self) -> int:
        return len(self.encoded_BPD)

    def take(self, rows: Sequence[int]) -> Self:
        if list(rows) == list(range(len(self))):
            return self
        return type(self)(encoded_BPD=self.encoded_BPD[list(rows)])


class TorchWhisperBackend:
    """Answers `WhisperBackend` with a WhisperSeq2Seq, on the device it lies on."""

    def __init__(self, model: WhisperSeq2Seq, tokenizer: WhisperTokenizer) -> None:
        self.model = model.eval()
        self._languages = tokenizer.languages
        self._start = tokenizer.token_id(START)
        self._special = special_ids(tokenizer, end_id=model.end_id)
        generation = model.settings.generation
        self._suppressed = _ids(generation.get("suppress_tokens"))
        self._suppressed_first = _ids(generation.get("begin_suppress_tokens"))
        config = model.config
        self._heads = alignment_heads(generation, layers=config.decoder_layers, heads=config.decoder_attention_heads)

    @property
    def window_frames(self) -> int:
        return self.model.window_frames

    @property
    def dimensions(self) -> int:
        return int(self.model.config.num_mel_bins)

    @property
    def longest_tokens(self) -> int:
        return self.model.longest_tokens

    @property
    def vocab_rows(self) -> int:
        return int(self.model.config.vocab_size)

    def encode(self, features_BFM: npt.NDArray[np.float32]) -> TorchEncoded:
        device = self.model.model.encoder.conv1.weight.device
        with torch.inference_mode():
            return TorchEncoded(encoded_BPD=self.model.encode(torch.from_numpy(features_BFM).to(device)))

    def detect(self, encoded: TorchEncoded) -> list[dict[str, float]]:
        codes, ids = list(self._languages), list(self._languages.values())
        start = torch.full((len(encoded), 1), self._start, device=encoded.encoded_BPD.device)
        with torch.inference_mode():
            scores_BV = self.model.score_tokens(encoded.encoded_BPD, start)[:, 0]
            rows = scores_BV[:, ids].softmax(-1).tolist()
        return [dict(zip(codes, row, strict=True)) for row in rows]

    def generate(self, encoded: TorchEncoded, prompts: Sequence[Sequence[int]], search: Search) -> list[Generated]:
        if len({len(prompt) for prompt in prompts}) != 1:
            raise InputError(
                f"The prompts have {sorted({len(prompt) for prompt in prompts})} tokens.", hint="Give them one length."
            )
        rules = TokenRules(self._special, search, suppressed=self._suppressed, suppressed_first=self._suppressed_first)
        with torch.inference_mode():
            decoder = _CachedDecoder(self.model, encoded.encoded_BPD, prompts, no_speech=self._special.no_speech)
            best = find_best(decoder, rules, search, end_id=self._special.end)
        return [
            Generated(ids=hypothesis.ids, average_log_prob=hypothesis.average, no_speech_prob=no_speech)
            for hypothesis, no_speech in zip(best, decoder.no_speech_B, strict=True)
        ]

    def align(
        self, encoded: TorchEncoded, prompt: Sequence[int], ids: Sequence[Sequence[int]], frames: Sequence[int]
    ) -> list[Alignment]:
        special = self._special
        sequences = [[*prompt, special.no_timestamps, *row, special.end] for row in ids]
        longest = max(map(len, sequences))
        device = encoded.encoded_BPD.device
        tokens_BT = torch.tensor([row + [special.end] * (longest - len(row)) for row in sequences], device=device)
        with torch.inference_mode(), _queries_and_keys(self.model, sorted({layer for layer, _ in self._heads})) as seen:
            scores_BTV = self.model.score_tokens(encoded.encoded_BPD, tokens_BT)[:, :, : special.end].softmax(-1)
            attention = self._attention(seen)
        found = []
        for row, (texts, count) in enumerate(zip(ids, frames, strict=True)):
            first = len(prompt)  # the row of <|notimestamps|>, whose successor is the first text token
            chosen = torch.tensor(list(texts), dtype=torch.long, device=device)
            places = torch.arange(first, first + len(texts), device=device)
            probabilities = scores_BTV[row, places, chosen].float().cpu().numpy()
            weights = attention[row, :, : len(sequences[row]), : count // 2].cpu().numpy()
            positions = align_tokens(weights, first=first, tokens=len(texts))
            found.append(Alignment(positions=positions, probabilities=probabilities))
        return found

    def _attention(self, seen: dict[int, tuple[Tensor, Tensor]]) -> Tensor:
        """(B, chosen heads, T, P) scores of the cross-attention before the softmax."""
        heads = int(self.model.config.decoder_attention_heads)
        scores = []
        for layer, head in self._heads:
            query_BTD, key_BPD = seen[layer]
            width = query_BTD.shape[-1] // heads
            part = slice(head * width, (head + 1) * width)
            scores.append(query_BTD[..., part] @ key_BPD[..., part].transpose(1, 2) * width**-0.5)
        return torch.stack(scores, dim=1).float()


class _CachedDecoder:
    """`StepDecoder` on transformers' cache."""

    def __init__(
        self, model: WhisperSeq2Seq, encoded_BPD: Tensor, prompts: Sequence[Sequence[int]], *, no_speech: int | None
    ) -> None:
        self._model, self._encoded = model, encoded_BPD
        self._prompts, self._no_speech = prompts, no_speech
        self._owners = np.arange(len(encoded_BPD))  # the window of each row of the cache
        self._cache: Any = None
        self.no_speech_B = [0.0] * len(prompts)

    def first(self) -> Scores:
        hidden_BTD = self._run(torch.tensor([list(p) for p in self._prompts], device=self._encoded.device))
        if self._no_speech is not None:
            start = [list(p).index(self._model.config.decoder_start_token_id) for p in self._prompts]
            scores_BV = self._scores(hidden_BTD[torch.arange(len(start)), start])
            self.no_speech_B = scores_BV.softmax(-1)[:, self._no_speech].tolist()
        return self._scores(hidden_BTD[:, -1]).cpu().numpy()

    def step(self, tokens_N: Ids, parents_N: Ids) -> Scores:
        device = self._encoded.device
        if not np.array_equal(parents_N, np.arange(len(self._owners))):
            index_N = torch.from_numpy(np.ascontiguousarray(parents_N)).to(device)
            self._cache.self_attention_cache.reorder_cache(index_N)
            owners = self._owners[parents_N]
            if not np.array_equal(owners, self._owners):  # what beams of one window attend to is the same
                self._cache.cross_attention_cache.reorder_cache(index_N)
                self._encoded, self._owners = self._encoded[index_N], owners
        hidden_N1D = self._run(torch.from_numpy(np.ascontiguousarray(tokens_N[:, None])).to(device))
        return self._scores(hidden_N1D[:, -1]).cpu().numpy()

    def _run(self, tokens_NT: Tensor) -> Tensor:
        output = self._model.model.decoder(
            input_ids=tokens_NT, encoder_hidden_states=self._encoded, past_key_values=self._cache, use_cache=True
        )
        self._cache = output.past_key_values
        hidden: Tensor = output.last_hidden_state
        return hidden

    def _scores(self, hidden: Tensor) -> Tensor:
        return torch.nn.functional.linear(hidden, self._model.model.decoder.embed_tokens.weight).float()


@contextmanager
def _queries_and_keys(model: WhisperSeq2Seq, layers: Sequence[int]) -> Iterator[dict[int, tuple[Tensor, Tensor]]]:
    """What the cross-attention of these layers compares: fused kernels do not give their weights away.

    Other threads may run the same model meanwhile; what they compare is not noted.
    """
    here = get_ident()
    seen: dict[int, tuple[Tensor, Tensor]] = {}
    queries: dict[int, Tensor] = {}
    handles = []
    for layer in layers:
        attention = model.model.decoder.layers[layer].encoder_attn

        def keep_query(_module: Any, _inputs: Any, output: Tensor, layer: int = layer) -> None:
            if get_ident() == here:
                queries[layer] = output

        def keep_key(_module: Any, _inputs: Any, output: Tensor, layer: int = layer) -> None:
            if get_ident() == here:
                seen[layer] = (queries[layer], output)

        handles += [
            attention.q_proj.register_forward_hook(keep_query),
            attention.k_proj.register_forward_hook(keep_key),
        ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _ids(value: Any) -> list[int]:
    return [int(id_) for id_ in value or [] if int(id_) >= 0]
