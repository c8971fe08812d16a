"""Everything a report is looked at with: figures, page, and the hardest utterances to listen to.

report.json, utterances.jsonl, conditions/   see `report_files`
report.html               the report as a page
figures/                  its figures as PNG and SVG
hardest.jsonl, audio/     a manifest of the hardest utterances, and their audio
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harken.core import Utterance, Waveform
from harken.evaluation.errors import export_hardest
from harken.evaluation.page import Clip, write_figures, write_page
from harken.evaluation.recognition import LoadAudio
from harken.evaluation.report import EvaluationReport
from harken.evaluation.report_files import write_report


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

    `load_audio` gives an utterance's waveform, (samples,) float32 in [-1, 1] at `sample_rate_hz`. Gives back the report
    with the exported audio named under "hardest". Raises MissingPart where matplotlib is absent and figures are wanted.
    """
    folder = Path(folder)
    heard: dict[str, Waveform] = {}

    def remember(utterance: Utterance) -> Waveform:
        heard[utterance.id] = load_audio(utterance)
        return heard[utterance.id]

    hypotheses = {row["id"]: row["hypothesis"] for row in report.rows}
    hardest = export_hardest(
        report.summary["hardest"], utterances, remember, folder, sample_rate_hz=sample_rate_hz, hypotheses=hypotheses
    )
    report = replace(report, summary={**report.summary, "hardest": hardest})
    write_report(report, folder)
    if figures:
        write_figures(report, folder)
    write_page(report, folder, title=title, clips=_clips(hardest, heard, sample_rate_hz))
    return report


def _clips(rows: Sequence[Mapping[str, Any]], heard: Mapping[str, Waveform], sample_rate_hz: int) -> dict[str, Clip]:
    return {
        row["id"]: Clip(waveform=heard[row["id"]], sample_rate_hz=sample_rate_hz)
        for row in rows
        if row["audio"] is not None
    }
