"""The onnx engine: runs the ONNX export of a CTC model or a Whisper with ONNX Runtime. No torch needed.

Shapes: B batch, F feature frames, M feature dimensions, T output frames, V vocab.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harken.audio.features import FeatureExtractor
from harken.core import InputError, MissingPart
from harken.core.machine import usable_cores
from harken.inference.config import EngineConfig, Precision, refuse_ctc_settings
from harken.inference.ctc_recognizer import CtcRecognizer
from harken.inference.exported import ONNX, ExportRecord, check_fresh, exported_file
from harken.inference.onnx_session import open_session, runs_on_cpu
from harken.inference.scoring import LogProbs
from harken.inference.whisper.onnx_backend import DECODER_FILES, ENCODER_FILES, OnnxWhisperBackend
from harken.inference.whisper.recognizer import WhisperRecognizer
from harken.inference.whisper.settings import decoding_settings
from harken.models.description import ModelInterface, read_interface
from harken.text.whisper_tokenizer import WhisperTokenizer

MOST_PARALLEL, MOST_PARALLEL_SAMPLES = 4, 2
"""Batches scored at a time on a CPU, each in memory of its own; fewer of models on samples, whose batches are large."""
FEATURES, FRAMES, LOG_PROBS, OUTPUT_FRAMES = "features", "frames", "log_probs", "output_frames"
MODEL_FILES: dict[str, str] = {"fp32": "model.onnx", "fp16": "model.fp16.onnx", "int8": "model.int8.onnx"}
"""Names of the exports of a CTC model in onnx/, by precision."""


class OnnxCtcScorer:
    """A CTC model in ONNX Runtime: answers `CtcScorer`."""

    def __init__(self, session: Any) -> None:
        """`session` is of a graph that `harken export` wrote. Raises InputError for one that takes or gives other."""
        inputs = [item.name for item in session.get_inputs()]
        outputs = [item.name for item in session.get_outputs()]
        if inputs != [FEATURES, FRAMES] or outputs != [LOG_PROBS, OUTPUT_FRAMES]:
            raise InputError(
                f"The graph takes {', '.join(inputs)} and gives {', '.join(outputs)}.",
                hint="Run harken export again, and name its CTC model.",
            )
        self.session = session

    @property
    def metadata(self) -> dict[str, str]:
        """What the file says about its model, as `harken.export.metadata` writes it."""
        return dict(self.session.get_modelmeta().custom_metadata_map)

    def __call__(
        self, features_BFM: npt.NDArray[np.float32], frames_B: npt.NDArray[np.int64]
    ) -> tuple[LogProbs, npt.NDArray[np.int64]]:
        scores_BTV, lengths_B = self.session.run([LOG_PROBS, OUTPUT_FRAMES], {FEATURES: features_BFM, FRAMES: frames_B})
        return scores_BTV, lengths_B


def choose_precision(
    precision: Precision,
    record: ExportRecord,
    *,
    on_cpu: bool,
    files: Mapping[str, str] = MODEL_FILES,
    what: str = "CTC model",
) -> str:
    """The precision that runs: the one asked for, or the fastest of those exported: int8 on a CPU, fp16 on a GPU.

    `files` are the names of the exports of `what`, by precision. Raises MissingPart where nothing was exported.
    """
    if precision != "auto":
        return precision
    preferred = ("int8", "fp32", "fp16") if on_cpu else ("fp16", "fp32", "int8")
    for found in preferred:
        if files.get(found) in record.files:
            return found
    raise MissingPart(f"The export holds no {what}.", hint="Run harken export with --to onnx.")


def load_engine(folder: Path, *, config: EngineConfig | None = None) -> CtcRecognizer | WhisperRecognizer:
    """A recognizer for a model folder that was exported to ONNX.

    Raises MissingPart for what is absent (the export, a precision, a device), InputError for a damaged folder and for
    an export that is older than its weights.
    """
    config = config or EngineConfig()
    interface = read_interface(folder)
    record = check_fresh(folder, ONNX)
    if isinstance(interface.tokenizer, WhisperTokenizer):
        return _whisper(folder, interface, record, config)
    on_cpu = runs_on_cpu(config.device)
    precision = choose_precision(config.precision, record, on_cpu=on_cpu)
    path = exported_file(folder, ONNX, MODEL_FILES[precision], record)
    most = MOST_PARALLEL_SAMPLES if interface.features.kind == "waveform" else MOST_PARALLEL
    scorer = OnnxCtcScorer(open_session(path, device=config.device, threads=config.threads))
    return CtcRecognizer(
        scorer,
        features=interface.features,
        tokenizer=interface.tokenizer,
        subsampling=_subsampling(scorer, path, interface.description.vocab_size),
        chunk_frames=interface.description.settings.get("chunk_frames"),
        config=config,
        on_cpu=on_cpu,
        parallel=(config.parallel or min(config.threads or usable_cores(), most)) if on_cpu else 1,
        folder=folder,
        alone=_scales_by_batch(record, path.name),
    )


def _scales_by_batch(record: ExportRecord, name: str) -> bool:
    """Whether activations are quantised by the range of the whole batch, as dynamic int8 does."""
    return bool(record.files[name].get("quantization", {}).get("method") == "dynamic")


def _whisper(folder: Path, interface: ModelInterface, record: ExportRecord, config: EngineConfig) -> WhisperRecognizer:
    refuse_ctc_settings(config)
    tokenizer = interface.tokenizer
    assert isinstance(tokenizer, WhisperTokenizer)
    on_cpu = runs_on_cpu(config.device)
    precision = choose_precision(config.precision, record, on_cpu=on_cpu, files=ENCODER_FILES, what="Whisper")
    if precision not in ENCODER_FILES:
        raise InputError(
            f"precision is {precision!r}, and a Whisper has no such ONNX export.",
            hint=f"Use auto, {' or '.join(ENCODER_FILES)}.",
        )
    encoder, decoder = (
        open_session(
            exported_file(folder, ONNX, files[precision], record), device=config.device, threads=config.threads
        )
        for files in (ENCODER_FILES, DECODER_FILES)
    )
    return WhisperRecognizer(
        OnnxWhisperBackend(encoder, decoder, tokenizer),
        FeatureExtractor(interface.features),
        tokenizer,
        decoding_settings(config.whisper, config, interface.description.settings.get("generation", {})),
        longest_s=config.longest_s,
        batch_windows=config.windows_at_once(interface.features.pad_to_s),
    )


def _subsampling(scorer: OnnxCtcScorer, path: Path, vocab_size: int) -> int:
    """Feature frames for each output frame, as the file says. Raises InputError where it is of another vocabulary."""
    metadata = scorer.metadata
    try:
        subsampling, units = int(metadata["subsampling_factor"]), int(metadata["vocab_size"])
    except (KeyError, ValueError) as err:
        raise InputError(f"{path} lacks the metadata of an export.", hint="Run harken export again.") from err
    if units != vocab_size:
        raise InputError(
            f"{path} has {units} output units, the model folder {vocab_size}.", hint="Run harken export again."
        )
    return subsampling
