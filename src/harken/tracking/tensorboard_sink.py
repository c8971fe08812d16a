"""Runs in TensorBoard: event files inside the run folder, written without TensorFlow or torch."""

import json
import os
import socket
import struct
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from harken.core import MissingPart

FOLDER = "tensorboard"

_PNG = b"\x89PNG\r\n\x1a\n"
_COLOUR_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}  # PNG colour type to channels, as TensorBoard counts them
_HEADER_BYTES = 26


class TensorBoardSink:
    """Numbers as scalars, settings and tags as text, PNG pictures as images; other artifacts stay where they are.

    Look at them with `tensorboard --logdir <run folder>`. Each start begins an event file of its own, which
    TensorBoard joins with the earlier ones; each call reaches the operating system before it returns.
    """

    def __init__(self, *, home: Path, run_folder: Path, clock: Callable[[], float] = time.time) -> None:
        self.folder = run_folder / FOLDER
        self._clock = clock
        self._records: Any = None
        self._step = 0

    def start(self, run_id: str, name: str, parameters: dict[str, Any], tags: dict[str, str]) -> None:
        """Open the event file. Raises MissingPart when TensorBoard is not installed."""
        board = _board()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._records = board.RecordWriter(self._new_file())
        # The first record of an event file names its format; readers refuse files without it.
        first = board.Event(wall_time=self._clock(), file_version="brain.Event:2")
        self._write(first.SerializeToString())
        self._summary(
            _text("run", f"{name} ({run_id})"), _text("settings", _as_code(parameters)), _text("tags", _as_code(tags))
        )

    def log(self, metrics: dict[str, float], step: int) -> None:
        """Write numbers of one step; those that are not finite as they are, TensorBoard marks them."""
        value_type = _board().Summary.Value
        self._step = step
        self._summary(*(value_type(tag=name, simple_value=float(value)) for name, value in metrics.items()))

    def artifact(self, path: Path) -> None:
        """Show a PNG picture at the last step logged; anything else needs no copy."""
        if path.is_file() and path.suffix.lower() == ".png":
            self._summary(_image(path.stem, path.read_bytes()))

    def finish(self, status: str) -> None:
        """Note how the run ended and close the file."""
        self._summary(_text("status", status))
        if self._records is not None:
            self._records.close()
            self._records = None

    def _new_file(self) -> Any:
        stem = f"events.out.tfevents.{int(self._clock()):010d}.{socket.gethostname()}.{os.getpid()}"
        number = 0
        while True:  # two starts within a second, in tests and quick resumes
            try:
                return open(self.folder / f"{stem}.{number}", "xb", buffering=0)
            except FileExistsError:
                number += 1

    def _summary(self, *values: Any) -> None:
        board = _board()
        event = board.Event(wall_time=self._clock(), step=self._step, summary=board.Summary(value=values))
        self._write(event.SerializeToString())

    def _write(self, record: bytes) -> None:
        if self._records is None:
            raise RuntimeError("the sink is not open")
        self._records.write(record)


def _text(tag: str, text: str) -> Any:
    board = _board()
    tensor = board.TensorProto(dtype=board.DT_STRING, string_val=[text.encode()])
    metadata = board.create_summary_metadata(display_name=tag, description="")
    return board.Summary.Value(tag=f"{tag}/text_summary", metadata=metadata, tensor=tensor)


def _image(tag: str, png: bytes) -> Any:
    if len(png) < _HEADER_BYTES or not png.startswith(_PNG):
        raise ValueError(f"{tag} is not a PNG picture")
    width, height, _, colour = struct.unpack(">IIBB", png[16:_HEADER_BYTES])
    summary = _board().Summary
    picture = summary.Image(
        height=height, width=width, colorspace=_COLOUR_CHANNELS.get(colour, 3), encoded_image_string=png
    )
    return summary.Value(tag=tag, image=picture)


def _as_code(values: dict[str, Any]) -> str:
    """JSON as Markdown shows it unchanged: indented by four."""
    return "\n".join(
        f"    {line}" for line in json.dumps(values, indent=2, default=str, ensure_ascii=False).split("\n")
    )


@cache
def _board() -> Any:
    """What is needed of TensorBoard, none of which carries types."""
    try:
        from tensorboard.compat.proto.event_pb2 import Event  # type: ignore[import-untyped]
        from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[import-untyped]
        from tensorboard.compat.proto.tensor_pb2 import TensorProto  # type: ignore[import-untyped]
        from tensorboard.compat.proto.types_pb2 import DT_STRING  # type: ignore[import-untyped]
        from tensorboard.plugins.text.metadata import create_summary_metadata  # type: ignore[import-untyped]
        from tensorboard.summary.writer.record_writer import RecordWriter  # type: ignore[import-untyped]
    except ImportError as err:
        raise MissingPart(
            "The sink tensorboard needs the package tensorboard.",
            hint="Install it with: pip install 'harken[tracking]'.",
        ) from err
    return SimpleNamespace(
        Event=Event,
        Summary=Summary,
        TensorProto=TensorProto,
        DT_STRING=DT_STRING,
        create_summary_metadata=create_summary_metadata,
        RecordWriter=RecordWriter,
    )
