"""Whisper-tiny in CTranslate2: our engine and bare faster-whisper on one converted folder, beam 5, no times, no VAD.

Each part runs in a process of its own. Every window has TOKENS tokens: the model's settings forbid it to end a text,
and both sides are told the most there may be.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.clips import LANGUAGE
from benchmarks.harness import interleaved
from benchmarks.inference_figures import cost, cost_ratio, gain, missed
from benchmarks.inference_models import END_OF_TEXT, make_whisper, read_audio, write_audio
from harken.audio.decode import probe_audio
from harken.inference import EngineConfig, WhisperDecodingConfig, load
from harken.inference.exported import CTRANSLATE2
from harken.inference.whisper.recognizer import WhisperRecognizer

BEAM, TOKENS, PROMPT = 5, 40, 4
FILES = 8
MOST_CPU, LEAST_GAIN = 1.03, 1.3
Texts = Callable[[], list[str]]


def against_faster_whisper(name: str, smoke: bool) -> dict[str, Any]:
    """One file after the other, each read from the disk."""
    folder, paths = _prepare(name, smoke)
    recognizer = _ours(folder, threads=1)
    readers: dict[str, Texts] = {
        "ours": lambda: [recognizer.transcribe(path).text for path in paths],
        "faster-whisper": _faster_whisper(folder, paths, threads=1),
    }
    _check_tokens(recognizer, folder, paths[:2])
    timings = interleaved(readers, 2 if smoke else 9)
    audio_s = sum(probe_audio(path).duration_s for path in paths)
    figures = {
        "Whisper-tiny, CPU time over faster-whisper": cost_ratio(timings, "ours", "faster-whisper", MOST_CPU),
        "Whisper-tiny, ctranslate2": cost(timings["ours"], audio_s),
    }
    rivals = {"Whisper-tiny, faster-whisper": cost(timings["faster-whisper"], audio_s)}
    return {"figures": figures, "rivals": rivals, "missed": missed(figures)}


def at_once(name: str, smoke: bool) -> dict[str, Any]:
    """FILES files in one call, one call after another, and faster-whisper's calls: two threads each."""
    folder, paths = _prepare(name, smoke)
    recognizer, waveforms = _ours(folder, threads=2), read_audio(paths)
    readers: dict[str, Callable[[], object]] = {
        "at once": lambda: recognizer.transcribe_batch(waveforms),
        "in turn": lambda: [recognizer.transcribe(waveform) for waveform in waveforms],
        "faster-whisper": _faster_whisper(folder, waveforms, threads=2),
    }
    timings = interleaved(readers, 2 if smoke else 7)
    audio_s = sum(probe_audio(path).duration_s for path in paths)
    what = f"Whisper-tiny, {len(paths)} files at once, two threads"
    figures = {
        f"{what}: over one after the other, wall": gain(timings, "at once", "in turn", "wall_s", LEAST_GAIN),
        f"{what}: over one after the other, CPU": gain(timings, "at once", "in turn", "cpu_s"),
        f"{what}: over faster-whisper, wall": gain(timings, "at once", "faster-whisper", "wall_s"),
        f"{what}: over faster-whisper, CPU": gain(timings, "at once", "faster-whisper", "cpu_s"),
        what: cost(timings["at once"], audio_s),
    }
    rivals = {
        "Whisper-tiny, two threads, one after the other": cost(timings["in turn"], audio_s),
        "Whisper-tiny, two threads, faster-whisper": cost(timings["faster-whisper"], audio_s),
    }
    return {"figures": figures, "rivals": rivals, "missed": missed(figures)}


def _prepare(name: str, smoke: bool) -> tuple[Path, list[Path]]:
    return make_whisper(Path(name), smoke=smoke), write_audio(Path(name) / "audio", 3 if smoke else FILES)


def _ours(folder: Path, *, threads: int) -> WhisperRecognizer:
    decoding = WhisperDecodingConfig(
        beam_size=BEAM, temperatures=(0.0,), max_tokens=TOKENS, max_compression_ratio=None, min_average_log_prob=None,
        no_speech_threshold=None,
    )  # fmt: skip
    config = EngineConfig(device="cpu", threads=threads, language=LANGUAGE, whisper=decoding)
    recognizer = load(folder, engine="ctranslate2", config=config)
    assert isinstance(recognizer, WhisperRecognizer)
    return recognizer


def _faster_whisper(folder: Path, files: Sequence[Any], *, threads: int) -> Texts:
    segments = _faster_whisper_segments(folder, threads=threads)
    return lambda: ["".join(segment.text for segment in segments(file)) for file in files]


def _faster_whisper_segments(folder: Path, *, threads: int) -> Callable[[Any], list[Any]]:
    """A function of a path or samples."""
    from faster_whisper import WhisperModel

    model = WhisperModel(str(folder / CTRANSLATE2), device="cpu", cpu_threads=threads, num_workers=1)

    def segments(file: Any) -> list[Any]:
        found, _ = model.transcribe(
            str(file) if isinstance(file, Path) else file,
            language=LANGUAGE,
            beam_size=BEAM,
            temperature=0,
            compression_ratio_threshold=None,
            log_prob_threshold=None,
            no_speech_threshold=None,
            condition_on_previous_text=False,
            without_timestamps=True,
            suppress_tokens=[END_OF_TEXT],
            max_new_tokens=2 * TOKENS - PROMPT,  # the library makes half of the length, prompt included
        )
        return list(found)

    return segments


def _check_tokens(recognizer: WhisperRecognizer, folder: Path, paths: Sequence[Path]) -> None:
    """Raises RuntimeError unless both make TOKENS tokens of each file."""
    backend = recognizer.backend
    generate, counts = backend.generate, list[int]()

    def counted(*arguments: Any) -> Any:
        found = generate(*arguments)
        counts.extend(len(generated.ids) for generated in found)
        return found

    backend.generate = counted  # type: ignore[method-assign]
    for path in paths:
        recognizer.transcribe(path)
    backend.generate = generate  # type: ignore[method-assign]
    segments = _faster_whisper_segments(folder, threads=1)
    theirs = [sum(len(segment.tokens) for segment in segments(path)) for path in paths]
    if counts != theirs or set(counts) != {TOKENS}:
        raise RuntimeError(f"tokens are {counts} and faster-whisper's {theirs}; {TOKENS} each were asked for")
