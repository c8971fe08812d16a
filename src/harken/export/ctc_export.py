"""The targets of a CTC model: each built in a folder of its own, checked, and put into its place."""

import copy
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from harken.audio.features import FeatureExtractor
from harken.core import InputError, RunFailed
from harken.core.files import sha256_file
from harken.export.ctc_onnx import Exporter, export_ctc
from harken.export.graph import add_metadata
from harken.export.half import convert_fp16
from harken.export.heard import Heard
from harken.export.metadata import ctc_metadata
from harken.export.parity import LIMITS, Parity, ReferenceClip, check_parity, measure_parity, reference_clips
from harken.export.quantize import quantize_dynamic, quantize_static
from harken.export.record import add_to_record, check_unchanged, identity_of
from harken.export.streaming_onnx import StreamedScorer, export_streaming
from harken.export.targets import PRECISIONS, ExportConfig, TargetResult
from harken.export.tensorrt import ENGINE, build_engine, engine_shapes, write_script
from harken.export.tokens import TOKENS, write_tokens
from harken.export.triton import write_repository
from harken.inference.exported import ONNX
from harken.inference.onnx_engine import MODEL_FILES, OnnxCtcScorer
from harken.inference.onnx_session import open_session
from harken.inference.scoring import CtcScorer
from harken.inference.streaming.onnx_network import FILE as STREAMING_FILE
from harken.inference.torch_engine import TorchCtcScorer
from harken.models.adapters import adapter_names, merge_adapter
from harken.models.adapters.attach import deltas
from harken.models.adapters.layers import LoraDelta
from harken.models.family import CtcModel
from harken.models.folder import LoadedModel

_log = logging.getLogger(__name__)

TRITON = "triton"
BEFORE = "Before it, "
"""What a message begins with that says why the static kind of int8 was not taken either."""


class CtcExport:
    """The targets of one model folder; the fp32 graph that most of them start from is made once."""

    def __init__(self, loaded: LoadedModel, work: Path, heard: Heard, config: ExportConfig) -> None:
        assert isinstance(loaded.model, CtcModel)
        self.loaded, self.model, self.work, self.config = loaded, loaded.model, work, config
        self.heard = heard
        self.identity = identity_of(loaded.folder)
        self.extractor = FeatureExtractor(loaded.features)
        self.metadata = ctc_metadata(
            loaded.description,
            loaded.tokenizer,
            subsampling=self.model.subsampling,
            hop_s=self.extractor.hop_s,
            identity=self.identity,
        )
        scorer = TorchCtcScorer(self.model, torch.device("cpu"))
        self.references: list[ReferenceClip] = reference_clips(scorer, loaded.tokenizer, heard.items)
        self.exporter: Exporter | None = None

    def make(self, target: str) -> TargetResult:
        if target in PRECISIONS:
            return self._graph(target, PRECISIONS[target])
        makers: dict[str, Callable[[], TargetResult]] = {
            "onnx-streaming": self._streaming,
            "tokens": self._tokens,
            "triton": self._triton,
            "tensorrt": self._tensorrt,
        }
        return makers[target]()

    def _fp32(self) -> Path:
        path = self.work / "fp32.onnx"
        if not path.is_file():
            self.exporter = export_ctc(
                merged(self.model),
                path,
                dimensions=self.loaded.features.dimensions,
                vocab_size=self.loaded.tokenizer.vocab_size,
                metadata=self.metadata,
            )
        return path

    def _graph(self, target: str, precision: str) -> TargetResult:
        source, path = self._fp32(), self.work / MODEL_FILES[precision]
        entry: dict[str, Any] = {}
        if precision == "fp32":
            shutil.copyfile(source, path)
            parity = self._checked(path, precision)
        elif precision == "fp16":
            convert_fp16(source, path)
            add_metadata(path, self.metadata)
            parity = self._checked(path, precision)
        else:
            parity, entry["quantization"] = self._int8(source, path)
        assert self.exporter is not None
        entry["exporter"] = {
            "name": self.exporter.name, "opset": self.exporter.opset, "why": self.exporter.why
        }  # fmt: skip
        note = ", ".join([self.exporter.name, *([entry["quantization"]["method"]] if precision == "int8" else [])])
        return self._place(target, path, precision, parity, entry, note)

    def _int8(self, source: Path, path: Path) -> tuple[Parity, dict[str, str]]:
        """The static kind where there is audio to calibrate it with and it passes its check, else the dynamic one."""
        why = ""
        if self.heard.calibration:
            try:
                quantize_static(source, path, self.heard.calibration, front=self.model.front_products)
                add_metadata(path, self.metadata)
                return self._checked(path, "int8"), {"method": "static"}
            except (InputError, RunFailed) as err:
                why = f"static: {err.message}"
                _log.warning("%s Quantising dynamically instead.", why)
        quantize_dynamic(source, path, front=self.model.front_products)
        add_metadata(path, self.metadata)
        try:
            return self._checked(path, "int8"), {"method": "dynamic", **({"why": why} if why else {})}
        except RunFailed as err:
            both = f"{err.message} {BEFORE}{why}" if why else err.message
            raise RunFailed(both, hint=err.hint) from err

    def _streaming(self) -> TargetResult:
        path = self.work / STREAMING_FILE
        exporter = export_streaming(merged(self.model), path, metadata=self.metadata)
        parity = self._compared(StreamedScorer(path, self.loaded.features), "fp32", path.name)
        entry = {"exporter": {"name": exporter.name, "opset": exporter.opset, "why": exporter.why}}
        return self._place("onnx-streaming", path, "fp32", parity, entry, exporter.name)

    def _checked(self, path: Path, precision: str) -> Parity:
        return self._compared(OnnxCtcScorer(open_session(path, device="cpu")), precision, MODEL_FILES[precision])

    def _compared(self, scorer: CtcScorer, precision: str, name: str) -> Parity:
        parity = measure_parity(
            scorer,
            self.loaded.tokenizer,
            self.references,
            audio_s=self.heard.duration_s,
            normalizer=self.loaded.description.normalizer,
        )
        check_parity(parity, LIMITS[precision], name=name)
        return parity

    def _place(
        self, target: str, path: Path, precision: str, parity: Parity | None, entry: dict[str, Any], note: str
    ) -> TargetResult:
        """Move a finished file into onnx/ and record it."""
        check_unchanged(self.loaded.folder, self.identity)
        placed = self.loaded.folder / ONNX / path.name
        placed.parent.mkdir(exist_ok=True)
        path.replace(placed)
        record = {"sha256": sha256_file(placed), "bytes": placed.stat().st_size, "precision": precision, **entry}
        record["parity"] = None if parity is None else parity.record(LIMITS[precision])
        add_to_record(self.loaded.folder, ONNX, {placed.name: record}, identity=self.identity)
        return TargetResult(target=target, path=placed, size_bytes=placed.stat().st_size, parity=parity, note=note)

    def _tokens(self) -> TargetResult:
        path = self.work / TOKENS
        write_tokens(path, self.loaded.tokenizer)
        return self._place("tokens", path, "none", None, {}, f"{self.loaded.tokenizer.vocab_size} units")

    def _triton(self) -> TargetResult:
        source = self._fp32()
        parity = self._checked(source, "fp32")
        repository = self.work / TRITON
        written = write_repository(
            repository,
            model=source,
            features=self.loaded.features,
            hop_s=self.extractor.hop_s,
            tokenizer=self.loaded.tokenizer,
            config=self.config.triton,
        )
        size = sum(path.stat().st_size for path in written)
        check_unchanged(self.loaded.folder, self.identity)
        placed = self.loaded.folder / TRITON
        if placed.exists():
            shutil.rmtree(placed)
        repository.rename(placed)
        graph = next(path.relative_to(repository) for path in written if path.name == MODEL_FILES["fp32"])
        entry: dict[str, Any] = {"sha256": sha256_file(placed / graph), "bytes": size, "precision": "fp32"}
        # Triton passes over files in the root of a repository: its models are folders.
        entry["parity"] = parity.record(LIMITS["fp32"])
        add_to_record(self.loaded.folder, TRITON, {str(graph): entry}, identity=self.identity)
        return TargetResult(
            target="triton", path=placed, size_bytes=size, parity=parity, note=f"{len(written)} files, fp32"
        )

    def _tensorrt(self) -> TargetResult:
        """model.onnx, a script that builds its engine, and the engine itself where TensorRT is."""
        source = self.loaded.folder / ONNX / MODEL_FILES["fp32"]
        self._graph("onnx", "fp32")
        config = self.config.tensorrt
        shapes = engine_shapes(config, dimensions=self.loaded.features.dimensions, hop_s=self.extractor.hop_s)
        write_script(source.parent, source.name, shapes, fp16=config.fp16)
        engine = source.with_name(ENGINE)
        build_engine(source, engine, shapes, fp16=config.fp16)
        return TargetResult(
            target="tensorrt", path=engine, size_bytes=engine.stat().st_size, note="not compared: measure it there"
        )


def merged(model: CtcModel) -> CtcModel:
    """A model to export: active LoRA adapters are added to the weights of a copy; what is not linear stays beside."""
    names = [
        name
        for name in adapter_names(model, active_only=True)
        if all(isinstance(delta, LoraDelta) for delta in deltas(model, name).values())
    ]
    if not names:
        return model
    copied = copy.deepcopy(model)
    for name in names:
        merge_adapter(copied, name)
    return copied
