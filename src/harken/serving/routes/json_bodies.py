"""Small bodies of JSON, read by the route itself: only then is it known that the caller may send one."""

import json
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request

from harken.http.errors import BodyTooLarge
from harken.serving.routes.fields import BadParameter, MissingParameter, UnknownParameter, quoted

MOST_BYTES = 64 * 1024


async def read_text_fields(request: Request, names: tuple[str, ...], *, longest: int) -> Mapping[str, str]:
    """The object of a body whose members are exactly `names`, each a text of 1 to `longest` characters.

    Raises BadParameter, MissingParameter or UnknownParameter; BodyTooLarge.
    """
    found = _parsed(await _body(request))
    for name in found:
        if name not in names:
            raise UnknownParameter(name, names)
    for name in names:
        _check(name, found.get(name), longest)
    return found


async def _body(request: Request) -> bytes:
    content = bytearray()
    async for piece in request.stream():
        content += piece
        if len(content) > MOST_BYTES:
            raise BodyTooLarge(f"The body has more than {MOST_BYTES} bytes.", hint="Send a small JSON object.")
    return bytes(content)


def _parsed(content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as err:
        raise BadParameter("body", "The body is not JSON.", hint="Send a JSON object.") from err
    if not isinstance(found, dict):
        raise BadParameter("body", "The body is no JSON object.", hint="Send a JSON object.")
    return found


def _check(name: str, value: object, longest: int) -> None:
    if value is None:
        raise MissingParameter(name, hint=f"Send {name} in a JSON object.")
    if not isinstance(value, str) or not 1 <= len(value) <= longest or "\0" in value:
        raise BadParameter(name, f"{name} is {quoted(str(value))}.", hint=f"Use a text of 1 to {longest} characters.")
    try:
        value.encode()
    except UnicodeEncodeError as err:  # half of a surrogate pair
        raise BadParameter(name, f"{name} holds what is not text.", hint="Send UTF-8.") from err
