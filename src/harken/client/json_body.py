"""A small body of JSON."""

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any


class JsonBody:
    """Sent as a form is, but whole, and as often as needed."""

    repeatable = True

    def __init__(self, data: Mapping[str, Any]) -> None:
        self._content = json.dumps(data).encode()

    @property
    def headers(self) -> dict[str, str]:
        return {"Content-Type": "application/json", "Content-Length": str(len(self._content))}

    def pieces(self) -> Iterator[bytes]:
        yield self._content

    async def apieces(self) -> AsyncIterator[bytes]:
        yield self._content

    def close(self) -> None:
        """There is nothing open."""
