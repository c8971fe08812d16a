"""`harken doctor`: what works on this machine, and what to do about what does not.

Parts are tried, not only looked up: audio is encoded and decoded again, the speech detector hears silence, a file is
written. A part that is absent but optional is "missing"; one that is present and fails, or that nothing works without,
is "broken".
"""

import io
import json
import math
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, cast

import numpy as np

from harken.core import HarkenError, MissingPart, Waveform
from harken.core.home import home_folder
from harken.core.machine import read_memory, usable_cores
from harken.core.units import format_bytes, samples_to_seconds

State = Literal["ok", "missing", "broken"]

TONE_HZ = 440.0
TONE_RATE_HZ = 48_000  # a rate that every codec here can carry, and that decoding has to resample from
LOW_DISK_BYTES = 2 * 1024**3
LOW_MEMORY_BYTES = 2 * 1024**3
BROKEN_EXIT_CODE = MissingPart.exit_code


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was tried. `advice` is empty when there is nothing to do."""

    name: str
    state: State
    detail: str
    advice: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec:
    """A kind of audio file, and who writes it for the round trip: libsndfile or FFmpeg (by PyAV)."""

    name: str
    writer: Literal["soundfile", "av"]
    container: str
    codec: str


CODECS = (
    Codec(name="WAV", writer="soundfile", container="WAV", codec="PCM_16"),
    Codec(name="FLAC", writer="soundfile", container="FLAC", codec="PCM_16"),
    Codec(name="OGG Vorbis", writer="soundfile", container="OGG", codec="VORBIS"),
    Codec(name="MP3", writer="soundfile", container="MP3", codec="MPEG_LAYER_III"),
    Codec(name="Opus", writer="soundfile", container="OGG", codec="OPUS"),
    Codec(name="M4A (AAC)", writer="av", container="mp4", codec="aac"),
    Codec(name="WebM (Opus)", writer="av", container="webm", codec="libopus"),
)

OPTIONAL_PACKAGES = (
    ("matplotlib", "train", "pictures of training and data are left out without it"),
    ("mlflow", "tracking", "runs go to their folders only without it"),
    ("tensorboard", "tracking", "no TensorBoard files without it"),
    ("wandb", "wandb", "no runs in Weights & Biases without it"),
    ("onnxscript", "export", "needed to export models to ONNX"),
    ("ctranslate2", "ctranslate2", "Whisper runs on torch only without it"),
    ("kenlm", "lm", "language models are read from ARPA files only, and slower, without it"),
    ("datasets", "hf", "needed to import Hugging Face data sets"),
    ("lhotse", "lhotse", "needed to import Lhotse manifests"),
)


def doctor(json_output: bool = False) -> int:
    """Print every check on stdout; 0 when nothing is broken, else the exit code of a missing part."""
    import typer

    checks = collect()
    if json_output:
        typer.echo(json.dumps({"checks": [asdict(check) for check in checks]}, indent=2, ensure_ascii=False))
    else:
        _show(checks)
    return BROKEN_EXIT_CODE if any(check.state == "broken" for check in checks) else 0


def collect() -> list[Check]:
    """Every check, in the order of the report. Takes a few seconds, most of them torch's import."""
    named: list[tuple[str, Callable[[], Check]]] = [
        ("Python", check_python),
        ("processor", check_processor),
        ("memory", check_memory),
        ("disk", check_disk),
        ("home folder", check_home),
        ("torch", check_torch),
        ("GPU", check_gpu),
        *((f"audio: {codec.name}", _round_trip_check(codec)) for codec in CODECS),
        ("speech detection", check_vad),
        ("speech synthesis", check_synthesis),
        *((package, _package_check(package, extra, why)) for package, extra, why in OPTIONAL_PACKAGES),
    ]
    return [_attempt(name, check) for name, check in named]


def _attempt(name: str, check: Callable[[], Check]) -> Check:
    """The check's own answer, or what stopped it: one broken part must not hide the others."""
    try:
        return check()
    except MissingPart as err:
        return Check(name=name, state="missing", detail=err.message, advice=err.hint)
    except HarkenError as err:
        return Check(name=name, state="broken", detail=err.message, advice=err.hint)
    except Exception as err:  # noqa: BLE001 (one item of a batch: recorded with its cause)
        detail = f"{type(err).__name__}: {' '.join(str(err).split())[:200]}"
        return Check(name=name, state="broken", detail=detail, advice="Reinstall the package named here.")


# The machine


def check_python() -> Check:
    """The interpreter, and the Harken it runs."""
    detail = f"{platform.python_version()} ({sys.executable}), harken {version('harken')}"
    return Check(name="Python", state="ok", detail=detail)


def check_processor() -> Check:
    """Cores this process may use, and the limit set for numerical libraries, if any."""
    cores = usable_cores()
    limit = os.environ.get("OMP_NUM_THREADS")
    detail = f"{cores} cores ({platform.machine()})" + (f", OMP_NUM_THREADS={limit}" if limit else "")
    if limit and limit.isdecimal() and int(limit) > cores:
        advice = f"Set OMP_NUM_THREADS to {cores} or fewer: more threads than cores slow each other down."
        return Check(name="processor", state="broken", detail=detail, advice=advice)
    return Check(name="processor", state="ok", detail=detail)


def check_memory() -> Check:
    """Memory that is free now, within the limit of the container, if there is one."""
    free = read_memory().available
    if free is None:
        return Check(name="memory", state="ok", detail="this system does not say how much is free")
    if free < LOW_MEMORY_BYTES:
        advice = "Close other programs, or lower the batch: training needs more than this."
        return Check(name="memory", state="broken", detail=f"{format_bytes(free)} free", advice=advice)
    return Check(name="memory", state="ok", detail=f"{format_bytes(free)} free")


def check_disk() -> Check:
    """Space where the command was called, which is where runs and reports go."""
    free = shutil.disk_usage(Path.cwd()).free
    detail = f"{format_bytes(free)} free in {Path.cwd()}"
    if free < LOW_DISK_BYTES:
        advice = "Free some space: a run keeps up to five checkpoints, each about three times the size of its model."
        return Check(name="disk", state="broken", detail=detail, advice=advice)
    return Check(name="disk", state="ok", detail=detail)


def check_home() -> Check:
    """Harken's own folder: exists or can be made, and takes a file."""
    home = home_folder()
    try:
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=home) as file:
            file.write(b"x")
    except OSError as err:
        advice = "Make it writable, or set HARKEN_HOME to a folder that is."
        return Check(name="home folder", state="broken", detail=f"{home}: {err.strerror}", advice=advice)
    return Check(name="home folder", state="ok", detail=str(home))


# Parts


def check_torch() -> Check:
    """PyTorch: needed to train, and to run models with the torch engine."""
    if find_spec("torch") is None:
        raise MissingPart("needed to train and to run PyTorch models.", hint=_install("train"))
    import torch

    torch.ones(2, 2) @ torch.ones(2, 2)
    return Check(name="torch", state="ok", detail=f"{torch.__version__}, {torch.get_num_threads()} threads")


def check_gpu() -> Check:
    """An accelerator that torch can use; with a driver present and no use of it, that is a fault."""
    if find_spec("torch") is None:
        return Check(name="GPU", state="missing", detail="torch is not installed", advice=_install("train"))
    import torch

    if torch.cuda.is_available():
        cards = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
        detail = ", ".join(f"{card.name} ({format_bytes(card.total_memory)})" for card in cards)
        return Check(name="GPU", state="ok", detail=f"{detail}, CUDA {torch.version.cuda}")
    if torch.backends.mps.is_available():
        return Check(name="GPU", state="ok", detail="Apple GPU (MPS)")
    if Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi"):
        detail = f"an NVIDIA driver is here, but torch {torch.__version__} cannot use it"
        advice = "Install a CUDA build of torch that fits the driver (nvidia-smi shows its CUDA version)."
        return Check(name="GPU", state="broken", detail=detail, advice=advice)
    return Check(name="GPU", state="missing", detail="none; work runs on the CPU")


def check_vad() -> Check:
    """Silero VAD over ONNX Runtime: it must hear nothing in silence."""
    from harken.audio import VadConfig, detect_speech

    heard = detect_speech(np.zeros(16_000, np.float32), VadConfig(), sample_rate_hz=16_000)
    if heard:
        raise RuntimeError(f"it heard speech in silence: {heard}")
    return Check(name="speech detection", state="ok", detail="Silero VAD over ONNX Runtime")


def check_synthesis() -> Check:
    """espeak-ng, which speaks the demo's corpus when you bring no audio."""
    from harken.audio import list_voices

    return Check(name="speech synthesis", state="ok", detail=f"espeak-ng, {len(list_voices())} voices")


def _package_check(package: str, extra: str, why: str) -> Callable[[], Check]:
    def check() -> Check:
        if find_spec(package) is None:
            return Check(name=package, state="missing", detail=why, advice=_install(extra))
        return Check(name=package, state="ok", detail=_version(package))

    return check


# Codecs


def _round_trip_check(codec: Codec) -> Callable[[], Check]:
    def check() -> Check:
        from harken.audio import decode_audio

        tone = _tone()
        encoded = _write_soundfile(tone, codec) if codec.writer == "soundfile" else _write_av(tone, codec)
        heard = decode_audio(encoded, sample_rate_hz=16_000)
        purity = tone_share(heard, frequency_hz=TONE_HZ, sample_rate_hz=16_000)
        if purity < 0.9:
            raise RuntimeError(f"only {purity:.0%} of what came back is the tone that went in")
        seconds = samples_to_seconds(len(heard), sample_rate_hz=16_000)
        detail = f"{len(encoded):,} bytes written by {codec.writer}, {seconds:.2f} s read back"
        return Check(name=f"audio: {codec.name}", state="ok", detail=detail)

    return check


def tone_share(waveform: Waveform, *, frequency_hz: float, sample_rate_hz: int) -> float:
    """Share (0 to 1) of a waveform's energy that is a sine of this frequency, whatever its phase and level.

    waveform: (samples,) float32. Its energy is compared with that of its projection on the sine and the cosine.
    """
    energy = float(np.sum(waveform.astype(np.float64) ** 2))
    if energy == 0:
        return 0.0
    phase = 2j * math.pi * frequency_hz / sample_rate_hz * np.arange(len(waveform))
    return float(2 * abs(np.sum(waveform * np.exp(-phase))) ** 2 / (len(waveform) * energy))


def _tone() -> Waveform:
    """One second of a sine at half of full scale."""
    time_s = np.arange(TONE_RATE_HZ) / TONE_RATE_HZ
    return (0.5 * np.sin(2 * math.pi * TONE_HZ * time_s)).astype(np.float32)


def _write_soundfile(tone: Waveform, codec: Codec) -> bytes:
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, tone, TONE_RATE_HZ, format=codec.container, subtype=codec.codec)
    return buffer.getvalue()


def _write_av(tone: Waveform, codec: Codec) -> bytes:
    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format=codec.container) as container:
        stream = cast(av.AudioStream, container.add_stream(codec.codec, rate=TONE_RATE_HZ, layout="mono"))
        frame_samples = 960  # 20 ms: what Opus takes; AAC buffers to its own frame length
        for start in range(0, len(tone), frame_samples):
            frame = av.AudioFrame.from_ndarray(tone[None, start : start + frame_samples], format="fltp", layout="mono")
            frame.sample_rate, frame.pts = TONE_RATE_HZ, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()


# Facts about the system


def _version(package: str) -> str:
    for name in (package, f"{package}-skinny"):
        try:
            return f"{name} {version(name)}"
        except PackageNotFoundError:
            continue
    return "installed"


def _install(extra: str) -> str:
    return f"Install it with: pip install 'harken[{extra}]'."


def _show(checks: list[Check]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("", "part", "detail"):
        table.add_column(title, overflow="fold")
    styles: dict[State, str] = {"ok": "green", "missing": "yellow", "broken": "bold red"}
    for check in checks:
        table.add_row(Text(check.state, styles[check.state]), Text(check.name), Text(check.detail))
        if check.advice:
            table.add_row("", "", Text(check.advice, "italic"))
    console = Console()
    console.print(table)
    broken = [check.name for check in checks if check.state == "broken"]
    missing = [check.name for check in checks if check.state == "missing"]
    console.print(
        Text(
            f"\n{len(checks) - len(broken) - len(missing)} work, {len(missing)} missing, {len(broken)} broken"
            + (f": {', '.join(broken)}." if broken else ".")
        )
    )
