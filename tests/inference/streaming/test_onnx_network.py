"""The exported step gives what PyTorch gives, through the same policy."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tests.inference.streaming.conftest import Make, noise

from harken.core import InputError
from harken.inference.onnx_session import open_session
from harken.inference.streaming.cached import CachedFrames
from harken.inference.streaming.onnx_network import INPUTS, OUTPUTS, SIZES, OnnxChunkNetwork
from harken.inference.streaming.torch_network import TorchChunkNetwork
from harken.models.conformer_stream import StreamingConformer

onnx = pytest.importorskip("onnx", reason="the exporter needs onnx")
pytest.importorskip("onnxscript", reason="the exporter needs onnxscript")


def export(network: StreamingConformer, path: Path) -> None:
    window = torch.zeros(1, network.window_features, network.dimensions)
    given = (window, torch.tensor([network.window_features - 6]), *network.start().tensors)
    program = torch.onnx.export(
        network.eval(), given, dynamo=True, input_names=INPUTS, output_names=OUTPUTS, opset_version=20, verbose=False
    )
    model = program.model_proto
    sizes = {name: getattr(network, name, None) for name in SIZES} | {"subsampling": network.model.subsampling}
    for name, size in sizes.items():
        model.metadata_props.add(key=name, value=str(size))
    onnx.save(model, path)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_export_equals_pytorch(parts: Make, tmp_path: Path) -> None:
    made = parts()
    network = StreamingConformer(made.model.eval())
    export(network, tmp_path / "streaming.onnx")
    exported = OnnxChunkNetwork(open_session(tmp_path / "streaming.onnx", device="cpu", threads=1))
    assert (exported.chunk_frames, exported.left_frames) == (4, 8)
    waveform = noise(3)
    found = []
    for chunk_network in (exported, TorchChunkNetwork(network, torch.device("cpu"))):
        source = CachedFrames(chunk_network, made.features)
        state, frames = source.step(source.start(), waveform)
        found.append(np.concatenate([frames.final_TV, source.finish(state)[1].final_TV]))
    np.testing.assert_allclose(found[0], found[1], atol=1e-4)


class Session:
    """What ONNX Runtime tells of a graph."""

    def __init__(self, inputs: tuple[str, ...], metadata: dict[str, str]) -> None:
        self._inputs, self._metadata = inputs, metadata

    def get_inputs(self) -> list[Any]:
        return [SimpleNamespace(name=name, type="tensor(float)", shape=["streams", 3]) for name in self._inputs]

    def get_outputs(self) -> list[Any]:
        return [SimpleNamespace(name=name) for name in OUTPUTS]

    def get_modelmeta(self) -> Any:
        return SimpleNamespace(custom_metadata_map=self._metadata)


def test_other_graphs_are_refused() -> None:
    with pytest.raises(InputError, match="The graph takes features"):
        OnnxChunkNetwork(Session(("features", "frames"), {}))
    with pytest.raises(InputError, match="lacks 'left_frames'"):
        OnnxChunkNetwork(Session(INPUTS, {name: "1" for name in SIZES if name != "left_frames"}))
    network = OnnxChunkNetwork(Session(INPUTS, dict.fromkeys(SIZES, "4")))
    assert [cache.shape for cache in network.start()] == [(1, 3)] * 4
