"""Real digits for tests of the server: a model trained on them, held-out takes of them, and a server of the model."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
import yaml

from harken.cli.demo import DEMO_RECIPE, VALIDATION_TAKES
from harken.client.sync_client import HarkenClient
from harken.core import load_yaml
from harken.data.compose import ComposeConfig, compose_utterances
from harken.data.importers import import_corpus
from harken.data.manifest import write_manifest

RATE_HZ = 8_000  # of the recordings
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "yweweler")
PAUSE_S = 1.6  # longer than the pause that ends a segment
MICROPHONE_HZ = 48_000
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """A recording, and what is said in it."""

    path: Path
    text: str


def command(*arguments: object, timeout_s: float = 120.0) -> str:
    """What a harken command prints."""
    done = subprocess.run(
        [sys.executable, "-m", "harken.cli.main", *map(str, arguments)],
        env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=timeout_s,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def train_digits(fsdd: Path, folder: Path) -> Path:
    """A model folder of English digits, after about a minute of work."""
    clips = [replace(clip, recording=None) for clip in import_corpus("fsdd", fsdd).utterances]
    checks = {clip.id for clip in clips if int(clip.tags["index"]) in VALIDATION_TAKES}
    held_back = [clip for clip in clips if clip.id in checks]
    learnt = [clip for clip in clips if clip.tags["split"] != "test" and clip.id not in checks]
    train = compose_utterances(learnt, folder / "close", ComposeConfig(passes=3, gap_fill="noise"))
    # Streams have pauses, which shift the averages that the model normalises by.
    pauses = ComposeConfig(min_clips=3, gap_fill="noise", gap_s=(0.3, 2.0), seed=1)
    apart = compose_utterances(learnt, folder / "apart", pauses)
    write_manifest(folder / "train.jsonl", [*train, *(replace(one, id=f"apart-{one.id}") for one in apart)])
    validation = ComposeConfig(gap_fill="noise", gap_s=(0.02, 1.0))
    write_manifest(folder / "validation.jsonl", compose_utterances(held_back, folder / "checked", validation))
    recipe = load_yaml(DEMO_RECIPE) | {"data": {"train": "train.jsonl", "validation": "validation.jsonl"}}
    recipe["training"] |= {"updates": 450, "evaluate_every": 90}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    command("train", folder / "recipe.yaml", "--out", folder / "run", timeout_s=900)
    return folder / "run" / "model"


def held_out(fsdd: Path, folder: Path) -> dict[str, list[Spoken]]:
    """Takes that no training hears, of each speaker, joined into utterances of some digits."""
    clips = [clip for clip in import_corpus("fsdd", fsdd).utterances if clip.tags["split"] == "test"]
    chosen = [clip for clip in clips if clip.speaker in SPEAKERS]
    found: dict[str, list[Spoken]] = {speaker: [] for speaker in SPEAKERS}
    for one in compose_utterances(chosen, folder, ComposeConfig(min_clips=2, gap_fill="noise", seed=3)):
        found[str(one.speaker)].append(Spoken(path=Path(one.audio), text=str(one.text)))
    return found


def with_pauses(utterances: list[Spoken], path: Path) -> Spoken:
    """One recording of all of them, each with a pause behind it, as a 16-bit WAV file; one line of text each."""
    noise = np.random.default_rng(1)
    parts: list[Any] = []
    for one in utterances:
        samples, rate_hz = soundfile.read(one.path, dtype="float32")
        assert rate_hz == RATE_HZ
        parts += [samples, noise.normal(0, 3e-4, round(PAUSE_S * RATE_HZ)).astype(np.float32)]
    soundfile.write(path, np.concatenate(parts), RATE_HZ, subtype="PCM_16")
    return Spoken(path=path, text="\n".join(one.text for one in utterances))


def for_microphone(talk: Spoken, path: Path) -> str:
    """What Chromium's false microphone plays: the talk once, with quiet before and after it."""
    samples, _ = soundfile.read(talk.path, dtype="float32")
    raised = soxr.resample(samples, RATE_HZ, MICROPHONE_HZ, quality="VHQ")
    quiet = np.random.default_rng(2).normal(0, 3e-4, 2 * MICROPHONE_HZ).astype(np.float32)
    soundfile.write(path, np.concatenate([quiet, raised, quiet]), MICROPHONE_HZ, subtype="PCM_16")
    return f"{path}%noloop"


@contextmanager
def serving(model: Path, folder: Path) -> Iterator[str]:
    """The URL of `harken serve`, in a process of its own, on a home of its own, once it is ready."""
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "harken.cli.main", "serve", "--model", str(model.resolve()), "--port", "0"],
            cwd=folder, env={**ENVIRONMENT, "HARKEN_HOME": str(folder)}, stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            found = _address(process, folder / "log")
            with HarkenClient(found) as client:
                _until(lambda: client.ready().ready)
            yield found
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=40) == 0


def _until(condition: Callable[[], bool], *, within_s: float = 60.0) -> None:
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def _address(process: "subprocess.Popen[bytes]", log: Path) -> str:
    """Where the server says it listens."""
    found: list[str] = []

    def said() -> bool:
        assert process.poll() is None, log.read_text()
        found.extend(re.findall(r"http://127\.0\.0\.1:\d+", log.read_text()))
        return bool(found)

    _until(said)
    return found[0]
