"""Which declared route a request is for, as a label: a fixed set of words, whatever clients send."""

import re

from fastapi.routing import iter_route_contexts
from starlette.routing import Mount
from starlette.types import Scope

UNMATCHED = "unmatched"


class RouteTemplates:
    """Templates such as `/jobs/{id}`; `/static/*` for all of a mount. They are read at the first request.

    They are matched here, not taken from the scope, so that a request which is refused before routing has one too.
    """

    def __init__(self) -> None:
        self._known: list[tuple[re.Pattern[str], str]] | None = None

    def of(self, scope: Scope) -> str:
        if self._known is None:
            self._known = _templates(scope)
        path: str = scope["path"]
        root: str = scope.get("root_path", "")
        if root and path.startswith(root + "/"):
            path = path[len(root) :]
        return next((template for pattern, template in self._known if pattern.match(path)), UNMATCHED)


def _templates(scope: Scope) -> list[tuple[re.Pattern[str], str]]:
    known = []
    for route in iter_route_contexts(scope["app"].routes):
        pattern = getattr(route, "path_regex", None)
        if pattern is None or route.path is None:
            continue
        mounted = isinstance(route.original_route, Mount)
        known.append((pattern, f"{route.path}/*" if mounted else route.path))
    return known
