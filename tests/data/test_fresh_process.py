"""Files spoken by a process of their own, with a class that needs no voices."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import soundfile

from harken.core import HarkenError, InputError, MissingPart, RunFailed
from harken.data.fresh_process import speak_files

MODULE = """
import os
from dataclasses import dataclass

import numpy as np

from harken.core import InputError, MissingPart, RunFailed

said = 0


@dataclass
class Ramp:
    name: str
    samples: int
    fails: str = ""

    def waveform(self):
        global said
        said += 1
        if self.fails == "die":
            os.write(2, b"out of memory")
            os._exit(3)
        if self.fails:
            kind = {"InputError": InputError, "MissingPart": MissingPart, "RunFailed": RunFailed}[self.fails]
            raise kind(f"no {self.name}.", hint="Try another.")
        return np.array([said / 128] + [0.25] * self.samples, dtype=np.float32)
"""


@pytest.fixture
def ramp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    (tmp_path / "ramps.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    import ramps

    return ramps.Ramp  # type: ignore[no-any-return]


def test_all_files_are_spoken_in_order_by_one_fresh_process(tmp_path: Path, ramp: Callable[..., Any]) -> None:
    out = tmp_path / "a" / "b"
    names = ["z.flac", "a.flac", "k.flac"]
    for _ in range(2):  # each time a process that has said nothing yet
        assert speak_files(out, [ramp(name=name, samples=number) for number, name in enumerate(names)]) == [1, 2, 3]
    assert sorted(path.name for path in out.iterdir()) == sorted(names)
    heard = [soundfile.read(out / name, dtype="float32") for name in names]
    assert [rate for _, rate in heard] == [16_000] * 3
    assert [waveform.tolist() for waveform, _ in heard] == [[1 / 128], [2 / 128, 0.25], [3 / 128, 0.25, 0.25]]


@pytest.mark.parametrize("kind", [InputError, MissingPart, RunFailed])
def test_what_the_other_process_raises_is_raised_here(
    tmp_path: Path, ramp: Callable[..., Any], kind: type[HarkenError]
) -> None:
    out = tmp_path / "out"
    with pytest.raises(kind, match=r"no b\.flac\. Try another\.") as caught:
        speak_files(out, [ramp(name="a.flac", samples=1), ramp(name="b.flac", samples=1, fails=kind.__name__)])
    assert caught.value.hint == "Try another."
    assert list(out.iterdir()) == []


def test_a_process_that_dies_is_reported(tmp_path: Path, ramp: Callable[..., Any]) -> None:
    out = tmp_path / "out"
    with pytest.raises(RunFailed, match=r"ended with code 3: out of memory"):
        speak_files(out, [ramp(name="a.flac", samples=1, fails="die")])
    assert list(out.iterdir()) == []
