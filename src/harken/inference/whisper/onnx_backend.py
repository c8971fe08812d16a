"""Whisper's network in ONNX Runtime: onnx/encoder.onnx and onnx/decoder.onnx of a model folder. No torch.

Shapes: B windows, F feature frames, M mels, P positions of the encoder, N hypotheses, T tokens, V vocab.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from harken.core import InputError
from harken.inference.whisper.backend import Alignment, Generated, Search
from harken.inference.whisper.onnx_decoder import (
    CROSS_KEY,
    CROSS_VALUE,
    FEATURES,
    DecoderRun,
    Floats,
    OnnxEncoded,
    WhisperMetadata,
    layered,
    place_of,
)
from harken.inference.whisper.rules import Ids, Scores, TokenRules
from harken.inference.whisper.search import find_best
from harken.inference.whisper.special import special_ids
from harken.inference.whisper.word_times import align_tokens
from harken.text.whisper_tokenizer import START, WhisperTokenizer

ENCODER_FILES: dict[str, str] = {"fp32": "encoder.onnx", "int8": "encoder.int8.onnx"}
DECODER_FILES: dict[str, str] = {"fp32": "decoder.onnx", "int8": "decoder.int8.onnx"}
"""Names of a Whisper's exports in onnx/, by precision."""


class OnnxWhisperBackend:
    """Answers `WhisperBackend` with the two graphs that `harken export` wrote.

    An int8 decoder rounds with one scale for all rows of a call: there the last digits of a window's scores depend on
    the windows that share its batch.
    """

    def __init__(self, encoder: Any, decoder: Any, tokenizer: WhisperTokenizer) -> None:
        """Takes two sessions. Raises InputError for graphs of other models, and of another vocabulary."""
        self.metadata = WhisperMetadata.read(decoder)
        if WhisperMetadata.read(encoder) != self.metadata:
            raise InputError("Encoder and decoder are of different models.", hint="Run harken export again.")
        if tokenizer.vocab_size > self.metadata.vocab_size:
            raise InputError(
                f"The tokenizer has {tokenizer.vocab_size} units, the decoder rows for {self.metadata.vocab_size}.",
                hint="Run harken export again.",
            )
        self._encoder, self._decoder = encoder, decoder
        self._languages = tokenizer.languages
        self._start = tokenizer.token_id(START)
        self._special = special_ids(tokenizer, end_id=self.metadata.end_id)

    @property
    def window_frames(self) -> int:
        return self.metadata.window_frames

    @property
    def dimensions(self) -> int:
        return self.metadata.dimensions

    @property
    def longest_tokens(self) -> int:
        return self.metadata.longest_tokens

    @property
    def vocab_rows(self) -> int:
        return self.metadata.vocab_size

    def encode(self, features_BFM: npt.NDArray[np.float32]) -> OnnxEncoded:
        """See `WhisperBackend`. On a CPU one window after the other: the attention of two is larger than its cache."""
        if features_BFM.shape[1:] != (self.window_frames, self.dimensions):
            raise InputError(
                f"The features are {features_BFM.shape[1]} frames of {features_BFM.shape[2]}; this Whisper reads "
                f"{self.window_frames} frames of {self.dimensions}.",
                hint="Use the model folder's own feature settings.",
            )
        layers = range(self.metadata.layers)
        together = 1 if place_of(self._encoder)[0] == "cpu" else len(features_BFM)
        names = layered(CROSS_KEY, layers) + layered(CROSS_VALUE, layers)
        found = [
            self._encoder.run(names, {FEATURES: np.ascontiguousarray(features_BFM[first : first + together])})
            for first in range(0, len(features_BFM), together)
        ]
        joined = [parts[0] if len(parts) == 1 else np.concatenate(parts) for parts in zip(*found, strict=True)]
        return OnnxEncoded(keys=joined[: len(layers)], values=joined[len(layers) :])

    def detect(self, encoded: OnnxEncoded) -> list[dict[str, float]]:
        codes, ids = list(self._languages), list(self._languages.values())
        run = DecoderRun(self._decoder, self.metadata, encoded)
        scores_BV = run(np.full((len(encoded), 1, 1), self._start), [0])[:, 0, 0]
        return [dict(zip(codes, row, strict=True)) for row in _softmax(scores_BV[:, ids]).tolist()]

    def generate(self, encoded: OnnxEncoded, prompts: Sequence[Sequence[int]], search: Search) -> list[Generated]:
        if len({len(prompt) for prompt in prompts}) != 1:
            raise InputError(
                f"The prompts have {sorted({len(prompt) for prompt in prompts})} tokens.", hint="Give them one length."
            )
        metadata, special = self.metadata, self._special
        rules = TokenRules(special, search, suppressed=metadata.suppressed, suppressed_first=metadata.suppressed_first)
        run = DecoderRun(self._decoder, metadata, encoded)
        decoder = _CachedDecoder(run, prompts, start=special.start, no_speech=special.no_speech)
        best = find_best(decoder, rules, search, end_id=special.end)
        return [
            Generated(ids=hypothesis.ids, average_log_prob=hypothesis.average, no_speech_prob=no_speech)
            for hypothesis, no_speech in zip(best, decoder.no_speech_B, strict=True)
        ]

    def align(
        self, encoded: OnnxEncoded, prompt: Sequence[int], ids: Sequence[Sequence[int]], frames: Sequence[int]
    ) -> list[Alignment]:
        special = self._special
        sequences = [[*prompt, special.no_timestamps, *row, special.end] for row in ids]
        longest = max(map(len, sequences))
        tokens_BT = np.array([row + [special.end] * (longest - len(row)) for row in sequences])
        first = len(prompt)  # the row of <|notimestamps|>, whose successor is the first text token
        run = DecoderRun(self._decoder, self.metadata, encoded, kept=True)
        scores_BTV = run(tokens_BT[:, None], range(first, longest))[:, 0, :, : special.end]
        attention_BHTP = self._attention(run.queries, encoded)
        found = []
        for row, (texts, count) in enumerate(zip(ids, frames, strict=True)):
            chances_TV = _softmax(scores_BTV[row, : len(texts)])
            weights = attention_BHTP[row, :, : len(sequences[row]), : count // 2]
            found.append(
                Alignment(
                    positions=align_tokens(weights, first=first, tokens=len(texts)),
                    probabilities=chances_TV[np.arange(len(texts)), np.array(texts, np.int64)],
                )
            )
        return found

    def _attention(self, queries: dict[int, Floats], encoded: OnnxEncoded) -> Floats:
        """(B, chosen heads, T, P) scores of the cross-attention before the softmax."""
        scores = [
            queries[layer][:, 0, head] @ encoded.keys[layer][:, head] for layer, head in self.metadata.alignment_heads
        ]
        return np.stack(scores, axis=1)


class _CachedDecoder:
    """`StepDecoder` on the decoder's graph."""

    def __init__(self, run: DecoderRun, prompts: Sequence[Sequence[int]], *, start: int, no_speech: int | None) -> None:
        self._run, self._prompts = run, prompts
        self._start, self._no_speech = start, no_speech
        self.no_speech_B = [0.0] * len(prompts)

    def first(self) -> Scores:
        tokens_BT = np.array([list(prompt) for prompt in self._prompts])
        last = tokens_BT.shape[1] - 1
        if self._no_speech is None:
            return self._run(tokens_BT[:, None], [last])[:, 0, 0]
        start = list(self._prompts[0]).index(self._start)
        scores_BQV = self._run(tokens_BT[:, None], [start, last])[:, 0]
        self.no_speech_B = _softmax(scores_BQV[:, 0])[:, self._no_speech].tolist()
        return scores_BQV[:, 1]

    def step(self, tokens_N: Ids, parents_N: Ids) -> Scores:
        shape = self._run.reorder(parents_N)
        scores = self._run(tokens_N.reshape(*shape, 1), [0])
        return scores.reshape(len(tokens_N), -1)


def _softmax(scores: Scores) -> Scores:
    chances: Scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
    chances /= chances.sum(axis=-1, keepdims=True)
    return chances
