"""Comparisons as text and Markdown: right words for odd cases, and texts that cannot break the table."""

from dataclasses import replace

from harken.evaluation.comparison.comparison import Comparison, compare_scores
from harken.evaluation.comparison.display import format_comparison, format_markdown, format_resolution
from harken.evaluation.comparison.gate import GateConfig, judge
from harken.evaluation.scoring.metrics import score
from harken.evaluation.statistics.power import minimum_detectable_difference

REFERENCES = {f"u{number}": f"one two three {number}" for number in range(12)}


def compared(
    baseline: dict[str, str], candidate: dict[str, str], references: dict[str, str] | None = None
) -> Comparison:
    texts = references or REFERENCES
    return compare_scores(*(score(texts, side, normalizer="none") for side in (baseline, candidate)))


def test_the_verdict_comes_first_and_figures_are_right() -> None:
    worse = {id_: text.replace("two", "too") for id_, text in REFERENCES.items()}
    found = compared(REFERENCES, worse)
    text = format_comparison(found, judge(found))
    lines = text.splitlines()
    assert lines[0] == "REGRESSION: 25.00 points worse where 0.5 is allowed, and beyond chance (p = 0.00024)."
    assert lines[3].split() == ["baseline", "0.00", "0.00", "0", "0", "0", "48"]
    assert lines[4].split()[:2] == ["candidate", "25.00"]
    # No share of a rate of zero; 2 of the 4,096 swaps are as large.
    assert "Difference: +25.00 points of WER, 95 % interval +25.00 to +25.00, p = 0.00049." in text
    assert "Test: sign flips over 12 utterances (every swap);" in text
    assert "0 utterances got better, 12 worse, of 12; those that changed most:" in text
    assert text.count("    said      one two three") == 5
    markdown = format_markdown(found, judge(found))
    assert markdown.startswith("### Word error rate: regression\n\n25.00 points worse where 0.5 is allowed")


def test_share_of_errors_and_better() -> None:
    half = {id_: text if int(id_[1:]) % 2 else text.replace("two", "too") for id_, text in REFERENCES.items()}
    found = compared(half, REFERENCES)
    text = format_comparison(found, judge(found))
    assert text.startswith("PASS: 12.50 points better, and at least ")
    assert "-12.50 points of WER (100.0 % fewer errors)" in text


def test_without_words_and_without_difference() -> None:
    silent = compared({"a": "um", "b": ""}, {"a": "", "b": "oh"}, {"a": "", "b": ""})
    text = format_comparison(silent, judge(silent))
    assert text.startswith("INCONCLUSIVE: There are no reference words, so there is no rate.\n")
    assert "Difference: none can be given." in text
    assert "Add utterances and evaluate both again." in text
    same = compared(REFERENCES, REFERENCES)
    text = format_comparison(same, judge(same))
    assert text.startswith("PASS: no difference.\n")
    assert "t-test on the rates of utterances p = none" in text
    assert "those that changed most" not in text


def test_an_inconclusive_result_says_what_it_takes() -> None:
    other = {**REFERENCES, "u0": "one too three 0", "u5": "one 5"}
    found = compared({**REFERENCES, "u3": "two three"}, other)
    result = judge(found)
    assert result.needed is not None
    assert "It takes about 17,000 utterances like these to settle" in format_comparison(found, result)
    assert "like these to settle a difference of 0.5 points; there are 12 utterances." in format_markdown(found, result)
    zero = judge(found, GateConfig(max_regression=0.0))
    assert "cannot settle this" in format_comparison(found, zero)


def test_texts_of_any_kind_stay_inside_their_cell() -> None:
    odd = {"a|b <img>": "x | <script> @team #1 `code`", "नमस्ते\u202e": "salom дунё \ud800"}
    found = compared(odd, dict.fromkeys(odd, "y\u2028z"), odd)
    markdown = format_markdown(found, judge(found))
    markdown.encode("utf-8")
    assert "<script>" not in markdown
    assert "<code>x &#124; &lt;script&gt; @team #1 `code`</code>" in markdown
    rows = [line for line in markdown.splitlines() if line.startswith("| <code>")]
    assert [row.count("|") for row in rows] == [6, 6]
    format_comparison(found, judge(found)).encode("utf-8")


def test_notes_are_told() -> None:
    found = replace(compared(REFERENCES, REFERENCES), notes=("3 speakers are too few to draw.",))
    for text in (format_comparison(found, judge(found)), format_markdown(found, judge(found))):
        assert text.endswith("3 speakers are too few to draw.\n")


def test_what_a_set_can_show() -> None:
    found = [
        minimum_detectable_difference([2, 0, 4, 1] * 50, [10] * 200, list(range(50)) * 4, correlation=c, unit="speaker")
        for c in (0.0, 0.5)
    ]
    lines = format_resolution(found).splitlines()
    assert lines[0] == (
        "200 utterances, 50 speakers: a true difference is found in 80 % of comparisons (two-sided p < 0.05) from"
    )
    assert lines[1].startswith(
        f"  {100 * found[0].value:.2f} points if the errors of the two correlate by 0; half a point"
    )
    assert len(lines) == 4
    few = [minimum_detectable_difference([1, 2, 0], [9, 9, 9], unit="speaker")]
    assert format_resolution(few).endswith("Only 3 units: no sign-flip test of them reaches p < 0.05.\n")
    none = [minimum_detectable_difference([0, 0], [9, 9])]
    assert format_resolution(none).startswith("Nothing varies between the units")
