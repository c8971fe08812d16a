"""docs/performance.md from benchmarks/results/*.json: no number in the docs is typed by hand.

python -m tools.performance_page [--check]
"""

import json
import sys
from pathlib import Path
from typing import Any

from tools.generated import ROOT, keep_up_to_date

RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "performance.md"

INTRODUCTION = """\
<!-- Written by `python -m tools.performance_page` from benchmarks/results; do not edit. -->

# Performance

Measured by `make bench`, and written onto this page from its results. Every contender of a comparison runs once a
round, in turn, so that a busy machine slows all of them alike; a number is the median over the rounds, with the
smallest and the largest beside it. CPU time is that of all threads and child processes together. Your machine will
give other numbers: run `make bench`, or one benchmark by name, such as `make bench ARGS=cli`.
"""


def page(results: list[dict[str, Any]]) -> str:
    """The whole page; the same results give the same text."""
    if not results:
        return INTRODUCTION + "\nThere are no results yet: run `make bench`.\n"
    return "\n".join([INTRODUCTION, _overview(results), *(_section(result) for result in results)])


def _overview(results: list[dict[str, Any]]) -> str:
    lines = ["| Benchmark | Target | |", "|---|---|---|"]
    for result in results:
        title = _title(result)
        lines.append(f"| [{title}](#{_anchor(title)}) | {_cell(result.get('target', ''))} | {_verdict(result)} |")
    return "\n".join(lines) + "\n"


def _section(result: dict[str, Any]) -> str:
    lines = [f"## {_title(result)}", ""]
    if result.get("target"):
        lines += [f"Target: {result['target']}. {_verdict(result).capitalize()}.".replace("..", "."), ""]
    if result.get("note"):
        lines += [str(result["note"]), ""]
    lines += ["| Figure | Value | Smallest to largest | CPU time | Wall time |", "|---|---|---|---|---|"]
    lines += [_row(name, figure) for name, figure in result.get("figures", {}).items()]
    if result.get("rivals"):
        lines += ["", "| Compared with | CPU time | Wall time | |", "|---|---|---|---|"]
        lines += [_rival(name, rival) for name, rival in result["rivals"].items()]
    if result.get("table"):
        lines += ["", *_table(**result["table"])]
    return "\n".join([*lines, "", _machine(result), ""])


def _row(name: str, figure: Any) -> str:
    if not isinstance(figure, dict):
        return f"| {_cell(name)} | {_number(figure)} | | | |"
    value, unit = figure.get("value", figure.get("median")), figure.get("unit", "")
    spread = figure.get("spread")
    between = f"{_number(spread[0])} to {_number(spread[1])}" if spread else ""
    cpu, wall = _seconds(figure, "cpu_s", "median_cpu_s"), _seconds(figure, "wall_s", "median_wall_s")
    return f"| {_cell(name)} | {_number(value)} {_cell(unit)} | {between} | {cpu} | {wall} |"


def _rival(name: str, rival: Any) -> str:
    if not isinstance(rival, dict):
        return f"| {_cell(name)} | | | {_number(rival)} |"
    cpu, wall = _seconds(rival, "median_cpu_s", "cpu_s"), _seconds(rival, "median_wall_s", "wall_s")
    value = rival.get("value")
    rest = f"{_number(value)} {rival.get('unit', '')}".strip() if value is not None else rival.get("note", "")
    return f"| {_cell(name)} | {cpu} | {wall} | {_cell(rest)} |"


def _table(columns: list[str], rows: list[list[Any]]) -> list[str]:
    """What a benchmark compares case by case, in columns of its own."""
    header = [f"| {' | '.join(map(_cell, columns))} |", "|---" * len(columns) + "|"]
    return [*header, *(f"| {' | '.join(map(_number, row))} |" for row in rows)]


def _machine(result: dict[str, Any]) -> str:
    machine = result.get("machine", {})
    packages = ", ".join(f"{name} {version}" for name, version in machine.get("packages", {}).items())
    threads = machine.get("threads")
    facts = [
        machine.get("gpu", ""),
        f"{machine['cores']} cores of {machine['cpu']}" if machine.get("cpu") else "",
        f"{threads} thread{'' if threads == 1 else 's'}" if threads else "",
        machine.get("system", ""),
        f"Python {machine['python']}" if machine.get("python") else "",
        packages,
        f"commit {machine['commit']}" + (" with changes" if machine.get("uncommitted_changes") else "")
        if machine.get("commit")
        else "",
        f"load average {machine['load_average'][0]} before" if machine.get("load_average") else "",
        f"measured {result['measured'][:10]}" if result.get("measured") else "",
    ]
    return f"<small>{'; '.join(fact for fact in facts if fact)}.</small>"


def _seconds(figure: dict[str, Any], *names: str) -> str:
    """The first of these keys that holds one number (a list holds the rounds, not their median)."""
    found = next((figure[name] for name in names if isinstance(figure.get(name), int | float)), None)
    return "" if found is None else f"{_number(found)} s"


def _verdict(result: dict[str, Any]) -> str:
    return {True: "reached", False: "**missed**"}.get(result.get("met"), "no verdict")  # type: ignore[arg-type]


def _title(result: dict[str, Any]) -> str:
    return str(result.get("title") or result["name"].replace("_", " ").capitalize())


def _anchor(title: str) -> str:
    kept = "".join(letter for letter in title.lower() if letter.isalnum() or letter in " -_")
    return "-".join(kept.split())


def _number(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return _cell(value)
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _cell(value: Any) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")


def main() -> int:
    results = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(Path(RESULTS).glob("*.json"))]
    return keep_up_to_date({PAGE: page(results)}, check="--check" in sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
