"""A Whisper for ONNX Runtime: onnx/encoder.onnx and onnx/decoder.onnx, in float32 and with 8-bit integers."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harken.core import InputError
from harken.core.files import sha256_file
from harken.export.clips import Clip, duration_s
from harken.export.ctc_onnx import Exporter
from harken.export.graph import add_metadata
from harken.export.parity import LIMITS, ParityLimits, check_parity
from harken.export.record import add_to_record, check_unchanged, identity_of
from harken.export.staging import staging
from harken.export.whisper_files import (
    decoder_plan,
    encoder_plan,
    quantize_products,
    whisper_metadata,
    write_graph,
)
from harken.export.whisper_parity import WhisperReference, heard_by_whisper, measure_whisper_parity, whisper_references
from harken.inference.exported import ONNX
from harken.inference.onnx_session import open_session
from harken.inference.whisper.onnx_backend import DECODER_FILES, ENCODER_FILES, OnnxWhisperBackend
from harken.inference.whisper.torch_backend import TorchWhisperBackend
from harken.models.adapters import merge_adapter
from harken.models.folder import LoadedModel, load_model
from harken.models.whisper import WhisperSeq2Seq
from harken.text.whisper_tokenizer import WhisperTokenizer

_KINDS = (ENCODER_FILES, DECODER_FILES)


def export_whisper_onnx(
    folder: Path,
    *,
    precisions: Sequence[str],
    clips: Sequence[Clip],
    limits: Mapping[str, ParityLimits] | None = None,
) -> Iterator[dict[str, dict[str, Any]]]:
    """Write encoder and decoder of each precision (fp32, int8) into onnx/ of a Whisper's model folder, checked on
    `clips`; yields their entries of export.json by file name once they are in their places.

    Active LoRA adapters are merged. Raises InputError for a model that is no Whisper, a precision that there is not,
    weights too large for a file, and no audio; RunFailed where no exporter gives a right graph, and with the figures
    where the export does not write what the original writes. Then nothing of that precision has changed.
    """
    unknown = [precision for precision in precisions if precision not in ENCODER_FILES]
    if unknown:
        raise InputError(f"precision is {unknown[0]!r}.", hint=f"Use {' or '.join(ENCODER_FILES)}.")
    loaded = load_model(folder)
    if not isinstance(loaded.model, WhisperSeq2Seq) or not isinstance(loaded.tokenizer, WhisperTokenizer):
        raise InputError(f"{folder} is of the family {loaded.description.family}, which is no Whisper.")
    for name in loaded.description.active_adapters:
        merge_adapter(loaded.model, name)
    limits = {**LIMITS, **(limits or {})}
    with staging(folder) as work:
        export = _WhisperExport(loaded, work, clips)
        for precision in precisions:
            yield export.make(precision, limits[precision])


class _WhisperExport:
    """The precisions of one model folder; the fp32 graphs that they start from are made once."""

    def __init__(self, loaded: LoadedModel, work: Path, clips: Sequence[Clip]) -> None:
        model, tokenizer = loaded.model, loaded.tokenizer
        assert isinstance(model, WhisperSeq2Seq)
        assert isinstance(tokenizer, WhisperTokenizer)
        self.loaded, self.model, self.tokenizer, self.work = loaded, model, tokenizer, work
        self.identity = identity_of(loaded.folder)
        self.metadata = whisper_metadata(model, weights_sha256=self.identity.weights_sha256)
        self.cut, heard = heard_by_whisper(loaded, model.window_frames, clips)
        original = TorchWhisperBackend(model, tokenizer)
        self.references: list[WhisperReference] = whisper_references(
            original, tokenizer, heard, language=model.language, task=model.task
        )
        self.exporters: list[Exporter] = []

    def make(self, precision: str, limits: ParityLimits) -> dict[str, dict[str, Any]]:
        sources = self._fp32()
        files = [self.work / kind[precision] for kind in _KINDS]
        for source, path in zip(sources, files, strict=True):
            if precision == "int8":
                quantize_products(source, path)
                add_metadata(path, self.metadata.written())
            else:
                shutil.copyfile(source, path)
        common: dict[str, Any] = {"precision": precision, "parity": self._check(files, limits, precision)}
        if precision == "int8":
            common["quantization"] = {"method": "dynamic"}
        entries: dict[str, dict[str, Any]] = {}
        check_unchanged(self.loaded.folder, self.identity)
        (self.loaded.folder / ONNX).mkdir(exist_ok=True)
        for path, exporter in zip(files, self.exporters, strict=True):
            placed = self.loaded.folder / ONNX / path.name
            path.replace(placed)
            entries[placed.name] = {
                "sha256": sha256_file(placed), "bytes": placed.stat().st_size, **common, "exporter": asdict(exporter)
            }  # fmt: skip
        add_to_record(self.loaded.folder, ONNX, entries, identity=self.identity)
        return entries

    def _fp32(self) -> list[Path]:
        sources = [self.work / "fp32" / kind["fp32"] for kind in _KINDS]
        if not self.exporters:
            sources[0].parent.mkdir()
            plans = [encoder_plan(self.model), decoder_plan(self.model, self.metadata)]
            self.exporters = [write_graph(*each, self.metadata) for each in zip(plans, sources, strict=True)]
        return sources

    def _check(self, files: Sequence[Path], limits: ParityLimits, precision: str) -> dict[str, Any]:
        encoder, decoder = (open_session(path, device="cpu") for path in files)
        parity = measure_whisper_parity(
            OnnxWhisperBackend(encoder, decoder, self.tokenizer),
            self.tokenizer,
            self.references,
            audio_s=duration_s(self.cut, sample_rate_hz=self.loaded.features.sample_rate_hz),
            normalizer=self.loaded.description.normalizer,
        )
        check_parity(parity, limits, name=f"{ONNX} ({precision})")
        return parity.record(limits)
