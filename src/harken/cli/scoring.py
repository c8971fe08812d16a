"""Scoring a model folder on a manifest: shared by `evaluate` and `demo`."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harken.evaluation.report import EvaluationReport


def evaluate_model(
    model: Path, manifest: Path, *, out: Path | None = None, normalizer: str | None = None, device: str = "auto"
) -> "EvaluationReport":
    """The report of a model on a test set, written to `out` if given. The normaliser is the model's own by default."""
    import torch

    from harken.audio.decode import decode_audio
    from harken.core import Utterance, Waveform, parse_settings
    from harken.data.manifest import read_manifest
    from harken.evaluation.recognition import evaluate_recognizer
    from harken.evaluation.report import ReportConfig, write_report
    from harken.inference.engines import load
    from harken.inference.torch_engine import TorchEngineConfig
    from harken.models.folder import read_description

    description = read_description(model)
    recognizer = load(model, config=TorchEngineConfig(device=device))

    def read(utterance: Utterance) -> Waveform:
        return decode_audio(
            utterance.audio,
            sample_rate_hz=recognizer.sample_rate_hz,
            offset_s=utterance.offset_s,
            duration_s=utterance.duration_s,
        )

    config = parse_settings(
        ReportConfig, {"normalizer": normalizer or description.normalizer}, source="the evaluation's settings"
    )
    report = evaluate_recognizer(
        recognizer, read_manifest(manifest), read, report=config, threads=torch.get_num_threads()
    )
    if out is not None:
        write_report(report, out)
    return report
