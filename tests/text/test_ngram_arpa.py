"""ARPA files: written, read back, and what is wrong with others' files."""

import gzip
import math
from pathlib import Path

import numpy as np
import pytest

from harken.core import InputError, MissingPart
from harken.text.ngram import NgramConfig, build_ngrams
from harken.text.ngram_arpa import read_arpa, read_arpa_order, read_arpa_words, write_arpa

TEXTS = ["das Haus ist groß", "das Haus", "ist das Haus groß", "öffne das Haus"]
# SRILM's habits: upper-case <UNK>, spaces for tabs, no back-off weight where it is 1, n-grams in another order.
SRILM = """\\data\\
ngram 1=5
ngram 2=3

\\1-grams:
-0.5 </s>
-99\t<s>\t-0.3
-1.5 <UNK>
-0.8 b -0.1
-0.7 a

\\2-grams:
-0.2\ta b
-0.9 a <UNK>
-0.4 <s> b

\\end\\
"""


@pytest.mark.parametrize("name", ["lm.arpa", "lm.arpa.gz"])
def test_there_and_back(name: str, tmp_path: Path) -> None:
    tables = build_ngrams(TEXTS, NgramConfig(order=3)).tables
    write_arpa(tmp_path / name, tables)
    read = read_arpa(tmp_path / name)
    assert read.words == tables.words
    assert read_arpa_order(tmp_path / name) == 3
    for one, other in zip(tables.orders, read.orders, strict=True):
        np.testing.assert_array_equal(one.keys_N, other.keys_N)
        np.testing.assert_allclose(one.backoffs_N, other.backoffs_N, atol=1e-6)
        known = one.keys_N != tables.words.index("<s>") if one is tables.orders[0] else slice(None)
        np.testing.assert_allclose(one.log_probs_N[known], other.log_probs_N[known], atol=1e-6)
    words = read_arpa_words(tmp_path / name)
    assert list(words) == list(tables.words)
    assert words["Haus"] == pytest.approx(tables.orders[0].log_probs_N[tables.words.index("Haus")], abs=1e-6)


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    tables = build_ngrams(TEXTS).tables
    for suffix in ("arpa", "arpa.gz"):
        for name in ("one", "two"):
            write_arpa(tmp_path / f"{name}.{suffix}", tables)
        assert (tmp_path / f"one.{suffix}").read_bytes() == (tmp_path / f"two.{suffix}").read_bytes()
    plain = (tmp_path / "one.arpa").read_bytes()
    assert gzip.decompress((tmp_path / "one.arpa.gz").read_bytes()) == plain
    assert plain.startswith(b"\\data\\\nngram 1=8\nngram 2=")
    assert b"\n-99\t<s>\t-" in plain


def test_another_tools_file(tmp_path: Path) -> None:
    path = tmp_path / "srilm.arpa"
    path.write_text(SRILM, encoding="utf-8")
    tables = read_arpa(path)
    assert tables.words == ("</s>", "<s>", "<unk>", "b", "a")
    places = tables.places(np.array([[4, 3], [1, 3], [4, 2], [3, 4]]))
    found = tables.orders[1].log_probs_N[places[:3]] / math.log(10)
    assert found.tolist() == [pytest.approx(-0.2), pytest.approx(-0.4), pytest.approx(-0.9)]
    assert places[3] == -1
    assert (tables.orders[0].backoffs_N / math.log(10)).tolist() == [pytest.approx(x) for x in (0, -0.3, 0, -0.1, 0)]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("\\data\\", "data", r"line 1: 'data' stands where '\\data\\' belongs"),
        ("ngram 2=3", "ngram 3=3", r"line 3: 'ngram 2=' and a count belong here"),
        ("ngram 1=5", "ngram 1=4", r"line 10: '-0.7 a' stands where '\\2-grams:' belongs"),
        ("ngram 1=5", "ngram 1=6", r"line 12: a probability, 1 words"),
        ("-0.8 b -0.1", "much b -0.1", r"line 9: a probability or a back-off weight is not a number"),
        ("-0.4 <s> b", "-0.4 <s> c", r"line 15: 'c' is not among the 1-grams"),
        ("-0.4 <s> b", "-0.4 <s>", r"line 15: a probability, 2 words"),
        ("-0.4 <s> b", "-0.4 <s> b 0 0", r"line 15: a probability, 2 words"),
        ("-0.8 b -0.1", "-0.8 a -0.1", r"line 10: some 1-gram before this line is there twice"),
        ("-0.4 <s> b", "-0.4 a b", r"line 15: some n-gram before this line is there twice"),
        ("\\end\\\n", "", r"ends after line 16, too early"),
        ("-0.8 b", "-0.8 \udcff", r"line 10: the word b'\\xff' is not UTF-8"),
    ],
)
def test_what_is_wrong_is_named(old: str, new: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.arpa"
    path.write_bytes(SRILM.replace(old, new).encode(errors="surrogateescape"))
    with pytest.raises(InputError, match=message):
        read_arpa(path)


def test_longer_ngrams_without_their_parts(tmp_path: Path) -> None:
    path = tmp_path / "holes.arpa"
    longer = SRILM.replace("ngram 2=3", "ngram 2=3\nngram 3=1").replace("\\end\\", "\\3-grams:\n-0.1 <s> b a\n\\end\\")
    path.write_text(longer, encoding="utf-8")
    with pytest.raises(InputError, match="the shorter n-gram is missing that '<s> b a' ends with"):
        read_arpa(path)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(MissingPart, match="does not exist"):
        read_arpa(tmp_path / "none.arpa")
    broken = tmp_path / "broken.arpa.gz"
    broken.write_bytes(gzip.compress(SRILM.encode())[:-12])
    with pytest.raises(InputError, match=r"broken.arpa.gz"):
        read_arpa(broken)
