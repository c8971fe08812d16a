"""Transcripts as bytes in a cache.

Each segment is a line of JSON, after one for the rest: parser and writer hold Python's lock for a line at a time, so
that other threads go on while hours of speech are written or read in one.
"""

import json
from dataclasses import asdict
from typing import Any

from harken.core import Segment, Transcript, Word


def written_transcript(transcript: Transcript) -> bytes:
    """Lines that `read_transcript` gives back as the equal transcript. Takes 0.2 s for hours: for a thread."""
    head = {"text": transcript.text, "duration_s": transcript.duration_s, "language": transcript.language}
    return b"\n".join([_line(head), *(_line(asdict(segment)) for segment in transcript.segments)])


def read_transcript(value: bytes) -> Transcript | None:
    """None for what was written by something else, such as another version of Harken: then nothing was cached. For a
    thread, too."""
    try:
        head, *lines = value.split(b"\n")
        return Transcript(segments=tuple(_segment(json.loads(line)) for line in lines), **json.loads(head))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _line(data: dict[str, Any]) -> bytes:
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()


def _segment(data: dict[str, Any]) -> Segment:
    words = tuple(Word(**word) for word in data.pop("words"))
    return Segment(words=words, **data)
