"""`harken compare`: is the candidate worse than the baseline? Answers with an exit code that a script can use."""

from pathlib import Path
from typing import Annotated, Any

import typer

from harken.cli.output import note, print_json

REGRESSION, INCONCLUSIVE = 1, 6
"""Exit codes. 2 to 5 are the families of errors; an inconclusive comparison has 0 unless --strict is given."""

Report = Annotated[Path, typer.Argument(help="Report folder, its report.json, or a run folder.")]


def compare(
    baseline: Report,
    candidate: Annotated[
        Path | None,
        typer.Argument(help="The same of the new system. Without it: how small a difference the test set can show."),
    ] = None,
    max_regression: Annotated[float, typer.Option(help="Points of WER by which the candidate may be worse.")] = 0.5,
    slices: Annotated[
        str, typer.Option(help="Parts to test: language,duration,condition,tag:NAME; or all, or none.")
    ] = "all",
    samples: Annotated[int, typer.Option(help="Random swaps of the sign-flip test.")] = 10_000,
    seed: Annotated[int, typer.Option(help="Seed of the random swaps.")] = 42,
    unit: Annotated[str, typer.Option(help="What is drawn: auto, speaker, recording or utterance.")] = "auto",
    changed: Annotated[int, typer.Option(help="Changed utterances to list, each way.")] = 5,
    strict: Annotated[bool, typer.Option("--strict", help=f"Exit with {INCONCLUSIVE} when inconclusive.")] = False,
    markdown: Annotated[str | None, typer.Option(help="File for a Markdown summary; - prints it instead.")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print verdict and comparison as JSON.")] = False,
) -> None:
    """Compare two evaluations of the same test set.

    Exit code 0: pass, or inconclusive (6 with --strict). 1: the candidate is worse, beyond chance, by more than
    --max-regression points, as a whole or in a part of the set. 2: the reports cannot be compared.
    """
    from harken.cli.folders import check_output_file
    from harken.core import InputError, parse_settings
    from harken.evaluation.comparison.comparison import compare as compare_reports
    from harken.evaluation.comparison.comparison import set_resolution
    from harken.evaluation.comparison.config import ComparisonConfig
    from harken.evaluation.comparison.display import format_comparison, format_markdown, format_resolution, headline
    from harken.evaluation.comparison.gate import GateConfig, judge
    from harken.evaluation.report_files import read_report

    if markdown == "-" and json_output:
        raise InputError("--markdown - and --json both go to standard output.", hint="Name a file for --markdown.")
    if markdown is not None and candidate is None:
        raise InputError("--markdown is about a comparison, and there is one report.", hint="Name a candidate too.")
    if markdown not in (None, "-"):
        check_output_file(Path(markdown), option="--markdown")
    settings: dict[str, Any] = {"samples": samples, "seed": seed, "unit": unit, "changed": changed}
    config = parse_settings(
        ComparisonConfig, {**settings, "slices": _names(slices)}, source="the comparison's settings"
    )
    gate_config = parse_settings(GateConfig, {"max_regression": max_regression}, source="the gate's settings")
    first = read_report(baseline)
    if candidate is None:
        found = set_resolution(first, config=config)
        if json_output:
            from dataclasses import asdict

            print_json([asdict(one) for one in found])
        else:
            typer.echo(format_resolution(found), nl=False)
        return
    comparison = compare_reports(first, read_report(candidate), config=config)
    gate = judge(comparison, gate_config)
    if json_output:
        print_json({"verdict": gate.verdict, "gate": gate.as_json(), "comparison": comparison.as_json()})
    elif markdown == "-":
        typer.echo(format_markdown(comparison, gate), nl=False)
    else:
        typer.echo(format_comparison(comparison, gate), nl=False)
    if markdown not in (None, "-"):
        from harken.core.files import write_text

        write_text(Path(markdown), format_markdown(comparison, gate))
    if gate.verdict == "regression":
        raise typer.Exit(REGRESSION)
    if gate.verdict == "inconclusive":
        if json_output or markdown == "-":
            note(headline(gate))
        if strict:
            raise typer.Exit(INCONCLUSIVE)


def _names(slices: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in slices.split(",") if name.strip())
    return () if names == ("none",) else names
