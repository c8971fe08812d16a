"""What an ONNX file says of itself, so that it can be used alone.

family, sample_rate, features (JSON of the feature settings), vocabulary (JSON list of units by id), vocab_size,
blank_id, subsampling_factor (feature frames for each output frame; samples where the features are the waveform),
output_frame_s, languages, weights_sha256, harken_version.
"""

import json
from importlib.metadata import version

from harken.core import InputError, Tokenizer
from harken.inference.exported import WeightsIdentity
from harken.models.description import ModelDescription


def units_of(tokenizer: Tokenizer) -> tuple[str, ...]:
    """Units of a tokenizer by id, the blank first. Raises InputError for a kind that does not tell them."""
    units = getattr(tokenizer, "units", None)
    if units is None or len(units) != tokenizer.vocab_size:
        raise InputError(
            f"A {type(tokenizer).__name__} does not list its units.", hint="Give its class an attribute `units`, by id."
        )
    return tuple(str(unit) for unit in units)


def ctc_metadata(
    description: ModelDescription, tokenizer: Tokenizer, *, subsampling: int, hop_s: float, identity: WeightsIdentity
) -> dict[str, str]:
    """Metadata of the graph of a CTC model; all values are text, as ONNX wants them."""
    return {
        "family": description.family,
        "sample_rate": str(description.sample_rate_hz),
        "features": json.dumps(description.features, sort_keys=True),
        "vocabulary": json.dumps(units_of(tokenizer), ensure_ascii=False),
        "vocab_size": str(description.vocab_size),
        "blank_id": "0",
        "subsampling_factor": str(subsampling),
        "output_frame_s": repr(subsampling * hop_s),
        "languages": ",".join(description.languages),
        "weights_sha256": identity.weights_sha256,
        "harken_version": version("harken"),
    }
