"""Triton repositories: configuration that parses and fits together, and models that do the recognizer's work."""

import importlib.util
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from harken.core import Waveform
from harken.core.files import sha256_file
from harken.export.run import export_model
from harken.export.triton import TritonConfig, write_repository
from harken.inference.config import EngineConfig
from harken.inference.exported import read_record, weights_identity
from harken.inference.onnx_engine import OnnxCtcScorer
from harken.inference.onnx_session import open_session
from harken.inference.torch_engine import load_engine
from harken.models.description import read_interface

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[A-Za-z_][A-Za-z0-9_]*|-?[0-9.]+|[{}\[\]:,]')


def parse(text: str) -> dict[str, list[Any]]:
    """Protobuf's text format as {field: values}; lists in brackets and repeated fields are one thing there."""
    tokens = _TOKEN.findall(text)
    assert re.sub(r"\s", "", _TOKEN.sub("", text)) == ""  # nothing but tokens

    def message(place: int, end: str | None) -> tuple[dict[str, list[Any]], int]:
        fields: dict[str, list[Any]] = {}
        while place < len(tokens) and tokens[place] != end:
            name, place = tokens[place], place + 1
            colon = tokens[place] == ":"
            values, place = several(place + colon)
            assert colon or all(isinstance(value, dict) for value in values)
            fields.setdefault(name, []).extend(values)
        return fields, place + 1

    def several(place: int) -> tuple[list[Any], int]:
        if tokens[place] != "[":
            value, place = one(place)
            return [value], place
        values, place = [], place + 1
        while tokens[place] != "]":
            value, place = one(place)
            values.append(value)
            place += tokens[place] == ","
        return values, place + 1

    def one(place: int) -> tuple[Any, int]:
        token = tokens[place]
        if token == "{":
            return message(place + 1, "}")
        if token.startswith('"'):
            return token[1:-1].replace('\\"', '"').replace("\\\\", "\\"), place + 1
        return int(token) if token.lstrip("-").isdigit() else token, place + 1

    return message(0, None)[0]


@pytest.fixture
def repository(model_folder: Path, make_manifest: Callable[[list[str]], Path]) -> Path:
    (result,) = export_model(model_folder, ["triton"], manifest=make_manifest(["one", "two", "three"]))
    assert result.path == model_folder / "triton"
    return result.path


def test_the_ensemble_names_models_and_tensors_that_are_there(repository: Path) -> None:
    configs = {path.parent.name: parse(path.read_text()) for path in repository.glob("*/config.pbtxt")}
    assert sorted(configs) == ["harken", "harken_ctc", "harken_features", "harken_text"]
    for name, config in configs.items():
        assert config["name"] == [name]
        assert config["max_batch_size"] == [32]
        assert (repository / name / "1").is_dir()
    ensemble = configs["harken"]
    known = {item["name"][0] for item in ensemble["input"]}
    for step in ensemble["ensemble_scheduling"][0]["step"]:
        part = configs[step["model_name"][0]]
        for side, maps in (("input", "input_map"), ("output", "output_map")):
            assert [item["key"][0] for item in step[maps]] == [item["name"][0] for item in part[side]]
        assert {item["value"][0] for item in step["input_map"]} <= known
        known |= {item["value"][0] for item in step["output_map"]}
    assert {item["name"][0] for item in ensemble["output"]} <= known


def test_the_graph_is_declared_as_it_is(repository: Path) -> None:
    config = parse((repository / "harken_ctc/config.pbtxt").read_text())
    session = open_session(repository / "harken_ctc/1/model.onnx", device="cpu")
    declared = {item["name"][0]: item for item in (*config["input"], *config["output"])}
    kinds = {"tensor(float)": "TYPE_FP32", "tensor(int64)": "TYPE_INT64"}
    for value in (*session.get_inputs(), *session.get_outputs()):
        item = declared.pop(value.name)
        assert item["data_type"] == [kinds[value.type]]
        shape = item["reshape"][0]["shape"] if "reshape" in item else item["dims"]
        assert shape == [axis if isinstance(axis, int) else -1 for axis in value.shape[1:]]
    assert declared == {}
    assert config["dynamic_batching"][0]["preferred_batch_size"] == [8, 16, 32]
    assert config["instance_group"][0] == {"count": [1], "kind": ["KIND_CPU"]}


class FakeTensor:
    def __init__(self, name: str, array: Any) -> None:
        self.name, self.array = name, array

    def as_numpy(self) -> Any:
        return self.array


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """What Triton offers to models in Python, as far as ours use it."""
    module: Any = ModuleType("triton_python_backend_utils")
    module.Tensor = FakeTensor
    module.TritonError = str
    module.InferenceResponse = lambda output_tensors=(), error=None: {
        "error": error, **{tensor.name: tensor.array for tensor in output_tensors}
    }  # fmt: skip
    module.get_input_tensor_by_name = lambda request, name: FakeTensor(name, request[name])
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", module)
    return module


def start(folder: Path) -> Any:
    """The model of a Python backend, initialised as Triton does it: configuration as JSON, values as text."""
    import json

    spec = importlib.util.spec_from_file_location(f"triton_{folder.name}", folder / "1/model.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    config = parse((folder / "config.pbtxt").read_text())
    parameters = {
        item["key"][0]: {"string_value": item["value"][0]["string_value"][0]} for item in config.get("parameters", [])
    }
    model = module.TritonPythonModel()
    model.initialize(
        {
            "model_config": json.dumps({"parameters": parameters}),
            "model_repository": str(folder),
            "model_version": "1",
        }
    )
    return model


def test_the_three_models_together_say_what_the_recognizer_says(
    repository: Path, model_folder: Path, backend: ModuleType, noise_of: Callable[..., Waveform]
) -> None:
    waveforms = [noise_of(1.7, seed=1), noise_of(0.8, seed=2)]
    audio = np.zeros((2, len(waveforms[0])), np.float32)
    for row, waveform in zip(audio, waveforms, strict=True):
        row[: len(waveform)] = waveform
    samples = np.array([[len(waveform)] for waveform in waveforms])
    (heard,) = start(repository / "harken_features").execute([{"audio": audio, "samples": samples}])
    assert heard["features"].shape == (2, 200, 20)  # padded to whole seconds
    assert heard["frames"].tolist() == [[170], [80]]
    scorer = OnnxCtcScorer(open_session(repository / "harken_ctc/1/model.onnx", device="cpu"))
    log_probs, frames = scorer(heard["features"], heard["frames"][:, 0])
    (said,) = start(repository / "harken_text").execute([{"log_probs": log_probs, "output_frames": frames[:, None]}])
    recognizer = load_engine(model_folder, config=EngineConfig(device="cpu"))
    expected = [recognizer.transcribe(waveform).text for waveform in waveforms]
    assert [text.decode() for text in said["text"][:, 0]] == expected
    assert any(expected)


def test_a_request_that_cannot_be_read_gets_its_own_error(repository: Path, backend: ModuleType) -> None:
    good = {"audio": np.zeros((1, 800), np.float32), "samples": np.array([[800]])}
    bad = {"audio": np.full((1, 800), np.nan, np.float32), "samples": np.array([[800]])}
    answers = start(repository / "harken_features").execute([bad, good])
    assert "NaN or infinite" in answers[0]["error"]
    assert answers[1]["error"] is None
    assert answers[1]["frames"].tolist() == [[5]]


def test_settings_reach_the_configuration(model_folder: Path, tmp_path: Path) -> None:
    interface = read_interface(model_folder)
    (tmp_path / "m.onnx").write_bytes(b"graph")
    config = TritonConfig(name="uz", device="cuda", instances=2, max_batch=4, preferred_batches=(2, 8), queue_us=0)
    write_repository(
        tmp_path / "out",
        model=tmp_path / "m.onnx",
        features=interface.features,
        hop_s=0.01,
        tokenizer=interface.tokenizer,
        config=config,
    )
    found = parse((tmp_path / "out/uz_ctc/config.pbtxt").read_text())
    assert found["instance_group"] == [{"count": [2], "kind": ["KIND_GPU"]}]
    assert found["dynamic_batching"] == [{"preferred_batch_size": [2], "max_queue_delay_microseconds": [0]}]
    assert found["max_batch_size"] == [4]


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"name": "a b"}, "name is 'a b'"), ({"instances": 0}, "instances is 0"), ({"queue_us": -1}, "queue_us is -1"),
     ({"pad_to_s": 0.0}, "pad_to_s is 0.0")],
)  # fmt: skip
def test_settings_are_checked(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TritonConfig(**changes)


def test_the_check_is_kept_in_the_folder(repository: Path) -> None:
    record = read_record(repository.parent, "triton")
    assert record is not None
    assert record.identity == weights_identity(repository.parent)
    graph = "harken_ctc/1/model.onnx"
    assert list(record.files) == [graph]
    entry = record.files[graph]
    assert entry["sha256"] == sha256_file(repository / graph)
    assert entry["parity"]["texts_differing"] == 0
    assert entry["parity"]["largest_difference"] <= entry["parity"]["limits"]["log_prob"] == 1e-3
