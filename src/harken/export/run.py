"""`harken export`: the targets one asks for, each built aside, checked, and only then put into the model folder."""

from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from harken.core import InputError
from harken.export.clips import find_clips
from harken.export.ctc_export import CtcExport
from harken.export.graph import check_size, require_packages
from harken.export.heard import Heard
from harken.export.parity import Parity
from harken.export.staging import staging
from harken.export.targets import (
    CTC_TARGETS,
    CTRANSLATE2_TARGETS,
    TARGETS,
    WHISPER_TARGETS,
    ExportConfig,
    TargetResult,
    check_targets,
)
from harken.inference.exported import CTRANSLATE2, ONNX
from harken.models.description import ModelDescription, read_description
from harken.models.family import CtcModel
from harken.models.folder import load_model


def export_model(
    folder: Path,
    targets: Sequence[str],
    *,
    manifest: Path | None = None,
    files: Sequence[Path] = (),
    config: ExportConfig | None = None,
) -> Iterator[TargetResult]:
    """Export a model folder, and yield each of `targets` once it is checked and in its place.

    The audio of the checks is that of `manifest`, else of `files`, else spoken by espeak-ng. What fails its check
    leaves nothing behind, and ends the export; targets that were yielded before stay. Nothing half-made is left either
    when the process is stopped.

    Raises MissingPart and InputError for what cannot be exported, RunFailed for an export that does not say what its
    original says.
    """
    description = read_description(folder)
    check_targets(targets)
    config = config or ExportConfig()
    if description.family == "whisper":
        _refuse(folder, description, targets, usable=tuple(WHISPER_TARGETS))
        yield from _export_whisper(folder, description, targets, manifest=manifest, files=files, clips=config.clips)
        return
    _refuse(folder, description, targets, usable=CTC_TARGETS)
    require_packages()
    loaded = load_model(folder)
    assert isinstance(loaded.model, CtcModel)  # all families but whisper
    weights_bytes = sum(parameter.numel() * parameter.element_size() for parameter in loaded.model.parameters())
    check_size(weights_bytes, what=str(folder))
    heard = Heard.load(loaded.description, loaded.features, clips=config.clips, manifest=manifest, files=files)
    with staging(folder) as work:
        export = CtcExport(loaded, work, heard, config)
        for target in sorted(targets, key=TARGETS.index):
            yield export.make(target)


def _refuse(folder: Path, description: ModelDescription, targets: Sequence[str], *, usable: Sequence[str]) -> None:
    unusable = [target for target in targets if target not in usable]
    if unusable:
        raise InputError(
            f"{folder} is of the family {description.family}, which cannot be exported to {unusable[0]}.",
            hint=f"Use {', '.join(usable)}.",
        )


def _export_whisper(
    folder: Path,
    description: ModelDescription,
    targets: Sequence[str],
    *,
    manifest: Path | None,
    files: Sequence[Path],
    clips: int,
) -> Iterator[TargetResult]:
    from harken.export.ctranslate2 import export_ctranslate2
    from harken.export.whisper_onnx import export_whisper_onnx

    converted = [target for target in targets if target in CTRANSLATE2_TARGETS]
    graphs = sorted(set(targets) - set(converted), key=TARGETS.index)
    if len(converted) > 1:
        raise InputError(
            f"{', '.join(converted)} would all be {folder / CTRANSLATE2}.", hint="Export one precision of CTranslate2."
        )
    if graphs:
        require_packages()
    heard = find_clips(
        manifest,
        files,
        clips=clips,
        languages=description.languages,
        sample_rate_hz=description.sample_rate_hz,
    )
    if graphs:
        made = export_whisper_onnx(folder, precisions=[WHISPER_TARGETS[target] for target in graphs], clips=heard)
        for target, entries in zip(graphs, made, strict=True):
            paths = [folder / ONNX / name for name in entries]
            first = next(iter(entries.values()))
            exporters = dict.fromkeys(entry["exporter"]["name"] for entry in entries.values())
            notes = [*exporters, *([first["quantization"]["method"]] if "quantization" in first else [])]
            yield _whisper_result(target, folder / ONNX, paths, first["parity"], ", ".join(notes))
    for target in converted:
        entry = export_ctranslate2(folder, precision=WHISPER_TARGETS[target], clips=heard)
        placed = folder / CTRANSLATE2
        paths = [path for path in placed.rglob("*") if path.is_file()]
        yield _whisper_result(target, placed, paths, entry["parity"], "CTranslate2")


def _whisper_result(
    target: str, folder: Path, paths: Sequence[Path], parity: dict[str, Any], note: str
) -> TargetResult:
    return TargetResult(
        target=target,
        path=folder,
        size_bytes=sum(path.stat().st_size for path in paths),
        parity=Parity(**{item.name: parity[item.name] for item in fields(Parity)}),
        note=note,
    )
