"""Audio of requests is stored beside the work: within bounds, later when the store is away, and never for ever."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from harken.core import MissingPart
from harken.serving import retention
from harken.serving.background import background
from harken.serving.metrics import ServerMetrics
from harken.serving.retention import AudioKeeper, RetentionSettings
from harken.storage.objects import ObjectStore
from harken.storage.request_audio import KeptAudio, RequestAudio, RequestFacts

FACTS = RequestFacts(
    request_id="r", principal="key:ann", route="/transcribe", model="digits", duration_s=1.0, at_s=4e9, text="one two"
)


class Store(RequestAudio):
    """Fails with `error`, and waits while its gate is shut."""

    def __init__(self, folder: Path) -> None:
        super().__init__(ObjectStore.open(folder.as_uri()))
        self.error: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.begun: list[str] = []

    def put(self, path: Path, facts: RequestFacts, *, keep_s: float) -> KeptAudio:
        self.begun.append(facts.request_id)
        assert self.gate.wait(10)
        if self.error is not None:
            raise self.error
        return super().put(path, facts, keep_s=keep_s)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    (tmp_path / "spool").mkdir()
    return tmp_path / "spool"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "RETRY_S", 0.02)
    monkeypatch.setattr(retention, "LAST_S", 0.5)
    monkeypatch.setattr(retention, "FORGET_S", 0.2)


class Bench:
    def __init__(self, store: Store, spool: Path, *, with_text: bool = False, **settings: Any) -> None:
        self.spool, self.metrics = spool, ServerMetrics()
        self.keeper = AudioKeeper(
            store, RetentionSettings(keep_s=60, **settings), spool=spool, metrics=self.metrics, with_text=with_text
        )

    def upload(self, content: bytes = b"audio") -> Path:
        path = self.spool / "upload"
        path.write_bytes(content)
        return path

    def keep(self, request_id: str = "r", content: bytes = b"audio") -> None:
        """A request from its upload to its end, whose file is gone then."""
        path = self.upload(content)
        taken = self.keeper.take(path)
        assert taken is not None
        path.unlink()
        self.keeper.keep(taken, replace(FACTS, request_id=request_id))

    def count(self, outcome: str) -> float:
        return self.metrics.registry.get_sample_value("asr_audio_kept_total", {"outcome": outcome}) or 0.0

    def left(self) -> list[str]:
        return sorted(path.name for path in self.spool.iterdir())


@asynccontextmanager
async def running(bench: Bench) -> AsyncIterator[None]:
    async with background("retention", bench.keeper.run()):
        yield


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("with_text", [False, True])
def test_the_upload_is_kept_as_it_came(store: Store, spool: Path, with_text: bool) -> None:
    bench = Bench(store, spool, with_text=with_text)
    soundfile.write(spool.parent / "a.flac", np.zeros(1600), 16_000)
    content = (spool.parent / "a.flac").read_bytes()

    async def main() -> None:
        async with running(bench):
            bench.keep(content=content)
            await until(lambda: bench.count("kept"))

    asyncio.run(main())
    (kept,) = store.find("r")
    assert kept.facts == replace(FACTS, media_type="audio/flac", text="one two" if with_text else None)
    assert kept.expires_s == 4e9 + 60
    assert b"".join(store.open_bytes("r", kept.name) or ()) == content
    assert bench.left() == []


def test_what_is_given_up_leaves_nothing(store: Store, spool: Path) -> None:
    bench = Bench(store, spool, pending_files=1)

    async def main() -> None:
        async with running(bench):
            for _ in range(3):
                taken = bench.keeper.take(bench.upload())
                assert taken is not None
                assert len(bench.left()) == 2
                bench.keeper.drop(taken)
            assert bench.left() == ["upload"]

    asyncio.run(main())
    assert store.begun == []


def test_a_file_system_without_links_costs_the_audio_and_no_request(
    store: Store, spool: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def link(*_: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(retention.os, "link", link)
    bench = Bench(store, spool)
    assert bench.keeper.take(bench.upload()) is None
    assert bench.count("dropped") == 1
    assert "holds no second link to it (Operation not permitted)" in caplog.text
    assert bench.keeper.take(spool / "absent") is None


@pytest.mark.parametrize("bound", [{"pending_files": 2}, {"pending_bytes": 14}])
def test_no_more_waits_than_it_may(
    store: Store, spool: Path, bound: dict[str, int], caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench(store, spool, **bound)

    async def main() -> None:
        store.gate.clear()
        async with running(bench):
            bench.keep("a")
            bench.keep("b")
            assert bench.keeper.take(bench.upload()) is None
            assert bench.keeper.take(bench.upload()) is None
            assert bench.count("dropped") == 2
            assert len(bench.left()) == 3
            store.gate.set()
            await until(lambda: bench.count("kept") == 2)
            bench.keep("c")
            await until(lambda: bench.count("kept") == 3)

    asyncio.run(main())
    assert [len(store.find(name)) for name in "abc"] == [1, 1, 1]
    assert [record.message for record in caplog.records if "not kept" in record.message] == [
        "the audio of a request is not kept: too much waits to be stored"
    ]


def test_a_store_that_is_away_is_waited_for(store: Store, spool: Path, caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(store, spool)
    caplog.set_level(logging.INFO)

    async def main() -> None:
        store.error = MissingPart("The bucket is away.")
        async with running(bench):
            bench.keep("a")
            bench.keep("b")
            await until(lambda: len(store.begun) > 3)
            assert set(store.begun) == {"a"}
            assert (bench.count("kept"), bench.count("dropped")) == (0, 0)
            store.error = None
            await until(lambda: bench.count("kept") == 2)

    asyncio.run(main())
    said = [record.message for record in caplog.records if record.name == retention.__name__]
    assert said == [
        "the audio of requests waits to be stored: The bucket is away.",
        "the audio of requests is stored again",
    ]
    assert bench.left() == []


def test_a_file_that_breaks_the_storing_does_not_stop_the_others(store: Store, spool: Path) -> None:
    bench = Bench(store, spool)

    async def main() -> None:
        async with running(bench):
            store.error = OSError("disk")
            bench.keep("a")
            await until(lambda: bench.count("dropped") == 1)
            store.error = None
            bench.keep("b")
            await until(lambda: bench.count("kept") == 1)

    asyncio.run(main())
    assert store.find("a") == []
    assert len(store.find("b")) == 1
    assert bench.left() == []


def test_the_end_stores_what_it_can_and_counts_the_rest(store: Store, spool: Path) -> None:
    bench = Bench(store, spool)

    async def main(error: Exception | None) -> None:
        async with running(bench):
            store.gate.clear()
            bench.keep("a")
            await until(lambda: store.begun)
            bench.keep("b")
            store.error = error
            asyncio.get_running_loop().call_later(0.05, store.gate.set)

    asyncio.run(main(None))
    assert [len(store.find(name)) for name in "ab"] == [1, 1]
    assert (bench.count("kept"), bench.count("dropped")) == (2, 0)
    store.begun.clear()
    bench = Bench(store, spool)
    asyncio.run(main(MissingPart("away")))
    assert (bench.count("kept"), bench.count("dropped")) == (0, 2)


def test_the_end_does_not_wait_for_ever(store: Store, spool: Path) -> None:
    bench = Bench(store, spool)

    async def main() -> None:
        store.gate.clear()
        async with running(bench):
            bench.keep("a")
            bench.keep("b")
            await until(lambda: store.begun)
            began = asyncio.get_running_loop().time()
        assert 0.4 < asyncio.get_running_loop().time() - began < 2
        assert bench.count("dropped") == 2
        store.gate.set()

    asyncio.run(main())


def test_what_waits_of_a_request_can_be_forgotten(store: Store, spool: Path) -> None:
    bench = Bench(store, spool)

    async def main() -> None:
        store.gate.clear()
        async with running(bench):
            for name in "abab":
                bench.keep(name)
            await until(lambda: store.begun)
            assert await bench.keeper.forget("b") == 2
            assert len(bench.left()) == 2
            asyncio.get_running_loop().call_later(0.05, store.gate.set)
            assert await bench.keeper.forget("a") == 2
            assert len(store.find("a")) == 1, "the one that was under way is there to be deleted"
            assert await bench.keeper.forget("c") == 0
            bench.keep("c")
            await until(lambda: store.find("c"))

    asyncio.run(main())
    assert store.begun == ["a", "c"]
    assert bench.left() == []


def test_a_forgotten_file_that_could_not_be_stored_is_not_tried_again(store: Store, spool: Path) -> None:
    bench = Bench(store, spool)

    async def main() -> None:
        store.gate.clear()
        store.error = MissingPart("away")
        async with running(bench):
            bench.keep("a")
            await until(lambda: store.begun)
            with pytest.raises(Exception, match="is being stored"):
                await bench.keeper.forget("a")
            store.gate.set()
            await until(lambda: bench.left() == [])
            await asyncio.sleep(0.1)

    asyncio.run(main())
    assert store.begun == ["a"]
    assert (bench.count("kept"), bench.count("dropped")) == (0, 0)


@pytest.mark.parametrize("wrong", [{"keep_s": 0}, {"keep_s": float("inf")}, {"pending_files": 0}, {"pending_bytes": 0}])
def test_settings_that_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        RetentionSettings(**wrong)
