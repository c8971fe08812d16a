"""What is inside the file: the report itself, nothing that could act, nothing from elsewhere."""

import base64
import hashlib
import html
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harken.core import InputError
from harken.evaluation.page import Clip, write_page
from harken.evaluation.page.build import MOST_CONDITION_ROWS, page_bytes
from harken.evaluation.page.rows import Packer, select_rows
from harken.evaluation.report import EvaluationReport
from harken.evaluation.report_files import read_report, write_report


def facts_of(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="facts">(.*?)</script>', page, re.DOTALL)
    assert found
    return dict(json.loads(found[1]))


def block_of(page: str, number: int) -> bytes:
    found = re.search(rf'<script type="text/plain" id="block-{number}">([A-Za-z0-9+/=]*)</script>', page)
    assert found
    return base64.b64decode(found[1], validate=True)


def unpacked(page: str, table: int) -> list[dict[str, Any]]:
    """The rows of a table, put together again by a second implementation."""
    facts = facts_of(page)
    names = facts["names"]
    rows = []
    for number in range(*facts["tables"][table]["blocks"]):
        piece = json.loads(zlib.decompress(block_of(page, number)))
        for place, id_ in enumerate(piece["id"]):
            reference, hypothesis, reference_raw, hypothesis_raw = piece["texts"][4 * place : 4 * place + 4]
            row: dict[str, Any] = {
                "id": id_,
                "reference": reference,
                "hypothesis": reference if hypothesis is None else hypothesis,
                "reference_raw": reference_raw,
                "hypothesis_raw": hypothesis_raw,
                "alignment": piece["alignment"][place],
                "duration_s": piece["duration_s"][place],
                "flags": [names["flags"][code] for code in piece["flags"].get(str(place), [])],
                "rejected": piece["rejected"].get(str(place)),
                "latency_us": piece["latency_us"][place] if "latency_us" in piece else None,
                "snr_db": piece["snr_db"][place] if "snr_db" in piece else None,
                "tags": {
                    key: names["tags"][key][codes[place]] for key, codes in piece["tags"].items() if codes[place] >= 0
                },
            }
            for key in ("speaker", "language"):
                code = piece[key][place]
                row[key] = None if code < 0 else names[f"{key}s"][code]
            rows.append(row)
    return rows


def expected(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    plain = ("id", "reference", "hypothesis", "alignment", "speaker", "language", "duration_s")
    return [
        {
            **{key: row[key] for key in plain},
            "reference_raw": row.get("reference_raw"),
            "hypothesis_raw": row.get("hypothesis_raw"),
            "flags": row.get("flags", []),
            "rejected": row.get("rejected"),
            "latency_us": None if row["latency_s"] is None else round(1e6 * row["latency_s"]),
            "snr_db": row.get("snr_db"),
            "tags": row.get("tags", {}),
        }
        for row in rows
    ]


@pytest.fixture(scope="module")
def page(rich_report: EvaluationReport, clips: dict[str, Clip]) -> str:
    return page_bytes(rich_report, title="A <b>title</b>", clips=clips).decode("utf-8")


def test_the_figures_are_those_of_the_report(page: str, rich_report: EvaluationReport) -> None:
    assert facts_of(page)["summary"] == json.loads(json.dumps(rich_report.summary))


def test_the_rows_are_those_of_the_report(page: str, rich_report: EvaluationReport) -> None:
    assert unpacked(page, 0) == expected(rich_report.rows)


def test_every_condition_has_its_rows(page: str, rich_report: EvaluationReport) -> None:
    facts = facts_of(page)
    assert [table["name"] for table in facts["tables"]] == ["clean", *rich_report.conditions]
    assert facts["left_out"] == []
    for number, part in enumerate(rich_report.conditions.values(), start=1):
        assert unpacked(page, number) == expected(part.rows)


def test_a_report_without_any_optional_part(small_report: EvaluationReport) -> None:
    page = page_bytes(small_report, title="small", clips={}).decode("utf-8")
    assert unpacked(page, 0) == expected(small_report.rows)
    assert facts_of(page)["clips"] == {}


def test_an_empty_report(small_report: EvaluationReport) -> None:
    page = page_bytes(replace(small_report, rows=[]), title="empty", clips={}).decode("utf-8")
    assert facts_of(page)["tables"] == [{"name": "clean", "rows": 0, "all_rows": 0, "blocks": [0, 0]}]


def test_equal_reports_give_equal_bytes(rich_report: EvaluationReport, clips: dict[str, Clip], tmp_path: Path) -> None:
    first = write_page(rich_report, tmp_path / "one", title="t", clips=clips)
    second = write_page(rich_report, tmp_path / "two", title="t", clips=clips)
    assert first == tmp_path / "one" / "report.html"
    assert first.read_bytes() == second.read_bytes()


def test_a_report_from_disk_gives_the_same_page(rich_report: EvaluationReport, tmp_path: Path) -> None:
    write_report(rich_report, tmp_path)
    assert page_bytes(read_report(tmp_path), title="t", clips={}) == page_bytes(rich_report, title="t", clips={})


# Safety


def test_texts_are_data_and_never_markup(page: str, hostile: str) -> None:
    assert hostile not in page
    assert "<img" not in page
    assert facts_of(page)["summary"]["slices"]["speaker"][hostile]["utterances"] == 1
    assert page.count("</script>") == page.count("<script")
    assert f"<title>{html.escape('A <b>title</b>')}</title>" in page


def test_the_policy_allows_this_script_and_style_only(page: str) -> None:
    found = re.search(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">', page)
    assert found
    rules = dict(rule.split(" ", 1) for rule in found[1].split("; "))
    script = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    style = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    assert (len(script), len(style)) == (1, 1)
    for name, text in (("script-src", script[0]), ("style-src", style[0])):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules[name] == f"'sha256-{digest}'"
    assert rules["default-src"] == "'none'"
    assert set(rules) == {"default-src", "script-src", "style-src", "img-src", "media-src", "base-uri", "form-action"}
    assert rules["img-src"] == rules["media-src"] == "data: blob:"


def test_no_address_but_the_name_of_a_vocabulary(page: str) -> None:
    assert set(re.findall(r"https?://[^\"'\s<)]*", page)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"<(script|img|audio|video|iframe|source)[^>]*\ssrc=", page)
    assert re.findall(r"<link[^>]*>", page) == ['<link rel="icon" href="data:,">']
    assert not re.search(r"url\(|@import|innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", page)


def test_half_a_surrogate_pair_survives(small_report: EvaluationReport) -> None:
    rows = [{**small_report.rows[0], "reference": "a \ud800 b", "id": "\udfff"}]
    page = page_bytes(replace(small_report, rows=rows), title="half \ud800", clips={}).decode("utf-8")
    assert unpacked(page, 0)[0]["reference"] == "a \ud800 b"
    assert unpacked(page, 0)[0]["id"] == "\udfff"


# Size


def test_conditions_stay_on_disk_when_they_are_too_many(small_report: EvaluationReport) -> None:
    many = [small_report.rows[0]] * (MOST_CONDITION_ROWS - 2)
    summary = {**small_report.summary, "conditions": {"clean": {}, "noise": {}}}
    report = EvaluationReport(
        summary=summary, rows=small_report.rows, conditions={"noise": replace(small_report, rows=many)}
    )
    facts = facts_of(page_bytes(report, title="t", clips={}).decode("utf-8"))
    assert [table["name"] for table in facts["tables"]] == ["clean"]
    assert facts["left_out"] == ["noise"]


def test_of_too_many_rows_the_worst_are_kept_in_order() -> None:
    rows = [
        {"id": str(n), "substitutions": errors, "deletions": 0, "insertions": 0}
        for n, errors in enumerate([1, 5, 0, 5, 2])
    ]
    assert [row["id"] for row in select_rows(rows, most=3)] == ["1", "3", "4"]
    assert select_rows(rows, most=5) is rows


def test_pieces_hold_ten_thousand_rows_each(small_report: EvaluationReport) -> None:
    pieces = Packer().pack([small_report.rows[0]] * 20_001)
    lengths = [len(json.loads(zlib.decompress(base64.b64decode(piece)))["id"]) for piece in pieces]
    assert lengths == [10_000, 10_000, 1]


def test_a_clip_of_an_unknown_utterance_is_refused(small_report: EvaluationReport, clips: dict[str, Clip]) -> None:
    with pytest.raises(InputError, match="clip of 'nobody'"):
        page_bytes(small_report, title="t", clips={"nobody": next(iter(clips.values()))})


def test_nothing_is_left_of_a_page_that_fails(
    small_report: EvaluationReport, clips: dict[str, Clip], tmp_path: Path
) -> None:
    with pytest.raises(InputError):
        write_page(small_report, tmp_path, title="t", clips={"nobody": next(iter(clips.values()))})
    assert list(tmp_path.iterdir()) == []
