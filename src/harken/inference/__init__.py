"""Floor 3: engines that run model folders, decoding, transcription of many files."""

from harken.core.lazy import lazy_names

_HOMES = {
    "LanguageDetector": "language_detection",
    "LanguageRouter": "routing",
    "Route": "routes",
    "RoutedModel": "routes",
    "RoutesConfig": "routes",
    "CtcDecodingConfig": "ctc.config",
    "CtcRecognizer": "ctc_recognizer",
    "OnnxCtcScorer": "onnx_engine",
    "EngineConfig": "config",
    "FORMATS": "formats",
    "FileResult": "files",
    "StreamingASR": "streaming.asr",
    "StreamingConfig": "streaming.config",
    "WhisperDecodingConfig": "whisper.config",
    "load": "engines",
    "render": "formats",
    "transcribe_files": "files",
}
__all__ = sorted(_HOMES)
__getattr__ = lazy_names(__name__, _HOMES)
