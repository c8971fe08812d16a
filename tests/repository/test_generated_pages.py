"""Pages of the docs that are written by tools."""

from pathlib import Path
from typing import Any

import pytest
from tools import generated, performance_page


def _result(**changes: Any) -> dict[str, Any]:
    return {
        "name": "mel_speed",
        "target": "at least 2 times | faster",
        "met": True,
        "figures": {"ours": {"value": 0.12345, "unit": "s CPU", "spread": [0.1, 0.2], "cpu_s": 0.12345}},
        "rivals": {"theirs": {"median_cpu_s": 1.5, "median_wall_s": 1234.5}},
        "machine": {"cpu": "Some CPU", "cores": 2, "python": "3.11.7", "threads": 1, "packages": {"numpy": "2.4"}},
        "measured": "2026-11-21T01:00:00+00:00",
        **changes,
    }


def test_the_page_holds_the_numbers_and_where_they_come_from() -> None:
    text = performance_page.page([_result()])
    assert "| [Mel speed](#mel-speed) | at least 2 times \\| faster | reached |" in text
    assert "| ours | 0.123 s CPU | 0.1 to 0.2 | 0.123 s |  |" in text
    assert "| theirs | 1.5 s | 1,234 s |  |" in text
    assert "2 cores of Some CPU; 1 thread; Python 3.11.7; numpy 2.4; measured 2026-11-21." in text


def test_a_missed_target_is_said() -> None:
    assert "**missed**" in performance_page.page([_result(met=False)])


def test_a_result_with_the_least_there_may_be() -> None:
    text = performance_page.page([{"name": "x", "figures": {"a": 3, "b": {"median": 2.0, "cpu_s": [1.0, 2.0]}}}])
    assert "| a | 3 | | | |" in text
    assert "| b | 2  |  |  |  |" in text


def test_no_results_say_how_to_get_some() -> None:
    assert "run `make bench`" in performance_page.page([])


def test_the_same_results_give_the_same_page() -> None:
    assert performance_page.page([_result()]) == performance_page.page([_result()])


def test_checking_writes_nothing_and_fails_on_a_difference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(generated, "ROOT", tmp_path)
    page = tmp_path / "docs" / "a.md"
    assert generated.keep_up_to_date({page: "new\n"}, check=True) == 1
    assert not page.exists()
    assert "make generate" in capsys.readouterr().err
    assert generated.keep_up_to_date({page: "new\n"}, check=False) == 0
    assert page.read_text(encoding="utf-8") == "new\n"
    assert generated.keep_up_to_date({page: "new\n"}, check=True) == 0


def test_pages_of_rooms_that_are_gone_are_found_by_their_mark(tmp_path: Path) -> None:
    kept, gone, by_hand = tmp_path / "a.md", tmp_path / "b.md", tmp_path / "c.md"
    for path in (kept, gone):
        path.write_text("<!-- mark -->\n", encoding="utf-8")
    by_hand.write_text("# Mine\n", encoding="utf-8")
    assert generated.leftovers(tmp_path, {kept: ""}, "<!-- mark -->") == [gone]
