import errno
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from harken.core import RunFailed
from harken.training import checkpoint as module
from harken.training.checkpoint import CheckpointStore


def save(store: CheckpointStore, step: int, value: float = 0.0) -> Path:
    return store.save(step, model={"w": torch.full((3,), value)}, optimizer={"lr": value}, state={"update": step})


def test_a_checkpoint_comes_back_as_it_was(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    assert save(store, 200, 1.5).name == "step-000200"
    loaded = store.load(200)
    assert loaded.model["w"].tolist() == [1.5, 1.5, 1.5]
    assert (loaded.optimizer, loaded.state) == ({"lr": 1.5}, {"update": 200})
    assert (tmp_path / "last").read_text() == "step-000200\n"


def test_the_last_ones_and_the_best_are_kept(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep=3)
    for step in range(1, 8):
        save(store, step)
        if step == 2:
            store.mark_best(step)
    assert store.steps() == [2, 5, 6, 7]
    assert store.best() == 2
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


def test_a_damaged_checkpoint_is_passed_over(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    save(store, 1, 1.0)
    file = save(store, 2, 2.0) / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    newest, damaged = store.load_newest()
    assert newest is not None
    assert newest.step == 1
    assert "model.safetensors is damaged" in str(damaged[0])


def test_leftovers_of_a_kill_are_removed(tmp_path: Path) -> None:
    save(CheckpointStore(tmp_path), 1)
    shutil.copytree(tmp_path / "step-000001", tmp_path / ".step-000002.tmp")
    (tmp_path / "step-000003").mkdir()  # never renamed into place by us: it has no hashes
    store = CheckpointStore(tmp_path)
    assert store.steps() == [1]
    assert not (tmp_path / ".step-000002.tmp").exists()


def test_a_full_disk_leaves_the_older_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = CheckpointStore(tmp_path)
    save(store, 1, 1.0)

    def full(path: Path, value: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "write_json", full)
    with pytest.raises(RunFailed, match=r"the disk is full\. The run can resume from step 1"):
        save(store, 2)
    assert store.steps() == [1]
    assert store.load(1).state == {"update": 1}
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".tmp")] == []
