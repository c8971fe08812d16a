"""The page as people use it, in Chromium, from disk."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harken.core import Utterance
from harken.evaluation.page import Clip, write_page
from harken.evaluation.report import EvaluationReport, ReportConfig, build_report

pytestmark = pytest.mark.browser

Open = Callable[..., Any]


@pytest.fixture(scope="module")
def path(rich_report: EvaluationReport, clips: dict[str, Clip], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_page(rich_report, tmp_path_factory.mktemp("page"), title="Model on test.jsonl", clips=clips)


def status(page: Any) -> str:
    """Waits for the next frame, in which a filter takes effect."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return str(page.locator(".status").inner_text())


def wait_until(page: Any, expression: str) -> None:
    """Polls from outside: the page's policy forbids the evaluation that playwright's own waiting needs."""
    end = time.monotonic() + 20
    while not page.evaluate(expression):
        assert time.monotonic() < end, expression
        page.wait_for_timeout(20)


def shown_ids(page: Any) -> list[str]:
    """Ids of the rows that are elements, from above to below."""
    status(page)
    rows = page.evaluate("""[...document.querySelectorAll(".row")].map(
        (row) => [parseFloat(row.style.top), row.querySelector(".name").textContent])""")
    return [id_ for _, id_ in sorted(rows)]


def shown_count(page: Any) -> int:
    return int(status(page).split()[0].replace(",", ""))


def errors_of(row: Any) -> int:
    return int(row["substitutions"] + row["deletions"] + row["insertions"])


def substitutions(row: Any) -> list[str]:
    said, heard = iter(row["reference"].split()), iter(row["hypothesis"].split())
    steps = [(kind, "" if kind == "I" else next(said), "" if kind == "D" else next(heard)) for kind in row["alignment"]]
    return [f"{reference} {hypothesis}" for kind, reference, hypothesis in steps if kind == "S"]


# What stands on it


def test_every_section_is_there_and_nothing_else_is_asked_for(open_page: Open, path: Path) -> None:
    page = open_page(path)
    assert page.locator("#contents a").all_inner_texts() == [
        "Summary", "Conditions", "Slices", "Frequent errors", "Vocabulary", "Phonemes", "Hallucinations", "Keywords",
        "Code-switching", "Not recognised", "Hardest", "Utterances", "Method",
    ]  # fmt: skip
    page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    assert page.title() == "Model on test.jsonl"


def test_headline_and_its_interval(open_page: Open, path: Path, rich_report: EvaluationReport) -> None:
    page = open_page(path)
    wer = rich_report.summary["wer"]
    assert page.locator(".hero .figure").inner_text().replace("\u202f", "") == f"{100 * wer['value']:.2f}%"
    interval = page.locator(".rate").inner_text().replace("\u202f", "")
    assert f"95% interval {100 * wer['low']:.2f} to {100 * wer['high']:.2f}%" in interval
    assert f"over {wer['units']} {wer['unit']}s" in interval
    assert f"{rich_report.summary['deletions']:,}" in page.locator(".composition").inner_text()


def test_conditions_with_their_differences(open_page: Open, path: Path, rich_report: EvaluationReport) -> None:
    page = open_page(path)
    rows = page.locator("#conditions tbody tr")
    assert rows.count() == 5
    assert "reference" in rows.nth(0).inner_text()
    gap = rich_report.summary["conditions"]["noise-10db"]["difference"]
    assert f"+{100 * gap['value']:.2f}" in rows.nth(1).inner_text()
    assert f"+{100 * gap['low']:.2f} to +{100 * gap['high']:.2f}" in rows.nth(1).inner_text()


def test_a_model_that_became_worse_is_said_aloud(
    open_page: Open, report_that_is_worse: EvaluationReport, tmp_path: Path
) -> None:
    page = open_page(write_page(report_that_is_worse, tmp_path, title="worse"))
    banner = page.get_by_role("alert")
    points = 100 * report_that_is_worse.summary["baseline"]["difference"]["value"]
    assert f"Worse than the untouched base model by {points:.2f} points" in banner.inner_text()


def test_a_better_model_is_no_alarm(open_page: Open, path: Path, rich_report: EvaluationReport) -> None:
    page = open_page(path)
    assert page.get_by_role("alert").count() == 0
    points = -100 * rich_report.summary["baseline"]["difference"]["value"]
    assert f"Better than the untouched base model by {points:.2f} points" in page.locator(".banner").inner_text()


def test_a_report_without_any_optional_part(open_page: Open, small_report: EvaluationReport, tmp_path: Path) -> None:
    page = open_page(write_page(small_report, tmp_path, title="small"))
    assert status(page).startswith("3 utterances")
    assert "Conditions" not in page.locator("#contents").inner_text()


def test_an_empty_report(open_page: Open, tmp_path: Path) -> None:
    page = open_page(write_page(build_report([], {}), tmp_path, title="empty"))
    assert status(page).startswith("0 utterances")
    assert page.locator(".hero .figure").inner_text() == "none"


def test_markup_in_texts_is_shown_as_it_is(open_page: Open, path: Path, hostile: str) -> None:
    page = open_page(path)
    page.locator("input[name=query]").fill("onerror")
    assert shown_ids(page) == ["hostile " + hostile]
    page.locator(".row .line").click()
    assert hostile in page.locator(".row .cell.speaker").inner_text()
    assert page.locator("img").count() == 0
    assert page.title() == "Model on test.jsonl"


# The table of utterances


def test_worst_first_and_all_of_them(open_page: Open, path: Path, rich_report: EvaluationReport) -> None:
    page = open_page(path)
    assert shown_count(page) == len(rich_report.rows)
    ordered = sorted(range(len(rich_report.rows)), key=lambda n: (-rich_report.rows[n]["wer"], n))
    assert shown_ids(page)[:8] == [rich_report.rows[n]["id"] for n in ordered[:8]]


def test_search_finds_texts_and_ids_whatever_the_case(
    open_page: Open, path: Path, rich_report: EvaluationReport
) -> None:
    page = open_page(path)
    for query in ("Toshkentga  BORAMAN", "вокзал", "en-0000", "المحطة"):
        page.locator("input[name=query]").fill(query)
        plain = " ".join(query.lower().split())
        wanted = {
            row["id"]
            for row in rich_report.rows
            if plain in f"{row['id']}\n{row['reference']}\n{row['hypothesis']}".lower()
        }
        assert wanted
        assert shown_count(page) == len(wanted)
        assert set(shown_ids(page)) <= wanted


def test_search_in_one_of_the_texts(open_page: Open, path: Path, rich_report: EvaluationReport) -> None:
    page = open_page(path)
    page.locator("input[name=query]").fill("patient")
    page.locator("select[name=where]").select_option("hypothesis")
    assert shown_count(page) == sum("patient" in row["hypothesis"] for row in rich_report.rows)
    page.locator("select[name=where]").select_option("id")
    assert shown_count(page) == 0
    assert page.locator(".empty").is_visible()


def test_filter_by_rate(open_page: Open, path: Path, rich_report: EvaluationReport) -> None:
    page = open_page(path)
    page.locator("input[name=from]").fill("20")
    page.locator("input[name=to]").fill("40")
    within = [row for row in rich_report.rows if 0.2 <= row["wer"] <= 0.4]
    assert shown_count(page) == len(within)
    rate = sum(map(errors_of, within)) / sum(row["words"] for row in within)
    assert f"{100 * rate:.2f}" in status(page)


FILTERS: list[tuple[str, str, Callable[[Any], bool]]] = [
    ("kind", "any", lambda row: errors_of(row) > 0),
    ("kind", "none", lambda row: errors_of(row) == 0),
    ("kind", "I", lambda row: row["insertions"] > 0),
    ("kind", "nothing", lambda row: row["words"] > 0 and not row["hypothesis"]),
    ("kind", "rejected", lambda row: "rejected" in row),
    ("language", "uz", lambda row: row["language"] == "uz"),
    ("tag", "accent=north", lambda row: row["tags"].get("accent") == "north"),
    ("flag", "repetition", lambda row: "repetition" in row["flags"]),
]


def test_filters(open_page: Open, path: Path, rich_report: EvaluationReport) -> None:
    page = open_page(path)
    for control, value, test in FILTERS:
        page.locator(f"select[name={control}]").select_option(value)
        wanted = sum(map(test, rich_report.rows))
        assert 0 < wanted < len(rich_report.rows)
        assert shown_count(page) == wanted, (control, value)
        page.get_by_role("button", name="Clear the filters").click()
        assert shown_count(page) == len(rich_report.rows)


def test_filter_by_speaker_by_whole_name_and_by_part(
    open_page: Open, path: Path, rich_report: EvaluationReport
) -> None:
    page = open_page(path)
    for text in ("speaker-03", "Speaker-0"):
        page.locator("input[name=speaker]").fill(text)
        assert shown_count(page) == sum(text.lower() in row["speaker"] for row in rich_report.rows)


def test_sorting_by_columns(open_page: Open, path: Path, rich_report: EvaluationReport) -> None:
    page = open_page(path)
    page.locator(".grid .head .id button").click()
    assert shown_ids(page)[:8] == sorted(row["id"] for row in rich_report.rows)[:8]
    page.locator(".grid .head .id button").click()
    assert shown_ids(page)[:8] == sorted((row["id"] for row in rich_report.rows), reverse=True)[:8]
    page.locator(".grid .head .errors button").click()
    assert page.locator(".grid .head .errors").get_attribute("aria-sort") == "descending"
    by_errors = {row["id"]: errors_of(row) for row in rich_report.rows}
    assert [by_errors[id_] for id_ in shown_ids(page)[:8]] == sorted(by_errors.values(), reverse=True)[:8]


def test_only_rows_in_view_are_elements(open_page: Open, path: Path) -> None:
    page = open_page(path)
    assert page.locator(".row").count() < 40
    page.evaluate("document.querySelector('.grid').scrollTop = 1e6")
    last = shown_ids(page)[-1]
    page.locator(".grid .head .wer button").click()
    assert shown_ids(page)[0] != last
    assert page.locator(".grid").get_attribute("aria-rowcount") == "401"


def test_the_diff_marks_each_error(open_page: Open, small_report: EvaluationReport, tmp_path: Path) -> None:
    page = open_page(write_page(small_report, tmp_path, title="small"))
    first = page.locator("#row-0 .diff")
    assert first.locator(".error.D del").all_inner_texts() == ["five"]
    second = page.locator("#row-1 .diff")
    assert second.locator(".error.S del").all_inner_texts() == ["two"]
    assert second.locator(".error.S ins").all_inner_texts() == ["too"]
    line = "(element) => getComputedStyle(element).textDecorationLine"
    assert second.locator("del").evaluate(line) == "line-through"
    assert second.locator("ins").evaluate(line) == "underline"


def test_right_to_left_text_runs_right_to_left(open_page: Open, path: Path) -> None:
    page = open_page(path)
    page.locator("select[name=language]").select_option("ar")
    status(page)
    direction = "(element) => getComputedStyle(element).direction"
    assert page.locator("#row-0 .diff").evaluate(direction) == "rtl"
    page.locator("select[name=language]").select_option("ru")
    status(page)
    assert page.locator("#row-0 .diff").evaluate(direction) == "ltr"


def test_keys_move_open_and_close(open_page: Open, path: Path) -> None:
    page = open_page(path)
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.name") == "query"
    page.locator(".grid").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert page.locator(".row[aria-expanded=true]").get_attribute("id") == "row-1"
    assert page.locator(".detail").is_visible()
    page.keyboard.press("Escape")
    assert page.locator(".detail").count() == 0
    page.keyboard.press("End")
    status(page)
    assert page.locator(".row.active").get_attribute("aria-rowindex") == "401"


def test_an_opened_row_pushes_the_others_down(open_page: Open, path: Path) -> None:
    page = open_page(path)
    gap = """(() => {
        const [first, third] = ["#row-1", "#row-3"].map((name) => document.querySelector(name).getBoundingClientRect());
        return third.top - first.top;
    })()"""
    before = page.evaluate(gap)
    page.locator("#row-1 .line").click()
    status(page)
    height = page.locator(".detail").bounding_box()["height"]
    assert height > 50
    assert page.evaluate(gap) == pytest.approx(before + height, abs=2)
    page.locator("#row-1 .line").click()
    assert page.evaluate(gap) == before


def test_the_same_utterance_in_other_conditions(open_page: Open, path: Path, rich_report: EvaluationReport) -> None:
    page = open_page(path)
    page.locator("#row-0 .line").click()
    page.locator(".others summary").click()
    rows = page.locator(".others tr")
    rows.nth(3).locator("td").first.wait_for()
    assert [text.strip() for text in page.locator(".others th").all_inner_texts()] == list(rich_report.conditions)


def test_the_table_of_another_condition(open_page: Open, path: Path, rich_report: EvaluationReport) -> None:
    page = open_page(path)
    page.locator("select[name=condition]").select_option(label="room-far")
    wer = rich_report.conditions["room-far"].summary["wer"]["value"]
    wait_until(page, f"document.querySelector('.status').textContent.includes('{100 * wer:.2f}')")


# From the figures to the utterances


def test_a_slice_leads_to_its_utterances(open_page: Open, path: Path, rich_report: EvaluationReport) -> None:
    page = open_page(path)
    page.get_by_role("tab", name="Accent").click()
    page.locator("#slices").get_by_role("button", name="coast").click()
    assert shown_count(page) == sum(row["tags"].get("accent") == "coast" for row in rich_report.rows)


def test_every_group_leads_to_as_many_utterances_as_it_counts(
    open_page: Open, path: Path, rich_report: EvaluationReport
) -> None:
    page = open_page(path)
    for tab, dimension in (("Length", "duration"), ("Signal-to-noise", "snr"), ("Language", "language")):
        for label, group in rich_report.summary["slices"][dimension].items():
            page.get_by_role("tab", name=tab).click()
            page.locator("#slices").get_by_role("button", name=label, exact=True).click()
            assert shown_count(page) == group["utterances"], label


def test_an_error_leads_to_every_utterance_with_it(open_page: Open, path: Path, rich_report: EvaluationReport) -> None:
    page = open_page(path)
    error = next(error for error in rich_report.summary["errors"] if error["kind"] == "S")
    page.locator("#errors details").first.locator("summary").click()
    contexts = page.locator("#errors details").first.locator("li")
    assert contexts.count() == len(error["contexts"])
    page.get_by_role("button", name="Show all in the table").first.click()
    wanted = f"{error['reference']} {error['hypothesis']}"
    with_it = [row for row in rich_report.rows if wanted in substitutions(row)]
    assert shown_count(page) == len(with_it) > 0
    page.locator(".chip").click()
    assert shown_count(page) == len(rich_report.rows)


def test_a_hard_utterance_leads_to_its_row(open_page: Open, path: Path, rich_report: EvaluationReport) -> None:
    page = open_page(path)
    id_ = rich_report.summary["hardest"][2]["id"]
    page.locator("#hardest").get_by_role("button", name=id_, exact=True).click()
    opened = page.locator(".row[aria-expanded=true]")
    opened.wait_for()
    assert opened.locator(".name").inner_text() == id_


def test_a_link_keeps_the_filter(open_page: Open, path: Path) -> None:
    page = open_page(path)
    page.locator("input[name=query]").fill("вокзал")
    count = shown_count(page)
    page.reload()
    page.wait_for_selector("html[data-ready]")
    assert page.locator("input[name=query]").input_value() == "вокзал"
    assert shown_count(page) == count


# Audio


def test_audio_plays_and_has_its_length(open_page: Open, path: Path, clips: dict[str, Clip]) -> None:
    page = open_page(path)
    assert page.locator("#hardest .player").count() == len(clips)
    player = page.locator("#hardest .player").first
    player.scroll_into_view_if_needed()
    wait_until(page, "document.querySelector('.player audio').readyState >= 2")
    assert page.evaluate("document.querySelector('.player audio').duration") == pytest.approx(2.0, abs=1e-3)
    player.locator(".play").click()
    wait_until(page, "document.querySelector('.player audio').currentTime > 0.1")
    player.locator(".play").click()
    assert page.evaluate("document.querySelector('.player audio').paused")


def test_the_spectrogram_shows_the_tone_where_and_when_it_is(open_page: Open, path: Path) -> None:
    """1 kHz of 8 kHz is an eighth of the way up; 0.5 to 1.0 s of 2 s is the second quarter of the width."""
    page = open_page(path)
    page.locator("#hardest .player").first.scroll_into_view_if_needed()
    page.wait_for_selector("#hardest canvas[data-drawn]")
    places = [[0.375, 0.875], [0.125, 0.875], [0.375, 0.3], [0.26, 0.875], [0.49, 0.875], [0.24, 0.875], [0.51, 0.875]]
    brightness = page.evaluate(
        """(places) => {
            const canvas = document.querySelector("#hardest canvas");
            const { data, width, height } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            return places.map(([x, y]) => {
                const at = 4 * (Math.floor(y * height) * width + Math.floor(x * width));
                return data[at] + data[at + 1] + data[at + 2];
            });
        }""",
        places,
    )
    tone, before, above, just_begun, just_before_end, not_yet, over = brightness
    for inside in (tone, just_begun, just_before_end):
        for outside in (before, above, not_yet, over):
            assert inside < outside - 200


def test_words_stand_under_their_time(open_page: Open, path: Path) -> None:
    page = open_page(path)
    stage = page.locator("#hardest .stage").first.bounding_box()
    word = page.locator("#hardest .timeline span").first
    assert word.inner_text() == "one"
    box = word.bounding_box()
    assert (box["x"] - stage["x"]) / stage["width"] == pytest.approx(0.25, abs=0.005)
    assert box["width"] / stage["width"] == pytest.approx(0.25, abs=0.005)


def test_pressing_the_spectrogram_moves_there(open_page: Open, path: Path) -> None:
    page = open_page(path)
    stage = page.locator("#hardest .stage").first
    stage.scroll_into_view_if_needed()
    wait_until(page, "document.querySelector('.player audio').readyState >= 2")
    box = stage.bounding_box()
    stage.click(position={"x": box["width"] * 0.5, "y": 20})
    assert page.evaluate("document.querySelector('.player audio').currentTime") == pytest.approx(1.0, abs=0.02)


# Looks


def test_light_and_dark(open_page: Open, path: Path) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    light, dark = open_page(path, color_scheme="light"), open_page(path, color_scheme="dark")
    assert light.evaluate(background) == "rgb(252, 252, 251)"
    assert dark.evaluate(background) == "rgb(19, 22, 24)"
    light.locator("#theme").click()
    assert light.evaluate(background) == "rgb(19, 22, 24)"
    assert light.locator("#theme").inner_text() == "Light"


@pytest.mark.parametrize("width", [360, 768])
def test_nothing_is_wider_than_a_narrow_window(open_page: Open, path: Path, width: int) -> None:
    page = open_page(path, width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


CONTRASTS = [
    ("--ink", "--paper"), ("--muted", "--paper"), ("--muted", "--surface"), ("--muted", "--sunken"),
    ("--faint", "--paper"), ("--faint", "--surface"), ("--accent", "--paper"), ("--on-accent", "--accent"),
    ("--S", "--S-soft"), ("--D", "--D-soft"), ("--I", "--I-soft"), ("--muted", "--S-soft"),
]  # fmt: skip


def luminance(page: Any, name: str) -> float:
    """Relative luminance of a colour of the page, as WCAG 2.2 defines it."""
    color = page.evaluate(
        """(name) => {
            const probe = document.createElement("span");
            document.body.append(probe);
            probe.style.color = `var(${name})`;
            return getComputedStyle(probe).color.match(/[\\d.]+/g).map(Number);
        }""",
        name,
    )
    linear = [c / 255 / 12.92 if c / 255 <= 0.04045 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in color[:3]]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_enough_contrast(open_page: Open, path: Path, scheme: str) -> None:
    """WCAG 2.2, 1.4.3: 4.5 to 1."""
    page = open_page(path, color_scheme=scheme)
    for text, ground in CONTRASTS:
        low, high = sorted((luminance(page, text), luminance(page, ground)))
        assert (high + 0.05) / (low + 0.05) >= 4.5, (text, ground)


def test_printing_shows_rows_without_scrolling(open_page: Open, path: Path) -> None:
    page = open_page(path)
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    assert page.locator(".row").count() == 100
    assert page.locator(".filters").is_hidden()


# Size


def many(count: int) -> EvaluationReport:
    texts = [" ".join(f"w{n * n % (17 + place * 31)}" for place in range(15)) for n in range(count)]
    utterances = [
        Utterance(id=f"utterance-{n:06d}", audio="/a.wav", duration_s=5.0, text=text, speaker=f"speaker-{n % 500:03d}")
        for n, text in enumerate(texts)
    ]
    heard = {u.id: text.replace("w1", "v1", n % 3) for n, (u, text) in enumerate(zip(utterances, texts, strict=True))}
    return build_report(utterances, heard, config=ReportConfig(normalizer="none", samples=50))


@pytest.mark.slow
def test_a_hundred_thousand_utterances(open_page: Open, tmp_path: Path) -> None:
    report = many(100_000)
    path = write_page(report, tmp_path, title="large")
    page = open_page(path)
    paint_ms = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    assert paint_ms < 2000
    assert shown_count(page) == 100_000
    answers_ms = page.evaluate("""async () => {
        const frame = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 0)));
        const box = document.querySelector("input[name=query]"), times = [];
        for (const text of ["w1", "w12 ", "utterance-0999", "nowhere", ""]) {
            const start = performance.now();
            box.value = text;
            box.dispatchEvent(new Event("input", { bubbles: true }));
            await frame();
            times.push(performance.now() - start);
        }
        return times;
    }""")
    assert max(answers_ms) < 1000  # 50 ms on a free core
    page.locator("input[name=query]").fill("utterance-0999")
    assert shown_count(page) == 100
    started = time.perf_counter()
    page.locator(".grid .head .speaker button").click()
    assert shown_ids(page)[0].startswith("utterance-0999")
    assert time.perf_counter() - started < 5


def test_a_page_of_one_utterance(open_page: Open, small_report: EvaluationReport, tmp_path: Path) -> None:
    page = open_page(write_page(replace(small_report, rows=small_report.rows[:1]), tmp_path, title="one"))
    assert status(page).startswith("1 utterance ·")
