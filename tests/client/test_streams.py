"""Live streams, the same for both clients, against a real server."""

import asyncio
import json
import threading
import time
from typing import Any

import pytest
from tests.client.both import Both
from tests.client.contract_server import KEY, Contract, error

from harken.client.async_client import AsyncHarkenClient
from harken.client.errors import (
    AccessRefused,
    ConnectionLost,
    RequestRefused,
    ServerBusy,
    ServerFailed,
    ServerUnreachable,
)
from harken.client.events import FLUSH, Committed, Endpoint, Final, Hypothesis
from harken.client.sync_client import HarkenClient

RATE_HZ = 16_000
HALF_S = bytes(RATE_HZ)  # of 16-bit samples


def stream(both: Both, contract: Contract, pieces: list[Any], *, pause_s: float = 0.0, **options: Any) -> Any:
    client_options = {name: options.pop(name) for name in ("api_key", "timeout_s", "retries") if name in options}
    return both.call(
        contract.url,
        lambda client: client.stream(both.audio(pieces, pause_s), sample_rate_hz=RATE_HZ, **options),
        **client_options,
    )


def test_events_are_typed_and_end_with_the_whole_text(both: Both, contract: Contract) -> None:
    events = stream(both, contract, [HALF_S, HALF_S, FLUSH, HALF_S * 4], model="other", language="hi")
    assert [type(event) for event in events] == [
        Hypothesis, Committed, Endpoint, Hypothesis, Committed, Hypothesis, Committed, Endpoint, Final
    ]  # fmt: skip
    assert events[0] == Hypothesis(text="word1", at_s=0.5)
    assert events[1].words[0].end_s == 0.9
    assert [event.rule for event in events if isinstance(event, Endpoint)] == ["flush", "pause"]
    assert events[-1] == Final(text="word1 word2 word3", duration_s=3.0)
    start, flush, finish = contract.messages
    assert (start["model"], start["language"], start["sample_rate"]) == ("other", "hi", RATE_HZ)
    assert (flush, finish) == ({"type": "flush"}, {"type": "finish"})


def test_a_stream_without_audio(both: Both, contract: Contract) -> None:
    assert stream(both, contract, []) == [Final(text="", duration_s=0.0)]


def test_silence_of_the_source_is_bridged_by_keep_alives(both: Both, contract: Contract) -> None:
    events = stream(both, contract, [HALF_S, HALF_S], pause_s=0.55, keepalive_s=0.2)
    assert events[-1] == Final(text="word1", duration_s=1.0)
    kept = [message for message in contract.messages if message["type"] == "keepalive"]
    assert 3 <= len(kept) <= 6


def test_a_stream_of_steady_audio_needs_no_keep_alives(both: Both, contract: Contract) -> None:
    stream(both, contract, [bytes(3200)] * 10, pause_s=0.05, keepalive_s=0.3)
    assert [message["type"] for message in contract.messages] == ["start", "finish"]


def test_recorded_audio_can_be_sent_no_faster_than_it_was_spoken(both: Both, contract: Contract) -> None:
    began_s = time.monotonic()
    events = stream(both, contract, [bytes(3200)] * 12, realtime=True)  # a tenth of a second each
    assert 1.0 < time.monotonic() - began_s < 2.5
    assert events[-1].duration_s == pytest.approx(1.2)


def test_what_the_audio_raises_reaches_the_caller(both: Both, contract: Contract) -> None:
    with pytest.raises(ZeroDivisionError, match="of the caller"):
        stream(both, contract, [HALF_S, ZeroDivisionError("of the caller")])


@pytest.mark.parametrize(
    ("code", "kind"), [(1008, ServerBusy), (1009, RequestRefused), (1011, ServerFailed), (1012, ServerBusy),
                       (1000, ConnectionLost)]
)  # fmt: skip
def test_a_server_that_ends_the_stream_says_why(both: Both, contract: Contract, code: int, kind: type) -> None:
    contract.close_after_s = (0.5, code)
    with pytest.raises(kind) as caught:
        stream(both, contract, [HALF_S] * 4, pause_s=0.05)
    assert caught.value.close_code == code


def test_a_handshake_that_is_refused_is_typed_and_the_key_helps(both: Both, contract: Contract) -> None:
    contract.key = KEY
    with pytest.raises(AccessRefused, match="There is no valid key") as caught:
        stream(both, contract, [HALF_S])
    assert caught.value.status == 401
    assert stream(both, contract, [HALF_S], api_key=KEY)[-1].duration_s == 0.5


def test_a_busy_server_is_asked_again_before_any_audio_is_used(both: Both, contract: Contract) -> None:
    refusal = error(503, "queue_full", "Too many streams.")
    body = json.loads(bytes(refusal.body))
    contract.refusals = [(503, {"Retry-After": "4"}, body)]
    assert stream(both, contract, [HALF_S])[-1].duration_s == 0.5
    assert both.slept_s == [4.0]
    contract.refusals = [(503, {"Retry-After": "4"}, body)]
    with pytest.raises(ServerBusy, match="Too many streams"):
        stream(both, contract, [HALF_S], retries=0)


def test_a_start_that_is_refused_is_in_the_servers_words(both: Both, contract: Contract) -> None:
    with pytest.raises(RequestRefused, match=r"No model is called 'absent'\. Use tiny") as caught:
        stream(both, contract, [HALF_S], model="absent")
    assert caught.value.code == "unknown_model"


def test_a_server_that_does_not_answer_the_start(both: Both, contract: Contract) -> None:
    contract.silent = True
    with pytest.raises(ConnectionLost, match=r"did not answer within 0\.3 s"):
        stream(both, contract, [HALF_S], timeout_s=0.3)


def test_nobody_at_the_address(both: Both) -> None:
    with pytest.raises(ServerUnreachable, match=r"No stream could be opened at ws://127\.0\.0\.1:9/ws"):
        both.call("http://127.0.0.1:9", lambda client: client.stream(both.audio([]), sample_rate_hz=RATE_HZ), retries=0)


def test_options_out_of_range(both: Both, contract: Contract) -> None:
    with pytest.raises(ValueError, match="channels is 0; use 1 or more"):
        stream(both, contract, [], channels=0)
    assert contract.messages == []


# What is particular to each


def test_a_caller_who_leaves_early_leaves_nothing_behind(contract: Contract) -> None:
    threads = set(threading.enumerate())

    def endless() -> Any:
        while True:
            yield bytes(3200)
            time.sleep(0.01)

    with HarkenClient(contract.url) as client:
        for event in client.stream(endless(), sample_rate_hz=RATE_HZ):
            assert isinstance(event, Hypothesis)
            break
        deadline = time.monotonic() + 5
        while set(threading.enumerate()) - threads and time.monotonic() < deadline:
            time.sleep(0.01)
    assert set(threading.enumerate()) - threads == set()
    while {"gone": 1000} not in contract.messages and time.monotonic() < deadline:
        time.sleep(0.01)
    assert {"gone": 1000} in contract.messages


def test_a_task_that_is_cancelled_leaves_nothing_behind(contract: Contract) -> None:
    async def endless() -> Any:
        while True:
            yield bytes(3200)
            await asyncio.sleep(0.01)

    async def listen(client: AsyncHarkenClient) -> None:
        async for _ in client.stream(endless(), sample_rate_hz=RATE_HZ):
            pass

    async def main() -> int:
        async with AsyncHarkenClient(contract.url) as client:
            task = asyncio.create_task(listen(client))
            await asyncio.sleep(0.3)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.sleep(0.1)
            return len(asyncio.all_tasks())

    assert asyncio.run(main()) == 1
    assert {"gone": 1000} in contract.messages


def test_a_session_is_sent_to_and_heard_by_hand(contract: Contract) -> None:
    with HarkenClient(contract.url) as client, client.open_stream(sample_rate_hz=RATE_HZ) as session:
        assert (session.model, session.id) == ("tiny", "s-1")
        session.send(HALF_S)
        events = iter(session)
        assert next(events) == Hypothesis(text="word1", at_s=0.5)
        session.flush()
        assert next(events) == Endpoint(rule="flush", silence_s=0.5, at_s=0.5)
        session.finish()
        assert list(events) == [Final(text="", duration_s=0.5)]
        with pytest.raises(ConnectionLost):
            session.send(HALF_S)


def test_many_streams_share_a_client(contract: Contract) -> None:
    async def one(client: AsyncHarkenClient) -> Any:
        async def audio() -> Any:
            for _ in range(4):
                yield HALF_S

        return [event async for event in client.stream(audio(), sample_rate_hz=RATE_HZ)][-1]

    async def main() -> list[Any]:
        async with AsyncHarkenClient(contract.url) as client:
            return list(await asyncio.gather(*(one(client) for _ in range(20))))

    assert asyncio.run(main()) == [Final(text="word1 word2", duration_s=2.0)] * 20
