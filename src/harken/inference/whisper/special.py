"""Which of a tokenizer's ids steer decoding, and which are never text."""

from collections.abc import Mapping, Sequence
from typing import Any

from harken.inference.whisper.rules import SpecialIds
from harken.text.whisper_tokenizer import NO_TIMESTAMPS, START, WhisperTokenizer

NO_SPEECH = ("<|nospeech|>", "<|nocaptions|>")
"""Names of the token that stands for a window in which nobody speaks: OpenAI's, and that of older conversions."""


def special_ids(tokenizer: WhisperTokenizer, *, end_id: int | None = None) -> SpecialIds:
    """The ids of a tokenizer; `end_id` where the model ends its texts with another one."""
    found = (tokenizer.find_id(token) for token in NO_SPEECH)
    return SpecialIds(
        start=tokenizer.token_id(START),
        end=tokenizer.end if end_id is None else end_id,
        no_timestamps=tokenizer.token_id(NO_TIMESTAMPS),
        first_time=tokenizer.time_id(0.0) if tokenizer.has_times else None,
        no_speech=next((id_ for id_ in found if id_ is not None), None),
    )


def never_text(tokenizer: WhisperTokenizer, *, vocab_rows: int, timestamps: bool) -> tuple[int, ...]:
    """Ids that belong into a prompt, not into a text, rows of the output layer without a unit, and times unless
    `timestamps`.
    """
    names = (START, "<|startofprev|>", "<|startoflm|>", "<|transcribe|>", "<|translate|>", NO_TIMESTAMPS, *NO_SPEECH)
    found = {tokenizer.find_id(name) for name in names} | set(tokenizer.languages.values())
    if not timestamps:
        found |= {id_ for id_ in range(tokenizer.vocab_size) if tokenizer.time_s(id_) is not None}
    return tuple(sorted({id_ for id_ in found if id_ is not None} | set(range(tokenizer.vocab_size, vocab_rows))))


def alignment_heads(generation: Mapping[str, Any], *, layers: int, heads: int) -> list[tuple[int, int]]:
    """(layer, head) of the cross-attention that follows the words: those generation_config.json names, else all heads
    of the upper half of the decoder's layers, as OpenAI's code has it.
    """
    named: Sequence[Sequence[int]] = generation.get("alignment_heads") or ()
    if named:
        return [(int(layer), int(head)) for layer, head in named]
    return [(layer, head) for layer in range(layers // 2, layers) for head in range(heads)]
