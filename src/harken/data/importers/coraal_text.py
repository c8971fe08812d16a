"""What CORAAL's transcripts mark, and what is left of a line as text."""

import re

_PAUSE = re.compile(r"\(\s*pause\b[^)]*\)", re.IGNORECASE)
_LOST = re.compile(r"/\s*(?:unintelligible|inaudible|\?+|rd-[^/]*)\s*/|/\s*/", re.IGNORECASE)
_SOUND = re.compile(r"<[^<>]*>|\{[^{}]*\}|\([^()]*\)")
_MARKS = re.compile(r"[\[\]<>{}()/]")
_SPACE_BEFORE = re.compile(r"\s+(?=[,.?!;:])")


def is_pause(content: str) -> bool:
    """Whether a line is nothing but "(pause 0.53)"."""
    return _PAUSE.search(content) is not None and not _PAUSE.sub("", content).strip()


def clean_line(content: str) -> tuple[str, str]:
    """(text, why it cannot be used or "").

    Words that are spoken but not written make a line unusable, since the audio would have more words than the text:
    `/unintelligible/`, `/inaudible/`, `/?/`, and names that were taken out (`/RD-NAME-2/`, replaced by a tone). Gone
    are `<laugh>`, `{...}`, `(pause 0.53)` and other round brackets. Kept, without their marks, are `[overlapping
    speech]` and `/words the transcriber was not sure of/`. Cut-off words keep their hyphen (`th-`).
    """
    if _LOST.search(content):
        return "", "some of its words were not understood or were taken out"
    text = _SPACE_BEFORE.sub("", " ".join(_MARKS.sub(" ", _SOUND.sub(" ", content)).split()))
    return (text, "") if any(letter.isalnum() for letter in text) else ("", "it has no words")
