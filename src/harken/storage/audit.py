"""The audit: one row for every request, kept apart from the logs."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import case, delete, func, insert, select

from harken.core import InputError
from harken.storage.database import Database
from harken.storage.tables import requests
from harken.storage.values import storable

MAX_PAGE = 1000  # rows in one answer
MAX_TEXT = 1_000_000  # letters of a transcript: about a day of speech
_MAX_NAME = 200
_MAX_DETAILS = 20  # entries
_FIRST_ERROR = 400  # statuses from here on are errors


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRow:
    """What one request was. `at_s` is the Unix time of its end; None is the time at which the row is added.

    Names that are longer than the table takes are cut, and letters that no database stores are replaced: a request
    must not escape the audit by an odd name.
    """

    request_id: str
    principal: str
    route: str
    status: int
    model: str | None = None
    audio_s: float | None = None
    duration_s: float = 0.0
    text: str | None = None
    details: Mapping[str, str] = field(default_factory=dict)
    at_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteSummary:
    """What was asked of one route and model. `errors` counts statuses of 400 and above."""

    route: str
    model: str | None
    requests: int
    errors: int
    audio_s: float
    duration_s: float


class AuditLog:
    """The audit in the database. Everything blocks: an event loop calls it through `calls`, many rows at a time."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        self.calls = database.calls

    def add(self, rows: Sequence[RequestRow]) -> None:
        """Write rows, all or none. Raises MissingPart while the database cannot be used."""
        if not rows:
            return
        now_s = self._clock()
        with self._database.write() as connection:
            connection.execute(insert(requests), [_values(row, now_s) for row in rows])

    def recent(self, limit: int, principal: str | None = None, since_s: float | None = None) -> list[RequestRow]:
        """The newest rows first, at most `limit` (1 to MAX_PAGE), of one principal, from a Unix time on."""
        if not 1 <= limit <= MAX_PAGE:
            raise InputError(f"limit is {limit}; use 1 to {MAX_PAGE}.")
        rows = select(*(column for column in requests.c if column.name != "id"))
        if principal is not None:
            rows = rows.where(requests.c.principal == principal)
        if since_s is not None:
            rows = rows.where(requests.c.at_s >= since_s)
        rows = rows.order_by(requests.c.at_s.desc(), requests.c.id.desc()).limit(limit)
        with self._database.read() as connection:
            return [RequestRow(**row) for row in connection.execute(rows).mappings()]

    def summary(self, since_s: float) -> list[RouteSummary]:
        """Requests, errors and audio by route and model, from a Unix time on, sorted by both."""
        columns = requests.c
        groups = (
            select(
                columns.route,
                columns.model,
                func.count().label("requests"),
                func.sum(case((columns.status >= _FIRST_ERROR, 1), else_=0)).label("errors"),
                func.coalesce(func.sum(columns.audio_s), 0.0).label("audio_s"),
                func.sum(columns.duration_s).label("duration_s"),
            )
            .where(columns.at_s >= since_s)
            .group_by(columns.route, columns.model)
        )
        with self._database.read() as connection:
            found = [RouteSummary(**row) for row in connection.execute(groups).mappings()]
        return sorted(found, key=lambda group: (group.route, group.model or ""))  # databases sort letters differently

    def delete_older(self, seconds: float) -> int:
        """Forget requests that ended more than `seconds` ago; returns how many."""
        with self._database.write() as connection:
            return connection.execute(delete(requests).where(requests.c.at_s < self._clock() - seconds)).rowcount


def _values(row: RequestRow, now_s: float) -> dict[str, object]:
    details = list(row.details.items())[:_MAX_DETAILS]
    return {
        "at_s": now_s if row.at_s is None else row.at_s,
        "request_id": storable(row.request_id, _MAX_NAME),
        "principal": storable(row.principal, _MAX_NAME),
        "route": storable(row.route, _MAX_NAME),
        "status": row.status,
        "model": None if row.model is None else storable(row.model, _MAX_NAME),
        "audio_s": row.audio_s,
        "duration_s": row.duration_s,
        "text": None if row.text is None else storable(row.text, MAX_TEXT),
        "details": {storable(name, _MAX_NAME): storable(value, _MAX_NAME) for name, value in details},
    }
