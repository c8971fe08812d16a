"""Pretrained folders with random weights, as `save_pretrained` writes them: models where there is no network."""

import json
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

BYTE_UNITS = tuple(chr(code) for code in (*range(33, 127), *range(161, 173), *range(174, 256), *range(256, 324)))
"""How byte-level BPE writes each byte, in the order of OpenAI's vocabulary."""
_SPACE = "\u0120"  # how byte-level BPE writes a space
_WHISPER = {
    "num_mel_bins": 80, "d_model": 64, "encoder_layers": 2, "decoder_layers": 2,
    "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 256, "decoder_ffn_dim": 256,
    "max_source_positions": 75, "max_target_positions": 200, "dropout": 0.0, "init_std": 0.08,
}  # fmt: skip
_WAV2VEC2 = {
    "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128,
    "conv_dim": (32,) * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4, "layerdrop": 0.0,
    "hidden_dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0, "feat_proj_dropout": 0.0,
    "final_dropout": 0.0, "mask_time_prob": 0.0, "pad_token_id": 0, "bos_token_id": None, "eos_token_id": None,
}  # fmt: skip


def word_merges(words: Sequence[str]) -> list[tuple[str, str]]:
    """Merges of byte-level BPE that make one unit of each word with the space before it; shared beginnings come once.

    Raises ValueError for a word of other than ASCII letters.
    """
    merges: dict[tuple[str, str], None] = {}
    for word in words:
        if not (word.isascii() and word.isalpha()):
            raise ValueError(f"the word {word!r} is not of ASCII letters; use such words only")
        for place, letter in enumerate(word):
            merges[(f"{_SPACE}{word[:place]}", letter)] = None
    return list(merges)


def whisper_tokens(languages: Sequence[str], *, times_s: float = 0.0, words: Sequence[str] = ()) -> dict[str, int]:
    """Ids of Whisper's special tokens behind the 256 bytes and the units of `words`, with a time token for every 20 ms
    up to `times_s`."""
    units = [
        "<|endoftext|>", "<|startoftranscript|>", *(f"<|{language}|>" for language in languages), "<|translate|>",
        "<|transcribe|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>",
    ]  # fmt: skip
    if times_s > 0:
        units += [f"<|{step * 0.02:.2f}|>" for step in range(round(times_s / 0.02) + 1)]
    first = len(BYTE_UNITS) + len(word_merges(words))
    return {unit: first + place for place, unit in enumerate(units)}


def random_whisper(
    folder: Path,
    *,
    seed: int = 0,
    languages: Sequence[str] = ("en", "uz", "ru"),
    times_s: float = 0.0,
    words: Sequence[str] = (),
    generation: dict[str, Any] | None = None,
    **config: Any,
) -> Any:
    """Write a Whisper of a byte-level vocabulary, and return its transformers model in evaluation mode.

    By default a small one that hears 1.5 s; `config` are fields of WhisperConfig, `generation` of GenerationConfig,
    and each of `words` is a unit of the vocabulary. Weights are drawn from `seed`; the global generator is left as it
    was.
    """
    import torch

    transformers: Any = import_module("transformers")  # partly without types
    merges = word_merges(words)
    units = [*BYTE_UNITS, *map("".join, merges)]
    tokens = whisper_tokens(languages, times_s=times_s, words=words)
    end, start = tokens["<|endoftext|>"], tokens["<|startoftranscript|>"]
    special = {"pad_token_id": end, "bos_token_id": end, "eos_token_id": end, "decoder_start_token_id": start}
    settings = {"vocab_size": len(units) + len(tokens), **_WHISPER, **special, **config}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = transformers.WhisperForConditionalGeneration(transformers.WhisperConfig(**settings)).eval()
    network.generation_config = transformers.GenerationConfig(
        **special,
        is_multilingual=True,
        lang_to_id={f"<|{language}|>": tokens[f"<|{language}|>"] for language in languages},
        task_to_id={task: tokens[f"<|{task}|>"] for task in ("transcribe", "translate")},
        no_timestamps_token_id=tokens["<|notimestamps|>"],
        **(generation or {}),
    )
    network.save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps({unit: id_ for id_, unit in enumerate(units)}), encoding="utf-8")
    lines = ["#version: 0.2", *map(" ".join, merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "added_tokens.json").write_text(json.dumps(tokens), encoding="utf-8")
    return network


def random_wav2vec2(folder: Path, *, letters: str = "", seed: int = 0, **config: Any) -> Any:
    """Write a Wav2Vec2 with a CTC output over `letters`, and return its transformers model in evaluation mode.

    By default a small one without dropout; `config` are fields of Wav2Vec2Config.
    """
    import torch

    transformers: Any = import_module("transformers")  # partly without types
    vocabulary = {"<pad>": 0, "|": 1, **{letter: place for place, letter in enumerate(letters, start=2)}}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = transformers.Wav2Vec2ForCTC(
            transformers.Wav2Vec2Config(**{"vocab_size": len(vocabulary), **_WAV2VEC2, **config})
        ).eval()
    network.save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    tokenizer = {"tokenizer_class": "Wav2Vec2CTCTokenizer", "pad_token": "<pad>", "word_delimiter_token": "|"}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    (folder / "preprocessor_config.json").write_text(json.dumps({"do_normalize": True, "sampling_rate": 16_000}))
    return network
