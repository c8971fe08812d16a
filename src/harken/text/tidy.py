"""Making a decoded transcript pleasant to read; not for scoring, which has its own profiles."""

import re

_STOPS = ".,!?;:…।॥،؛؟"
_SPACE_BEFORE_STOP = re.compile(rf"\s+(?=[{_STOPS}]+(?:[\s\"'”’»\])]|$))(?!:['\])])")  # not before .5 or :)
_SENTENCE_START = re.compile(r"((?:^|[.!?…][\"'”’»)\]]*\s)[\"'“‘«(\[¿¡]*)(\w)")


def tidy_transcript(text: str, *, capitalize: bool = False) -> str:
    """One space between words, none before stops and commas, none at the ends.

    `capitalize` makes the first letter of every sentence upper case, where it has one of its own. A sentence begins
    at the start and after . ! ? … and a space; an abbreviation's stop cannot be told from a sentence's. French puts a
    space before ? and !; here it goes. Idempotent; never raises.
    """
    text = _SPACE_BEFORE_STOP.sub("", " ".join(text.split()))
    return _SENTENCE_START.sub(_raise_letter, text) if capitalize else text


def _raise_letter(match: re.Match[str]) -> str:
    upper = match[2].title()  # ǆ becomes ǅ, not Ǆ
    return match[1] + (upper if len(upper) == 1 else match[2])
