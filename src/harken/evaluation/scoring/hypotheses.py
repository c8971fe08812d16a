"""Recognised texts in files, from any system: JSON Lines, TSV, Kaldi's `text`, NIST's trn."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from harken.core import InputError

TEXT_KEYS = ("hypothesis", "pred_text", "prediction", "transcript", "text")
"""Names under which a JSON line may hold what was recognised; the first that is there counts.

"text" is last: what NeMo writes holds the reference there, beside "pred_text".
"""

_ID_KEYS = ("id", "utterance_id", "utt_id")
_TRN = re.compile(r"^(?P<text>.*?)\s*\((?P<id>[^()\s]+)\)\s*$")

Line = tuple[str, str]


def read_hypotheses(path: Path) -> dict[str, str]:
    """Texts by utterance id.

    The ending of the name says how a line is written: `.jsonl` or `.json` an object with `id` and one of `TEXT_KEYS`
    (so a NeMo or Harken manifest, or a report's utterances.jsonl, will do); `.tsv` id, tab, text; `.trn` text and then
    the id in parentheses; anything else Kaldi's id, space, text. A text may be empty.

    Raises InputError that names the file and the line for what does not fit and for an id that occurs twice.
    """
    reader = _READERS.get(path.suffix.lower(), _kaldi)
    texts: dict[str, str] = {}
    for number, line in _lines(path):
        try:
            id_, text = reader(line)
        except ValueError as err:
            raise InputError(f"{path}, line {number}: {err}.", hint="Correct the line.") from err
        if id_ in texts:
            raise InputError(f"{path}, line {number}: the id {id_!r} occurs twice.", hint="Keep one of them.")
        texts[id_] = text
    if not texts:
        raise InputError(f"{path} has no lines.", hint="Give a file with a recognised text per line.")
    return texts


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        content = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as err:
        raise InputError(f"{path} does not exist.", hint="Check the path.") from err
    except (OSError, UnicodeDecodeError) as err:
        raise InputError(f"{path} cannot be read: {err}.", hint="Give a text file in UTF-8.") from err
    # Not splitlines(): texts may hold U+2028, which JSON leaves as it is.
    for number, line in enumerate(content.split("\n"), start=1):
        if line.strip():
            yield number, line.rstrip("\r")


def _json(line: str) -> Line:
    try:
        item: Any = json.loads(line)
    except ValueError as err:
        raise ValueError(f"it is not JSON ({err})") from err
    if not isinstance(item, dict):
        raise ValueError("it is not a JSON object")
    id_ = next((item[key] for key in _ID_KEYS if key in item), None)
    if not isinstance(id_, str) or not id_:
        raise ValueError("it has no id")
    text = next((item[key] for key in TEXT_KEYS if key in item), None)
    if not isinstance(text, str):
        raise ValueError(f"{id_!r} has no text; use one of the keys {', '.join(TEXT_KEYS)}")
    return id_, text


def _tsv(line: str) -> Line:
    id_, tab, text = line.partition("\t")
    if not tab or not id_.strip():
        raise ValueError("it is not an id, a tab and a text")
    return id_.strip(), text.strip()


def _trn(line: str) -> Line:
    found = _TRN.match(line)
    if not found:
        raise ValueError("it does not end with an id in parentheses")
    return found["id"], found["text"].strip()


def _kaldi(line: str) -> Line:
    id_, _, text = line.strip().partition(" ")
    if "\t" in id_:
        raise ValueError("there is a tab in the id; name the file .tsv if tabs divide its columns")
    return id_, text.strip()


_READERS: dict[str, Callable[[str], Line]] = {".jsonl": _json, ".json": _json, ".tsv": _tsv, ".trn": _trn}
