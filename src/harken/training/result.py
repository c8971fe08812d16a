"""What a finished run leaves: the report on its best weights, and its model folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from harken.core.files import sha256_file
from harken.data.manifest import read_manifest
from harken.evaluation.evaluate import evaluate_recognizer
from harken.evaluation.publish import publish_report
from harken.evaluation.report import Background, ReportConfig
from harken.inference.config import EngineConfig
from harken.inference.torch_engine import make_recognizer
from harken.inference.whisper.config import WhisperDecodingConfig
from harken.models.adapters import merge_adapter, save_adapter
from harken.models.family import Seq2SeqModel, count_parameters
from harken.models.folder import describe, save_model
from harken.text.normalize import profile_identity
from harken.tracking.run import RunFolder
from harken.training.assembly import Assembler, DataParts
from harken.training.checkpoint import CheckpointStore
from harken.training.ema import averages_of
from harken.training.manifests import manifest_hashes
from harken.training.recipe import Recipe
from harken.training.starting_point import ModelParts
from harken.training.weights import load_trained_state

# As validation reads: what chose the checkpoint, and quick where a model has learnt little.
_GREEDY = WhisperDecodingConfig(beam_size=1, temperatures=(0.0,))


def write_result(
    run: RunFolder, recipe: Recipe, assembler: Assembler, parts: ModelParts, data: DataParts, store: CheckpointStore
) -> None:
    """Write report/ and model/ from the checkpoint with the lowest validation WER, and adapter/ where one was trained.

    The model of `parts` has those weights afterwards, a LoRA adapter merged into them unless the recipe keeps it apart.
    """
    best = store.best()
    if best is not None:
        checkpoint = store.load(best)
        load_trained_state(parts.model, {**checkpoint.model, **averages_of(checkpoint.average)})
    if parts.adapter is not None:
        save_adapter(parts.model, parts.adapter.name, run.path / "adapter")
        if parts.adapter.kind == "lora" and recipe.model.merge_adapter:
            merge_adapter(parts.model, parts.adapter.name)
    scored_on, report = _report(run, recipe, assembler, parts)
    normalizer = recipe.data.normalizer
    description = describe(
        parts.model,
        family=parts.family,
        settings=parts.settings,
        features=parts.features,
        tokenizer=parts.tokenizer,
        normalizer=normalizer,
        languages=sorted({u.language for u in data.train.utterances if u.language is not None}),
        metrics={scored_on: {key: report[key] for key in ("wer", "cer", "words", "utterances")}},
        provenance={
            "run": run.id,
            "update": best or 0,
            "normalizer_version": str(profile_identity(normalizer)["version"]),
            **{f"{name}_sha256": item["sha256"] for name, item in manifest_hashes(recipe).items()},
        },
    )
    save_model(run.path / "model", model=parts.model, description=description, tokenizer=parts.tokenizer)


def _report(run: RunFolder, recipe: Recipe, assembler: Assembler, parts: ModelParts) -> tuple[str, Mapping[str, Any]]:
    """Score the model on the test set, or on the validation set where the recipe names no test."""
    data = recipe.data
    name, manifest = ("test", data.test) if data.test is not None else ("validation", data.validation)
    recognizer = make_recognizer(
        parts.model,
        features=parts.features,
        tokenizer=parts.tokenizer,
        config=EngineConfig(
            device=recipe.training.device,
            batch_s=recipe.training.validation_batch_s,
            whisper=_GREEDY if isinstance(parts.model, Seq2SeqModel) else WhisperDecodingConfig(),
        ),
    )
    utterances = [u for u in read_manifest(manifest) if u.text is not None]
    report = evaluate_recognizer(
        recognizer,
        utterances,
        assembler.read_audio,
        report=ReportConfig(normalizer=data.normalizer, seed=recipe.seed),
        background=Background(
            model={"name": run.id, "family": parts.family, "parameters": count_parameters(parts.model)},
            test_set={"manifest": str(manifest), "sha256": sha256_file(Path(manifest))},
        ),
        threads=torch.get_num_threads(),
    )
    publish_report(
        report,
        run.path / "report",
        utterances,
        assembler.read_audio,
        sample_rate_hz=recognizer.sample_rate_hz,
        title=f"{run.id} on {name}",
        figures=False,
    )
    return name, report.summary
