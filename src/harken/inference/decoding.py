"""Greedy decoding of a batch while a model trains, for each kind of acoustic model.

Shapes: B batch, F feature frames, M feature dimensions, T output frames, V vocab, P positions of an encoder, D width.
"""

from collections.abc import Sequence

from torch import Tensor

from harken.core import InputError, Tokenizer, Transcript
from harken.inference.greedy import collapse
from harken.inference.transcripts import transcript_of
from harken.models.family import Seq2SeqModel
from harken.text.whisper_tokenizer import WhisperTokenizer

TOKENS_PER_S = 50.0
"""Most tokens of a second of speech, as many as Whisper's encoder has positions in it: an end to endless repetition."""
LEAST_TOKENS = 10


def decode_scores(
    scores_BTV: Tensor, frames_B: Tensor, tokenizer: Tokenizer, *, frame_s: float, durations_s: Sequence[float]
) -> list[Transcript]:
    """Greedy transcripts of a batch of a CTC model's outputs."""
    best = scores_BTV.log_softmax(-1).max(-1)
    ids_BT, probabilities_BT = best.indices.cpu().numpy(), best.values.exp().cpu().numpy()
    return [
        transcript_of(collapse(ids[:n], probabilities[:n]), tokenizer, frame_s=frame_s, duration_s=duration_s)
        for ids, probabilities, n, duration_s in zip(
            ids_BT, probabilities_BT, frames_B.tolist(), durations_s, strict=True
        )
    ]


def read_tokens(
    model: Seq2SeqModel,
    tokenizer: WhisperTokenizer,
    encoded_BPD: Tensor,
    *,
    prompts: Sequence[Sequence[int]],
    durations_s: Sequence[float],
) -> list[str]:
    """Greedy texts after each row's prompt. A row of d seconds stops after `TOKENS_PER_S` * d tokens at the latest."""
    limits = [LEAST_TOKENS + int(TOKENS_PER_S * duration_s) for duration_s in durations_s]
    return [tokenizer.decode(ids) for ids in model.generate(encoded_BPD, prompts=prompts, max_tokens=limits)]


def whisper_tokenizer(tokenizer: Tokenizer) -> WhisperTokenizer:
    """The tokenizer of an encoder-decoder model. Raises InputError for one of another kind."""
    if not isinstance(tokenizer, WhisperTokenizer):
        raise InputError(
            f"An encoder-decoder model needs Whisper's tokenizer, this is a {type(tokenizer).__name__}.",
            hint="Use the model folder's own.",
        )
    return tokenizer
