"""Everything a report is looked at with: figures, page, and the hardest utterances to listen to.

report.json, utterances.jsonl, conditions/   see `report_files`
report.html               the report as a page
figures/                  its figures as PNG and SVG
hardest.jsonl, audio/     a manifest of the hardest utterances, and their audio
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from harken.core import MissingPart, Utterance, Waveform
from harken.evaluation.errors import export_hardest
from harken.evaluation.page import Clip, write_figures, write_page
from harken.evaluation.recognition import LoadAudio
from harken.evaluation.report import EvaluationReport
from harken.evaluation.report_files import write_files
from harken.evaluation.report_folder import check_report_folder, replacing_report


def check_publishing(folder: Path, utterances: Sequence[Utterance], *, figures: bool = True) -> None:
    """Make sure, before any work, that `publish_report` will be able to write a report on `utterances` to `folder`.

    Raises InputError where the folder cannot be written to, holds files of somebody else that would be overwritten, or
    has audio of `utterances` in the report that would be replaced; MissingPart where figures are wanted without
    matplotlib.
    """
    check_report_folder(folder, utterances)
    if figures and find_spec("matplotlib") is None:
        raise MissingPart(
            "Figures need the package matplotlib.",
            hint="Install it with: pip install 'harken[eval]', or leave out --out.",
        )


def publish_report(
    report: EvaluationReport,
    folder: Path,
    utterances: Sequence[Utterance],
    load_audio: LoadAudio,
    *,
    sample_rate_hz: int,
    title: str,
    figures: bool = True,
) -> EvaluationReport:
    """Write a report with its page, its figures and the audio of its hardest utterances.

    It takes the place of an earlier report in `folder`, of which no file stays behind; files that no report made are
    left alone, and after a failure the folder is as it was. `load_audio` gives an utterance's waveform, (samples,)
    float32 in [-1, 1] at `sample_rate_hz`. Gives back the report with the exported audio named under "hardest". Raises
    what `check_publishing` does.
    """
    folder = Path(folder)
    check_publishing(folder, utterances, figures=figures)
    heard: dict[str, Waveform] = {}

    def remember(utterance: Utterance) -> Waveform:
        heard[utterance.id] = load_audio(utterance)
        return heard[utterance.id]

    hypotheses = {row["id"]: row["hypothesis"] for row in report.rows}
    rows = report.summary["hardest"]
    with replacing_report(folder) as new:
        hardest = export_hardest(rows, utterances, remember, new, sample_rate_hz=sample_rate_hz, hypotheses=hypotheses)
        report = replace(report, summary={**report.summary, "hardest": hardest})
        if figures:
            write_figures(report, new)
        write_page(report, new, title=title, clips=_clips(hardest, heard, sample_rate_hz))
        write_files(report, new)
    return report


def _clips(rows: Sequence[Mapping[str, Any]], heard: Mapping[str, Waveform], sample_rate_hz: int) -> dict[str, Clip]:
    return {
        row["id"]: Clip(waveform=heard[row["id"]], sample_rate_hz=sample_rate_hz)
        for row in rows
        if row["audio"] is not None
    }
