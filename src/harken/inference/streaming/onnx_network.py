"""A streaming Conformer in ONNX Runtime, for policy `cached`. No torch needed.

The graph is `models.conformer_stream.StreamingConformer` for one stream: its inputs are `INPUTS`, its outputs
`OUTPUTS`, and its metadata tells the sizes in `SIZES`.

Shapes: B streams, W window features, M feature dimensions, C chunk frames, V vocab.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harken.core import InputError
from harken.inference.exported import ONNX, check_fresh, exported_file
from harken.inference.onnx_session import open_session
from harken.inference.scoring import LogProbs
from harken.inference.streaming.cached import Caches

FILE = "streaming.onnx"
CACHES = ("done", "keys", "values", "tails")
INPUTS = ("window", "frames", *CACHES)
OUTPUTS = ("log_probs", "valid", *(f"next_{name}" for name in CACHES))
SIZES = (
    "window_features",
    "shift_features",
    "lead_features",
    "subsampling",
    "vocab_size",
    "chunk_frames",
    "left_frames",
)
_TYPES = {"tensor(float)": np.float32, "tensor(int64)": np.int64}


class OnnxChunkNetwork:
    """Answers `ChunkNetwork`."""

    def __init__(self, session: Any) -> None:
        """Raises InputError for a graph with other inputs, outputs or metadata."""
        inputs = tuple(item.name for item in session.get_inputs())
        outputs = tuple(item.name for item in session.get_outputs())
        if inputs != INPUTS or outputs != OUTPUTS:
            raise InputError(
                f"The graph takes {', '.join(inputs)} and gives {', '.join(outputs)}.",
                hint="It is not a streaming Conformer: run harken export again.",
            )
        told = session.get_modelmeta().custom_metadata_map
        try:
            sizes = {name: int(told[name]) for name in SIZES}
        except (KeyError, ValueError) as err:
            raise InputError(f"The graph's metadata lacks {err}.", hint="Run harken export again.") from err
        self.window_features, self.shift_features = sizes["window_features"], sizes["shift_features"]
        self.lead_features, self.subsampling = sizes["lead_features"], sizes["subsampling"]
        self.vocab_size, self.chunk_frames = sizes["vocab_size"], sizes["chunk_frames"]
        self.left_frames = sizes["left_frames"]
        self._session = session
        caches = [item for item in session.get_inputs() if item.name in CACHES]
        # The number of streams may be left open in the graph; here it is one.
        self._shapes = [
            ([size if isinstance(size, int) else 1 for size in item.shape], _TYPES[item.type]) for item in caches
        ]

    def start(self) -> Caches:
        return [np.zeros(shape, kind) for shape, kind in self._shapes]

    def __call__(
        self, window_BWM: npt.NDArray[np.float32], frames_B: npt.NDArray[np.int64], caches: Caches
    ) -> tuple[LogProbs, Caches]:
        given = dict(zip(INPUTS, (window_BWM, frames_B, *caches), strict=True))
        log_probs_BCV, _, *after = self._session.run(OUTPUTS, given)
        return log_probs_BCV, after


def open_network(folder: Path, *, device: str = "auto", threads: int | None = None) -> OnnxChunkNetwork:
    """The streaming export of a model folder.

    Raises MissingPart where there is none, InputError where it is damaged or older than the weights.
    """
    record = check_fresh(folder, ONNX)
    return OnnxChunkNetwork(open_session(exported_file(folder, ONNX, FILE, record), device=device, threads=threads))
