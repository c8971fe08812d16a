"""`harken evaluate` and `harken score`: a model, or texts from anywhere, against a test set."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harken.cli.output import note, print_json
from harken.cli.speech import DeviceOption, LanguageOption, PrecisionOption

if TYPE_CHECKING:
    from harken.cli.scoring import Scoring
    from harken.evaluation.report import EvaluationReport

ManifestArgument = Annotated[Path, typer.Argument(help="Test set, a manifest.")]
OutOption = Annotated[Path | None, typer.Option("--out", "-o", help="Folder for the report: page, figures, JSON.")]
UnitsOption = Annotated[str, typer.Option(help="mixed: scripts without spaces by character; words: cut at spaces.")]
KeywordsOption = Annotated[Path | None, typer.Option(help="File with a keyword or phrase per line, for their recall.")]
TrainingOption = Annotated[Path | None, typer.Option(help="Training manifest, for accuracy on rare and unseen words.")]
IdentifierOption = Annotated[Path | None, typer.Option(help="Language identifier of words, for code-switched speech.")]
PhonemesOption = Annotated[bool, typer.Option(help="Confusions of phonemes, for ru, uz, hi and en.")]
BaselineOption = Annotated[Path | None, typer.Option(help="Report to be better than, such as the untouched model's.")]
HardestOption = Annotated[int, typer.Option(help="Hardest utterances to export with their audio.")]
SamplesOption = Annotated[int, typer.Option(help="Bootstrap samples.")]
SeedOption = Annotated[int, typer.Option(help="Seed of the bootstrap and of conditions.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print report.json.")]


def evaluate(
    model: Annotated[Path, typer.Argument(help="Model folder.")],
    manifest: ManifestArgument,
    out: OutOption = None,
    conditions: Annotated[
        str, typer.Option(help="all, or names with commas, such as clean,noise-10db,room-far,opus-16k,telephone.")
    ] = "clean",
    baseline: BaselineOption = None,
    normalizer: Annotated[str | None, typer.Option(help="Text profile; by default the model's own.")] = None,
    units: UnitsOption = "mixed",
    keywords: KeywordsOption = None,
    training: TrainingOption = None,
    identifier: IdentifierOption = None,
    phonemes: PhonemesOption = True,
    latency_budget_ms: Annotated[
        float | None, typer.Option(help="Score with late outputs as deletions, too; utterances go one by one then.")
    ] = None,
    hardest: HardestOption = 20,
    batch_size: Annotated[int, typer.Option(help="Utterances recognised together.")] = 16,
    samples: SamplesOption = 1000,
    seed: SeedOption = 42,
    device: DeviceOption = "auto",
    engine: Annotated[str, typer.Option(help="What runs the model: torch, onnx, ctranslate2 or auto.")] = "torch",
    precision: PrecisionOption = "auto",
    language: LanguageOption = None,
    json_output: JsonOption = False,
) -> None:
    """Score a model on a test set: WER and CER with intervals, under conditions, with an analysis of its errors."""
    scoring = _scoring(locals())
    from harken.cli.scoring import evaluate_model

    report = evaluate_model(
        model,
        scoring,
        out=out,
        conditions=conditions,
        batch_size=batch_size,
        device=device,
        language=language,
        engine=engine,
        precision=precision,
    )
    _show(report, out, json_output)


def score(
    manifest: ManifestArgument,
    hypotheses: Annotated[Path, typer.Argument(help="Recognised texts: .jsonl, .tsv, .trn, or Kaldi's text.")],
    out: OutOption = None,
    missing: Annotated[str, typer.Option(help="An utterance without a text: error, or deletions.")] = "error",
    baseline: BaselineOption = None,
    normalizer: Annotated[str, typer.Option(help="Text profile.")] = "basic",
    units: UnitsOption = "mixed",
    keywords: KeywordsOption = None,
    training: TrainingOption = None,
    identifier: IdentifierOption = None,
    phonemes: PhonemesOption = True,
    hardest: HardestOption = 20,
    samples: SamplesOption = 1000,
    seed: SeedOption = 42,
    json_output: JsonOption = False,
) -> None:
    """Score texts that any system recognised: the same report as `harken evaluate`, and good for `harken compare`."""
    scoring = _scoring(locals())
    from harken.cli.scoring import score_texts

    _show(score_texts(hypotheses, scoring, out=out, missing=missing), out, json_output)


def _scoring(options: Mapping[str, Any]) -> "Scoring":
    """What the options of a command, its `locals()` at the start, say about scoring: they have the fields' names."""
    from harken.cli.scoring import Scoring

    return Scoring(**{field.name: options[field.name] for field in fields(Scoring) if field.name in options})


def _show(report: "EvaluationReport", out: Path | None, json_output: bool) -> None:
    from harken.evaluation.display import format_report

    if json_output:
        print_json(report.summary)
        return
    typer.echo(format_report(report))
    if out is not None:
        note(f"report: {out / 'report.html'} (every number: {out / 'report.json'})")
