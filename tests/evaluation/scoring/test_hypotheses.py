"""Recognised texts from files of other systems."""

from pathlib import Path

import pytest

from harken.core import InputError
from harken.evaluation.scoring.hypotheses import read_hypotheses

WANTED = {"utt-1": "салом dunyo", "utt-2": "", "utt-3": "a b"}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (
            "out.jsonl",
            '{"id": "utt-1", "text": "салом dunyo"}\n{"id": "utt-2", "hypothesis": "", "text": "said"}\n\n'
            '{"utt_id": "utt-3", "pred_text": "a b"}\n',
        ),
        ("out.tsv", "utt-1\tсалом dunyo\nutt-2\t\nutt-3\ta b\n"),
        ("out.trn", "салом dunyo (utt-1)\n(utt-2)\na b (utt-3)\r\n"),
        ("text", "utt-1 салом dunyo\nutt-2\nutt-3  a b \n"),
        ("bom.tsv", "\ufeffutt-1\tсалом dunyo\nutt-2\t\nutt-3\ta b"),
    ],
)
def test_every_format_gives_the_same_texts(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8", newline="")
    assert read_hypotheses(tmp_path / name) == WANTED


def test_the_reference_beside_a_recognised_text_is_not_taken_for_it(tmp_path: Path) -> None:
    path = tmp_path / "nemo.jsonl"
    path.write_text('{"id": "u1", "text": "what was said", "pred_text": "what was set"}\n', encoding="utf-8")
    assert read_hypotheses(path) == {"u1": "what was set"}


def test_a_parenthesis_inside_a_trn_text_is_text(tmp_path: Path) -> None:
    (tmp_path / "a.trn").write_text("so (he said) yes (u1)\n", encoding="utf-8")
    assert read_hypotheses(tmp_path / "a.trn") == {"u1": "so (he said) yes"}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", '{"id": "u1", "text": "x"}\n{"id": "u2"\n', r"a\.jsonl, line 2: it is not JSON"),
        ("a.jsonl", "[1]\n", "line 1: it is not a JSON object"),
        ("a.jsonl", '{"text": "x"}\n', "line 1: it has no id"),
        ("a.jsonl", '{"id": "u1", "text": null}\n', "line 1: 'u1' has no text; use one of the keys hypothesis"),
        ("a.tsv", "u1 some words\n", "line 1: it is not an id, a tab and a text"),
        ("a.trn", "some words\n", "line 1: it does not end with an id in parentheses"),
        ("text", "u1\tsome words\n", "line 1: there is a tab in the id; name the file .tsv"),
        ("a.tsv", "u1\tx\nu1\ty\n", "line 2: the id 'u1' occurs twice"),
        ("a.tsv", "\n\n", "has no lines"),
    ],
)
def test_errors_name_the_line(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_hypotheses(tmp_path / name)


def test_a_file_that_is_absent_or_no_text(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.tsv does not exist"):
        read_hypotheses(tmp_path / "none.tsv")
    (tmp_path / "a.tsv").write_bytes(b"u1\t\xff\n")
    with pytest.raises(InputError, match=r"cannot be read: .* Give a text file in UTF-8"):
        read_hypotheses(tmp_path / "a.tsv")
