"""Importers: a corpus in its published layout becomes utterances; what cannot be used is named with the reason.

Each importer is found by its entry point in `harken.importers`, those of other packages too.
"""

import inspect
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from harken.core import Importer, InputError, Utterance, load_plugin

__all__ = ["ImportResult", "Rejection", "import_corpus"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """Something left out: its name (an utterance id, a file, a line of a file) and the reason."""

    item: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportResult:
    """What an importer made of a corpus: together, `utterances` and `rejected` are every item in it."""

    utterances: tuple[Utterance, ...]
    rejected: tuple[Rejection, ...]


def import_corpus(kind: str, source: str | Path, **options: Any) -> ImportResult:
    """Import the corpus at `source` with the importer called `kind`.

    `options` are the importer's keyword arguments; see its function. An utterance whose id an earlier one has is
    rejected. Raises MissingPart for an unknown kind or a package the importer needs, InputError for an unknown option
    and a source that is not such a corpus.
    """
    importer = cast(Importer, load_plugin("harken.importers", kind))
    rejected: list[Rejection] = []

    def reject(item: str, reason: str) -> None:
        # Names of files may hold bytes that are no text; shown as escapes, they can be printed and saved.
        shown, why = (text.encode("utf-8", "backslashreplace").decode() for text in (item, reason))
        rejected.append(Rejection(item=shown, reason=why))

    _check_options(kind, importer, options)
    # Links stay as the user wrote them; a hub id (owner/name) is no path and stays whole.
    path = Path(os.path.abspath(source)) if Path(source).exists() else Path(source)  # noqa: PTH100
    utterances = tuple(_first_of_each_id(importer(path, reject=reject, **options), reject))
    return ImportResult(utterances=utterances, rejected=tuple(rejected))


def _first_of_each_id(utterances: Iterator[Utterance], reject: Any) -> Iterator[Utterance]:
    seen: set[str] = set()
    for utterance in utterances:
        if utterance.id in seen:
            reject(utterance.audio, f"the id {utterance.id!r} belongs to an earlier utterance")
            continue
        seen.add(utterance.id)
        yield utterance


def _check_options(kind: str, importer: Importer, options: dict[str, Any]) -> None:
    parameters = inspect.signature(importer).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return
    known = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.name != "reject"]
    unknown = sorted(options.keys() - set(known))
    if unknown:
        raise InputError(
            f"The importer {kind!r} has no option {unknown[0]!r}.", hint=f"It takes: {', '.join(known) or 'none'}."
        )
