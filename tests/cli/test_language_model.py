"""`harken lm build`: texts and manifests in, an ARPA file and a summary out."""

import gzip
import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from harken.cli.language_model import app
from harken.core import HarkenError
from harken.text.ngram_arpa import read_arpa

TEXTS = "Turn the light on.\nturn it OFF!\n\nthe light is on\n"


def lm(*arguments: object) -> Result:
    parent = typer.Typer()
    parent.add_typer(app, name="lm")
    return CliRunner().invoke(parent, ["lm", *map(str, arguments)])


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / "texts.txt"
    path.write_bytes(b"\xef\xbb\xbf" + TEXTS.encode())
    return path


def test_a_file_of_texts(texts: Path, tmp_path: Path) -> None:
    out = tmp_path / "lm.arpa"
    answer = lm("build", texts, "--order", 2, "-o", out)
    assert answer.exit_code == 0
    assert answer.stdout == f"{out}: 10 1-grams, 11 2-grams from 11 words in 3 sentences\n"
    assert answer.stderr.startswith("too little text to estimate the discounts of order 1")
    assert read_arpa(out).words[3:] == ("turn", "the", "light", "on", "it", "off", "is")


def test_manifests_and_packed_texts_together(texts: Path, tmp_path: Path) -> None:
    packed = tmp_path / "more.txt.gz"
    packed.write_bytes(gzip.compress(TEXTS.encode()))
    manifest = tmp_path / "train.jsonl"
    lines = [{"id": str(n), "audio": f"{n}.wav", "duration_s": 1.0, "text": "Lights OUT"} for n in range(2)]
    lines.append({"id": "2", "audio": "2.wav", "duration_s": 1.0})  # nobody has transcribed it
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    out = tmp_path / "lm.arpa.gz"
    answer = lm("build", texts, packed, manifest, "-o", out, "--normalizer", "none", "--least-counts", "1,2", "--json")
    assert answer.exit_code == 0
    facts = json.loads(answer.stdout)
    tables = read_arpa(out)
    assert (facts["sentences"], facts["running_words"], facts["normalizer"]) == (8, 26, "none")
    assert facts["ngrams"] == [len(order.keys_N) for order in tables.orders]
    assert {"Turn", "OFF!", "Lights"} < set(tables.words)
    assert facts["discounts"][0] == [0.5, 1.0, 1.5]
    assert 1 in facts["fallback_orders"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--order", 9], "order is 9; use 1 to 5"),
        (["--least-counts", "2,1"], "least_counts is"),
        (["--least-counts", "some"], "least_counts"),
        (["--normalizer", "latin"], "no normalisation profile 'latin'"),
    ],
)
def test_wrong_options(arguments: list[object], message: str, texts: Path, tmp_path: Path) -> None:
    answer = lm("build", texts, "-o", tmp_path / "lm.arpa", *arguments)
    assert isinstance(answer.exception, HarkenError)
    assert message in str(answer.exception)
    assert not (tmp_path / "lm.arpa").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "no text to build"), (b"good\n\xff\xfe\n", "line 2 is not UTF-8"), (b"a <s> b\n", "Text 1 holds '<s>'")],
)
def test_wrong_texts(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "texts.txt"
    path.write_bytes(content)
    answer = lm("build", path, "-o", tmp_path / "lm.arpa", "--normalizer", "none")
    assert isinstance(answer.exception, HarkenError)
    assert message in str(answer.exception)
    absent = lm("build", tmp_path / "none.txt", "-o", tmp_path / "lm.arpa")
    assert "does not exist" in str(absent.exception)
