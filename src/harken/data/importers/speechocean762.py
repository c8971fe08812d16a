"""speechocean762: English read by speakers of Mandarin, with scores of experts; Kaldi folders `train` and `test`."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from harken.core import InputError, RejectFunction, Utterance
from harken.data.importers.candidates import comma_separated, need_folder, text_lines
from harken.data.importers.kaldi import import_kaldi

SPLITS = ("train", "test")
_SENTENCE_SCORES = ("accuracy", "completeness", "fluency", "prosodic", "total")


def import_speechocean762(
    source: Path, *, reject: RejectFunction, splits: str | Iterable[str] = SPLITS, threads: int | None = None
) -> Iterator[Utterance]:
    """Utterances of the corpus in `source` (the folder with WAVE, train and test), split after split.

    `tags` hold the split, `accent: zh` (all speakers grew up with Mandarin), the speaker's age and gender where given,
    and the sentence's scores as `score_total`, `score_accuracy`, ... from resource/scores.json; `extra` holds the whole
    entry of that file, words and phones included, as `scores`. Rejected, with the split before the name, is what
    the importer of Kaldi folders rejects. Raises InputError where a split or its wav.scp is absent.
    """
    need_folder(source, "speechocean762")
    names = comma_separated(splits)
    if not names:
        raise InputError("splits is empty.", hint=f"Name some of {', '.join(SPLITS)}.")
    for name in names:
        if not (source / name / "wav.scp").is_file():
            raise InputError(f"{source} has no {name}/wav.scp.", hint="Give the unpacked folder speechocean762.")
    scores = _scores(source / "resource" / "scores.json")
    for name in names:
        yield from _split(source, name, scores, reject, threads)


def _split(
    source: Path, name: str, scores: dict[str, Any], reject: RejectFunction, threads: int | None
) -> Iterator[Utterance]:
    folder = source / name
    about = {fact: _pairs(folder / f"spk2{fact}") for fact in ("age", "gender")}

    def reject_here(item: str, reason: str) -> None:
        reject(f"{name}/{item}", reason)

    # Paths in wav.scp begin at the corpus' folder, not at that of the split.
    for utterance in import_kaldi(folder, reject=reject_here, root=source, language="en", threads=threads):
        tags = {"split": name, "accent": "zh"}
        tags |= {fact: table[utterance.speaker] for fact, table in about.items() if utterance.speaker in table}
        entry = scores.get(utterance.id)
        if isinstance(entry, dict):
            tags |= {f"score_{kind}": f"{entry[kind]:g}" for kind in _SENTENCE_SCORES if _is_number(entry.get(kind))}
        yield replace(utterance, tags=tags, extra={} if entry is None else {"scores": entry})


def _scores(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        scores = json.loads(path.read_bytes())
    except ValueError as err:
        raise InputError(f"{path} is not JSON: {err}.", hint="Copy it again, or take it away.") from err
    if not isinstance(scores, dict):
        raise InputError(f"{path} holds no object of scores by utterance.", hint="Copy it again, or take it away.")
    return scores


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _pairs(path: Path) -> dict[str, str]:
    """First column to the second; empty where there is no such file."""
    if not path.is_file():
        return {}
    rows = (line.split() for _, line in text_lines(path))
    return {row[0]: row[1] for row in rows if len(row) > 1}
