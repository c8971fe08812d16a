"""Speaking into files in a process of its own: espeak-ng does not repeat itself within one, and bytes should."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np

from harken.core import InputError, MissingPart, RunFailed, Waveform

SAMPLE_RATE_HZ = 16_000

_COMMAND = "from harken.data.fresh_process import _work; _work()"


class Spoken(Protocol):
    """A file to be spoken: a data class of a module's top level, whose fields JSON can hold."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def name(self) -> str:
        """The file's name."""
        ...

    def waveform(self) -> Waveform:
        """(samples,) at SAMPLE_RATE_HZ; called in the fresh process, in the order of the files."""
        ...


def speak_files(folder: Path, files: Sequence[Spoken]) -> list[int]:
    """Write FLAC files (SAMPLE_RATE_HZ, 16 bit), all of one class, into `folder`; returns the samples of each.

    They are spoken one after the other by a process of their own, and appear in `folder` only when all of them are
    done. Raises what `waveform` raises of InputError and MissingPart, RunFailed when the process does not end well.
    """
    kind = type(files[0])
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".speaking-", dir=folder) as speaking:
        task = {
            "module": kind.__module__,
            "class": kind.__name__,
            "folder": speaking,
            "files": [asdict(file) for file in files],
        }
        samples = _ask_fresh_process(task)
        for file in files:
            (Path(speaking) / file.name).replace(folder / file.name)
    return samples


def spoken_waveform(text: str, *, voice: str, rate_wpm: int, pitch: int) -> Waveform:
    """What `synthesize` says, (samples,) float32 in [-1, 1] at SAMPLE_RATE_HZ. Raises InputError and MissingPart."""
    from harken.audio.resample import resample
    from harken.audio.synthesis import synthesize

    spoken, rate_hz = synthesize(text, voice=voice, rate_wpm=rate_wpm, pitch=pitch)
    return np.clip(resample(spoken, from_hz=rate_hz, to_hz=SAMPLE_RATE_HZ), -1.0, 1.0)


def _ask_fresh_process(task: dict[str, Any]) -> list[int]:
    done = subprocess.run(
        [sys.executable, "-c", _COMMAND], input=json.dumps(task), capture_output=True, encoding="utf-8", check=False
    )
    if done.returncode != 0:
        raise RunFailed(f"The speaking process ended with code {done.returncode}: {done.stderr.strip()[-500:]}")
    answer = json.loads(done.stdout)
    if "error" in answer:
        kinds = {kind.__name__: kind for kind in (InputError, MissingPart)}
        raise kinds.get(answer["kind"], RunFailed)(answer["error"], hint=answer["hint"])
    samples: list[int] = answer["samples"]
    return samples


def _work() -> None:
    """The fresh process: a task as JSON on stdin, the answer as JSON on stdout."""
    task = json.load(sys.stdin)
    kind = getattr(import_module(task["module"]), task["class"])
    try:
        answer: dict[str, Any] = {"samples": [_write(Path(task["folder"]), kind(**file)) for file in task["files"]]}
    except (InputError, MissingPart, RunFailed) as err:
        answer = {"kind": type(err).__name__, "error": err.message, "hint": err.hint}
    json.dump(answer, sys.stdout)


def _write(folder: Path, file: Spoken) -> int:
    import soundfile

    waveform = file.waveform()
    soundfile.write(folder / file.name, waveform, SAMPLE_RATE_HZ, format="FLAC", subtype="PCM_16")
    return len(waveform)
