"""One line of a manifest: between bytes and `Utterance`, with every complaint about it; audio paths in manifests."""

import json
import math
import os
import re
import sys
from pathlib import Path
from typing import Any

from harken.core import Utterance

NEMO_NAMES = {"audio": "audio_filepath", "duration_s": "duration", "offset_s": "offset"}
KNOWN_KEYS = frozenset(
    ("id", "audio", "duration_s", "text", "offset_s", "speaker", "language", "recording", "tags", *NEMO_NAMES.values())
)
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://|tar:")
_NOTHING: dict[str, Any] = {}  # shared by utterances without tags or extra keys: 128 bytes less for each

Complaint = tuple[str, str]
"""(key, message) about one line; the key is "" where the line as a whole is wrong."""


def decode_line(raw: bytes, folder: str) -> tuple[Utterance | None, list[Complaint]]:
    """The utterance a line holds, its audio resolved against `folder` (absolute), or None and what is wrong."""
    record, complaint = _decode(raw)
    if complaint is not None:
        return None, [complaint]
    complaints: list[Complaint] = []
    return _utterance(record, folder, complaints), complaints


def encode_line(utterance: Utterance, folder: str) -> bytes:
    """The line of an utterance in a manifest in `folder` (absolute), with its line end.

    Raises TypeError or ValueError for what JSON lacks: NaN, half a surrogate pair, an object of some class; and for
    an extra key that has the name of a known one.
    """
    return (_encode_json(_record(utterance, folder)) + "\n").encode()


def is_url(audio: str) -> bool:
    """Whether `audio` is a URL (`scheme://…` or `tar:shard!name`) rather than a path."""
    return _URL.match(audio) is not None


def local_file(audio: str) -> Path | None:
    """The file on this machine that `audio` is in (the shard of a `tar:` URL), or None for a remote URL."""
    if audio.startswith("tar:"):
        shard = audio[4:].partition("!")[0]
        return None if is_url(shard) else Path(shard)
    return None if is_url(audio) else Path(audio)


def resolve_audio(audio: str, folder: str) -> str:
    """`audio` as written in a manifest in `folder` (absolute), made absolute; remote URLs stay as they are."""
    if audio.startswith("tar:"):
        shard, mark, name = audio[4:].partition("!")
        return f"tar:{resolve_audio(shard, folder)}{mark}{name}"
    if _URL.match(audio):
        return audio
    joined = os.path.join(folder, audio)  # noqa: PTH118 - a million of these are read; pathlib takes 10 us each
    return os.path.normpath(joined) if "." in audio[:2] or "/." in audio or "//" in audio else joined


def relative_audio(audio: str, folder: str) -> str:
    """What a manifest in `folder` (absolute) says for `audio`: relative, with `/`, when it lies inside the folder."""
    if audio.startswith("tar:"):
        shard, mark, name = audio[4:].partition("!")
        return f"tar:{relative_audio(shard, folder)}{mark}{name}"
    if _URL.match(audio):
        return audio
    absolute = os.path.abspath(audio)  # noqa: PTH100 - as above
    inside = folder if folder.endswith(os.sep) else folder + os.sep
    return absolute[len(inside) :].replace(os.sep, "/") if absolute.startswith(inside) else absolute


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


_encode_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
_decode_json = json.JSONDecoder(parse_constant=_refuse_constant).decode


def _decode(raw: bytes) -> tuple[dict[str, Any], Complaint | None]:
    try:
        text = raw.decode()
        record = _decode_json(text)
    except UnicodeDecodeError as err:
        return {}, ("", f"byte {err.start + 1} is not UTF-8 text; save the file as UTF-8")
    except json.JSONDecodeError as err:
        return {}, ("", f"not JSON: {err.msg[0].lower()}{err.msg[1:]} at column {err.colno}")
    except RecursionError:
        return {}, ("", "not a manifest line: nested too deeply")
    except ValueError as err:  # NaN, Infinity, a number with thousands of digits
        return {}, ("", f"not JSON: {err}")
    if not isinstance(record, dict):
        return {}, ("", f"holds {_json_kind(record)}; write one JSON object per line")
    if "\\u" in text:  # the only way to smuggle half a surrogate pair past the UTF-8 decoder
        for key, value in record.items():
            try:
                json.dumps([key, value], ensure_ascii=False).encode()
            except UnicodeEncodeError:
                return {}, (key.encode(errors="replace").decode(), "holds half of a surrogate pair, which is not text")
    return record, None


def _utterance(record: dict[str, Any], folder: str, complaints: list[Complaint]) -> Utterance | None:
    """The utterance of a decoded line, or None after adding every complaint about it."""
    audio = _audio(record, complaints)
    identifier = _identifier(record, audio, complaints)
    duration_s = _seconds(record, "duration_s", complaints)
    offset_s = _seconds(record, "offset_s", complaints)
    text = _text(record, "text", complaints)
    speaker, language, recording = (
        _text(record, key, complaints) if key in record else None for key in ("speaker", "language", "recording")
    )
    tags = _tags(record["tags"], complaints) if "tags" in record else _NOTHING
    if complaints:
        return None
    plain = KNOWN_KEYS.issuperset(record)
    return Utterance(
        id=identifier,
        audio=resolve_audio(audio, folder),
        duration_s=duration_s,
        text=text,
        offset_s=offset_s,
        speaker=sys.intern(speaker) if speaker else None,
        language=sys.intern(language) if language else None,
        recording=recording or None,
        tags=tags,
        extra=_NOTHING if plain else {key: value for key, value in record.items() if key not in KNOWN_KEYS},
    )


def _audio(record: dict[str, Any], complaints: list[Complaint]) -> str:
    key = _present_name(record, "audio", complaints)
    value = record.get(key)
    if value is None:
        complaints.append(("audio", "is missing; give a path or a URL"))
    elif not isinstance(value, str):
        complaints.append((key, f"is {_shown(value)}; use a path or a URL as text"))
    elif not value or "\0" in value:
        complaints.append((key, f"is {value!r}; use a path or a URL"))
    else:
        return value
    return ""


def _identifier(record: dict[str, Any], audio: str, complaints: list[Complaint]) -> str:
    value = record.get("id")
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, str) and value:
        return value
    if value is not None:
        complaints.append(("id", f"is {_shown(value)}; use a text that is not empty"))
    elif "audio_filepath" not in record:
        complaints.append(("id", "is missing; every utterance needs a name of its own"))
    else:
        offset = record.get("offset") or record.get("offset_s")
        at = f"@{offset:.3f}" if isinstance(offset, int | float) else ""
        return os.path.splitext(audio)[0].lstrip("/") + at  # noqa: PTH122 - as in resolve_audio
    return ""


def _seconds(record: dict[str, Any], key: str, complaints: list[Complaint]) -> float:
    name = _present_name(record, key, complaints)
    value = record.get(name)
    offset = key == "offset_s"
    if value is None:
        if not offset:
            complaints.append((key, "is missing; give the length of the audio in seconds"))
        return 0.0
    allowed = "seconds from the start of the file, 0 or more" if offset else "seconds, a number above 0"
    if not isinstance(value, int | float) or isinstance(value, bool):
        complaints.append((name, f"is {_shown(value)}; use {allowed}"))
        return 0.0
    try:
        seconds = float(value)
    except OverflowError:  # a whole number beyond any float
        seconds = math.inf
    if not (math.isfinite(seconds) and (seconds > 0 or (offset and seconds == 0))):
        complaints.append((name, f"is {_shown(value)}; use {allowed}"))
    return seconds


def _text(record: dict[str, Any], key: str, complaints: list[Complaint]) -> str | None:
    value = record.get(key)
    if value is None or isinstance(value, str):
        return value
    if key == "speaker" and isinstance(value, int) and not isinstance(value, bool):  # NeMo numbers its speakers
        return str(value)
    complaints.append((key, f"is {_shown(value)}; use text, or leave the key out"))
    return None


def _tags(value: Any, complaints: list[Complaint]) -> dict[str, str]:
    if not value and (value is None or isinstance(value, dict)):
        return _NOTHING
    if not isinstance(value, dict):
        complaints.append(("tags", f"is {_shown(value)}; use an object whose values are text"))
        return _NOTHING
    complaints.extend(
        (f"tags.{name}", f"is {_shown(content)}; use text")
        for name, content in value.items()
        if not isinstance(content, str)
    )
    return value


def _present_name(record: dict[str, Any], key: str, complaints: list[Complaint]) -> str:
    """The name under which a line gives `key`: ours or NeMo's; both at once is a complaint."""
    other = NEMO_NAMES[key]
    if other not in record:
        return key
    if key in record:
        complaints.append((key, f"is given twice, as {key!r} and as {other!r}; keep one"))
    return other


def _record(utterance: Utterance, folder: str) -> dict[str, Any]:
    record: dict[str, Any] = {
        "id": utterance.id,
        "audio": relative_audio(utterance.audio, folder),
        "duration_s": float(utterance.duration_s),
    }
    if utterance.text is not None:
        record["text"] = utterance.text
    if utterance.offset_s:
        record["offset_s"] = float(utterance.offset_s)
    for key in ("speaker", "language", "recording"):
        value = getattr(utterance, key)
        if value is not None:
            record[key] = value
    if utterance.tags:
        record["tags"] = {name: utterance.tags[name] for name in sorted(utterance.tags)}
    for key in sorted(utterance.extra):
        if key in KNOWN_KEYS:
            raise ValueError(f"extra key {key!r} has the name of a manifest key")
        record[key] = utterance.extra[key]
    return record


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."


def _json_kind(value: Any) -> str:
    kinds: dict[type, str] = {list: "an array", str: "a text", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")
