"""Which kind of audio file this is, decided by its first bytes and never by its name.

Only what this table knows is decoded, and the demuxer is forced to it. A playlist, an ffconcat script or an SDP file
can therefore not make a decoder open the file or the address it names.
"""

from collections.abc import Callable
from dataclasses import dataclass

from harken.audio.limits import AudioDecodeError
from harken.audio.source import AudioSource

HEAD_BYTES = 512
_SCAN_BYTES = 65_536  # how far to look for the first MPEG frame: streams cut out of a broadcast begin anywhere
_MAX_TAGS = 8  # ID3 tags in a row
_CHAIN = 3  # consecutive frame headers that make a stream


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """A kind of file: its name, FFmpeg's demuxer for it, and whether libsndfile reads most of its kind."""

    format: str
    demuxer: str
    soundfile: bool
    first_frame: int = 0  # MPEG streams: offset of the first frame


_WAV = Container(format="wav", demuxer="wav", soundfile=True)
_RIFX = Container(format="rifx", demuxer="wav", soundfile=True)
_RF64 = Container(format="rf64", demuxer="wav", soundfile=True)
_AIFF = Container(format="aiff", demuxer="aiff", soundfile=True)
_FLAC = Container(format="flac", demuxer="flac", soundfile=True)
_TAGGED_FLAC = Container(format="flac", demuxer="flac", soundfile=False)
_MP4 = Container(format="mp4", demuxer="mov", soundfile=False)

_FORMS = {
    (b"RIFF", b"WAVE"): _WAV,
    (b"RIFX", b"WAVE"): _RIFX,
    (b"RF64", b"WAVE"): _RF64,
    (b"BW64", b"WAVE"): _RF64,
    (b"FORM", b"AIFF"): _AIFF,
    (b"FORM", b"AIFC"): _AIFF,
}
_MAGIC = (
    (b"fLaC", _FLAC),
    (b"OggS", Container(format="ogg", demuxer="ogg", soundfile=True)),
    (b"\x1a\x45\xdf\xa3", Container(format="matroska", demuxer="matroska", soundfile=False)),
    (b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb", Container(format="w64", demuxer="w64", soundfile=True)),
    (b".snd", Container(format="au", demuxer="au", soundfile=True)),
    (b"caff", Container(format="caf", demuxer="caf", soundfile=True)),
    (b"NIST_1A", Container(format="nist", demuxer="nistsphere", soundfile=True)),
    (b"#!AMR\n", Container(format="amr", demuxer="amr", soundfile=False)),
    (b"#!AMR-WB\n", Container(format="amr", demuxer="amr", soundfile=False)),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", Container(format="asf", demuxer="asf", soundfile=False)),
    (b"wvpk", Container(format="wavpack", demuxer="wv", soundfile=False)),
)
_MP4_BOXES = {b"ftyp", b"styp", b"moov", b"mdat", b"wide", b"skip", b"free"}
ACCEPTED = "WAV, FLAC, Ogg (Opus, Vorbis), MP3, M4A/MP4, WebM, AAC, AMR, AIFF, AU, CAF, WMA or WavPack"

_PLAYLISTS = (b"#extm3u", b"ffconcat", b"v=0\r", b"v=0\n", b"[playlist]", b"<asx", b"<smil", b"[reference]")
_FOREIGN = (
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"\x89PNG", "a PNG picture"),
    (b"GIF8", "a GIF picture"),
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive (or an office document)"),
    (b"\x1f\x8b", "gzip-compressed data"),
    (b"\x7fELF", "a program"),
    (b"MThd", "a MIDI file: notes, not sound"),
    (b"SQLite format 3", "a database"),
)


def identify(source: AudioSource, head: bytes) -> Container:
    """The container of a source whose first HEAD_BYTES are `head`. Raises AudioDecodeError for anything else."""
    form = _FORMS.get((head[:4], head[8:12]))
    if form is not None:
        return form
    for magic, container in _MAGIC:
        if head.startswith(magic):
            return container
    if head[4:8] in _MP4_BOXES:
        return _MP4
    found = _mpeg_stream(source, head)
    if found is not None:
        return found
    raise AudioDecodeError(
        f"{source.name} is not audio of a known kind: it {_describe(head)}.", hint=f"Give {ACCEPTED}."
    )


def _describe(head: bytes) -> str:
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith(_PLAYLISTS) or (start.startswith(b"<?xml") and b"<mpd" in start):
        return "is a playlist or a script that names other files, and those are never opened"
    for magic, what in _FOREIGN:
        if head.startswith(magic):
            return f"is {what}"
    if head[:4] in (b"RIFF", b"FORM", b"RF64", b"RIFX"):
        return f"is a {head[:4].decode()} file of type {head[8:12]!r}, which is not sound"
    if not any(head):
        return f"begins with {len(head):,} zero bytes"
    try:
        head[:-4].decode("utf-8")
    except UnicodeDecodeError:
        return f"begins with the bytes {head[:12].hex(' ')}"
    if all(byte >= 32 or byte in b"\t\r\n\f\x1b" for byte in head):
        return f"is text that begins with {head[:40].decode('utf-8', 'replace')!r}"
    return f"begins with the bytes {head[:12].hex(' ')}"


def _mpeg_stream(source: AudioSource, head: bytes) -> Container | None:
    """MP3 (all MPEG audio layers) and AAC in ADTS frames, behind any ID3 tags."""
    start = 0
    for _ in range(_MAX_TAGS):
        tag = source.read_at(start, 10)
        if tag[:3] != b"ID3" or len(tag) < 10:
            break
        size = tag[6] << 21 | tag[7] << 14 | tag[8] << 7 | tag[9]
        start += 10 + size + (10 if tag[5] & 0x10 else 0)
    if start == 0 and not (head[:1] in (b"\xff", b"\x00") or b"\xff" in head[:64]) and head.isascii():
        return None  # text: do not search it
    data = source.read_at(start, _SCAN_BYTES)
    if data.startswith(b"fLaC"):
        return _TAGGED_FLAC
    at = data.find(b"\xff")
    ends_here = start + len(data) >= source.size
    while at >= 0:
        for measure, format_name in ((_mpeg_frame_bytes, "mp3"), (_adts_frame_bytes, "aac")):
            if _is_chain(data, at, measure, ends_here):
                return Container(format=format_name, demuxer=format_name, soundfile=False, first_frame=start + at)
        at = data.find(b"\xff", at + 1)
    return None


def _is_chain(data: bytes, at: int, measure: Callable[[bytes], tuple[int, int]], ends_here: bool) -> bool:
    """Whether frames of one kind follow each other from `at`; near the end of the file fewer are enough."""
    kind, first = 0, at
    for position in range(_CHAIN):
        header = data[at : at + 8]
        if position and ends_here and (len(header) < 8 or header.startswith((b"TAG", b"APETAGEX", b"ID3"))):
            return position > 1 or (first == 0 and at <= len(data))
        size, this_kind = measure(header)
        if size == 0 or (position and this_kind != kind):
            return False
        kind = this_kind
        at += size
    return True


_LAYER_KBPS = {
    # (MPEG-1?, layer) -> kbit/s by index; ISO/IEC 11172-3 and 13818-3, table "bitrate_index"
    (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_MPEG1_RATES_HZ = (44_100, 48_000, 32_000)


def _mpeg_frame_bytes(header: bytes) -> tuple[int, int]:
    """(bytes of the MPEG audio frame this header begins, its kind), or (0, 0) where it is none."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return 0, 0
    version, layer = header[1] >> 3 & 3, 4 - (header[1] >> 1 & 3)
    bitrate, rate, padding = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    if version == 1 or layer == 4 or bitrate in (0, 15) or rate == 3:
        return 0, 0
    rate_hz = _MPEG1_RATES_HZ[rate] >> {3: 0, 2: 1, 0: 2}[version]
    bits = _LAYER_KBPS[(version == 3, layer)][bitrate] * 1000
    kind = version << 4 | layer << 2 | rate
    if layer == 1:
        return (12 * bits // rate_hz + padding) * 4, kind
    slots = 72 if layer == 3 and version != 3 else 144
    return slots * bits // rate_hz + padding, kind


def _adts_frame_bytes(header: bytes) -> tuple[int, int]:
    """(bytes of the ADTS frame this header begins, its kind), or (0, 0) where it is none (ISO/IEC 13818-7, 6.2)."""
    if len(header) < 7 or header[0] != 0xFF or header[1] & 0xF6 != 0xF0 or header[2] >> 2 & 15 > 12:
        return 0, 0
    size = (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5
    return (size, header[1] << 8 | header[2] & 0xFC) if size > 7 else (0, 0)
