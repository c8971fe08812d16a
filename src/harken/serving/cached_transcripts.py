"""Transcripts as bytes in a cache."""

import json
from dataclasses import asdict
from typing import Any

from harken.core import Segment, Transcript, Word


def written_transcript(transcript: Transcript) -> bytes:
    """JSON that `read_transcript` gives back as the equal transcript."""
    return json.dumps(asdict(transcript), ensure_ascii=False, separators=(",", ":")).encode()


def read_transcript(value: bytes) -> Transcript | None:
    """None for what was written by something else, such as another version of Harken: then nothing was cached."""
    try:
        data = json.loads(value)
        segments = tuple(_segment(item) for item in data.pop("segments"))
        return Transcript(segments=segments, **data)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _segment(data: dict[str, Any]) -> Segment:
    words = tuple(Word(**word) for word in data.pop("words"))
    return Segment(words=words, **data)
