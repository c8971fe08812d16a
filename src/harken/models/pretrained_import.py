"""A pretrained model as it is, as a model folder: to transcribe, stream, export and evaluate without fine-tuning it."""

from collections.abc import Sequence
from pathlib import Path

from harken.models.description import ModelDescription
from harken.models.folder import describe, save_model
from harken.models.pretrained import PretrainedParts, load_pretrained


def import_pretrained(
    name_or_folder: str | Path, out: Path, *, normalizer: str = "none", languages: Sequence[str] = ()
) -> ModelDescription:
    """Write the model folder of a local folder or a hub id of transformers to `out`.

    `normalizer` is the text profile its output is scored with, `languages` are those it is for. Raises as
    `load_pretrained` does: among others MissingPart for a CTC model without a vocabulary, which has to be fine-tuned.
    """
    return save_parts(load_pretrained(name_or_folder), out, normalizer=normalizer, languages=languages)


def save_parts(
    parts: PretrainedParts, out: Path, *, normalizer: str = "none", languages: Sequence[str] = ()
) -> ModelDescription:
    """Write a pretrained model in memory to the model folder `out`."""
    description = describe(
        parts.model,
        family=parts.family,
        settings=parts.settings,
        features=parts.features,
        tokenizer=parts.tokenizer,
        normalizer=normalizer,
        languages=list(languages),
    )
    save_model(out, model=parts.model, description=description, tokenizer=parts.tokenizer)
    return description
