"""What is tried again, and after how long."""

import pytest

from harken.client.errors import (
    AccessRefused,
    ConnectionLost,
    RequestRefused,
    ServerBusy,
    ServerError,
    ServerFailed,
    ServerIncomplete,
    ServerUnreachable,
)
from harken.client.retries import retry_wait_s


@pytest.mark.parametrize(
    "error",
    [RequestRefused("x"), AccessRefused("x"), ServerFailed("x"), ServerIncomplete("x"), ConnectionLost("x")],
    ids=lambda error: type(error).__name__,
)
def test_what_would_not_help_is_not_tried_again(error: ServerError) -> None:
    assert retry_wait_s(error, attempt=0, retries=9) is None


def test_the_servers_word_is_kept_to_up_to_half_a_minute() -> None:
    assert retry_wait_s(ServerBusy("x", retry_after_s=7.0), attempt=0, retries=2) == 7.0
    assert retry_wait_s(ServerBusy("x", retry_after_s=30.0), attempt=1, retries=2) == 30.0
    assert retry_wait_s(ServerBusy("x", retry_after_s=3600.0), attempt=0, retries=2) is None


def test_waits_double_with_jitter_until_the_tries_are_used_up() -> None:
    for attempt, longest_s in ((0, 0.5), (1, 1.0), (4, 8.0), (12, 30.0)):
        waits = {retry_wait_s(ServerUnreachable("x"), attempt=attempt, retries=20) for _ in range(50)}
        assert all(wait is not None and longest_s / 2 <= wait <= longest_s for wait in waits)
        assert len(waits) > 1
    assert retry_wait_s(ServerUnreachable("x"), attempt=2, retries=2) is None
    assert retry_wait_s(ServerBusy("x"), attempt=0, retries=0) is None


def test_a_lost_connection_is_tried_again_only_where_that_is_harmless() -> None:
    assert retry_wait_s(ConnectionLost("x"), attempt=0, retries=1, harmless_twice=True) is not None
    assert retry_wait_s(ConnectionLost("x"), attempt=0, retries=1) is None
