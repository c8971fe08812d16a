"""The contract of an importer, as a check that any test suite can call."""

import pickle
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harken.core import Importer, Utterance

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://|tar:")


def check_importer(
    importer: Importer, source: Path, expected_items: int, **options: Any
) -> tuple[list[Utterance], list[tuple[str, str]]]:
    """Import `source` twice and check what every importer promises; returns (utterances, rejections).

    `expected_items` is how many items the corpus at `source` has, usable or not. Checked are: the result is an
    iterator of Utterance; utterances and rejections together are the items, none dropped or counted twice; ids are
    unique; audio is an absolute path of a file or a URL; rejections have a name and a reason; the second import gives
    the same in the same order; utterances survive pickling, as workers need. Raises AssertionError that says which
    promise is broken by which item.
    """
    utterances, rejections = _import(importer, source, options)
    found = len(utterances) + len(rejections)
    _promise(
        found == expected_items,
        f"{len(utterances)} utterances and {len(rejections)} rejections are {found} items, not {expected_items}",
    )
    seen: set[str] = set()
    for utterance in utterances:
        _promise(utterance.id not in seen, f"the id {utterance.id!r} is used twice")
        seen.add(utterance.id)
        if not _URL.match(utterance.audio):
            _promise(Path(utterance.audio).is_absolute(), f"{utterance.id!r} has a relative path: {utterance.audio}")
            _promise(
                Path(utterance.audio).is_file(), f"{utterance.id!r} names a file that is absent: {utterance.audio}"
            )
        _promise(pickle.loads(pickle.dumps(utterance)) == utterance, f"{utterance.id!r} does not survive pickling")
    for item, reason in rejections:
        _promise(isinstance(item, str) and bool(item), f"a rejection has no name (its reason is {reason!r})")
        _promise(isinstance(reason, str) and bool(reason), f"the rejection of {item!r} has no reason")
    again = _import(importer, source, options)
    _promise(again == (utterances, rejections), "a second import gives another result or another order")
    return utterances, rejections


def _import(importer: Importer, source: Path, options: dict[str, Any]) -> tuple[list[Utterance], list[tuple[str, str]]]:
    rejections: list[tuple[str, str]] = []

    def reject(item: str, reason: str) -> None:
        rejections.append((item, reason))

    result = importer(source, reject=reject, **options)
    _promise(isinstance(result, Iterator), f"an importer returns an iterator, not {type(result).__name__}")
    utterances = list(result)
    for utterance in utterances:
        _promise(isinstance(utterance, Utterance), f"an importer yields Utterance, not {type(utterance).__name__}")
    return utterances, rejections


def _promise(kept: bool, broken: str) -> None:
    """Raise AssertionError unless kept; an `assert` would vanish under `python -O`."""
    if not kept:
        raise AssertionError(broken)
