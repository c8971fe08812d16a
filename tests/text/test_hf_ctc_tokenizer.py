"""Vocabularies of Hugging Face's CTC models: order of ids, capitals, what is refused, and files read back."""

import json
from pathlib import Path
from typing import Any

import pytest

from harken.core import InputError, MissingPart, Tokenizer
from harken.text.hf_ctc_tokenizer import HfCtcTokenizer
from harken.text.vocabulary import TokenizerConfig, UnknownUnitError

# The layout of facebook/wav2vec2-base-960h, shortened.
CAPITALS = {"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3, "|": 4, "E": 5, "T": 6, "A": 7, "'": 8}
# That of fine-tuned XLS-R models: letters first, padding last, and two tokens beside vocab.json.
LETTERS = {"a": 1, "h": 2, "й": 3, "|": 0, "[UNK]": 4, "[PAD]": 5}
LETTERS_CONFIG = {
    "pad_token": "[PAD]",
    "unk_token": {"__type": "AddedToken", "content": "[UNK]"},
    "bos_token": "<s>",
    "eos_token": "</s>",
}


def folder_of(folder: Path, vocabulary: Any, config: Any = None, **files: Any) -> Path:
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    for name, content in {"tokenizer_config": config, **files}.items():
        if content is not None:
            (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def test_capitals_are_matched_and_written_as_small_letters(tmp_path: Path) -> None:
    tokenizer = HfCtcTokenizer.from_hub(folder_of(tmp_path, CAPITALS))
    assert isinstance(tokenizer, Tokenizer)
    assert (tokenizer.vocab_size, tokenizer.hub_ids) == (9, tuple(range(9)))
    assert tokenizer.encode("at  tea's"[:-1]) == [7, 6, 4, 6, 5, 7, 8] == tokenizer.encode("AT TEA'")
    assert tokenizer.decode([7, 6, 4, 1, 6, 5, 3, 7, 8]) == "at tea'"
    assert tokenizer.word_pieces([4, 7, 6, 4, 4, 5]) == [("at", 1, 3), ("e", 5, 6)]
    assert tokenizer.encode("") == [] == tokenizer.word_pieces([])


def test_the_padding_token_moves_to_0_and_the_rest_keep_their_order(tmp_path: Path) -> None:
    added = {"<s>": 6, "</s>": 7}
    tokenizer = HfCtcTokenizer.from_hub(folder_of(tmp_path, LETTERS, LETTERS_CONFIG, added_tokens=added))
    assert tokenizer.units == ("[PAD]", "|", "a", "h", "й", "[UNK]", "<s>", "</s>")
    assert tokenizer.hub_ids == (5, 0, 1, 2, 3, 4, 6, 7)
    assert (tokenizer.id_of("bos_token"), tokenizer.id_of("eos_token")) == (6, 7)
    assert tokenizer.decode(tokenizer.encode("ha и\u0306")) == "ha й"
    with pytest.raises(UnknownUnitError, match=r"H \(U\+0048\)"):
        tokenizer.encode("aH")
    with pytest.raises(UnknownUnitError):
        tokenizer.encode("a|h")
    with pytest.raises(ValueError, match="id 0 is the blank"):
        tokenizer.decode([0])


def test_rows_without_a_name_get_one(tmp_path: Path) -> None:
    tokenizer = HfCtcTokenizer.from_hub(folder_of(tmp_path, {"[PAD]": 4, "|": 0, "a": 2}, LETTERS_CONFIG))
    full = tokenizer.fill_up(5)
    assert full.units == ("[PAD]", "|", "<unused1>", "a", "<unused3>")
    assert full.hub_ids == (4, 0, 1, 2, 3)
    assert full.decode([3, 2, 4]) == "a"
    with pytest.raises(InputError, match=r"rows for 4: '\[PAD\]' has none"):
        tokenizer.fill_up(4)


@pytest.mark.parametrize(("vocabulary", "config"), [(CAPITALS, None), (LETTERS, LETTERS_CONFIG)])
def test_saved_files_are_read_alike_by_harken_and_transformers(tmp_path: Path, vocabulary: Any, config: Any) -> None:
    transformers = pytest.importorskip("transformers")
    tokenizer = HfCtcTokenizer.from_hub(folder_of(tmp_path, vocabulary, config))
    theirs = transformers.Wav2Vec2CTCTokenizer.from_pretrained(tmp_path)
    saved = tmp_path / "saved"
    tokenizer.save(saved)
    again = HfCtcTokenizer.load(saved)
    assert (again.units, again.capitals) == (tokenizer.units, tokenizer.capitals)
    assert again.hub_ids == tuple(range(again.vocab_size))
    text = "tea at 'a" if tokenizer.capitals else "ah й haa"
    ids = tokenizer.encode(text)
    # The order of ids apart, these are the ids of transformers' own tokenizer for the original folder.
    assert [tokenizer.hub_ids[id_] for id_ in ids] == theirs(text.upper() if tokenizer.capitals else text).input_ids
    rewritten = transformers.Wav2Vec2CTCTokenizer.from_pretrained(saved)
    assert rewritten(text).input_ids == ids == again.encode(text)
    assert rewritten.decode(ids, group_tokens=False) == text == again.decode(ids)
    assert (rewritten.pad_token_id, len(rewritten)) == (0, tokenizer.vocab_size)


def test_bad_folders(tmp_path: Path) -> None:
    with pytest.raises(MissingPart, match=r"vocab\.json does not exist"):
        HfCtcTokenizer.from_hub(tmp_path)
    with pytest.raises(InputError, match=r"vocabulary per language.*eng, uzb"):
        HfCtcTokenizer.from_hub(folder_of(tmp_path, {"uzb": {"a": 0}, "eng": {"a": 0}}))
    with pytest.raises(InputError, match=r"no unit '<pad>', the CTC blank"):
        HfCtcTokenizer.from_hub(folder_of(tmp_path, {"|": 0, "a": 1}))
    with pytest.raises(InputError, match="each once"):
        HfCtcTokenizer.from_hub(folder_of(tmp_path, {"<pad>": 0, "a": 0}))
    with pytest.raises(InputError, match=r"delimiter '\|' is not in the vocabulary"):
        HfCtcTokenizer.from_hub(folder_of(tmp_path, {"<pad>": 0, "a": 1}))
    with pytest.raises(InputError, match="comes with a pretrained model"):
        HfCtcTokenizer.train(TokenizerConfig(kind="hf-ctc"), [])
