"""Checkpoints that are whole or absent.

A checkpoint is a folder `step-000200` with the weights, their moving average if the run has one, the optimiser, the
training state and the SHA-256 of each file. It is written under a temporary name, fsynced, read back, and renamed;
`last` and `best` are small files that hold a folder's name and are replaced atomically. A kill at any moment leaves
the newest whole checkpoint usable.

Random-number states are not stored: every update seeds its generators from (seed, update), and batches and
augmentation are functions of (seed, epoch, utterance), so the update number is the whole state of randomness.
"""

import errno
import io
import json
import logging
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from harken.core import InputError, RunFailed
from harken.core.files import fsync_folder, replacing, sha256_file, write_json, write_text

logger = logging.getLogger(__name__)

HASHES = "hashes.json"
STATE = "state.json"
MODEL = "model.safetensors"
OPTIMIZER = "optimizer.pt"
AVERAGE = "average.safetensors"
_FOLDER = re.compile(r"step-(\d{6,})$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """One checkpoint in memory: `state` is plain data, the tensors are on the CPU, `model` are those that are trained.

    `average` is the state of the weights' moving average, empty where there is none.
    """

    folder: Path
    step: int
    model: dict[str, torch.Tensor]
    optimizer: dict[str, Any]
    state: dict[str, Any]
    average: dict[str, torch.Tensor]


class DamagedCheckpoint(InputError):
    """A file of a checkpoint is absent or has another hash than the one written beside it."""


class CheckpointStore:
    """The checkpoints/ folder of a run."""

    def __init__(self, folder: Path, *, keep: int = 3) -> None:
        self.folder = folder
        self.keep = keep
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob(".*.tmp"):  # of a process that was killed while writing
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()

    def steps(self) -> list[int]:
        """Steps of the whole checkpoints, oldest first."""
        found = (_FOLDER.match(path.name) for path in self.folder.iterdir() if (path / HASHES).is_file())
        return sorted(int(match[1]) for match in found if match)

    def path(self, step: int) -> Path:
        return self.folder / f"step-{step:06d}"

    def save(
        self,
        step: int,
        *,
        model: Mapping[str, torch.Tensor],
        optimizer: dict[str, Any],
        state: dict[str, Any],
        average: Mapping[str, torch.Tensor] | None = None,
    ) -> Path:
        """Write checkpoint `step`, point `last` at it, and remove those beyond the kept number.

        Raises RunFailed when the disk is full or fails; older checkpoints are untouched then.
        """
        final, temporary = self.path(step), self.folder / f".step-{step:06d}.tmp"
        try:
            self._write(temporary, model, optimizer, state, average)
            if final.exists():  # of an earlier life of this run, past the checkpoint it resumed from
                shutil.rmtree(final)
            temporary.rename(final)
            fsync_folder(self.folder)
            write_text(self.folder / "last", final.name + "\n")
        except OSError as err:
            shutil.rmtree(temporary, ignore_errors=True)
            reason = "the disk is full" if err.errno in (errno.ENOSPC, errno.EDQUOT) else str(err)
            kept = self.steps()
            have = f"The run can resume from step {kept[-1]}" if kept else "There is no earlier checkpoint"
            raise RunFailed(
                f"Checkpoint {final} could not be written: {reason}.", hint=f"{have}; free some space first."
            ) from err
        self._prune()
        return final

    def _write(
        self,
        folder: Path,
        model: Mapping[str, torch.Tensor],
        optimizer: dict[str, Any],
        state: dict[str, Any],
        average: Mapping[str, torch.Tensor] | None,
    ) -> None:
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir()
        buffer = io.BytesIO()
        torch.save(optimizer, buffer)
        contents = {
            MODEL: _safetensors(model),
            OPTIMIZER: buffer.getvalue(),
            STATE: json.dumps(state, indent=2).encode(),
        }
        if average is not None:
            contents[AVERAGE] = _safetensors(average)
        for name, content in contents.items():
            with replacing(folder / name) as file:
                file.write(content)
        hashes = {name: _sha256(content) for name, content in contents.items()}
        for name, expected in hashes.items():
            if sha256_file(folder / name) != expected:
                raise OSError(errno.EIO, f"{folder / name} reads back differently from what was written")
        write_json(folder / HASHES, hashes)

    def mark_best(self, step: int) -> None:
        """Point `best` at checkpoint `step`."""
        write_text(self.folder / "best", self.path(step).name + "\n")

    def best(self) -> int | None:
        """Step that `best` points at, or None before the first evaluation."""
        try:
            match = _FOLDER.match((self.folder / "best").read_text(encoding="utf-8").strip())
        except FileNotFoundError:
            return None
        return int(match[1]) if match else None

    def load(self, step: int) -> Checkpoint:
        """Read checkpoint `step`. Raises DamagedCheckpoint when a file's hash differs from the one recorded."""
        from safetensors.torch import load

        folder = self.path(step)
        contents: dict[str, bytes] = {}
        try:
            hashes = json.loads((folder / HASHES).read_text(encoding="utf-8"))
            for name, expected in hashes.items():
                contents[name] = (folder / name).read_bytes()
                if _sha256(contents[name]) != expected:
                    raise DamagedCheckpoint(f"{folder / name} is damaged: its SHA-256 is not the recorded one.")
        except (OSError, json.JSONDecodeError) as err:
            raise DamagedCheckpoint(f"{folder} cannot be read: {err}.") from err
        return Checkpoint(
            folder=folder,
            step=step,
            model=load(contents[MODEL]),
            optimizer=torch.load(io.BytesIO(contents[OPTIMIZER]), map_location="cpu", weights_only=True),
            state=json.loads(contents[STATE]),
            average=load(contents[AVERAGE]) if AVERAGE in contents else {},
        )

    def load_newest(self) -> tuple[Checkpoint | None, list[DamagedCheckpoint]]:
        """The newest checkpoint that is whole, and an error for each newer one that is damaged."""
        damaged: list[DamagedCheckpoint] = []
        for step in reversed(self.steps()):
            try:
                return self.load(step), damaged
            except DamagedCheckpoint as err:
                logger.warning("%s Trying the one before it.", err)
                damaged.append(err)
        return None, damaged

    def _prune(self) -> None:
        steps = self.steps()
        for step in steps[: -self.keep]:
            if step != self.best():
                # Renamed first: a kill in the middle of rmtree must not leave half a checkpoint under a whole name.
                doomed = self.folder / f".{self.path(step).name}.old.tmp"
                self.path(step).rename(doomed)
                shutil.rmtree(doomed)


def _safetensors(tensors: Mapping[str, torch.Tensor]) -> bytes:
    from safetensors.torch import save

    return save({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, metadata={"format": "pt"})


def _sha256(content: bytes) -> str:
    import hashlib

    return hashlib.sha256(content).hexdigest()
