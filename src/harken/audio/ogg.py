"""The pages of an Ogg file, counted without decoding: is it one stream, and is it whole?"""

from dataclasses import dataclass

from harken.audio.limits import AudioDecodeError
from harken.audio.source import AudioSource

_WINDOW_BYTES = 1 << 20
_HEADER_BYTES = 27
_LARGEST_PAGE_BYTES = _HEADER_BYTES + 255 + 255 * 255


@dataclass(frozen=True, slots=True, kw_only=True)
class OggPages:
    """`streams` is how many logical streams begin in the file, side by side or one after the other."""

    streams: int
    codec: str


_CODECS = ((b"OpusHead", "opus"), (b"\x01vorbis", "vorbis"), (b"\x7fFLAC", "flac"), (b"Speex   ", "speex"))


def read_pages(source: AudioSource) -> OggPages:
    """Walk the pages (RFC 3533, section 6). Raises AudioDecodeError when the file ends inside one.

    Files that end after a whole page without the end-of-stream mark are accepted: recordings of a live stream look
    like that.
    """
    at, streams, codec = 0, 0, "unknown"
    window_at, window = 0, b""
    while at < source.size:
        if at + _LARGEST_PAGE_BYTES > window_at + len(window) and window_at + len(window) < source.size:
            window_at, window = at, source.read_at(at, _WINDOW_BYTES)
        start = at - window_at
        header = window[start : start + _HEADER_BYTES]
        if not header.startswith(b"OggS"):
            if len(header) >= 4:
                break  # tags or rubbish behind the last page: both decoders skip it
            raise _cut_off(source, at)
        if len(header) < _HEADER_BYTES:
            raise _cut_off(source, at)
        body = start + _HEADER_BYTES + header[26]
        size = sum(window[start + _HEADER_BYTES : body])
        if window_at + body + size > source.size:
            raise _cut_off(source, at)
        if header[5] & 2:  # beginning of a stream
            streams += 1
            if streams == 1:
                codec = next((name for magic, name in _CODECS if window.startswith(magic, body)), "unknown")
        at = window_at + body + size
    return OggPages(streams=streams, codec=codec)


def _cut_off(source: AudioSource, at: int) -> AudioDecodeError:
    return AudioDecodeError(
        f"{source.name} is cut off: it ends at byte {source.size:,}, inside the Ogg page that begins at byte {at:,}.",
        hint="Copy or export it again.",
    )
