"""CTC models as ONNX graphs, for any number of utterances of any length.

Inputs are `features` (batch, time, dimensions) float32, zero-padded, and `frames` (batch,) int64; outputs `log_probs`
(batch, output_time, vocab) float32, natural, and `output_frames` (batch,) int64. Rows of `log_probs` beyond their
output frames mean nothing.

Two exporters of PyTorch are tried in turn: that of torch.export, and the older one, which records one run. Either can
write a file that is wrong for sizes it did not see (torch.export's fixes the initial state of an LSTM to the example's
batch, for one, and unrolls it over minutes, so it is not tried there), so a graph counts only once it has agreed with
PyTorch on other sizes.
"""

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from functools import partial
from io import StringIO
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from harken.core import RunFailed
from harken.export.graph import finish_graph, fold_constants
from harken.export.interrupts import interrupts_kept
from harken.inference.onnx_engine import FEATURES, FRAMES, LOG_PROBS, OUTPUT_FRAMES, OnnxCtcScorer
from harken.inference.onnx_session import open_session
from harken.models.family import CtcModel

_log = logging.getLogger(__name__)

DYNAMO, TRACE = "torch.export", "torch.jit.trace"
OPSETS = {DYNAMO: 20, TRACE: 17}  # 20 has GELU as one operator; the older exporter ends at 17 where it is reliable
TOLERANCE = 1e-3  # between PyTorch and a graph that counts as right: of log probabilities, or of the largest number
_EXAMPLE, _OTHERS = (2, 65), ((1, 34), (3, 101))  # (batch, output frames)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exporter:
    """Which exporter wrote a graph, and what became of the one tried before it ("" where it was the first)."""

    name: str
    opset: int
    why: str = ""


class CtcGraph(nn.Module):
    """What the graph holds: the model, and log probabilities instead of scores."""

    def __init__(self, model: CtcModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, features_BFM: Tensor, frames_B: Tensor) -> tuple[Tensor, Tensor]:
        scores_BTV, lengths_B = self.model(features_BFM, frames_B)
        return scores_BTV.log_softmax(-1), lengths_B


def export_ctc(model: CtcModel, path: Path, *, dimensions: int, vocab_size: int, metadata: dict[str, str]) -> Exporter:
    """Write the graph of a CTC model in evaluation mode, on the CPU; `dimensions` are those of its features.

    Weights that are computed from others (weight norm) are computed once, in the model as well. Raises RunFailed where
    no exporter gives a graph that agrees with PyTorch.
    """
    fold_parametrizations(model)
    graph = CtcGraph(model.requires_grad_(False)).eval()
    reasons: list[str] = []
    exporters = [(DYNAMO, _write_with_dynamo), (TRACE, _write_with_trace)]
    if any(isinstance(module, nn.RNNBase) for module in model.modules()):
        reasons.append(f"{exporters.pop(0)[0]}: not tried, it fixes the batch of recurrent layers to the example's")
        _log.info("%s", reasons[-1])
    example = _example(model, *_EXAMPLE, dimensions=dimensions)
    return write_first_right(
        path,
        {name: partial(write, graph, example) for name, write in exporters},
        lambda file: _difference(graph, file, dimensions=dimensions),
        finish=lambda file: finish_graph(file, metadata, _axes(dimensions, vocab_size)),
        what="log probabilities",
        reasons=reasons,
    )


def write_first_right(
    path: Path,
    exporters: Mapping[str, Callable[[Path], None]],
    difference_of: Callable[[Path], float],
    *,
    finish: Callable[[Path], None],
    what: str,
    reasons: Sequence[str] = (),
) -> Exporter:
    """Write a graph with the first of `exporters`, by name, whose file agrees with PyTorch, and `finish` it.

    `difference_of` a file says how far `what` in it are off for sizes the exporter did not see. `reasons` say why
    others were not tried. Raises RunFailed, with what became of each, where none is right.
    """
    failed = list(reasons)
    for name, write in exporters.items():
        raw = path.with_name(f"{path.name}.raw")
        try:
            with torch.no_grad(), quiet_exporter(), interrupts_kept():
                write(raw)
            fold_constants(raw, path)
            difference = difference_of(path)
            if difference <= TOLERANCE:
                finish(path)
                return Exporter(name=name, opset=OPSETS[name], why="; ".join(failed))
            failed.append(f"{name}: {what} differ by {difference:.3g} for other sizes than the example's")
        except Exception as err:  # noqa: BLE001 (exporters fail in unrelated ways: recorded, the next one tried)
            failed.append(f"{name}: {_first_words(err)}")
        finally:
            raw.unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        _log.warning("%s", failed[-1])
    raise RunFailed(f"No exporter gave a right graph. {'; '.join(failed)}.", hint="Update torch and onnxscript.")


def fold_parametrizations(model: nn.Module) -> None:
    """Compute weights that are functions of others (weight norm) once and for all, in place."""
    for module in list(model.modules()):
        if parametrize.is_parametrized(module):
            for name in list(module.parametrizations):  # type: ignore[arg-type]
                parametrize.remove_parametrizations(module, name, leave_parametrized=True)


def _write_with_dynamo(graph: CtcGraph, example: tuple[Tensor, Tensor], path: Path) -> None:
    auto = torch.export.Dim.AUTO
    torch.onnx.export(
        graph,
        example,
        path,
        dynamo=True,
        verbose=False,
        external_data=False,
        opset_version=OPSETS[DYNAMO],
        input_names=[FEATURES, FRAMES],
        output_names=[LOG_PROBS, OUTPUT_FRAMES],
        dynamic_shapes=({0: auto, 1: auto}, {0: auto}),
    )


def _write_with_trace(graph: CtcGraph, example: tuple[Tensor, Tensor], path: Path) -> None:
    torch.onnx.export(
        graph,
        example,
        str(path),
        dynamo=False,
        opset_version=OPSETS[TRACE],
        input_names=[FEATURES, FRAMES],
        output_names=[LOG_PROBS, OUTPUT_FRAMES],
        dynamic_axes={
            name: {place: axis for place, axis in enumerate(axes) if isinstance(axis, str)}
            for name, axes in _axes(0, 0).items()
        },
    )


def _axes(dimensions: int, vocab_size: int) -> dict[str, tuple[str | int, ...]]:
    return {
        FEATURES: ("batch", "time", dimensions),
        FRAMES: ("batch",),
        LOG_PROBS: ("batch", "output_time", vocab_size),
        OUTPUT_FRAMES: ("batch",),
    }


def _example(model: CtcModel, batch: int, output_frames: int, *, dimensions: int) -> tuple[Tensor, Tensor]:
    """Zero-padded noise of several lengths, none of them a multiple of what the model subsamples by."""
    generator = torch.Generator().manual_seed(batch * 1000 + output_frames)
    longest = output_frames * model.subsampling + model.subsampling // 2 + 1
    frames_B = torch.tensor([longest - (longest * row) // (2 * batch) for row in range(batch)])
    features_BFM = torch.randn(batch, longest, dimensions, generator=generator)
    own_BF = torch.arange(longest)[None, :] < frames_B[:, None]
    return features_BFM * own_BF[:, :, None], frames_B


def _difference(graph: CtcGraph, path: Path, *, dimensions: int) -> float:
    """Largest difference of log probabilities at sizes that the exporter did not see; infinite for other lengths."""
    scorer = OnnxCtcScorer(open_session(path, device="cpu"))
    largest = 0.0
    for size in (_EXAMPLE, *_OTHERS):
        features_BFM, frames_B = _example(graph.model, *size, dimensions=dimensions)
        with torch.no_grad():
            expected_BTV, expected_B = graph(features_BFM, frames_B)
        found_BTV, found_B = scorer(features_BFM.numpy(), frames_B.numpy())
        if found_B.tolist() != expected_B.tolist():
            return float("inf")
        for row, length in enumerate(expected_B.tolist()):
            difference = (torch.from_numpy(found_BTV[row, :length]) - expected_BTV[row, :length]).abs().max()
            if not torch.isfinite(difference):
                return float("inf")
            largest = max(largest, float(difference))
    return largest


@contextmanager
def quiet_exporter() -> Iterator[None]:
    """Keep the exporters' progress, warnings and dumps of graphs off the screen: what matters becomes a reason."""
    loggers = [logging.getLogger(name) for name in ("torch", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _first_words(error: Exception) -> str:
    text = " ".join(str(error).split())
    cause = text.partition("## Exception summary")[2] or text
    return f"{type(error).__name__}: {cause.strip()[:200]}"
