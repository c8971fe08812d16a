"""Who asks: what authentication finds out about a caller, and what limits, logs and routes know of them."""

from dataclasses import dataclass
from typing import Literal

SCOPES = ("transcribe", "stream", "batch", "metrics", "admin")


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """A caller. `id` is unique and stable: limits and audit rows go by it. None in a limit means the server's own.

    `until_s` is the Unix time at which a token ends; a key's end is asked of the keys, as it may be revoked before.
    """

    id: str
    name: str
    kind: Literal["key", "jwt", "anonymous"]
    scopes: frozenset[str]
    rate: str | None = None
    audio_s_per_day: int | None = None
    streams: int | None = None
    until_s: float | None = None


def check_scopes(scopes: tuple[str, ...], *, what: str) -> None:
    """Raise ValueError for a scope that does not exist."""
    unknown = [scope for scope in scopes if scope not in SCOPES]
    if unknown:
        raise ValueError(f"{what} is {list(scopes)}; use some of {', '.join(SCOPES)}")
