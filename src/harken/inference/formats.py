"""Transcripts as text, JSON, subtitles and tables."""

import json
from dataclasses import asdict
from html import escape

from harken.core import InputError, Segment, Transcript, Word

FORMATS = ("txt", "json", "srt", "vtt", "tsv")
CUE_WORDS = 12
CUE_S = 6.0


def render(transcript: Transcript, style: str) -> str:
    """A transcript in one of `FORMATS`. Times are in seconds (tsv, json) or cue notation.

    Ends in a newline, except for srt without a word, which is empty. Raises InputError for another format.
    """
    if style not in FORMATS:
        raise InputError(f"{style!r} is not a transcript format.", hint=f"Use one of {', '.join(FORMATS)}.")
    if style == "txt":
        return transcript.text + "\n"
    if style == "json":
        return json.dumps(transcript_json(transcript), ensure_ascii=False) + "\n"
    cues = [cue for segment in transcript.segments for cue in _cues(segment)]
    if style == "tsv":
        rows = [f"{cue.start_s:.3f}\t{cue.end_s:.3f}\t{' '.join(cue.text.split())}" for cue in cues]
        return "\n".join(["start_s\tend_s\ttext", *rows]) + "\n"
    shown = [(cue, line) for cue in cues if (line := " ".join(cue.text.split()))]  # an empty line would end a cue
    if style == "srt":
        # SubRip has no escapes, and readers that look for its arrow anywhere would take such a line for a time.
        blocks = [_block(number, cue, ",", line.replace("-->", "-- >")) for number, (cue, line) in enumerate(shown, 1)]
        return "\n".join(blocks)
    # WebVTT cues hold markup, section 4.2.2 of the W3C's text; names such as AT&T would be read as such. Its arrow,
    # which no cue may hold, goes with that.
    blocks = [_block(number, cue, ".", escape(line, quote=False)) for number, (cue, line) in enumerate(shown, 1)]
    return "\n".join(["WEBVTT\n", *blocks])


def transcript_json(transcript: Transcript) -> dict[str, object]:
    """A transcript as plain data, words included."""
    return asdict(transcript)


def _cues(segment: Segment) -> list[Segment]:
    """A segment cut into pieces of at most `CUE_WORDS` words and `CUE_S` seconds. One word is never cut, nor is a
    segment without words.
    """
    pieces: list[list[Word]] = []
    for word in segment.words:
        if pieces and len(pieces[-1]) < CUE_WORDS and word.end_s - pieces[-1][0].start_s <= CUE_S:
            pieces[-1].append(word)
        else:
            pieces.append([word])
    return [_cue(piece) for piece in pieces] or [segment]


def _cue(words: list[Word]) -> Segment:
    text = " ".join(word.text for word in words)
    return Segment(text=text, start_s=words[0].start_s, end_s=words[-1].end_s, words=tuple(words))


def _block(number: int, cue: Segment, mark: str, text: str) -> str:
    start_ms = round(cue.start_s * 1000)
    end_ms = max(round(cue.end_s * 1000), start_ms + 1)  # WebVTT, section 4.1: a cue ends after it starts
    return f"{number}\n{_clock(start_ms, mark)} --> {_clock(end_ms, mark)}\n{text}\n"


def _clock(milliseconds: int, mark: str) -> str:
    hours, rest = divmod(milliseconds, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    whole, rest = divmod(rest, 1000)
    return f"{hours:02d}:{minutes:02d}:{whole:02d}{mark}{rest:03d}"
