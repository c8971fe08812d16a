from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from harken.core import RejectFunction, Utterance
from harken.testing import check_importer

runs = count()


def utterance(name: str, folder: Path, **fields: Any) -> Utterance:
    return Utterance(**{"id": name, "audio": str(folder / "a.wav"), "duration_s": 1.0, **fields})


def good(source: Path, *, reject: RejectFunction, names: str = "ab") -> Iterator[Utterance]:
    for name in names:
        yield utterance(name, source)
    reject("c", "it is broken")


def returns_a_list(source: Path, *, reject: RejectFunction) -> Any:
    return [utterance("a", source)]


def yields_text(source: Path, *, reject: RejectFunction) -> Any:
    yield "a"


def drops(source: Path, *, reject: RejectFunction) -> Iterator[Utterance]:
    yield utterance("a", source)


def repeats(source: Path, *, reject: RejectFunction) -> Iterator[Utterance]:
    yield utterance("a", source)
    yield utterance("a", source)
    reject("c", "it is broken")


def relative(source: Path, *, reject: RejectFunction) -> Iterator[Utterance]:
    yield utterance("a", source, audio="a.wav")
    yield utterance("b", source)
    reject("c", "it is broken")


def absent(source: Path, *, reject: RejectFunction) -> Iterator[Utterance]:
    yield utterance("a", source, audio=str(source / "none.wav"))
    yield utterance("b", source)
    reject("c", "it is broken")


def silent_rejection(source: Path, *, reject: RejectFunction) -> Iterator[Utterance]:
    yield utterance("a", source)
    yield utterance("b", source)
    reject("c", "")


def nameless_rejection(source: Path, *, reject: RejectFunction) -> Iterator[Utterance]:
    yield utterance("a", source)
    yield utterance("b", source)
    reject("", "it is broken")


def unstable(source: Path, *, reject: RejectFunction) -> Iterator[Utterance]:
    yield utterance("a", source)
    yield utterance(f"b{next(runs)}", source)
    reject("c", "it is broken")


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    (tmp_path / "a.wav").touch()
    return tmp_path


def test_a_good_importer_passes_and_its_result_is_returned(corpus: Path) -> None:
    utterances, rejections = check_importer(good, corpus, 3)
    assert [item.id for item in utterances] == ["a", "b"]
    assert rejections == [("c", "it is broken")]
    check_importer(good, corpus, 4, names="xyz")


@pytest.mark.parametrize(
    ("importer", "broken"),
    [
        (returns_a_list, "returns an iterator, not list"),
        (yields_text, "yields Utterance, not str"),
        (drops, "1 utterances and 0 rejections are 1 items, not 3"),
        (repeats, "the id 'a' is used twice"),
        (relative, "'a' has a relative path: a.wav"),
        (absent, "'a' names a file that is absent"),
        (silent_rejection, "the rejection of 'c' has no reason"),
        (nameless_rejection, "a rejection has no name"),
        (unstable, "a second import gives another result"),
    ],
)
def test_each_broken_promise_is_found(corpus: Path, importer: Callable[..., Any], broken: str) -> None:
    with pytest.raises(AssertionError, match=broken):
        check_importer(importer, corpus, 3)
