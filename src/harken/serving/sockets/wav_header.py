"""The header of a WAV file that comes bit by bit, as a client sends one that is still being recorded."""

import struct
from dataclasses import dataclass

from harken.core import InputError
from harken.serving.contract import Encoding

_LONGEST = 1 << 16  # bytes before the first sample
_PCM, _FLOAT, _A_LAW, _MU_LAW, _EXTENSIBLE = 1, 3, 6, 7, 0xFFFE
_ENCODINGS: dict[tuple[int, int], Encoding] = {
    (_PCM, 16): "linear16", (_FLOAT, 32): "linear32", (_A_LAW, 8): "alaw", (_MU_LAW, 8): "mulaw",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class WavFormat:
    """What the `fmt` chunk declares; the stream checks the numbers."""

    encoding: Encoding
    sample_rate_hz: int
    channels: int


class WavHeader:
    """Takes bytes until the samples begin. Whatever follows them in the file is kept away from the samples."""

    def __init__(self) -> None:
        self.format: WavFormat | None = None
        self._held = b""
        self._left: int | None = None  # bytes of samples that the header declares, None: as many as come

    def push(self, data: bytes) -> bytes:
        """The samples among what came. Raises InputError for another container, a damaged header, and samples of a
        kind that streams do not take."""
        if self.format is None:
            self._held += data
            data = self._read()
        if self._left is None:
            return data
        samples, self._left = data[: self._left], max(0, self._left - len(data))
        return samples

    def _read(self) -> bytes:
        """The first samples, once the whole header is there."""
        held = self._held
        if held[:4] != b"RIFF"[: len(held)] or held[8:12] != b"WAVE"[: len(held[8:12])]:
            raise InputError(
                "The audio is not a WAV file, and no encoding was given.",
                hint="Send encoding and sample_rate for raw audio; of containers a stream takes WAV only.",
            )
        at, found = 12, None
        while len(held) >= at + 8:
            kind, size = held[at : at + 4], int.from_bytes(held[at + 4 : at + 8], "little")
            if kind == b"data" and found is not None:
                self.format, self._held = found, b""
                # Recorders that do not know the length yet write 0 or the largest number.
                self._left = None if size == 0 or size >= 0x7FFF_FFFF else size
                return held[at + 8 :]
            if kind == b"fmt " and len(held) >= at + 8 + min(size, 40):
                found = _read_format(held[at + 8 : at + 8 + size])
            at += 8 + size + size % 2
            if at > _LONGEST:
                break
        if max(at, len(held)) > _LONGEST:
            raise InputError(f"The WAV header has no samples within {_LONGEST:,} bytes.", hint="Send a plain WAV file.")
        return b""


def _read_format(chunk: bytes) -> WavFormat:
    if len(chunk) < 16:
        raise InputError("The WAV header is damaged: its format is cut off.", hint="Record it again.")
    tag, channels, rate, _, _, bits = struct.unpack("<HHIIHH", chunk[:16])
    if tag == _EXTENSIBLE and len(chunk) >= 26:
        tag = int.from_bytes(chunk[24:26], "little")
    encoding = _ENCODINGS.get((tag, bits))
    if encoding is None:
        raise InputError(
            f"The WAV file has {bits}-bit samples of kind {tag}.",
            hint="Use 16-bit PCM, 32-bit float, A-law or mu-law.",
        )
    return WavFormat(encoding=encoding, sample_rate_hz=rate, channels=channels)
