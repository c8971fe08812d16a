"""The audit: what was asked comes back, nothing a stranger sends breaks it."""

import pytest
from tests.storage.conftest import Clock

from harken.core import InputError
from harken.storage.audit import AuditLog, RequestRow, RouteSummary
from harken.storage.database import Database


@pytest.fixture
def audit(database: Database, clock: Clock) -> AuditLog:
    return AuditLog(database, clock)


def row(number: int, **given: object) -> RequestRow:
    values = {"request_id": f"r{number}", "principal": "ann", "route": "/transcribe", "status": 200, **given}
    return RequestRow(**values)  # type: ignore[arg-type]


def test_a_row_comes_back_as_it_was(audit: AuditLog, clock: Clock) -> None:
    full = row(1, model="digits", audio_s=2.5, duration_s=0.25, text="o‘n ikki", details={"language": "uz"}, at_s=123.5)
    audit.add([full])
    audit.add([row(2)])
    audit.add([])
    assert audit.recent(10) == [row(2, at_s=clock.now_s), full]


def test_the_newest_come_first_and_can_be_chosen(audit: AuditLog, clock: Clock) -> None:
    audit.add([row(number, principal="ann" if number % 2 else "bob", at_s=100.0 + number) for number in range(6)])
    assert [found.request_id for found in audit.recent(3)] == ["r5", "r4", "r3"]
    assert [found.request_id for found in audit.recent(10, principal="ann")] == ["r5", "r3", "r1"]
    assert [found.request_id for found in audit.recent(10, since_s=104.0)] == ["r5", "r4"]
    for limit in (0, 1001):
        with pytest.raises(InputError, match="1 to 1000"):
            audit.recent(limit)


def test_a_summary_adds_up_by_route_and_model(audit: AuditLog) -> None:
    audit.add(
        [
            row(1, model="a", audio_s=2.0, duration_s=0.5, at_s=10.0),
            row(2, model="a", audio_s=3.0, duration_s=0.25, at_s=11.0),
            row(3, model="a", status=503, duration_s=0.25, at_s=12.0),
            row(4, model="b", audio_s=1.0, at_s=12.0),
            row(5, route="/health", at_s=12.0),
            row(6, model="a", audio_s=100.0, at_s=9.0),
        ]
    )
    assert audit.summary(10.0) == [
        RouteSummary(route="/health", model=None, requests=1, errors=0, audio_s=0.0, duration_s=0.0),
        RouteSummary(route="/transcribe", model="a", requests=3, errors=1, audio_s=5.0, duration_s=1.0),
        RouteSummary(route="/transcribe", model="b", requests=1, errors=0, audio_s=1.0, duration_s=0.0),
    ]


def test_odd_names_are_cut_and_cleaned_rather_than_lost(audit: AuditLog) -> None:
    audit.add(
        [
            row(
                1,
                principal="a\x00b" + "x" * 500,
                model="\ud800",
                route="/" + "r" * 500,
                text="nul \x00 here",
                details={f"k{n}\x00": "v\x00" * 300 for n in range(50)},
            )
        ]
    )
    [found] = audit.recent(1)
    assert found.principal == "a\N{REPLACEMENT CHARACTER}b" + "x" * 197
    assert found.model == "\N{REPLACEMENT CHARACTER}"
    assert len(found.route) == 200
    assert found.text == "nul \N{REPLACEMENT CHARACTER} here"
    assert len(found.details) == 20
    assert found.details["k0\N{REPLACEMENT CHARACTER}"] == "v\N{REPLACEMENT CHARACTER}" * 100


def test_old_rows_are_forgotten(audit: AuditLog, clock: Clock) -> None:
    audit.add([row(1)])
    clock.now_s += 100
    audit.add([row(2)])
    assert audit.delete_older(50) == 1
    assert [found.request_id for found in audit.recent(10)] == ["r2"]
