"""The chunk structure of WAV, RF64, W64, AIFF, AU and CAF files: where the samples are, and whether they all are.

libsndfile quietly shortens a file whose header declares more than there is, and takes the chunks behind empty audio
for audio. Here both are told apart from the headers that programs write when they cannot know the size yet.
"""

from dataclasses import dataclass
from typing import Literal

from harken.audio.limits import AudioDecodeError
from harken.audio.source import AudioSource
from harken.core.units import format_duration

_MAX_CHUNKS = 4096
_SLACK_BYTES = 16  # where the size of a block is not known
# What writers leave in the size field of a pipe: ffmpeg all ones, gstreamer 0, sox 0x7FFFF000, arecord 2 GiB.
_UNKNOWN_SIZES = {0, 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000, 0x80000000}


@dataclass(frozen=True, slots=True, kw_only=True)
class WaveFormat:
    """The `fmt ` chunk: `tag` 1 PCM, 3 float, 6 A-law, 7 mu-law, ...; `block_bytes` is one sample of every channel."""

    tag: int
    channels: int
    sample_rate_hz: int
    bytes_per_s: int
    block_bytes: int
    bits: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DataChunk:
    """Where the audio bytes lie: `[offset, offset + size)`, all of them really in the file.

    `size_known` is False where the header leaves the size open (a stream that was written to a pipe).
    """

    offset: int
    size: int
    size_known: bool
    format: WaveFormat | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    start: int
    id_bytes: int
    size_bytes: int
    order: Literal["little", "big"]
    align: int
    data_id: bytes
    size_counts_header: bool = False
    unknown: frozenset[int] = frozenset(_UNKNOWN_SIZES)
    extra: int = 0  # bytes at the beginning of the data chunk that are not audio


_LAYOUTS = {
    "wav": _Layout(start=12, id_bytes=4, size_bytes=4, order="little", align=2, data_id=b"data"),
    "rf64": _Layout(start=12, id_bytes=4, size_bytes=4, order="little", align=2, data_id=b"data"),
    "rifx": _Layout(start=12, id_bytes=4, size_bytes=4, order="big", align=2, data_id=b"data"),
    "aiff": _Layout(start=12, id_bytes=4, size_bytes=4, order="big", align=2, data_id=b"SSND", extra=8),
    "w64": _Layout(
        start=40, id_bytes=16, size_bytes=8, order="little", align=8, data_id=b"data", size_counts_header=True,
        unknown=frozenset({0, 24, 2**63 - 1, 2**64 - 1}),
    ),
    "caf": _Layout(
        start=8, id_bytes=4, size_bytes=8, order="big", align=1, data_id=b"data", extra=4,
        unknown=frozenset({2**64 - 1}),
    ),
}  # fmt: skip


def find_data(source: AudioSource, head: bytes, format_name: str) -> DataChunk | None:
    """The data chunk of a chunked container, None for other containers.

    Raises AudioDecodeError when there is none, when it is empty, or when the file ends more than one block before the
    header says it does.
    """
    if format_name == "au":
        return _au_data(source, head)
    layout = _LAYOUTS.get(format_name)
    if layout is None:
        return None
    wave: WaveFormat | None = None
    wide_size = None  # RF64 keeps the real size in a chunk of its own
    at = layout.start
    header_bytes = layout.id_bytes + layout.size_bytes
    for _ in range(_MAX_CHUNKS):
        header = head[at : at + header_bytes]
        if len(header) < header_bytes:
            header = source.read_at(at, header_bytes)
        if len(header) < header_bytes:
            break
        name = header[:4]
        size = int.from_bytes(header[layout.id_bytes :], layout.order)
        body = at + header_bytes
        if name == layout.data_id:
            if wide_size is not None and size == 0xFFFFFFFF:
                size = wide_size
            return _data_chunk(source, layout, body, size, wave)
        if layout.size_counts_header:
            size -= header_bytes
        if size < 0 or body + size > source.size:
            break
        if name == b"fmt ":
            wave = _wave_format(source.read_at(body, min(size, 40)), layout.order)
        elif name == b"ds64" and size >= 16:
            wide_size = int.from_bytes(source.read_at(body + 8, 8), "little")
        at = body + size + -size % layout.align
    raise AudioDecodeError(
        f"{source.name} is a {format_name.upper()} file of {source.size:,} bytes that ends before any audio data.",
        hint="It is cut off or damaged: copy or export it again.",
    )


def _data_chunk(source: AudioSource, layout: _Layout, body: int, declared: int, wave: WaveFormat | None) -> DataChunk:
    size_known = declared not in layout.unknown
    if declared == 0 and _only_chunks_follow(source, layout, body):
        size_known = True
    if layout.size_counts_header and size_known:
        declared -= layout.id_bytes + layout.size_bytes
    body += layout.extra
    declared -= layout.extra
    present = max(0, source.size - body)
    block = wave.block_bytes if wave and wave.block_bytes else _SLACK_BYTES
    if size_known and declared - present > block:
        raise AudioDecodeError(_cut_off(source.name, declared, present, wave), hint="Copy or export it again.")
    size = min(declared, present) if size_known else present
    if size <= 0:
        raise AudioDecodeError(f"{source.name} has 0 audio frames.", hint="Record or export it again.")
    return DataChunk(offset=body, size=size, size_known=size_known, format=wave)


def _cut_off(name: str, declared: int, present: int, wave: WaveFormat | None) -> str:
    def amount(count: int) -> str:
        seconds = f" ({format_duration(count / wave.bytes_per_s)})" if wave and wave.bytes_per_s else ""
        return f"{count:,} bytes{seconds}"

    return f"{name} is cut off: its header declares {amount(declared)} of audio, the file holds {amount(present)}."


def _only_chunks_follow(source: AudioSource, layout: _Layout, at: int) -> bool:
    """Whether the rest of the file is whole chunks (or nothing): then a data size of 0 means no audio."""
    header_bytes = layout.id_bytes + layout.size_bytes
    for _ in range(_MAX_CHUNKS):
        if at == source.size:
            return True
        header = source.read_at(at, header_bytes)
        if len(header) < header_bytes or not header[:4].isalnum():
            return False
        size = int.from_bytes(header[layout.id_bytes :], layout.order)
        at += header_bytes + size + -size % layout.align
        if at > source.size:
            return False
    return False


def _wave_format(chunk: bytes, order: Literal["little", "big"]) -> WaveFormat | None:
    if len(chunk) < 16:
        return None

    def number(start: int, end: int) -> int:
        return int.from_bytes(chunk[start:end], order)

    tag = number(0, 2)
    if tag == 0xFFFE and len(chunk) >= 26:  # extensible: the real tag begins the GUID of the sub-format
        tag = number(24, 26)
    return WaveFormat(
        tag=tag,
        channels=number(2, 4),
        sample_rate_hz=number(4, 8),
        bytes_per_s=number(8, 12),
        block_bytes=number(12, 14),
        bits=number(14, 16),
    )


def _au_data(source: AudioSource, head: bytes) -> DataChunk:
    if len(head) < 24:
        raise AudioDecodeError(
            f"{source.name} is an AU file of {source.size:,} bytes that ends inside its header.",
            hint="Copy or export it again.",
        )
    offset, declared = int.from_bytes(head[4:8], "big"), int.from_bytes(head[8:12], "big")
    layout = _Layout(
        start=0, id_bytes=4, size_bytes=4, order="big", align=1, data_id=b"", unknown=frozenset({2**32 - 1})
    )
    return _data_chunk(source, layout, offset, declared, None)
