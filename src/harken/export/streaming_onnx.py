"""The streaming form of a chunked Conformer as an ONNX graph: its caches are inputs and outputs.

Shapes: B batch, F feature frames, M feature dimensions, T output frames, V vocab.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from harken.audio.features import FeatureConfig
from harken.core import InputError, RunFailed
from harken.export.ctc_onnx import DYNAMO, OPSETS, Exporter, quiet_exporter
from harken.export.graph import add_metadata, fold_constants
from harken.inference.onnx_session import open_session
from harken.inference.scoring import LogProbs
from harken.inference.streaming.cached import CachedFrames
from harken.inference.streaming.onnx_network import INPUTS, OUTPUTS, SIZES, OnnxChunkNetwork
from harken.models.conformer import ConformerCtc
from harken.models.conformer_stream import StreamingConformer
from harken.models.family import CtcModel


def export_streaming(model: CtcModel, path: Path, *, metadata: Mapping[str, str]) -> Exporter:
    """Write one step of a stream: window and caches in, log probabilities and caches out, at the chunk size the model
    was trained for. The sizes a caller needs are in the metadata.

    Raises InputError for a model that was not trained with chunks of limited left context, RunFailed where the exporter
    fails.
    """
    if not isinstance(model, ConformerCtc):
        raise InputError(
            f"A {type(model).__name__} has no streaming form: only a Conformer trained with chunks has.",
            hint="It streams with policy windowed from its onnx export.",
        )
    network = StreamingConformer(model).eval()
    window = torch.zeros(1, network.window_features, network.dimensions)
    frames = torch.tensor([network.window_features - network.lead_features])
    raw = path.with_name(f"{path.name}.raw")
    try:
        with torch.no_grad(), quiet_exporter():
            torch.onnx.export(
                network,
                (window, frames, *network.start().tensors),
                raw,
                dynamo=True,
                verbose=False,
                external_data=False,
                opset_version=OPSETS[DYNAMO],
                input_names=INPUTS,
                output_names=OUTPUTS,
            )
        fold_constants(raw, path)
    except Exception as err:
        reason = " ".join(str(err).split())[:300]
        raise RunFailed(
            f"The streaming graph could not be written: {reason}.", hint="Update torch and onnxscript."
        ) from err
    finally:
        raw.unlink(missing_ok=True)
    sizes = {name: getattr(network, name, None) for name in SIZES} | {"subsampling": model.subsampling}
    add_metadata(path, {**metadata, **{name: str(size) for name, size in sizes.items()}}, strip=True)
    return Exporter(name=DYNAMO, opset=OPSETS[DYNAMO], why="")


class StreamedScorer:
    """A streaming graph as a `CtcScorer`: each utterance is a stream of its own, for the check against its original."""

    def __init__(self, path: Path, features: FeatureConfig) -> None:
        """Raises InputError for features that a stream cannot compute."""
        self._frames = CachedFrames(OnnxChunkNetwork(open_session(path, device="cpu")), features)

    def __call__(
        self, features_BFM: npt.NDArray[np.float32], frames_B: npt.NDArray[np.int64]
    ) -> tuple[LogProbs, npt.NDArray[np.int64]]:
        rows = [self._frames.score(item[:frames]) for item, frames in zip(features_BFM, frames_B, strict=True)]
        lengths_B = np.array([len(row) for row in rows], dtype=np.int64)
        scores_BTV = np.zeros((len(rows), int(lengths_B.max(initial=0)), self._frames.network.vocab_size), np.float32)
        for padded, row in zip(scores_BTV, rows, strict=True):
            padded[: len(row)] = row
        return scores_BTV, lengths_B
