"""Whisper's tokenizer on a small vocabulary laid out as OpenAI's: golden ids, transformers' ids, files, refusals."""

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers.pre_tokenizers import ByteLevel

from harken.core import InputError, MissingPart, Tokenizer
from harken.text.vocabulary import TokenizerConfig
from harken.text.whisper_tokenizer import WhisperTokenizer

MERGES = ["Ġ t", "h e", "Ġt he", "Ġ c", "a t", "Ġc at"]
LANGUAGES = ["en", "ru", "uk", "uz", "jw", "yue"]
SPECIALS = [
    "<|endoftext|>", "<|startoftranscript|>", *(f"<|{code}|>" for code in LANGUAGES), "<|translate|>",
    "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>",
]  # fmt: skip
TIMES = [f"<|{step * 0.02:.2f}|>" for step in range(1501)]
BYTES = sorted(ByteLevel.alphabet())
VOCABULARY = {unit: id_ for id_, unit in enumerate([*BYTES, *(merge.replace(" ", "") for merge in MERGES)])}
ADDED = {unit: len(VOCABULARY) + place for place, unit in enumerate([*SPECIALS, *TIMES])}
START = ADDED["<|startoftranscript|>"]


def write_parts(folder: Path, *, times: bool = True, **config: Any) -> Path:
    """The files of older folders."""
    (folder / "vocab.json").write_text(json.dumps(VOCABULARY), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *MERGES, ""]), encoding="utf-8")
    added = {unit: id_ for unit, id_ in ADDED.items() if times or unit not in TIMES}
    (folder / "added_tokens.json").write_text(json.dumps(added), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


@pytest.fixture
def tokenizer(tmp_path: Path) -> WhisperTokenizer:
    return WhisperTokenizer.load(write_parts(tmp_path))


def test_golden_ids(tokenizer: WhisperTokenizer) -> None:
    assert isinstance(tokenizer, Tokenizer)
    assert tokenizer.vocab_size == 256 + 6 + len(SPECIALS) + 1501
    the, cat, space, h, a = (VOCABULARY[unit] for unit in ("Ġthe", "Ġcat", "Ġ", "h", "a"))
    assert tokenizer.encode("the cat ha") == [the, cat, space, h, a]
    # й is U+0439, in UTF-8 D0 B9; the byte alphabet writes those as Ð and ¹.
    # No unit joins it to a space, so the text begins without one, which decoding would suppress.
    assert tokenizer.encode("й") == [VOCABULARY["Ð"], VOCABULARY["¹"]] == tokenizer.encode("и\u0306")
    assert tokenizer.encode("的") == [VOCABULARY[unit] for unit in "çļĦ"]  # E7 9A 84, and no space before it
    assert tokenizer.encode("  ") == []
    assert tokenizer.prompt(language="uz") == [
        START,
        ADDED["<|uz|>"],
        ADDED["<|transcribe|>"],
        ADDED["<|notimestamps|>"],
    ]
    assert tokenizer.window_labels([(0.0, 1.503, "the")], language="ru", task="translate") == [
        START, ADDED["<|ru|>"], ADDED["<|translate|>"], ADDED["<|0.00|>"], the, ADDED["<|1.50|>"], tokenizer.end,
    ]  # fmt: skip


def test_texts_that_follow_one_another(tokenizer: WhisperTokenizer) -> None:
    the, space, h, a = (VOCABULARY[unit] for unit in ("Ġthe", "Ġ", "h", "a"))
    assert tokenizer.encode_all(["the", "ha", "the"]) == [the, space, h, a, the]
    assert tokenizer.encode_all(["", "ha ", " ha"]) == [h, a, space, h, a]  # no space in front of the first
    assert tokenizer.decode(tokenizer.encode_all(["ha the", "the й"])) == "ha the the й"
    assert tokenizer.decode(tokenizer.encode_all(["的", "的"])) == "的的"
    with pytest.raises(InputError, match=r"holds '<.endoftext.>'"):
        tokenizer.encode_all(["ha", "<|endoftext|>"])


def test_round_trip_and_words(tokenizer: WhisperTokenizer) -> None:
    for text in ["the cat", "o'zbek тили", "हिन्दी में", "的語言", "", "a.b, c!"]:
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == text
        pieces = tokenizer.word_pieces(ids)
        assert [word for word, _, _ in pieces] == text.split()
        for word, first, end in pieces:
            assert tokenizer.decode(ids[first:end]) == word
    labels = tokenizer.window_labels([(0.0, 2.0, "the cat"), (2.5, 29.98, "ha")], language="en")
    assert tokenizer.decode(labels) == "the cat ha"
    assert [tokenizer.time_s(id_) for id_ in labels if tokenizer.time_s(id_) is not None] == [0.0, 2.0, 2.5, 29.98]
    assert tokenizer.decode(tokenizer.encode("й")[:-1]) == "\ufffd"
    with pytest.raises(ValueError, match="id 9999 is outside"):
        tokenizer.decode([9999])


def test_times(tokenizer: WhisperTokenizer) -> None:
    assert tokenizer.time_id(30.0) == ADDED["<|30.00|>"]
    assert tokenizer.time_s(tokenizer.time_id(4.019)) == 4.02
    assert tokenizer.time_s(START) is None
    with pytest.raises(InputError, match=r"from 1 to 2 s follows one that ends at 1\.5 s"):
        tokenizer.window_labels([(0.0, 1.5, "a"), (1.0, 2.0, "b")], language="en")
    with pytest.raises(InputError, match=r"no token for 30\.5 s; the tokenizer has 0\.0 to 30\.0 s"):
        tokenizer.time_id(30.5)


def test_languages(tokenizer: WhisperTokenizer) -> None:
    assert tokenizer.language_id("ru-RU") == tokenizer.language_id("RU") == ADDED["<|ru|>"]
    assert tokenizer.language_id("jv") == ADDED["<|jw|>"]
    pytest.importorskip("transformers")
    assert tokenizer.language_id("Uzbek") == ADDED["<|uz|>"]
    with pytest.raises(InputError, match=r"language 'uzbeck'; it knows 6\. Close ones: uz \(uzbek\)"):
        tokenizer.language_id("uzbeck")
    with pytest.raises(InputError, match=r"language 'ug'.*Close ones: uk, uz"):
        tokenizer.language_id("ug")
    with pytest.raises(InputError, match="needs a language"):
        tokenizer.prompt()
    assert [tokenizer.language_code(name) for name in ("Uzbek", "ru-RU", "jv", None)] == ["uz", "ru", "jw", None]


def test_models_for_english_only_have_no_language_in_the_prompt(tmp_path: Path) -> None:
    write_parts(tmp_path)
    (tmp_path / "generation_config.json").write_text(json.dumps({"is_multilingual": False}))
    tokenizer = WhisperTokenizer.load(tmp_path)
    assert tokenizer.prompt() == [START, ADDED["<|notimestamps|>"]] == tokenizer.prompt(language="en-US")
    assert tokenizer.language_code(None) == "en"
    with pytest.raises(InputError, match="English only; it cannot transcribe uz"):
        tokenizer.prompt(language="uz")
    tokenizer.save(tmp_path / "saved")
    assert not WhisperTokenizer.load(tmp_path / "saved").multilingual


def test_transcripts_are_never_cut_and_never_hold_tokens(tokenizer: WhisperTokenizer) -> None:
    with pytest.raises(InputError, match="takes 11 tokens; the model reads 10"):
        tokenizer.labels("the the the the the the", language="en", longest=10)
    assert len(tokenizer.labels("the the the the the", language="en", longest=10)) == 10
    with pytest.raises(InputError, match=r"holds '<\|en\|>'"):
        tokenizer.encode("say <|en|> now")


def test_transformers_gives_the_same_ids_for_every_form_of_the_files(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    ours = WhisperTokenizer.load(write_parts(tmp_path))
    ours.save(tmp_path / "saved")
    theirs = transformers.WhisperTokenizer.from_pretrained(tmp_path / "saved", language="en", task="transcribe")
    theirs.save_pretrained(tmp_path / "theirs")
    again = WhisperTokenizer.load(tmp_path / "theirs")
    auto = transformers.AutoTokenizer.from_pretrained(tmp_path / "saved")
    assert type(auto).__name__ == "WhisperTokenizer"
    for text in ["the cat", "o'zbek тили", "हिन्दी", "a.b, c!"]:
        ids = ours.encode(text)
        assert ids == again.encode(text) == WhisperTokenizer.load(tmp_path / "saved").encode(text)
        text_as_read = f" {text}" if text == "the cat" else text
        assert ids == theirs(text_as_read, add_special_tokens=False).input_ids
        assert theirs(text_as_read).input_ids == ours.labels(text, language="en")
        assert theirs.decode(ours.labels(text, language="uz"), skip_special_tokens=True).strip() == text
    assert again.vocab_size == ours.vocab_size == len(theirs)
    assert {unit: theirs.convert_tokens_to_ids(unit) for unit in ADDED} == ADDED
    assert {unit: again.token_id(unit) for unit in ADDED} == ADDED


def test_bad_folders(tmp_path: Path) -> None:
    with pytest.raises(MissingPart, match=r"vocab\.json does not exist"):
        WhisperTokenizer.load(tmp_path)
    write_parts(tmp_path)
    (tmp_path / "added_tokens.json").write_text(json.dumps({"<|endoftext|>": 999}))
    with pytest.raises(InputError, match="has id 999, but 262 is its place"):
        WhisperTokenizer.load(tmp_path)
    (tmp_path / "added_tokens.json").write_text("{}")
    with pytest.raises(InputError, match=r"no <\|startoftranscript\|>; it is not one of a Whisper"):
        WhisperTokenizer.load(tmp_path)
    (tmp_path / "merges.txt").write_text("x yz\n")
    with pytest.raises(InputError, match="disagree"):
        WhisperTokenizer.load(tmp_path)
    (tmp_path / "merges.txt").unlink()
    with pytest.raises(MissingPart, match=r"merges\.txt does not exist"):
        WhisperTokenizer.load(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(InputError, match="not a tokenizer file"):
        WhisperTokenizer.load(tmp_path)
    with pytest.raises(InputError, match="comes with a pretrained model"):
        WhisperTokenizer.train(TokenizerConfig(kind="whisper"), [])


def test_a_token_that_is_not_there(tmp_path: Path) -> None:
    tokenizer = WhisperTokenizer.load(write_parts(tmp_path, times=False))
    with pytest.raises(InputError, match=r"no token '<\|transcrib\|>'. Close ones: <\|transcribe\|>"):
        tokenizer.token_id("<|transcrib|>")
    with pytest.raises(InputError, match="the tokenizer has no times"):
        tokenizer.time_id(0.0)
