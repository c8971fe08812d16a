"""Segments against a slow walk through the words, against a case worked out by hand, and against `sc_stats` itself."""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import pytest

from harken.core import InputError
from harken.evaluation.scoring.alignment import align_texts
from harken.evaluation.statistics.mapsswe import mapsswe, segment_errors

Alignment = tuple[np.ndarray, np.ndarray]


def encode(*letters: str) -> Alignment:
    """Codes and offsets of alignments given as letters."""
    codes = np.frombuffer("".join(letters).encode(), dtype=np.uint8)
    return codes, np.concatenate(([0], np.cumsum([len(word) for word in letters])))


def slow_segments(first: str, second: str) -> list[tuple[int, int]]:
    """Walk through the words of one utterance as the state graph in SCTK's comments says: b, e, g."""

    def by_word(letters: str) -> tuple[list[int], list[bool], int]:
        before, wrong, waiting = [], [], 0
        for letter in letters:
            if letter == "I":
                waiting += 1
            else:
                before.append(waiting)
                wrong.append(letter != "C")
                waiting = 0
        return before, wrong, waiting

    sides = [by_word(first), by_word(second)]
    state, errors, found = "b", [0, 0], []
    for place in range(len(sides[0][0])):
        for side, (before, _, _) in enumerate(sides):
            if before[place]:
                state = "e"
                errors[side] += before[place]
        wrong = [side[1][place] for side in sides]
        if any(wrong):
            state = "e"
            errors = [count + bad for count, bad in zip(errors, wrong, strict=True)]
        elif state == "e":
            state = "g"
        elif state == "g":
            found.append((errors[0], errors[1]))
            state, errors = "b", [0, 0]
    errors = [count + side[2] for count, side in zip(errors, sides, strict=True)]
    return [*found, (errors[0], errors[1])] if any(errors) else found


@pytest.mark.parametrize(
    ("first", "second", "segments"),
    [
        ("CCCC", "CCCC", []),
        ("SCCC", "CCCC", [(1, 0)]),
        ("SCS", "CCC", [(2, 0)]),  # one right word in between does not close a segment
        ("SCCS", "CCCC", [(1, 0), (1, 0)]),  # two do
        ("SCCCCCD", "CCCCCCC", [(1, 0), (1, 0)]),
        ("SCICS", "CCCC", [(3, 0)]),  # not with an insertion between them
        ("SCCS", "CCICC", [(2, 1)]),  # the other system's insertions count as well
        ("SCCII", "CCC", [(1, 0), (2, 0)]),
        ("CCC", "CCCI", [(0, 1)]),
        ("III", "", [(3, 0)]),  # an empty reference
        ("", "II", [(0, 2)]),
        ("", "", []),
        ("DSCCSC", "SCCCCD", [(2, 1), (1, 1)]),
    ],
)
def test_segments_by_hand(first: str, second: str, segments: list[tuple[int, int]]) -> None:
    assert slow_segments(first, second) == segments
    errors = segment_errors(*encode(first), *encode(second))
    assert list(zip(*(side.tolist() for side in errors), strict=True)) == segments


def test_a_case_by_hand() -> None:
    """Three segments with 2, 1 and 1 errors of A, and 0, 1 and 3 of B."""
    first, second = ("SSCC", "CCS", "DCC"), ("CCCC", "CCD", "SCCII")
    result = mapsswe(*encode(*first), *encode(*second))
    # The third utterance closes after "CC" with (1, 1); its insertions are a segment of their own.
    differences = [-2, 0, 0, 2]
    assert (result.segments, result.mean, result.sd) == (4, mean(differences), pytest.approx(stdev(differences)))
    assert (result.z, result.p_value) == (0.0, 1.0)
    worse = mapsswe(*encode("SCCC", "CCCC", "CCC"), *encode("SCCS", "DDSC", "CCCI"))
    # Differences: 0, 1, 3; the insertion stands before the end, after two right words: 1.
    assert (worse.segments, worse.mean, worse.sd) == (4, 1.25, pytest.approx(stdev([0, 1, 3, 1])))
    assert worse.z == pytest.approx(1.25 / (stdev([0, 1, 3, 1]) / 2))
    assert worse.p_value == pytest.approx(0.0469, abs=1e-4)
    assert worse.note == "Only 4 segments: the normal approximation is rough."


def test_generated_pairs_agree_with_the_slow_walk(make_pairs: Callable[..., list[tuple[str, str]]]) -> None:
    pairs = make_pairs(1500, vocabulary=12, error_rate=0.5, longest=25, seed=1)
    references = [reference for reference, _ in pairs]
    others = dict(make_other(pairs))
    first = align_texts(references, [hypothesis for _, hypothesis in pairs])
    second = align_texts(references, [others[reference] for reference in references])
    expected = [
        segment for row in range(len(pairs)) for segment in slow_segments(first.letters(row), second.letters(row))
    ]
    found = segment_errors(first.codes, first.offsets, second.codes, second.offsets)
    assert list(zip(*(side.tolist() for side in found), strict=True)) == expected
    assert len(expected) > 2000
    errors = [first.codes != ord("C"), second.codes != ord("C")]
    assert [int(side.sum()) for side in found] == [int(wrong.sum()) for wrong in errors]  # no error is lost


def make_other(pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Another system: it drops every third word of the first one's text and doubles every seventh."""
    made = []
    for reference, hypothesis in pairs:
        words = [word for place, word in enumerate(hypothesis.split()) if place % 3]
        words = [word for place, word in enumerate(words) for _ in range(1 + (place % 7 == 6))]
        made.append((reference, " ".join(words)))
    return made


def test_nothing_to_compare_and_equal_differences() -> None:
    nothing = mapsswe(*encode("CC", ""), *encode("CC", ""))
    assert (nothing.segments, nothing.mean, nothing.p_value) == (0, None, None)
    assert nothing.note == "There is no error to compare."
    same = mapsswe(*encode("S", "S"), *encode("C", "C"))
    assert (same.mean, same.sd, same.z) == (-1.0, 0.0, 0.0)  # as sc_stats says it
    assert same.p_value is None  # and not 1: one is better everywhere
    assert same.note.startswith("All segments differ by the same amount")
    level = mapsswe(*encode("S", "C"), *encode("S", "C"))
    assert (level.mean, level.z, level.p_value) == (0.0, 0.0, 1.0)


def test_the_order_of_utterances_does_not_matter_to_the_last_bit() -> None:
    draw = np.random.default_rng(2)
    pairs = [("S" * draw.integers(0, 7), "S" * draw.integers(0, 7)) for _ in range(500)]
    pairs = [(first.ljust(7, "C"), second.ljust(7, "C")) for first, second in pairs]
    found = set()
    for _ in range(5):
        draw.shuffle(pairs)
        first, second = zip(*pairs, strict=True)
        found.add(mapsswe(*encode(*first), *encode(*second)))
    assert len(found) == 1


def test_other_references_are_refused() -> None:
    with pytest.raises(InputError, match="differ in reference words"):
        mapsswe(*encode("CC", "C"), *encode("C", "CC"))


@pytest.mark.rival
def test_sc_stats_finds_the_same(make_pairs: Callable[..., list[tuple[str, str]]], tmp_path: Path) -> None:
    if not (shutil.which("sclite") and shutil.which("sc_stats")):
        pytest.skip("needs sclite and sc_stats of NIST's SCTK on the PATH")
    pairs = [pair for pair in make_pairs(2000, vocabulary=2000, error_rate=0.12, longest=30, seed=4) if pair[0]]
    texts = {
        "ref": [reference for reference, _ in pairs],
        "A": [hypothesis for _, hypothesis in pairs],
        "B": [hypothesis for _, hypothesis in make_other(pairs)],
    }
    for name, lines in texts.items():
        rows = [f"{line} (speaker{number % 20:02d}-{number:05d})\n" for number, line in enumerate(lines)]
        (tmp_path / f"{name}.trn").write_text("".join(rows), encoding="utf-8")
    for name in "AB":
        call = ["sclite", "-r", "ref.trn", "trn", "-h", f"{name}.trn", "trn", "-i", "rm", "-o", "sgml", "-n", name]
        subprocess.run(call, cwd=tmp_path, check=True, capture_output=True)
    both = b"".join((tmp_path / f"{name}.sgml").read_bytes() for name in "BA")
    call = ["sc_stats", "-p", "-t", "mapsswe", "-v", "-n", "both"]
    subprocess.run(call, cwd=tmp_path, input=both, check=True, capture_output=True)
    report = (tmp_path / "both.stats.mapsswe").read_text(encoding="utf-8")
    theirs = re.search(r"segs: (\d+)\).*mean: +(\S+)\) \(std dev: +(\S+)\) \(Z Stat: +(\S+)\)", report)
    assert theirs is not None
    first, second = (align_texts(texts["ref"], texts[name]) for name in "AB")
    ours = mapsswe(first.codes, first.offsets, second.codes, second.offsets)
    assert ours.segments == int(theirs[1])
    assert [f"{value:.3f}" for value in (ours.mean, ours.sd, ours.z)] == list(theirs.groups()[1:])
