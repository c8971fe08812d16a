"""Scoring a model folder on a manifest: shared by `evaluate` and `demo`."""

from pathlib import Path
from typing import Any


def evaluate_model(
    model: Path, manifest: Path, *, out: Path | None = None, normalizer: str | None = None, device: str = "auto"
) -> dict[str, Any]:
    """The report of a model on a test set, written to `out` if given. The normaliser is the model's own by default."""
    from harken.audio.decode import decode_audio
    from harken.core import Utterance, Waveform
    from harken.data.manifest import read_manifest
    from harken.evaluation.recognition import evaluate_recognizer
    from harken.evaluation.report import write_report
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

    report, rows = evaluate_recognizer(
        recognizer, read_manifest(manifest), read, normalizer=normalizer or description.normalizer
    )
    if out is not None:
        write_report(out, report, rows)
    return report
