"""An engine that obeys files in the folder HARKEN_TEST_SWITCHES, so that a test of a server process holds its hands.

`hold`: a pass does not go on while it is there. `fail`: a pass raises. `oom`: loading runs out of memory. Each pass
leaves a line in `passes`, one that was given up a line in `stopped`.
"""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harken.core import Segment, Transcript, Waveform, Word
from harken.core.stopping import Stopped, check_stop

NAME = "faulty"
SECRET = "hunter2 in /etc/harken"
WORDS = ("one", "-->", "<b>two</b>", "&")
_TIMES_S = ((0.0, 0.5), (59.9996, 60.2), (60.2, 60.4), (60.4, 60.5))


class FaultyRecognizer:
    """Says the same of every recording, whatever is heard."""

    sample_rate_hz = 16_000

    def __init__(self, switches: Path) -> None:
        self._switches = switches

    def transcribe(self, audio: Any) -> Transcript:
        return self._answer()

    def transcribe_batch(self, waveforms: Sequence[Waveform]) -> list[Transcript]:
        return [self._answer() for _ in waveforms]

    def _answer(self) -> Transcript:
        self._note("passes")
        try:
            while (self._switches / "hold").exists():
                check_stop()
                time.sleep(0.01)
        except Stopped:
            self._note("stopped")
            raise
        if (self._switches / "fail").exists():
            raise RuntimeError(SECRET)
        words = tuple(
            Word(text=text, start_s=start_s, end_s=end_s, confidence=0.5)
            for text, (start_s, end_s) in zip(WORDS, _TIMES_S, strict=True)
        )
        segments = (
            Segment(text=words[0].text, start_s=0.0, end_s=0.5, words=words[:1]),
            Segment(text=" ".join(WORDS[1:]), start_s=59.9996, end_s=60.5, words=words[1:]),
        )
        return Transcript(text=" ".join(WORDS), duration_s=61.0, segments=segments)

    def _note(self, name: str) -> None:
        with open(self._switches / name, "a") as file:
            file.write(f"{time.time()}\n")


def load(folder: Path, *, config: object) -> FaultyRecognizer:
    """What the entry point names."""
    switches = Path(os.environ["HARKEN_TEST_SWITCHES"])
    if (switches / "oom").exists():
        raise MemoryError
    return FaultyRecognizer(switches)
