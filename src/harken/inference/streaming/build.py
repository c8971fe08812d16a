"""Which policy a model can follow, and a streamer that follows it."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harken.audio.vad import SpeechDetector
from harken.core import InputError, Recognizer
from harken.inference.config import EngineConfig
from harken.inference.ctc_recognizer import CtcRecognizer
from harken.inference.engines import load
from harken.inference.exported import ONNX, ExportRecord, read_record, weights_identity
from harken.inference.onnx_engine import MODEL_FILES
from harken.inference.streaming.agreement import AgreementPolicy, BufferRecognizer, PlainBuffer
from harken.inference.streaming.cached import CachedFrames, ChunkNetwork
from harken.inference.streaming.config import StreamingConfig
from harken.inference.streaming.fixed import FixedPolicy
from harken.inference.streaming.frames import FrameSource
from harken.inference.streaming.onnx_network import FILE, OnnxChunkNetwork, open_network
from harken.inference.streaming.policy import CtcPolicy
from harken.inference.streaming.speech import SpeechTracker
from harken.inference.streaming.stream import Streamer
from harken.inference.streaming.whisper_buffer import WhisperBuffer
from harken.inference.streaming.windowed import WindowedFrames
from harken.inference.whisper.recognizer import WhisperRecognizer
from harken.models.description import read_description

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamParts:
    """A recognizer, and the network of policy `cached` where it was exported."""

    recognizer: Recognizer
    network: OnnxChunkNetwork | None = None


def stream_parts(
    model: Any, processor: Any = None, *, engine: str = "auto", config: EngineConfig | None = None
) -> StreamParts:
    """What runs a model folder (by `engine` and `config`), a recognizer, or a model in memory with its processor.

    A folder whose model was trained with chunks runs its exports (of a stream and of the whole) where both are there
    and belong to the weights, else torch, unless `engine` says otherwise. Raises as `harken.load` does, and InputError
    for a model in memory without a processor, and for a processor that is not needed.
    """
    ready = isinstance(model, str | Path | Recognizer)
    if ready and processor is not None:
        raise InputError("The processor is not used: the model comes with its own.", hint="Leave it out.")
    if isinstance(model, str | Path):
        return _folder_parts(Path(model), engine, config or EngineConfig())
    if isinstance(model, Recognizer):
        return StreamParts(recognizer=model, network=_network_beside(model))
    if processor is None:
        raise InputError(
            f"A {type(model).__name__} in memory does not tell its features and units.",
            hint="Give processor=, such as what harken.models.load_model returns, or a model folder.",
        )
    from harken.inference.torch_engine import make_recognizer

    return StreamParts(recognizer=make_recognizer(model, features=processor.features, tokenizer=processor.tokenizer))


def _folder_parts(folder: Path, engine: str, config: EngineConfig) -> StreamParts:
    if _can_be_cached(folder) and engine in ("auto", "onnx"):
        record = read_record(folder, ONNX)
        if record is not None and FILE in record.files and (engine == "onnx" or _runs(folder, record, config)):
            network = open_network(folder, device=config.device, threads=config.threads)
            return StreamParts(recognizer=load(folder, engine="onnx", config=config), network=network)
        engine = "torch" if engine == "auto" else engine
    return StreamParts(recognizer=load(folder, engine=engine, config=config))


def _network_beside(recognizer: Recognizer) -> OnnxChunkNetwork | None:
    """The exported stream of the folder that an exported recogniser came from, None where there is none."""
    if not isinstance(recognizer, CtcRecognizer) or recognizer.folder is None:
        return None
    record = read_record(recognizer.folder, ONNX)
    if record is None or FILE not in record.files or not _can_be_cached(recognizer.folder):
        return None
    return open_network(recognizer.folder, device=recognizer.config.device, threads=recognizer.config.threads)


def _can_be_cached(folder: Path) -> bool:
    """Whether a model was trained with chunks, on features that need nothing of the whole utterance."""
    description = read_description(folder)
    return (
        description.settings.get("chunk_frames") is not None and description.features.get("normalize", "none") == "none"
    )


def _runs(folder: Path, record: ExportRecord, config: EngineConfig) -> bool:
    """Whether an export can stand for the model: its recognizer is there in the right precision, and not outdated."""
    models = [precision for precision, name in MODEL_FILES.items() if name in record.files]
    if not models or config.precision not in ("auto", *models):
        return False
    if weights_identity(folder) in (None, record.identity):
        return True
    _log.warning("%s/%s is older than its weights and is not used; run harken export again", folder, ONNX)
    return False


def build_streamer(
    parts: StreamParts, config: StreamingConfig, *, detector: SpeechDetector | None = None
) -> tuple[str, float, Streamer]:
    """The policy's name, its algorithmic latency in seconds (the longest wait for final scores), and the streamer.

    Raises InputError for a policy that the recognizer's model cannot follow.
    """
    recognizer, rate = parts.recognizer, parts.recognizer.sample_rate_hz

    def tracker() -> SpeechTracker:
        threshold = config.endpoint.speech_threshold
        return SpeechTracker(detector or SpeechDetector(), threshold=threshold, sample_rate_hz=rate)

    name = policy_name(parts, config)
    if name == "fixed":
        fixed = FixedPolicy(recognizer, config.fixed)
        return name, config.fixed.window_s, Streamer(fixed, sample_rate_hz=rate, frame_s=1 / rate)
    if name == "local-agreement":
        agreement = AgreementPolicy(
            _buffer_reader(recognizer), config=config.agreement, endpoint=config.endpoint, tracker=tracker()
        )
        return name, 2 * config.agreement.every_s, Streamer(agreement, sample_rate_hz=rate, frame_s=1 / rate)
    ctc = _ctc(recognizer, name)
    source = _cached(ctc, parts.network, config) if name == "cached" else _windowed(ctc, config)
    policy = CtcPolicy(
        source,
        ctc.tokenizer,
        endpoint=config.endpoint,
        sample_rate_hz=rate,
        tracker=tracker() if config.endpoint.source == "vad" else None,
    )
    return name, source.latency_s, Streamer(policy, sample_rate_hz=rate, frame_s=source.frame_s)


def _buffer_reader(recognizer: Recognizer) -> BufferRecognizer:
    if isinstance(recognizer, WhisperRecognizer):
        return WhisperBuffer(recognizer)
    return recognizer if isinstance(recognizer, BufferRecognizer) else PlainBuffer(recognizer)


def policy_name(parts: StreamParts, config: StreamingConfig) -> str:
    """The policy of `config`, or for `auto` the best that this model can follow."""
    if config.policy != "auto":
        return config.policy
    if not isinstance(parts.recognizer, CtcRecognizer):
        return "local-agreement"
    return "windowed" if parts.network is None and _chunked_model(parts.recognizer) is None else "cached"


def _ctc(recognizer: Recognizer, policy: str) -> CtcRecognizer:
    if not isinstance(recognizer, CtcRecognizer):
        raise InputError(
            f"policy is {policy}, which needs a model with a CTC output.", hint="Use local-agreement, or fixed."
        )
    return recognizer


def _chunked_model(recognizer: CtcRecognizer) -> Any:
    """The model in PyTorch, if it is one that was trained with chunks on features that a stream can compute."""
    model = getattr(recognizer.scorer, "model", None)
    chunk_frames = getattr(getattr(model, "settings", None), "chunk_frames", None)
    return model if chunk_frames is not None and recognizer.extractor.config.normalize == "none" else None


def _cached(recognizer: CtcRecognizer, exported: OnnxChunkNetwork | None, config: StreamingConfig) -> FrameSource:
    network = _torch_network(recognizer, config) if exported is None else _as_exported(exported, config)
    return CachedFrames(network, recognizer.extractor.config)


def _as_exported(network: OnnxChunkNetwork, config: StreamingConfig) -> ChunkNetwork:
    wanted = (config.chunk_frames, config.left_chunks)
    sizes = (network.chunk_frames, network.left_frames // network.chunk_frames)
    if any(want not in (None, size) for want, size in zip(wanted, sizes, strict=True)):
        raise InputError(
            f"The export has chunks of {sizes[0]} frames and {sizes[1]} chunks to the left, not {wanted[0]} and "
            f"{wanted[1]}.",
            hint="Use engine torch for other sizes.",
        )
    return network


def _torch_network(recognizer: CtcRecognizer, config: StreamingConfig) -> ChunkNetwork:
    model = getattr(recognizer.scorer, "model", None)
    if model is None:
        raise InputError(
            "policy is cached, and the engine has no streaming export of this model.",
            hint="Run harken export, use engine torch, or use policy windowed.",
        )
    from harken.inference.streaming.torch_network import TorchChunkNetwork
    from harken.models.conformer import ConformerCtc
    from harken.models.conformer_stream import StreamingConformer

    if not isinstance(model, ConformerCtc):
        raise InputError(
            f"policy is cached, which needs a Conformer trained with chunks, not a {type(model).__name__}.",
            hint="Use policy windowed.",
        )
    network = StreamingConformer(model, chunk_frames=config.chunk_frames, left_chunks=config.left_chunks)
    return TorchChunkNetwork(network, model.output.weight.device)


def _windowed(recognizer: CtcRecognizer, config: StreamingConfig) -> FrameSource:
    return WindowedFrames(
        recognizer.scorer,
        recognizer.extractor.config,
        subsampling=round(recognizer.frame_s / recognizer.extractor.hop_s),
        vocab_size=recognizer.tokenizer.vocab_size,
        config=config.window,
    )
