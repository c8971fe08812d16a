"""Kept audio of requests: the uploaded bytes, and beside them what is known of the request, until a time comes."""

import hashlib
import json
import re
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from harken.core import InputError
from harken.core.files import sha256_file
from harken.storage.objects import ObjectStore

_ROOT = "requests"
ID_PATTERN = "[A-Za-z0-9._-]{1,64}"
NAME_PATTERN = "[0-9a-f]{16}"
_KEY = re.compile(
    rf"{_ROOT}/[0-9a-f]{{3}}/(?P<id>{ID_PATTERN})\.(?P<expires>\d{{1,12}})\.(?P<name>{NAME_PATTERN})\.(?P<kind>audio|json)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFacts:
    """What is known of a request whose audio is kept. `at_s` is the Unix time of its end; `text` is there only where
    texts may be kept.
    """

    request_id: str
    principal: str
    route: str
    model: str
    duration_s: float  # of the audio
    at_s: float
    media_type: str = "application/octet-stream"
    text: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptAudio:
    """One file of a request. `name` tells it from others of that request; `expires_s` is Unix time."""

    name: str
    expires_s: int
    size_bytes: int
    sha256: str
    facts: RequestFacts


class RequestAudio:
    """Audio under `requests/...` of a store, apart from the files of jobs. Safe to use from many threads.

    The time at which a file expires is part of its key, so that whoever cleans the store, with whatever settings,
    keeps to what was promised when the file was taken. Ids of requests are chosen by clients: files of equal ids
    stand beside each other and none replaces another. Everything here blocks: an event loop calls it through `calls`.
    All raise MissingPart while the store cannot be used, InputError for an id that no request has.
    """

    def __init__(self, objects: ObjectStore, *, clock: Callable[[], float] = time.time) -> None:
        self._objects, self._clock = objects, clock
        self.calls = objects.calls

    def put(self, path: Path, facts: RequestFacts, *, keep_s: float) -> KeptAudio:
        """Keep the content of a file for `keep_s` after the end of its request."""
        folder = _folder(facts.request_id)
        kept = KeptAudio(
            name=secrets.token_hex(8),
            expires_s=int(facts.at_s + keep_s),
            size_bytes=path.stat().st_size,
            sha256=sha256_file(path),
            facts=facts,
        )
        stem = f"{folder}{facts.request_id}.{kept.expires_s}.{kept.name}"
        # First what tells of the audio: no file of sound is ever there that `find` does not show.
        self._objects.put_bytes(f"{stem}.json", json.dumps(asdict(kept), ensure_ascii=False).encode())
        self._objects.put_file(f"{stem}.audio", path)
        return kept

    def find(self, request_id: str) -> list[KeptAudio]:
        """What is kept of a request, the earliest first."""
        keys = {match[0]: match for match in self._of(request_id)}
        names = {match["name"]: key for key, match in keys.items() if match["kind"] == "json" and self._lasts(match)}
        there = {match["name"] for match in keys.values() if match["kind"] == "audio"}
        found = [_kept(b"".join(self._objects.pieces(key))) for name, key in names.items() if name in there]
        return sorted(found, key=lambda kept: (kept.facts.at_s, kept.name))

    def open_bytes(self, request_id: str, name: str) -> Iterator[bytes] | None:
        """The bytes of one file as they were uploaded, in pieces of about 1 MiB; None where there is no such file."""
        if not re.fullmatch(NAME_PATTERN, name):
            return None
        for match in self._of(request_id):
            if match["name"] == name and match["kind"] == "audio" and self._lasts(match):
                return self._objects.pieces(match[0])
        return None

    def delete(self, request_id: str) -> int:
        """Remove everything kept of a request; returns how many files of audio."""
        found = self._of(request_id)
        self._objects.delete(match[0] for match in found)
        self._delete_staged(lambda match: match["id"] == request_id)
        return sum(match["kind"] == "audio" for match in found)

    def delete_expired(self, keep_s: float | None = None) -> int:
        """Remove what has expired, and what was stored more than `keep_s` ago where that comes first; returns how many
        files of audio.
        """
        now_s, deleted = self._clock(), 0

        def old() -> Iterator[str]:
            nonlocal deleted
            for item in self._objects.listed(f"{_ROOT}/"):
                match = _KEY.fullmatch(item.key)
                too_long = keep_s is not None and item.modified.timestamp() < now_s - keep_s
                if match is not None and (too_long or not self._lasts(match)):
                    deleted += match["kind"] == "audio"
                    yield item.key

        self._objects.delete(old())
        self._delete_staged(lambda match: not self._lasts(match))
        return deleted

    def _of(self, request_id: str) -> list[re.Match[str]]:
        found = (_KEY.fullmatch(item.key) for item in self._objects.listed(_folder(request_id)))
        return [match for match in found if match is not None and match["id"] == request_id]

    def _lasts(self, match: re.Match[str]) -> bool:
        return self._clock() < int(match["expires"])

    def _delete_staged(self, chosen: Callable[[re.Match[str]], bool]) -> None:
        for path in self._objects.staged(_ROOT):
            match = _KEY.fullmatch(f"{_ROOT}/{path.parent.name}/{path.name.rpartition('#')[0]}")
            if match is not None and chosen(match):
                path.unlink(missing_ok=True)


def _folder(request_id: str) -> str:
    """Where the files of a request lie: among 4,096 folders, so that none becomes too long to be listed."""
    if not re.fullmatch(ID_PATTERN, request_id):
        raise InputError(f"{request_id[:100]!r} is not the id of a request.")
    return f"{_ROOT}/{hashlib.sha256(request_id.encode()).hexdigest()[:3]}/"


def _kept(content: bytes) -> KeptAudio:
    """As it was written; fields of later versions are passed over."""
    data = json.loads(content)
    facts = {item.name: data["facts"][item.name] for item in fields(RequestFacts) if item.name in data["facts"]}
    own = {item.name: data[item.name] for item in fields(KeptAudio) if item.name != "facts"}
    return KeptAudio(**own, facts=RequestFacts(**facts))
