"""Language models: KenLM and our own reader give the same scores, and a model of other texts is refused."""

import base64
import gzip
import math
from pathlib import Path

import pytest

from harken.core import InputError, MissingPart
from harken.inference.ctc import language_model
from harken.inference.ctc.language_model import (
    ArpaModel,
    KenlmModel,
    NgramModel,
    check_vocabulary,
    load_language_model,
)
from harken.text.ngram import NgramConfig, build_ngrams
from harken.text.ngram_arpa import write_arpa
from harken.text.tokenize import BpeTokenizer, CharTokenizer, TokenizerConfig, WordTokenizer

TEXTS = ["turn the light on", "turn the radio on", "turn it off", "the light is on", "the radio is off"]
SENTENCES = ["turn the light on", "the radio", "radio radio off it", "paint the light blue", ""]
# What KenLM's build_binary (type trie) makes of the order 3 model of TEXTS.
BINARY = (
    "H4sIAAAAAAACA8vNTSxQyMlVyCgpKbDS18/OSE1My0zNSdFLzs/VT85PSVVIyy/KTSxRKEstKs7Mz1Mw5WJAgAZ7ILGfEUj8BwKQCCNUhhlMHr"
    "BngoqBMDdUjh9KCyGZBDO1oE5xr2VbKcMqq/SMD3/1WCNvmty2uccSw5Xz/WNt8YPsQxzzd/srXa/VXvRUao269ZL03bY9oa7/b16cL+J3Vur3"
    "I8dd7aY51QueMpyL0PKJ8P4GM//HlP79IAcjbDx26MSVmXthPNeGlv2z/ifsg/GP78re/zardx8TkjxIPzOaPCuafjYkPkieA009F6p74GECk+"
    "djQAX8DNjB8op9Hy6zXPzCytEu9RLE4BUMe/8dxBANesz8GuRMkUgWjx8ghkpbiPBHkJTtxh7WTyCG72Kodt+lUEboKigjtnhzCpiR2jr9G5iR"
    "2w5llHZBGbUwA1thzpkAY+zaGPBEWtDi173WUxY/DEKOHQyXbm7bd1vC5MvLYwsW6s/4tbz28BX7t9w71gTNF7zo8Lung+2WeCEvg/3sw1O/hb"
    "KyTzr/rGBp7UGgEull/zLlUfxsU5qXbcdgU2zHkJ+WxlBSWpTHYKMP5OVkpmeUMJRkpDJkFjNkljDk5zEUJaZk5jMAADasThHdAgAA"
)


def sentence_score(lm: NgramModel, sentence: str) -> float:
    state, total = lm.start(), 0.0
    for word in sentence.split():
        score, state = lm.score(state, word)
        total += score
    return total + lm.end(state)


@pytest.fixture(scope="module")
def arpa(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lm") / "tiny.arpa"
    write_arpa(path, build_ngrams(TEXTS, NgramConfig(order=3)).tables)
    return path


@pytest.fixture(scope="module")
def binary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lm") / "tiny.kenlm"
    path.write_bytes(gzip.decompress(base64.b64decode(BINARY)))
    return path


def test_our_reader_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "hand.arpa"
    path.write_text(
        "\\data\\\nngram 1=5\nngram 2=2\n\n\\1-grams:\n-1 <unk>\n-99 <s> -0.5\n-0.6 </s>\n-0.4 a -0.3\n-0.8 b -0.2\n\n"
        "\\2-grams:\n-0.1 <s> a\n-0.25 a b\n\n\\end\\\n",
        encoding="utf-8",
    )
    lm = ArpaModel(path)
    expected = {"a b": -0.1 - 0.25 - 0.2 - 0.6, "b": -0.5 - 0.8 - 0.2 - 0.6, "a c a": -0.1 - 0.3 - 1 - 0.4 - 0.3 - 0.6}
    for sentence, log10 in expected.items():
        assert sentence_score(lm, sentence) == pytest.approx(log10 * math.log(10), abs=1e-5)
    assert [word in lm for word in ("a", "c", "<unk>")] == [True, False, False]
    assert lm.words() == {"a": pytest.approx(-0.4 * math.log(10)), "b": pytest.approx(-0.8 * math.log(10))}


@pytest.mark.parametrize("order", [2, 3, 4])
def test_kenlm_and_our_reader_agree(order: int, tmp_path: Path) -> None:
    pytest.importorskip("kenlm", reason="compares with KenLM: pip install kenlm")
    path = tmp_path / "lm.arpa"
    write_arpa(path, build_ngrams(TEXTS, NgramConfig(order=order)).tables)
    ours, kenlm = ArpaModel(path), KenlmModel(path)
    for sentence in SENTENCES:
        assert sentence_score(ours, sentence) == pytest.approx(sentence_score(kenlm, sentence), abs=1e-4)
    assert ours.words() == pytest.approx(kenlm.words())
    assert (
        [word in kenlm for word in ("radio", "paint")] == [word in ours for word in ("radio", "paint")] == [True, False]
    )


def test_a_binary_file(arpa: Path, binary: Path) -> None:
    pytest.importorskip("kenlm", reason="binary files are KenLM's: pip install kenlm")
    lm, text = load_language_model(binary), ArpaModel(arpa)
    for sentence in SENTENCES:
        assert sentence_score(lm, sentence) == pytest.approx(sentence_score(text, sentence), abs=1e-4)
    assert lm.words() == pytest.approx(text.words(), abs=1e-4)


def test_without_the_package(arpa: Path, binary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language_model, "find_spec", lambda _: None)
    assert isinstance(load_language_model(arpa), ArpaModel)
    with pytest.raises(MissingPart, match=r"tiny\.kenlm needs the package kenlm\. Run: pip install kenlm"):
        load_language_model(binary)


def test_a_model_of_single_words_needs_no_kenlm(tmp_path: Path) -> None:
    path = tmp_path / "one.arpa"
    write_arpa(path, build_ngrams(TEXTS, NgramConfig(order=1)).tables)
    lm = load_language_model(str(path))
    assert isinstance(lm, ArpaModel)
    assert lm.start() == ()
    assert lm.score((), "the")[1] == ()


@pytest.mark.parametrize("kind", [KenlmModel, ArpaModel, load_language_model])
def test_files_that_are_no_models(kind: type, tmp_path: Path) -> None:
    with pytest.raises(MissingPart, match="does not exist"):
        kind(tmp_path / "none.arpa")
    for number, content in enumerate((b"", b"hello\n", b"mmap lm http://kheafield.com/code format 9\n\0")):
        path = tmp_path / f"{number}.arpa"
        path.write_bytes(content)
        with pytest.raises(InputError, match=f"{number}.arpa"):
            kind(path)


def test_vocabularies_that_match(arpa: Path, binary: Path) -> None:
    letters = CharTokenizer(["<pad>", " ", *"abcdefghilnortu"])
    pieces = BpeTokenizer.train(TokenizerConfig(kind="bpe", size=20), TEXTS)
    few = WordTokenizer(["<pad>", "light", "on", "green"])  # knows little of the model, which knows most of it
    for tokenizer in (letters, pieces, few):
        check_vocabulary(ArpaModel(arpa), tokenizer)
    if language_model.find_spec("kenlm"):
        check_vocabulary(KenlmModel(binary), pieces)


def test_a_model_of_other_texts_is_refused(arpa: Path, tmp_path: Path) -> None:
    lm = ArpaModel(arpa)
    for units in ("абвгдежзийклмнопрст", "ABCDEFGHIJKLMNOPRSTU"):
        with pytest.raises(InputError, match=r"0% of what it expects can be written, and not 'it', 'light'") as caught:
            check_vocabulary(lm, CharTokenizer(["<pad>", " ", *units]))
        assert "harken lm build" in caught.value.hint
    with pytest.raises(InputError, match=r"it knows 0 of the recogniser's 2 units, such as 'drei', 'zwei'"):
        check_vocabulary(lm, WordTokenizer(["<pad>", "drei", "zwei"]))
    shouted = tmp_path / "loud.arpa"
    write_arpa(shouted, build_ngrams([text.upper() for text in TEXTS]).tables)
    with pytest.raises(InputError, match="'LIGHT'"):
        check_vocabulary(ArpaModel(shouted), CharTokenizer(["<pad>", " ", *"abcdefghilnortu"]))


def test_a_binary_without_words(arpa: Path) -> None:
    class Silent(ArpaModel):
        def words(self) -> dict[str, float]:
            return {}

    check_vocabulary(Silent(arpa), WordTokenizer(["<pad>", "on", "uno", "due"]))
    with pytest.raises(InputError, match=r"does not list its words\. As words it knows 0 of the recogniser's 2"):
        check_vocabulary(Silent(arpa), WordTokenizer(["<pad>", "uno", "due"]))
