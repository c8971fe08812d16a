"""Which reader decodes what: NumPy, libsndfile or FFmpeg."""

from harken.audio.chunks import find_data
from harken.audio.limits import AudioDecodeError, DecodeLimits, check_stream
from harken.audio.ogg import read_pages
from harken.audio.pcm_reader import PcmReader, pcm_layout
from harken.audio.samples import BlockReader
from harken.audio.sniff import HEAD_BYTES, identify
from harken.audio.source import AudioSource


def open_reader(source: AudioSource, limits: DecodeLimits) -> BlockReader:
    """The reader for what the first bytes of a source say it is; its rate and channels are within `limits`.

    Plain PCM in WAV is read by NumPy (twice as fast as libsndfile, and memory-safe), the rest of the WAV family, FLAC
    and Ogg by libsndfile where it can, everything else by FFmpeg. MP3 goes to FFmpeg: libsndfile's MP3 decoder gives
    wrong samples after the seek that soundfile makes behind every block.
    """
    head = source.read_at(0, HEAD_BYTES)
    container = identify(source, head)
    data = find_data(source, head, container.format)
    if data is not None:
        plain = pcm_layout(container, data)
        if plain is not None:
            return PcmReader(source, container, data, plain, limits)
        if data.format is not None:
            check_stream(source.name, data.format.sample_rate_hz, data.format.channels, limits)
    from harken.audio.av_reader import AvReader
    from harken.audio.soundfile_reader import NotForSoundfile, SoundfileReader

    pages = read_pages(source) if container.format == "ogg" else None
    refusal: Exception | None = None
    # libsndfile stops at the end of the first of several Ogg streams, and takes a data size of 0 for no audio.
    several_streams = pages is not None and pages.streams > 1
    open_ended = data is not None and not data.size_known
    if container.soundfile and not several_streams and not open_ended:
        try:
            return SoundfileReader(source, container, limits, codec=pages.codec if pages else None)
        except NotForSoundfile as err:
            refusal = err
    try:
        return AvReader(source, container, limits)
    except AudioDecodeError as err:
        if refusal is not None and err.__cause__ is not None:  # both libraries refused it: say both reasons
            raise AudioDecodeError(
                f"{source.name} is a {container.format} file that cannot be decoded: {refusal}; {err.__cause__}.",
                hint="Export the file again.",
            ) from err.__cause__
        raise
