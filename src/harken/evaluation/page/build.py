"""Puts a report into one HTML file that opens from disk and asks the network for nothing.

The page is a template with a style sheet and a script, all inside the file. A content security policy lets the browser
run that script only and refuses every connection, so a text in the data can do no harm even if it were taken for code.
"""

import base64
import hashlib
import html
import string
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from harken.core import InputError
from harken.core.files import replacing
from harken.evaluation.page.clips import Clip, encode_clip
from harken.evaluation.page.rows import Packer, Row, json_text, select_rows
from harken.evaluation.report import EvaluationReport

PAGE_FILE = "report.html"

MOST_CONDITION_ROWS = 150_000
"""Rows up to which the page carries the utterances of further conditions too, so that it does not grow without end."""

_SCRIPTS = (
    "dom",
    "store",
    "diff",
    "charts",
    "player",
    "summary",
    "slices",
    "analysis",
    "find",
    "table",
    "utterances",
    "main",
)


def write_page(report: EvaluationReport, folder: Path, *, title: str, clips: Mapping[str, Clip] | None = None) -> Path:
    """Write FOLDER/report.html, wholly or not at all; its path.

    `clips` holds audio by utterance id: these get a player and a spectrogram in the table, and in the list of the
    hardest when they are on it. Equal arguments give equal bytes. Raises InputError for a clip that belongs to no
    utterance or cannot be encoded.
    """
    path = Path(folder) / PAGE_FILE
    with replacing(path) as file:
        file.write(page_bytes(report, title=title, clips=clips or {}))
    return path


def page_bytes(report: EvaluationReport, *, title: str, clips: Mapping[str, Clip]) -> bytes:
    """The page as UTF-8. See `write_page`."""
    script = _script()
    style = _asset("page.css")
    blocks: list[str] = []
    facts = {"title": title, "summary": report.summary}
    facts |= _tables(report, blocks) | {"clips": _audio(report, clips, blocks)}
    page = string.Template(_asset("page.html")).substitute(
        title=html.escape(title),
        policy=_policy(script, style),
        style=style,
        script=script,
        facts=json_text(facts).replace("<", "\\u003c"),
        blocks="\n".join(blocks),
    )
    return page.encode("utf-8", "replace")


def _tables(report: EvaluationReport, blocks: list[str]) -> dict[str, Any]:
    """The utterance tables' facts; their pieces go to `blocks`.

    The conditions after the first follow while all fit.
    """
    packer = Packer()
    names = list(report.summary.get("conditions") or {"": None})
    tables = [_table(packer, names[0], report.rows, blocks)]
    left = MOST_CONDITION_ROWS - len(report.rows)
    others = {name: part.rows for name, part in report.conditions.items() if name != names[0]}
    if sum(map(len, others.values())) <= left:
        tables += [_table(packer, name, rows, blocks) for name, rows in others.items()]
        others = {}
    return {"tables": tables, "left_out": list(others), "names": packer.names()}


def _table(packer: Packer, name: str, rows: Sequence[Row], blocks: list[str]) -> dict[str, Any]:
    kept = select_rows(rows)
    pieces = packer.pack(kept)
    first = len(blocks)
    blocks += [_block(first + place, piece) for place, piece in enumerate(pieces)]
    return {"name": name, "rows": len(kept), "all_rows": len(rows), "blocks": [first, first + len(pieces)]}


def _audio(report: EvaluationReport, clips: Mapping[str, Clip], blocks: list[str]) -> dict[str, Any]:
    known = {row["id"] for row in report.rows} if clips else set()
    audio = {}
    for id_, clip in clips.items():
        if id_ not in known:
            raise InputError(f"There is a clip of {id_!r}, but no such utterance.", hint="Use ids of the report.")
        encoded, facts = encode_clip(id_, clip)
        audio[id_] = {**facts, "block": len(blocks)}
        blocks.append(_block(len(blocks), encoded))
    return audio


def _block(number: int, encoded: str) -> str:
    return f'<script type="text/plain" id="block-{number}">{encoded}</script>'


def _script() -> str:
    parts = "\n".join(_asset(f"{name}.js") for name in _SCRIPTS)
    return f'(() => {{\n"use strict";\n{parts}\n}})();\n'


def _asset(name: str) -> str:
    return (resources.files("harken.evaluation.page") / "assets" / name).read_text(encoding="utf-8")


def _policy(script: str, style: str) -> str:
    """Nothing but this script and this style sheet; pictures and audio only from within the page."""
    rules = {
        "default-src": "'none'",
        "script-src": _source_hash(script),
        "style-src": _source_hash(style),
        "img-src": "data: blob:",
        "media-src": "data: blob:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


def _source_hash(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"
