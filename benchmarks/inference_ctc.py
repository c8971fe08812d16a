"""CTC models: against transformers on the weights of a wav2vec2-base, against sherpa-onnx on one file of a Conformer.

Each part runs in a process of its own. All take the same samples, one file at a time, and give texts.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.clips import SAMPLE_RATE_HZ
from benchmarks.harness import interleaved
from benchmarks.inference_figures import cost, cost_ratio, equal_texts, missed
from benchmarks.inference_models import (
    MEDIUM,
    STATIC,
    TINY,
    make_conformer,
    make_wav2vec2,
    read_audio,
    write_audio,
)
from harken.core import Recognizer, Waveform
from harken.inference import EngineConfig, OnnxCtcScorer, load
from harken.inference.config import Precision
from harken.inference.ctc_recognizer import CtcRecognizer
from harken.inference.exported import ONNX
from harken.inference.onnx_engine import MODEL_FILES
from harken.inference.onnx_session import open_session

MOST_PIPELINE, MOST_EAGER, MOST_SHERPA = 0.6, 0.8, 1.1  # times the rival's CPU time
PIPELINE, EAGER = "transformers pipeline", "transformers forward pass, torch eager"
FP32, DYNAMIC, STATIC_INT8 = "onnx fp32", "onnx int8, dynamic", "onnx int8, static"
Texts = Callable[[], list[str]]


def against_transformers(name: str, smoke: bool) -> dict[str, Any]:
    import torch

    torch.set_num_threads(1)
    pretrained, folder = make_wav2vec2(Path(name), smoke=smoke)
    waveforms = read_audio(write_audio(Path(name) / "audio", 3 if smoke else 6))
    ours = _engines(folder) | {"torch": _engine(folder, "torch")}
    readers = {engine: _texts(recognizer, waveforms) for engine, recognizer in ours.items()}
    readers[PIPELINE] = _pipeline(pretrained, waveforms)
    texts = {reader: read() for reader, read in readers.items()}
    timings = interleaved({**readers, EAGER: _forward(pretrained, waveforms)}, 2 if smoke else 5)
    audio_s = sum(map(len, waveforms)) / SAMPLE_RATE_HZ
    figures = {
        f"{int8} over {PIPELINE}": cost_ratio(timings, int8, PIPELINE, MOST_PIPELINE) for int8 in (DYNAMIC, STATIC_INT8)
    }
    figures[f"{FP32} over {EAGER}"] = cost_ratio(timings, FP32, EAGER, MOST_EAGER)
    figures[f"torch over {EAGER}"] = cost_ratio(timings, "torch", EAGER)
    figures |= {engine: cost(timings[engine], audio_s) for engine in ours}
    for engine in ours:
        exact = engine in (FP32, "torch")
        figures[f"{engine}, equal to the pipeline"] = equal_texts(texts[engine], texts[PIPELINE], needed=exact)
    return _result("wav2vec2-base", figures, {rival: cost(timings[rival], audio_s) for rival in (PIPELINE, EAGER)})


def against_sherpa(name: str, smoke: bool) -> dict[str, Any]:
    """On the same ONNX files; and our own PyTorch beside them, as the eager rival of a model that others do not run."""
    import torch

    torch.set_num_threads(1)
    folder = make_conformer(Path(name), TINY if smoke else MEDIUM)
    waveforms = read_audio(write_audio(Path(name) / "audio", 4 if smoke else 20))
    files = {FP32: MODEL_FILES["fp32"], DYNAMIC: MODEL_FILES["int8"]}
    ours = {FP32: _engine(folder, "onnx", "fp32"), DYNAMIC: _engine(folder, "onnx", "int8")}
    readers = {kind: _texts(recognizer, waveforms) for kind, recognizer in ours.items()}
    readers["torch"] = _texts(_engine(folder, "torch"), waveforms)
    readers |= {f"sherpa-onnx, {kind}": _sherpa(folder, file, waveforms) for kind, file in files.items()}
    texts = {reader: read() for reader, read in readers.items()}
    timings = interleaved(readers, 2 if smoke else 9)
    audio_s = sum(map(len, waveforms)) / SAMPLE_RATE_HZ
    figures: dict[str, Any] = {}
    for kind in files:
        rival = f"sherpa-onnx, {kind}"
        figures[f"{kind} over sherpa-onnx"] = cost_ratio(timings, kind, rival, MOST_SHERPA)
        figures[kind] = cost(timings[kind], audio_s)
        # Rounding of the activations' scales turns the last digit of a feature into other units, with random weights.
        figures[f"{kind}, equal to sherpa-onnx"] = equal_texts(texts[kind], texts[rival], needed=kind == FP32)
    figures[f"{FP32} over torch eager"] = cost_ratio(timings, FP32, "torch", MOST_EAGER)
    figures[f"{FP32}, equal to torch"] = equal_texts(texts[FP32], texts["torch"], needed=True)
    rivals = {rival: cost(timings[rival], audio_s) for rival in readers if rival not in ours}
    return _result("Conformer of 12 million", figures, rivals)


def _result(model: str, figures: Mapping[str, Any], rivals: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "figures": {f"{model}, {name}": figure for name, figure in figures.items()},
        "rivals": {f"{model}, {name}": figure for name, figure in rivals.items()},
        "missed": missed(figures),
    }


def _engine(folder: Path, engine: str, precision: Precision = "auto") -> CtcRecognizer:
    recognizer = load(folder, engine=engine, config=EngineConfig(device="cpu", threads=1, precision=precision))
    assert isinstance(recognizer, CtcRecognizer)
    return recognizer


def _engines(folder: Path) -> dict[str, CtcRecognizer]:
    static = _engine(folder, "onnx", "int8")
    static.scorer = OnnxCtcScorer(open_session(folder / STATIC, device="cpu", threads=1))
    return {
        FP32: _engine(folder, "onnx", "fp32"), DYNAMIC: _engine(folder, "onnx", "int8"), STATIC_INT8: static,
    }  # fmt: skip


def _texts(recognizer: Recognizer, waveforms: Sequence[Waveform]) -> Texts:
    return lambda: [recognizer.transcribe(waveform).text for waveform in waveforms]


def _pipeline(pretrained: Path, waveforms: Sequence[Waveform]) -> Texts:
    import transformers

    pipe = transformers.pipeline("automatic-speech-recognition", model=str(pretrained), device="cpu")
    return lambda: [pipe({"raw": samples, "sampling_rate": SAMPLE_RATE_HZ})["text"] for samples in waveforms]


def _forward(pretrained: Path, waveforms: Sequence[Waveform]) -> Callable[[], object]:
    """The network alone, on inputs that are ready."""
    import torch
    import transformers

    network = transformers.Wav2Vec2ForCTC.from_pretrained(pretrained).eval()
    extractor = transformers.Wav2Vec2FeatureExtractor.from_pretrained(pretrained)
    inputs = [extractor(x, sampling_rate=SAMPLE_RATE_HZ, return_tensors="pt").input_values for x in waveforms]

    def run() -> None:
        with torch.inference_mode():
            for values in inputs:
                network(values)

    return run


def _sherpa(folder: Path, file: str, waveforms: Sequence[Waveform]) -> Texts:
    """Loaded as a CTC model of WeNet: its inputs are ours, and it hears samples in the 16-bit range, as Kaldi does."""
    import sherpa_onnx

    recognizer = sherpa_onnx.OfflineRecognizer.from_wenet_ctc(
        model=str(folder / ONNX / file), tokens=str(folder / ONNX / "tokens.txt"), num_threads=1
    )

    def read() -> list[str]:
        texts = []
        for waveform in waveforms:
            stream = recognizer.create_stream()
            stream.accept_waveform(SAMPLE_RATE_HZ, waveform)
            recognizer.decode_stream(stream)
            texts.append(stream.result.text)
        return texts

    return read
