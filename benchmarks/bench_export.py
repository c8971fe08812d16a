"""Export: how close each file comes to its original, what it weighs, and how long it takes to make.

    python -m benchmarks.run export
    python -m benchmarks.bench_export --smoke    # small models and few clips: does it run?

Needs the Free Spoken Digit Dataset as `digit_sets` says. The figures of the check are those that `harken export`
left in the model folder (export.json). Checked are a Conformer and a streaming Conformer trained on digits with their
recipes, and the shapes of wav2vec2-base and Whisper-tiny with random weights, all on composed held-out digits. Random
weights have no texts to be right about, so that their exports are held to the texts of the original.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.bench_training import WAV2VEC2_BASE
from benchmarks.clips import LETTERS
from benchmarks.digit_sets import digit_sets, train_recipe
from benchmarks.harness import ROOT
from benchmarks.inference_models import SHARPNESS, make_whisper
from benchmarks.run import table
from harken.audio.decode import decode_audio
from harken.core import RunFailed, Utterance
from harken.data.manifest import read_manifest, write_manifest
from harken.evaluation import score
from harken.export import TARGETS, ExportConfig, TargetResult, export_model
from harken.export.ctc_export import BEFORE
from harken.inference import EngineConfig, load
from harken.inference.config import Precision
from harken.inference.exported import CTRANSLATE2, ONNX, read_record
from harken.models.folder import describe, save_model
from harken.models.pretrained import load_pretrained
from harken.testing import random_wav2vec2

NAME = "export"
TITLE = "Exports beside their originals"
TARGET = (
    "every export passes its check: log probabilities within 0.001 (fp32) or 0.05 (fp16) and all texts equal; int8: "
    "WER up by 1 point at most, or 5 % of the characters where there are no words to be right about"
)
UNTRAINED = "The shapes have random weights: units that nearly tie are exchanged by rounding."
WAV2VEC2, WHISPER = "wav2vec2-base shape", "Whisper-tiny shape"
CONFORMER, STREAMING = "digits Conformer", "digits streaming Conformer"
CTC = ("onnx", "onnx-int8", "onnx-fp16", "tokens", "triton")
CONVERTED = ("ctranslate2", "ctranslate2-int8")  # one after the other: they share a folder
CLIPS = 16
WHISPER_CLIPS = 6  # of 30 s windows and 224 tokens each, as random weights never end a text
ENGINES: Mapping[str, Precision] = {"onnx": "fp32", "onnx-int8": "int8", "onnx-fp16": "fp16"}


@dataclass(frozen=True, kw_only=True)
class Export:
    """One target of one model; `parity` as export.json has it, None where nothing is compared or the check failed.

    `made_s` is the wall time to make and check it; the first of a model pays for the graph the others start from. The
    original itself has none.
    """

    model: str
    target: str
    made_s: float | None = None
    failure: str = ""
    parity: Mapping[str, Any] | None = None
    size_bytes: int | None = None
    wer: float | None = None  # on all held-out utterances

    def row(self) -> list[Any]:
        found = self.parity
        verdict = f"failed: {self.failure}" if self.failure else "passed" if found else "nothing to compare"
        size = "" if self.size_bytes is None else f"{self.size_bytes / 2**20:.1f}"
        made = "" if self.made_s is None else f"{self.made_s:.0f}"
        wer = "" if self.wer is None else f"{100 * self.wer:.2f}"
        if found is None:
            return [self.model, self.target, verdict, "", "", "", "", wer, size, made]
        equal = found["comparisons"] - found["texts_differing"]
        rise = "" if found["wer"] is None else f"{100 * (found['wer'] - found['wer_original']):+.2f}"
        return [
            self.model, self.target, verdict, f"{found['largest_difference']:.2g}",
            f"{equal} of {found['comparisons']}", f"{100 * found['cer']:.2f}", rise, wer, size, made,
        ]  # fmt: skip


COLUMNS = [
    "Model", "Target", "Check", "Log probabilities within", "Texts equal", "Characters that differ, %",
    "WER of the check, points", "WER, all held-out, %", "MiB", "Made in, s",
]  # fmt: skip


def exports(
    model: str,
    folder: Path,
    targets: Sequence[str],
    *,
    manifest: Path | None = None,
    files: Sequence[Path] = (),
    clips: int = CLIPS,
) -> Iterator[Export]:
    """Each target in turn, those after a failed one too. int8 goes by the method that made it: what the static kind
    failed at is an export of its own before the dynamic one that took its place.
    """
    waiting = sorted(targets, key=TARGETS.index)
    while waiting:
        started = time.perf_counter()
        made = export_model(folder, waiting, manifest=manifest, files=files, config=ExportConfig(clips=clips))
        try:
            for result in made:
                entry = recorded(folder, result)
                method = entry.get("quantization", {})
                target = f"{result.target}, {method['method']}" if method else result.target
                made_s = time.perf_counter() - started
                if "why" in method:
                    static = reason(method["why"].removeprefix("static: "))
                    yield Export(model=model, target="onnx-int8, static", made_s=made_s, failure=static)
                yield Export(
                    model=model,
                    target=target,
                    made_s=made_s,
                    parity=entry["parity"],
                    size_bytes=result.size_bytes,
                )
                waiting.pop(0)
                started = time.perf_counter()
        except RunFailed as err:
            yield from failures(model, waiting.pop(0), err.message, time.perf_counter() - started)


def failures(model: str, target: str, message: str, made_s: float) -> list[Export]:
    """A target that failed; int8 may have failed at both its kinds."""
    if target != "onnx-int8":
        return [Export(model=model, target=target, made_s=made_s, failure=reason(message))]
    dynamic, _, static = message.partition(f" {BEFORE}static: ")
    kinds = {"dynamic": dynamic} | ({"static": static} if static else {})
    return [
        Export(model=model, target=f"{target}, {kind}", made_s=made_s, failure=reason(kinds[kind]))
        for kind in sorted(kinds, reverse=True)
    ]


def recorded(folder: Path, result: TargetResult) -> dict[str, Any]:
    """The entry of export.json that the check of a target wrote."""
    kind = CTRANSLATE2 if result.target in CONVERTED else "triton" if result.target == "triton" else ONNX
    record = read_record(folder, kind)
    assert record is not None
    if kind == ONNX and result.path.is_file():
        return record.files[result.path.name]
    wanted = "int8" if result.target.endswith("int8") else "fp32"
    return next(entry for entry in record.files.values() if entry["precision"] == wanted)


def reason(message: str) -> str:
    """The figures of a failed check, without the words around them."""
    return message.partition("says: ")[2].rstrip(".") or message


def held_out_wer(folder: Path, engine: str, precision: Precision, utterances: Sequence[Utterance]) -> float:
    """WER of a model folder in an engine."""
    recognizer = load(folder, engine=engine, config=EngineConfig(device="cpu", threads=1, precision=precision))
    audio = [decode_audio(utterance.audio, sample_rate_hz=recognizer.sample_rate_hz) for utterance in utterances]
    texts = [transcript.text for transcript in recognizer.transcribe_batch(audio)]
    found = score([utterance.text or "" for utterance in utterances], texts, normalizer="basic").wer
    assert found is not None
    return found


def model_folder(folder: Path, *, small: bool) -> Path:
    """A model folder of wav2vec2-base's shape; its output layer is sharpened, or all units would be nearly alike."""
    pretrained = folder / "pretrained"
    pretrained.mkdir(parents=True)
    network = random_wav2vec2(pretrained, letters=LETTERS, **({} if small else WAV2VEC2_BASE))
    with torch.no_grad():
        network.lm_head.weight.mul_(SHARPNESS)
    network.save_pretrained(pretrained)
    parts = load_pretrained(pretrained)
    description = describe(
        parts.model, family=parts.family, settings=parts.settings, features=parts.features, tokenizer=parts.tokenizer,
        normalizer="basic", languages=["en"],
    )  # fmt: skip
    save_model(folder / "model", model=parts.model, description=description, tokenizer=parts.tokenizer)
    return folder / "model"


def without_texts(manifest: Path, target: Path) -> Path:
    """The same utterances, of which nobody says what is said."""
    write_manifest(target, [replace(utterance, text=None) for utterance in read_manifest(manifest)])
    return target


def measure_digits(folder: Path, model: str, targets: Sequence[str], manifest: Path) -> list[Export]:
    """A model that understands digits: each precision also by its WER on all utterances, int8 in both kinds."""
    utterances = read_manifest(manifest)
    files = [Path(utterance.audio) for utterance in utterances[:CLIPS]]

    def with_wer(export: Export) -> Export:
        precision = ENGINES.get(export.target.partition(",")[0])
        if precision is None or export.failure:
            return export
        return replace(export, wer=held_out_wer(folder, "onnx", precision, utterances))

    original = Export(model=model, target="torch", wer=held_out_wer(folder, "torch", "auto", utterances))
    # Each is scored as it comes: the two kinds of int8 have one file.
    found = [with_wer(export) for export in exports(model, folder, targets, manifest=manifest)]
    if not any(export.target == "onnx-int8, dynamic" for export in found):
        found += [with_wer(export) for export in exports(model, folder, ["onnx-int8"], files=files)]
    return [original, *found]


def measure_shapes(root: Path, manifest: Path, *, small: bool) -> list[Export]:
    """Random weights, by the texts of the original; int8 in both kinds."""
    files = [Path(utterance.audio) for utterance in read_manifest(manifest)[:CLIPS]]
    untold = without_texts(manifest, root / "untold.jsonl")
    clips = 2 if small else CLIPS
    folder = model_folder(root / "wav2vec2", small=small)
    found = list(exports(WAV2VEC2, folder, CTC, manifest=untold, clips=clips))
    if not any(export.target == "onnx-int8, dynamic" for export in found):
        found += exports(WAV2VEC2, folder, ["onnx-int8"], files=files[:clips])
    folder = make_whisper(root, smoke=small)
    clips = 1 if small else WHISPER_CLIPS
    for targets in (("onnx", "onnx-int8"), *((target,) for target in CONVERTED)):
        found += exports(WHISPER, folder, targets, manifest=untold, clips=clips)
    return found


def measure(root: Path, *, small: bool = False) -> list[Export]:
    sets = digit_sets(root)
    overrides = ["training.updates=20", "training.evaluate_every=20"] if small else []
    recipes = ROOT / "recipes"
    conformer = train_recipe(recipes / "digits-conformer.yaml", sets, root / "conformer", overrides).model_folder
    found = measure_digits(conformer, CONFORMER, CTC, sets["test"])
    streaming = train_recipe(recipes / "digits-streaming.yaml", sets, root / "streaming", overrides).model_folder
    found += exports(STREAMING, streaming, ["onnx-streaming"], manifest=sets["test"])
    return found + measure_shapes(root, sets["test"], small=small)


def result(found: Sequence[Export]) -> dict[str, Any]:
    checked = [export for export in found if export.failure or export.parity]
    figures = {}
    for model in dict.fromkeys(export.model for export in checked):
        own = [export for export in checked if export.model == model]
        passed = sum(not export.failure for export in own)
        figures[f"{model}, checks passed"] = {"value": passed, "unit": f"of {len(own)}"}
    failed = [f"{export.model}, {export.target}" for export in checked if export.failure]
    return {
        "name": NAME,
        "title": TITLE,
        "target": TARGET,
        "met": bool(checked) and not failed,
        "note": f"Failed: {'; '.join(failed)}. {UNTRAINED}" if failed else f"All {len(checked)} checks were passed.",
        "figures": figures,
        "rivals": {},
        "table": {"columns": COLUMNS, "rows": [export.row() for export in found]},
        "exports": [asdict(export) for export in found],
    }


def run() -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="harken-export-") as folder:
        return result(measure(Path(folder)))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_export", description="Exports, printed.")
    parser.add_argument("--smoke", action="store_true", help="small models and few clips")
    small = parser.parse_args().smoke
    with tempfile.TemporaryDirectory(prefix="harken-export-") as folder:
        found = result(measure(Path(folder), small=small))
    print(table(found), *(" | ".join(map(str, row)) for row in found["table"]["rows"]), sep="\n")


if __name__ == "__main__":
    main()
