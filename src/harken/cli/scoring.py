"""Scoring a model folder, or texts, on a manifest: shared by `evaluate`, `score` and `demo`."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harken.core import Utterance
    from harken.evaluation.recognition import LoadAudio
    from harken.evaluation.report import Background, EvaluationReport, ReportConfig

TEXT_RATE_HZ = 16_000
"""Rate of the audio in a report on texts, where no recognizer asks for one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scoring:
    """What the options of `evaluate` and `score` have in common. `normalizer` None is the model's own."""

    manifest: Path
    normalizer: str | None = None
    units: str = "mixed"
    keywords: Path | None = None
    training: Path | None = None
    identifier: Path | None = None
    phonemes: bool = True
    hardest: int = 20
    samples: int = 1000
    seed: int = 42
    latency_budget_ms: float | None = None
    baseline: Path | None = None


def evaluate_model(
    model: Path,
    scoring: Scoring,
    *,
    out: Path | None = None,
    conditions: str = "clean",
    batch_size: int = 16,
    device: str = "auto",
    language: str | None = None,
    engine: str = "torch",
    precision: str = "auto",
) -> "EvaluationReport":
    """The report of a model on a test set, published in `out` if given."""
    from harken.core import parse_settings
    from harken.data.manifest import read_manifest
    from harken.evaluation.conditions import find_conditions
    from harken.evaluation.evaluate import evaluate_recognizer
    from harken.evaluation.recognition import RecognitionConfig
    from harken.inference.config import EngineConfig
    from harken.inference.engines import choose_engine, load
    from harken.models.description import read_description

    chosen = find_conditions(conditions)
    description = read_description(model)
    config = _config(scoring, scoring.normalizer or description.normalizer)
    utterances = read_manifest(scoring.manifest)
    facts = {"name": _model_name(model), "family": description.family, "parameters": description.parameters}
    _check_folder(out, utterances)
    background = _background(scoring, config, facts)
    baseline = _baseline(scoring)
    if baseline is not None:
        _check_comparable(baseline, utterances, config, chosen[0].name)
    recognition = parse_settings(
        RecognitionConfig,
        {"batch_size": batch_size if scoring.latency_budget_ms is None else 1},
        source="harken evaluate",
    )
    settings = {"device": device, "language": language, "precision": precision}
    engine_config = parse_settings(EngineConfig, settings, source="harken evaluate")
    runs = choose_engine(model, engine_config) if engine == "auto" else engine
    recognizer = load(model, engine=runs, config=engine_config)
    if runs != "torch":
        facts["engine"] = runs if precision == "auto" else f"{runs}, {precision}"
    read = audio_reader(recognizer.sample_rate_hz)
    with _progress([condition.name for condition in chosen]) as progress:
        report = evaluate_recognizer(
            recognizer,
            utterances,
            read,
            conditions=chosen,
            recognition=recognition,
            report=config,
            background=background,
            threads=_torch_threads() if runs == "torch" else None,
            progress=progress,
        )
    return _finish(report, baseline, scoring, out, utterances, read, recognizer.sample_rate_hz)


def _torch_threads() -> int:
    import torch

    return torch.get_num_threads()


def score_texts(
    hypotheses: Path, scoring: Scoring, *, out: Path | None = None, missing: str = "error"
) -> "EvaluationReport":
    """The report of recognised texts in a file, published in `out` if given."""
    from harken.core import InputError
    from harken.data.manifest import read_manifest
    from harken.evaluation.conditions import CLEAN
    from harken.evaluation.report import build_report
    from harken.evaluation.scoring.hypotheses import read_hypotheses

    if missing not in ("error", "deletions"):
        raise InputError(f"--missing is {missing!r}.", hint="Use error or deletions.")
    config = _config(scoring, scoring.normalizer or "basic")
    utterances, texts = read_manifest(scoring.manifest), read_hypotheses(hypotheses)
    absent = _absent(utterances, texts, hypotheses, scoring.manifest)
    if absent and missing == "error":
        raise InputError(
            f"{hypotheses} has no text for {len(absent)} of {len(utterances)} utterances, the first is {absent[0]!r}.",
            hint="Recognise them too, or use --missing deletions.",
        )
    _check_folder(out, utterances)
    background = _background(scoring, config, {"name": hypotheses.stem, "texts": str(hypotheses)})
    baseline = _baseline(scoring)
    report = build_report(
        utterances,
        texts,
        rejected=dict.fromkeys(absent, "no text was given"),
        condition=CLEAN,
        config=config,
        background=background,
    )
    return _finish(report, baseline, scoring, out, utterances, audio_reader(TEXT_RATE_HZ), TEXT_RATE_HZ)


def _config(scoring: Scoring, normalizer: str) -> "ReportConfig":
    from harken.core import parse_settings
    from harken.evaluation.report import ReportConfig

    settings = {
        "normalizer": normalizer,
        "units": scoring.units,
        "samples": scoring.samples,
        "seed": scoring.seed,
        "latency_budget_ms": scoring.latency_budget_ms,
        "errors": {"hardest": scoring.hardest, "phonemes": scoring.phonemes},
    }
    return parse_settings(ReportConfig, settings, source="the evaluation's settings")


def _background(scoring: Scoring, config: "ReportConfig", model: dict[str, Any]) -> "Background":
    from harken.core.files import sha256_file
    from harken.data.manifest import read_manifest
    from harken.evaluation.errors import load_keywords
    from harken.evaluation.report import Background
    from harken.evaluation.scoring.encode import count_words
    from harken.text import find_profile
    from harken.text.languages import LanguageIdentifier

    words = None
    if scoring.training is not None:
        texts = (utterance.text or "" for utterance in read_manifest(scoring.training))
        words = count_words(texts, find_profile(config.normalizer), config.units)
    return Background(
        training_words=words,
        keywords=None if scoring.keywords is None else load_keywords(scoring.keywords),
        identifier=None if scoring.identifier is None else LanguageIdentifier.load(scoring.identifier),
        model=model,
        test_set={"manifest": str(scoring.manifest), "sha256": sha256_file(scoring.manifest)},
    )


def _absent(utterances: "list[Utterance]", texts: Mapping[str, str], hypotheses: Path, manifest: Path) -> list[str]:
    """Ids without a text. Raises InputError for texts that belong to no utterance."""
    from harken.cli.output import counted
    from harken.core import InputError

    known = {utterance.id for utterance in utterances}
    strange = [id_ for id_ in texts if id_ not in known]
    if texts and len(strange) == len(texts):
        raise InputError(
            f"{hypotheses} and {manifest} have no id in common: the first are {strange[0]!r} and {utterances[0].id!r}.",
            hint="Give the texts the ids of the manifest.",
        )
    if strange:
        raise InputError(
            f"{hypotheses} has {counted(len(strange), 'id')} that {manifest} lacks, the first is {strange[0]!r}.",
            hint="Remove what is too much, or score against the manifest that has them.",
        )
    return [utterance.id for utterance in utterances if utterance.id not in texts]


def _check_folder(out: Path | None, utterances: "list[Utterance]") -> None:
    """Refuse a folder that cannot take the report before the work, not after it."""
    from harken.evaluation.publish import check_publishing

    if out is not None:
        check_publishing(out, utterances)


def _baseline(scoring: Scoring) -> "EvaluationReport | None":
    from harken.evaluation.report_files import read_report

    return None if scoring.baseline is None else read_report(scoring.baseline)


def _check_comparable(
    baseline: "EvaluationReport", utterances: "list[Utterance]", config: "ReportConfig", condition: str
) -> None:
    """Refuse a baseline of another test set, normaliser or condition before the work, by a report without any text."""
    from dataclasses import replace

    from harken.evaluation.comparison.pairs import pair_reports
    from harken.evaluation.report import build_report

    quick = replace(config, samples=1, latency_budget_ms=None, errors=replace(config.errors, phonemes=False))
    silence = dict.fromkeys((utterance.id for utterance in utterances), "")
    pair_reports(baseline, build_report(utterances, silence, condition=condition, config=quick))


def _finish(
    report: "EvaluationReport",
    baseline: "EvaluationReport | None",
    scoring: Scoring,
    out: Path | None,
    utterances: "list[Utterance]",
    read: "LoadAudio",
    sample_rate_hz: int,
) -> "EvaluationReport":
    if baseline is not None:
        from harken.evaluation.comparison.baseline import with_baseline

        report = with_baseline(report, baseline, name=(baseline.summary.get("model") or {}).get("name", "baseline"))
    if out is not None:
        from harken.evaluation.publish import publish_report

        name = (report.summary["model"] or {})["name"]
        title = f"{name} on {scoring.manifest.stem}"
        return publish_report(report, out, utterances, read, sample_rate_hz=sample_rate_hz, title=title)
    return report


def _model_name(folder: Path) -> str:
    """A model folder's name; that of its run, where it is the `model` of one."""
    folder = folder.resolve()
    return folder.parent.name if folder.name == "model" else folder.name


def audio_reader(sample_rate_hz: int) -> "LoadAudio":
    """What reads an utterance's waveform at a rate, for evaluation."""
    from harken.audio.decode import decode_audio

    return lambda utterance: decode_audio(
        utterance.audio,
        sample_rate_hz=sample_rate_hz,
        offset_s=utterance.offset_s,
        duration_s=utterance.duration_s,
    )


@contextmanager
def _progress(conditions: Sequence[str]) -> Iterator[Callable[[str, int, int], None]]:
    """Progress over the utterances of all conditions together."""
    from harken.cli.progress import progress_on_stderr

    several = f" under {len(conditions)} conditions" if len(conditions) > 1 else ""
    with progress_on_stderr(f"recognising{several}") as show:
        yield lambda name, done, total: show(conditions.index(name) * total + done, len(conditions) * total)
