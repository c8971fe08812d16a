"""A comparison as text for a terminal, and as Markdown for a pull request."""

from collections.abc import Iterator, Sequence
from html import escape

from harken.core.tables import text_table
from harken.evaluation.comparison.comparison import ChangedUtterance, Comparison
from harken.evaluation.comparison.gate import GateResult
from harken.evaluation.comparison.slices import SystemFigures
from harken.evaluation.statistics.p_values import p_text, p_value_text
from harken.evaluation.statistics.paired_tests import PairedDifference
from harken.evaluation.statistics.power import Detectable

_SYSTEM_COLUMNS = ("", "WER %", "CER %", "sub", "del", "ins", "words")
_PART_COLUMNS = ("part", "utterances", "words", "baseline", "candidate", "points", "interval", "p", "verdict")

_HOLM = "p-values of parts are adjusted for how many parts there are (Holm)."


def format_comparison(comparison: Comparison, gate: GateResult) -> str:
    """Verdict first, then figures, tests, parts of the set, the utterances that changed most, and notes."""
    parts = [
        "\n".join([headline(gate), *_advice(comparison, gate)]),
        text_table([_SYSTEM_COLUMNS, *_system_rows(comparison)]),
        "\n".join(_facts(comparison)),
    ]
    if comparison.slices:
        parts.append(f"{text_table([_PART_COLUMNS, *_part_rows(comparison, gate)])}\n{_HOLM}")
    if comparison.changed:
        parts.append("\n".join([_changed_title(comparison), *_changed_lines(comparison.changed)]))
    parts.extend(_notes(comparison))
    return _printable("\n\n".join(parts) + "\n")


def format_markdown(comparison: Comparison, gate: GateResult) -> str:
    """The same for a pull request: the verdict and the figures in sight, the rest folded away."""
    parts = [
        f"### {_title(gate)}",
        "\n".join([escape(gate.reason, quote=False), *_advice(comparison, gate)]),
        _markdown_table([_SYSTEM_COLUMNS, *_system_rows(comparison)]),
        "\n".join(f"- {escape(fact, quote=False)}" for fact in _facts(comparison)),
    ]
    if comparison.slices:
        table = _markdown_table([_PART_COLUMNS, *_part_rows(comparison, gate)])
        parts.append(_folded("Parts of the test set", f"{table}\n\n{_HOLM}"))
    if comparison.changed:
        parts.append(_folded(_changed_title(comparison), _changed_table(comparison.changed)))
    parts.extend(escape(note, quote=False) for note in _notes(comparison))
    return _printable("\n\n".join(parts) + "\n")


def format_resolution(found: Sequence[Detectable]) -> str:
    """What a test set can show before there is a second system, one line for each assumed correlation."""
    first = found[0]
    if first.value is None:
        return f"{first.note}\n"
    size = f"{_counted(first.utterances, 'utterance')}, {_counted(first.units, first.unit)}"
    test = f"in {100 * first.power:g} % of comparisons (two-sided p < {first.alpha:g})"
    lines = [f"{size}: a true difference is found {test} from"]
    for one in found:
        if one.value is None:
            continue
        half = one.needed(0.005)
        more = f"; half a point takes {_counted(half.utterances, 'utterance')}" if half else ""
        lines.append(f"  {100 * one.value:.2f} points if the errors of the two correlate by {one.correlation:g}{more}")
    lines.append("0 is the worst case. Versions of one model make many of the same errors.")
    if first.note.startswith("Only"):
        lines.append(first.note.partition(". ")[0] + ".")
    return "\n".join(lines) + "\n"


def headline(gate: GateResult) -> str:
    """The verdict and its reason in one line."""
    return f"{gate.verdict.upper()}: {gate.reason}"


def _title(gate: GateResult) -> str:
    return f"Word error rate: {gate.verdict}"


def _advice(comparison: Comparison, gate: GateResult) -> list[str]:
    """What an inconclusive verdict asks for."""
    if gate.verdict != "inconclusive":
        return []
    if gate.needed is None:
        return ["The test set cannot settle this. Add utterances and evaluate both again."]
    difference = comparison.difference
    count = _counted(_rounded(gate.needed.utterances), "utterance")
    if gate.needed.units != gate.needed.utterances:
        count += f" of {_counted(_rounded(gate.needed.units), difference.unit)}"
    return [
        f"It takes about {count} like these to settle a difference of {gate.max_regression:g} points; "
        f"there are {_counted(comparison.utterances, 'utterance')}."
    ]


def _system_rows(comparison: Comparison) -> Iterator[tuple[str, ...]]:
    for label, figures in (("baseline", comparison.baseline), ("candidate", comparison.candidate)):
        counts = (figures.substitutions, figures.deletions, figures.insertions, figures.words)
        yield label, _percent(figures.wer), _percent(figures.cer), *(f"{count:,}" for count in counts)


def _facts(comparison: Comparison) -> Iterator[str]:
    difference = comparison.difference
    yield f"Difference: {_difference(difference, comparison.baseline)}."
    swaps = "every swap" if difference.exact else f"{difference.samples:,} swaps, seed {difference.seed}"
    yield (
        f"Test: sign flips over {_counted(difference.units, difference.unit)} ({swaps}); normaliser "
        f"{comparison.normalizer['name']} {comparison.normalizer['version']}, alignment {comparison.alignment}."
    )
    yield f"For comparison: {'; '.join(_other_tests(comparison))}."
    found = comparison.detectable
    if found.value is not None:
        alike = "" if found.correlation is None else f"; the errors of the two correlate by {found.correlation:.2f}"
        yield (
            f"This set shows true differences from {100 * found.value:.2f} points on "
            f"(p < {found.alpha:g}, power {found.power:g}{alike})."
        )


def _difference(difference: PairedDifference, baseline: SystemFigures) -> str:
    if difference.value is None:
        return "none can be given"
    text = f"{_points(difference.value)} points of WER"
    if baseline.wer and difference.value:
        share = 100 * abs(difference.value) / baseline.wer
        text += f" ({share:.1f} % {'more' if difference.value > 0 else 'fewer'} errors)"
    if difference.low is not None and difference.high is not None:
        text += f", {100 * difference.confidence:g} % interval {_interval(difference)}"
    return text if difference.p_value is None else f"{text}, {p_text(difference.p_value)}"


def _other_tests(comparison: Comparison) -> Iterator[str]:
    yield f"paired bootstrap {p_text(comparison.bootstrap.p_value)}"
    segments = comparison.mapsswe
    if segments is not None and segments.z is not None:
        yield f"MAPSSWE {p_text(segments.p_value)} (Z = {segments.z:.3f}, {_counted(segments.segments, 'segment')})"
    yield f"t-test on the rates of utterances {p_text(comparison.t_test.p_value)}"


def _part_rows(comparison: Comparison, gate: GateResult) -> Iterator[tuple[str, ...]]:
    for part, verdict in zip(comparison.slices, gate.slices, strict=True):
        yield (
            f"{part.dimension} {part.label}",
            f"{part.utterances:,}",
            f"{part.baseline.words:,}",
            _percent(part.baseline.wer),
            _percent(part.candidate.wer),
            "none" if part.difference.value is None else _points(part.difference.value),
            _interval(part.difference),
            p_value_text(part.adjusted_p),
            verdict.verdict,
        )


def _changed_title(comparison: Comparison) -> str:
    return (
        f"{_counted(comparison.improved, 'utterance')} got better, {comparison.worsened:,} worse, "
        f"of {comparison.utterances:,}; those that changed most:"
    )


def _changed_lines(changed: Sequence[ChangedUtterance]) -> Iterator[str]:
    for one in changed:
        yield f"  {one.id} ({one.change:+d} errors in {_counted(one.words, 'word')})"
        for name, text in (("said", one.reference), ("baseline", one.baseline), ("candidate", one.candidate)):
            yield f"    {name:<10}{text or '(nothing)'}"


def _changed_table(changed: Sequence[ChangedUtterance]) -> str:
    rows = [("utterance", "errors", "said", "baseline", "candidate")]
    rows += [
        (_code(one.id), f"{one.change:+d}", _code(one.reference), _code(one.baseline), _code(one.candidate))
        for one in changed
    ]
    return _markdown_table(rows, escaped=True, numbers=(1,))


def _notes(comparison: Comparison) -> list[str]:
    own = [comparison.difference.note] if comparison.difference.p_value is not None else []
    return [note for note in (*own, *comparison.notes) if note]


def _points(value: float) -> str:
    return f"{round(100 * value, 2) + 0.0:+.2f}"  # + 0.0 takes the sign off a zero


def _interval(difference: PairedDifference) -> str:
    if difference.low is None or difference.high is None:
        return "none"
    return f"{_points(difference.low)} to {_points(difference.high)}"


def _percent(rate: float | None) -> str:
    return "none" if rate is None else f"{100 * rate:.2f}"


def _rounded(count: int) -> int:
    """To two digits: an estimate of a size is no better than that."""
    return round(count, 2 - len(str(count)))


def _counted(count: int, one: str) -> str:
    return f"{count:,} {one}{'' if count == 1 else 's'}"


def _markdown_table(
    rows: Sequence[Sequence[str]], *, escaped: bool = False, numbers: Sequence[int] | None = None
) -> str:
    """`numbers` are the columns aligned to the right: by default all but the first."""
    head, *body = [[cell if escaped else _cell(cell) for cell in row] for row in rows]
    right = range(1, len(head)) if numbers is None else numbers
    rule = ["---:" if column in right else "---" for column in range(len(head))]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *body))


def _folded(title: str, content: str) -> str:
    return f"<details><summary>{escape(title, quote=False)}</summary>\n\n{content}\n\n</details>"


def _cell(text: str) -> str:
    """Text that neither ends the cell nor is read as HTML."""
    return escape(" ".join(text.split()), quote=False).replace("|", "&#124;")


def _code(text: str) -> str:
    """As code, in which `@name` and `#1` do not become links."""
    return f"<code>{_cell(text)}</code>" if text else ""


def _printable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()  # half a surrogate pair cannot be printed
