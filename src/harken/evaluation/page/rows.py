"""The utterance table as the page carries it: columns in pieces, each JSON, deflated, in base64.

A piece is inflated and read in a few tens of milliseconds, so the page answers while a large table is still coming
in. Names that repeat (speakers, languages, flags, tags) are numbers into lists that stand beside the pieces.
"""

import base64
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

ROWS_A_PIECE = 10_000

MOST_ROWS = 250_000
"""Rows a page takes; a browser cannot scroll through an element that is much higher than this many lines."""

Row = Mapping[str, Any]


class Names:
    """Numbers for names, in the order in which they first come; None has the number -1."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def number(self, name: str | None) -> int:
        return -1 if name is None else self._numbers.setdefault(name, len(self._numbers))

    def listed(self) -> list[str]:
        return list(self._numbers)


class Packer:
    """Packs the rows of several conditions with one set of names."""

    def __init__(self) -> None:
        self._speakers, self._languages, self._flags = Names(), Names(), Names()
        self._tags: dict[str, Names] = {}

    def pack(self, rows: Sequence[Row]) -> list[str]:
        """`rows` as pieces of base64."""
        starts = range(0, len(rows), ROWS_A_PIECE)
        return [_deflated(self._columns(rows[start : start + ROWS_A_PIECE])) for start in starts]

    def names(self) -> dict[str, Any]:
        """What the numbers in all pieces packed so far mean."""
        return {
            "speakers": self._speakers.listed(),
            "languages": self._languages.listed(),
            "flags": self._flags.listed(),
            "tags": {key: names.listed() for key, names in self._tags.items()},
        }

    def _columns(self, rows: Sequence[Row]) -> dict[str, Any]:
        columns: dict[str, Any] = {
            "id": [row["id"] for row in rows],
            "texts": [text for row in rows for text in _texts(row)],
            "alignment": [row["alignment"] for row in rows],
            "duration_s": [row.get("duration_s") for row in rows],
            "speaker": [self._speakers.number(row.get("speaker")) for row in rows],
            "language": [self._languages.number(row.get("language")) for row in rows],
            "rejected": {str(place): row["rejected"] for place, row in enumerate(rows) if "rejected" in row},
            "flags": {
                str(place): [self._flags.number(flag) for flag in row["flags"]]
                for place, row in enumerate(rows)
                if row.get("flags")
            },
        }
        latencies, ratios = [row.get("latency_s") for row in rows], [row.get("snr_db") for row in rows]
        if any(value is not None for value in latencies):
            columns["latency_us"] = [None if value is None else round(1e6 * value) for value in latencies]
        if any(value is not None for value in ratios):
            columns["snr_db"] = ratios
        keys = sorted({key for row in rows for key in row.get("tags") or ()})
        columns["tags"] = {key: [self._tag(key, row.get("tags") or {}) for row in rows] for key in keys}
        return columns

    def _tag(self, key: str, tags: Mapping[str, Any]) -> int:
        value = tags.get(key)
        return self._tags.setdefault(key, Names()).number(None if value is None else str(value))


def select_rows(rows: Sequence[Row], most: int = MOST_ROWS) -> Sequence[Row]:
    """All rows, or the `most` with the most errors in their own order when there are more."""
    if len(rows) <= most:
        return rows
    worst = sorted(range(len(rows)), key=lambda place: (-_errors(rows[place]), place))[:most]
    return [rows[place] for place in sorted(worst)]


def json_text(value: Any) -> str:
    """Compact JSON; half a surrogate pair becomes \\udXXX, which JSON reads back and UTF-8 can carry."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _texts(row: Row) -> Iterable[str | None]:
    """Reference, hypothesis (None where equal), and both as written (None where normalisation changed nothing).

    They stand side by side because deflate finds repetitions within 32 KiB only.
    """
    reference, hypothesis = row["reference"], row["hypothesis"]
    yield reference
    yield None if hypothesis == reference else hypothesis
    yield row.get("reference_raw")
    yield row.get("hypothesis_raw")


def _errors(row: Row) -> int:
    return int(row["substitutions"] + row["deletions"] + row["insertions"])


def _deflated(columns: Mapping[str, Any]) -> str:
    return base64.b64encode(zlib.compress(json_text(columns).encode("utf-8"), 6)).decode("ascii")
