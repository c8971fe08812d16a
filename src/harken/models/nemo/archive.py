"""The .nemo archive: a tar, plain or gzipped, of a configuration, weights and tokenizer files.

Nothing is unpacked under a name the archive chooses. Small members are read into memory and the weights into an
unnamed temporary file, each under a limit, so a hostile archive can neither leave its folder nor fill the disk.
"""

import pickle
import posixpath
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from harken.core import InputError

CONFIG = "model_config.yaml"
WEIGHTS = "model_weights.ckpt"

_MOST_MEMBERS = 1000
_MOST_BYTES = 64 * 2**20  # of a member other than the weights
_MOST_GROWTH = 20  # unpacked bytes of the weights for each byte of the file; float32 weights shrink by about a tenth
_BLOCK = 2**20
# What torch.load raises for a file that is damaged or holds more than tensors.
_UNREADABLE = (pickle.UnpicklingError, RuntimeError, EOFError, LookupError, ValueError, TypeError, AttributeError)
_DAMAGED = (tarfile.TarError, OSError, EOFError, zlib.error)
_HINT = "Copy the .nemo file again."


@dataclass(slots=True, kw_only=True)
class NemoArchive:
    """A .nemo file in memory: the small files by name, and the weights as an open binary file."""

    path: Path
    files: dict[str, bytes] = field(default_factory=dict)
    weights: IO[bytes]

    def member(self, name: str) -> bytes:
        """The file a configuration refers to as `nemo:name`, or by the path it had in training (NeMo 1.0).

        Raises InputError when it is absent.
        """
        plain = _plain_name(name.removeprefix("nemo:"))
        for found in (plain, posixpath.basename(plain)):
            if found in self.files:
                return self.files[found]
        raise InputError(
            f"{self.path} has no {plain!r}, which its configuration refers to.",
            hint=f"It holds {', '.join(sorted(self.files))}. {_HINT}",
        )

    def config(self) -> dict[str, Any]:
        """model_config.yaml as plain values. Raises InputError when it is not a YAML mapping."""
        import yaml

        try:
            data = yaml.safe_load(self.files[CONFIG].decode("utf-8"))
        except (UnicodeDecodeError, yaml.YAMLError) as err:
            raise InputError(f"{self.path}: {CONFIG} is not valid YAML: {' '.join(str(err).split())}.") from err
        if not isinstance(data, dict):
            raise InputError(f"{self.path}: {CONFIG} holds {type(data).__name__}, not a mapping.", hint=_HINT)
        return data

    def state(self) -> dict[str, Any]:
        """The weights by NeMo's names. Only tensors are unpickled; InputError for anything else."""
        import torch

        try:
            state = torch.load(self.weights, map_location="cpu", weights_only=True)
        except _UNREADABLE as err:
            reason = str(err).strip().split("\n")[0]
            raise InputError(f"{self.path}: {WEIGHTS} does not hold plain tensors: {reason}", hint=_HINT) from err
        if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
            raise InputError(f"{self.path}: {WEIGHTS} is not a table of names and tensors.", hint=_HINT)
        return state


@contextmanager
def open_nemo(path: Path) -> Iterator[NemoArchive]:
    """The archive at `path`; its weights file closes with the block.

    Raises InputError for a file that is absent, no tar, damaged, without configuration or weights, or beyond the
    limits above.
    """
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise InputError(f"{path} {what}.", hint="Give a .nemo file.")
    with tempfile.TemporaryFile() as weights:
        archive = NemoArchive(path=path, weights=weights)
        try:
            with tarfile.open(path, "r:*") as tar:
                found_weights = _read_members(tar, archive)
        except _DAMAGED as err:
            raise InputError(
                f"{path} is not a readable .nemo archive (a tar file): {str(err).split(':')[0]}.", hint=_HINT
            ) from err
        for name, found in ((CONFIG, CONFIG in archive.files), (WEIGHTS, found_weights)):
            if not found:
                raise InputError(f"{path} is no NeMo model: it has no {name}.", hint="Give a .nemo file of a model.")
        weights.seek(0)
        yield archive


def _read_members(tar: tarfile.TarFile, archive: NemoArchive) -> bool:
    """Fill `archive`; whether there were weights. Sizes are checked before anything of a member is read."""
    found_weights = False
    most_weights = _MOST_GROWTH * archive.path.stat().st_size + _BLOCK
    for count, member in enumerate(tar, start=1):
        if count > _MOST_MEMBERS:
            raise InputError(f"{archive.path} holds more than {_MOST_MEMBERS} files; a model holds about ten.")
        name = _plain_name(member.name)
        limit = most_weights if name == WEIGHTS else _MOST_BYTES
        if member.size > limit:
            raise InputError(
                f"{archive.path}: {member.name!r} says it has {member.size:,} bytes, more than the {limit:,} allowed."
            )
        source = tar.extractfile(member) if member.isreg() else None
        if source is None:
            continue  # folders; links and devices are of no use here
        if name == WEIGHTS:
            found_weights = True
            while block := source.read(_BLOCK):
                archive.weights.write(block)
        else:
            archive.files[name] = source.read()
    return found_weights


def _plain_name(name: str) -> str:
    """`./a.yaml` and `a.yaml` are one file. Names only serve for looking things up; none is ever a path on a disk."""
    return posixpath.normpath(name)
