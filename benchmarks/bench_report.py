"""A report of 100,000 utterances as a page and as figures, and how long a browser takes to show it.

First paint and search are measured in Chromium where it is installed; they are left out where it is not.
"""

import shutil
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.bench_scoring import make_texts
from benchmarks.harness import timed
from harken.core import Utterance
from harken.evaluation.page import write_figures, write_page
from harken.evaluation.report import EvaluationReport, ReportConfig, build_report

NAME = "report"
THREADS = 1
UTTERANCES = 100_000
SPEAKERS = 500
LIMIT_CPU_S = 30.0
LIMIT_PAINT_MS = 2000.0
VISITS = 5
QUERIES = ("w17", "w3 w1", "speaker-0999", "w19999", "w")

SEARCH = """async (queries) => {
    const box = document.querySelector("input[name=query]"), times = [];
    for (const query of queries) {
        const start = performance.now();
        box.value = query;
        box.dispatchEvent(new Event("input", { bubbles: true }));
        await new Promise((done) => requestAnimationFrame(() => setTimeout(done, 0)));
        times.push(performance.now() - start);
    }
    return times;
}"""


def make_utterances() -> tuple[list[Utterance], dict[str, str]]:
    """Utterances with speakers and languages, and what was recognised."""
    references, (hypotheses, _) = make_texts(UTTERANCES)
    utterances = [
        Utterance(
            id=f"utterance-{number:06d}",
            audio=f"/audio/{number:06d}.wav",
            duration_s=2 + number % 97 / 10,
            text=text,
            speaker=f"speaker-{number % SPEAKERS:03d}",
            language=("uz", "ru", "en")[number % 3],
        )
        for number, text in enumerate(references)
    ]
    return utterances, {utterance.id: text for utterance, text in zip(utterances, hypotheses, strict=True)}


def browse(path: Path) -> dict[str, list[float]] | None:
    """Milliseconds to first paint, until the table stands, and of each search; None without Chromium."""
    program = shutil.which("chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        program = None
    if program is None:
        return None
    found: dict[str, list[float]] = {"paint": [], "table": [], "search": []}
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for _ in range(VISITS):
            page = browser.new_page()
            page.goto(path.as_uri())
            page.wait_for_selector("html[data-ready]", timeout=60_000)
            found["table"].append(page.evaluate("performance.now()"))
            found["paint"].append(page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime"))
            found["search"] += page.evaluate(SEARCH, list(QUERIES))
            page.close()
        browser.close()
    return found


def run() -> dict[str, Any]:
    """One report from texts, its page and its figures; then visits to the page."""
    utterances, hypotheses = make_utterances()
    reports: list[EvaluationReport] = []
    config = ReportConfig(normalizer="none")
    report_s = timed(lambda: reports.append(build_report(utterances, hypotheses, config=config)))[1]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        page_s = timed(lambda: write_page(reports[0], folder, title="Benchmark"))[1]
        figures_s = timed(lambda: write_figures(reports[0], folder / "figures"))[1]
        size = (folder / "report.html").stat().st_size
        visits = browse(folder / "report.html")
    total_s = report_s + page_s + figures_s
    figures = {
        "scoring and analysis": {"value": round(report_s, 2), "unit": "s CPU"},
        "page": {"value": round(page_s, 2), "unit": "s CPU"},
        "figures as PNG and SVG": {"value": round(figures_s, 2), "unit": "s CPU"},
        "all together": {"value": round(total_s, 2), "unit": "s CPU"},
        "size of the page": {"value": round(size / 1e6, 2), "unit": "MB"},
    }
    if visits is not None:
        figures |= {
            "first paint in Chromium": _times(visits["paint"]),
            "table of utterances stands": _times(visits["table"]),
            "answer to a search": _times(visits["search"]),
        }
    painted = None if visits is None else median(visits["paint"]) <= LIMIT_PAINT_MS
    return {
        "name": NAME,
        "title": f"Report of {UTTERANCES:,} utterances",
        "target": f"at most {LIMIT_CPU_S:g} s of CPU in all, first paint within {LIMIT_PAINT_MS / 1000:g} s",
        "met": total_s <= LIMIT_CPU_S and painted,  # None without a browser: half of it is not known
        "figures": figures,
        "rivals": {},
    }


def _times(values_ms: list[float]) -> dict[str, Any]:
    return {
        "value": round(median(values_ms)),
        "unit": "ms",
        "rounds": len(values_ms),
        "spread": [round(min(values_ms)), round(max(values_ms))],
    }
