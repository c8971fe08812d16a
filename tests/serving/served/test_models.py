"""Models come when they are asked for, leave when nobody needs them, and are never taken from who works with one."""

import asyncio
import shutil
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from harken.core import MissingPart, Recognizer
from harken.http.errors import Overloaded
from harken.inference.config import EngineConfig
from harken.serving.contract import ModelCatalog, TranscribeOptions
from harken.serving.errors import UnknownModel
from harken.serving.metrics import ServerMetrics
from harken.serving.served import facts, models
from harken.serving.served.models import ServedModels
from harken.serving.served.settings import ModelsSettings, ServedModel

ON_CPU = EngineConfig(device="cpu", threads=1)
PLAIN = TranscribeOptions()
BIG = 1 << 40


class Loads:
    """Counts loads, and can hold them up."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.names: list[str] = []
        self.error: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()
        real = facts.load_served

        def load_served(model: ServedModel) -> Recognizer:
            self.names.append(model.shown_name)
            assert self.gate.wait(10)
            if self.error is not None:
                raise self.error
            return real(model)

        monkeypatch.setattr(models, "load_served", load_served)


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> Loads:
    return Loads(monkeypatch)


@asynccontextmanager
async def served(*folders: Path, clock: Callable[[], float] = time.monotonic, **settings: Any) -> AsyncIterator[Any]:
    """Served models, the first of the folders the default one; nothing is loaded yet."""
    found = tuple(ServedModel(path=folder, settings=ON_CPU) for folder in folders)
    catalog = ServedModels(
        ModelsSettings(models=found, **({"memory_bytes": BIG} | settings)), metrics=ServerMetrics(), clock=clock
    )
    try:
        yield catalog
    finally:
        await catalog.close()


async def text_of(catalog: ServedModels, name: str, recording: Path) -> str:
    async with catalog.acquire(name, PLAIN) as recognizer:
        return (await asyncio.to_thread(recognizer.transcribe, recording)).text


def test_names(tiny_model: Path, other_model: Path) -> None:
    async def main() -> None:
        async with served(tiny_model, other_model, aliases={"uzbek": "other"}) as catalog:
            found: ModelCatalog = catalog
            assert [info.name for info in found.list()] == ["tiny", "other"]
            for name in ("default", "tiny", "whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe"):
                assert found.find(name).name == "tiny"
            assert found.find("uzbek").name == "other"
            info = found.find("default")
            assert (info.family, info.sample_rate_hz, info.languages) == ("recurrent-ctc", 16_000, ("en",))
            assert (info.loaded, info.can_translate, info.can_stream) == (False, False, True)
            assert abs(info.created_s - time.time()) < 3600
            with pytest.raises(UnknownModel, match=r"no model '\.\./x'"):
                found.find("../x")

    asyncio.run(main())


def test_many_requests_make_one_load(tiny_model: Path, recordings: list[Path], loads: Loads) -> None:
    async def main() -> None:
        async with served(tiny_model) as catalog:
            texts = await asyncio.gather(*(text_of(catalog, "tiny", recordings[1]) for _ in range(5)))
            assert len(set(texts)) == 1
            assert texts[0]
            assert catalog.find("tiny").loaded
            assert catalog._metrics.registry.get_sample_value("asr_models_loaded") == 1
            assert catalog._metrics.registry.get_sample_value("asr_wer_score", {"model": "tiny"}) == 0.125

    asyncio.run(main())
    assert loads.names == ["tiny"]


def test_who_leaves_does_not_stop_a_load_that_others_wait_for(
    tiny_model: Path, recordings: list[Path], loads: Loads
) -> None:
    async def main() -> None:
        async with served(tiny_model) as catalog:
            loads.gate.clear()
            tasks = [asyncio.create_task(text_of(catalog, "tiny", recordings[1])) for _ in range(2)]
            while not loads.names:
                await asyncio.sleep(0.01)
            assert catalog.ready().models == {"tiny": "loading"}
            tasks[0].cancel()
            with pytest.raises(asyncio.CancelledError):
                await tasks[0]
            loads.gate.set()
            assert await tasks[1]

    asyncio.run(main())
    assert loads.names == ["tiny"]


@pytest.mark.parametrize("error", [MemoryError(), MissingPart("No file.", hint="Copy it."), OSError("disk")])
def test_a_load_that_fails_is_said_and_not_repeated_for_every_request(
    tiny_model: Path, recordings: list[Path], loads: Loads, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    now = [0.0]

    async def main() -> None:
        async with served(tiny_model, clock=lambda: now[0], retry_s=5.0) as catalog:
            monkeypatch.setattr(models, "load_served", facts.load_served)
            engine = [error]

            def load(*_: Any, **__: Any) -> Recognizer:
                loads.names.append("tiny")
                raise engine[0]

            with monkeypatch.context() as broken:
                broken.setattr(facts, "load", load)
                for _ in range(3):
                    with pytest.raises(MissingPart, match="The model tiny"):
                        await text_of(catalog, "tiny", recordings[1])
                assert loads.names == ["tiny"]
                assert not catalog.ready().ok
                assert catalog.ready().models["tiny"] == "cannot be loaded"  # the reason is for the log and the caller
                now[0] = 5.0
                with pytest.raises(MissingPart):
                    await text_of(catalog, "tiny", recordings[1])
                assert loads.names == ["tiny", "tiny"]
            now[0] = 10.0
            assert await text_of(catalog, "tiny", recordings[1])
            assert catalog.ready().ok

    asyncio.run(main())


def test_a_folder_that_is_not_there_costs_the_others_nothing(
    tmp_path: Path, tiny_model: Path, recordings: list[Path]
) -> None:
    now = [0.0]

    async def main() -> None:
        async with served(tmp_path / "absent", tiny_model, clock=lambda: now[0], retry_s=5.0) as catalog:
            assert [info.name for info in catalog.list()] == ["tiny"]
            with pytest.raises(MissingPart, match=r"The model absent is not available: .* does not exist"):
                catalog.find("default")
            await catalog.start()
            await asyncio.sleep(0.05)
            assert not catalog.ready().ok
            assert await text_of(catalog, "tiny", recordings[1])
            shutil.copytree(tiny_model, tmp_path / "absent")
            now[0] = 6.0
            with pytest.raises(MissingPart):  # what was known; a thread looks again
                catalog.find("default")
            await asyncio.gather(*(slot.describing for slot in catalog._slots.values() if slot.describing))
            assert catalog.find("default").family == "recurrent-ctc"
            assert await text_of(catalog, "default", recordings[1])
            assert catalog.ready().ok

    asyncio.run(main())


def test_a_slow_disk_keeps_nobody_from_the_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now, looks, gate = [0.0], list[str](), threading.Event()

    def never_there(model: ServedModel) -> facts.ModelFacts:
        assert gate.wait(10)
        looks.append(threading.current_thread().name)
        raise MissingPart("the disk is slow")

    async def main() -> None:
        async with served(tmp_path / "absent", clock=lambda: now[0], retry_s=5.0) as catalog:
            monkeypatch.setattr(models, "read_facts", never_there)
            now[0] = 6.0
            began_s = time.monotonic()
            for _ in range(3):
                with pytest.raises(MissingPart, match="does not exist"):
                    catalog.find("default")
                await asyncio.sleep(0.01)
            assert time.monotonic() - began_s < 1
            gate.set()
            await asyncio.gather(*(slot.describing for slot in catalog._slots.values()))
            with pytest.raises(MissingPart, match="the disk is slow"):
                catalog.find("default")
            await asyncio.sleep(0.01)
            assert len(looks) == 1
            assert looks[0] != threading.main_thread().name

    asyncio.run(main())


def test_the_least_recently_used_leaves_for_the_next(
    tmp_path: Path, tiny_model: Path, recordings: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = [Path(shutil.copytree(tiny_model, tmp_path / name)) for name in "abc"]
    monkeypatch.setattr(models, "resident_bytes", lambda: 0)
    size = facts.read_facts(ServedModel(path=folders[0], settings=ON_CPU)).memory_bytes
    assert size > (folders[0] / "model.safetensors").stat().st_size
    now = [0.0]

    async def main() -> None:
        async with served(
            *folders, clock=lambda: now[0], memory_bytes=2 * size + size // 2, room_wait_s=0.2
        ) as catalog:
            for name in "abac":
                now[0] += 1
                await text_of(catalog, name, recordings[0])
            assert catalog.ready().models == {"a": "loaded", "b": "not loaded", "c": "loaded"}
            async with catalog.acquire("a", PLAIN), catalog.acquire("c", PLAIN):
                with pytest.raises(Overloaded, match="no memory for the model b"):
                    await text_of(catalog, "b", recordings[0])
                blocked = asyncio.create_task(text_of(catalog, "b", recordings[0]))
                await asyncio.sleep(0.05)
                assert not blocked.done()
            assert await blocked is not None
            assert catalog.ready().models["b"] == "loaded"

    asyncio.run(main())


def test_a_model_larger_than_the_memory_is_missing(tiny_model: Path, recordings: list[Path]) -> None:
    async def main() -> None:
        async with served(tiny_model, memory_bytes=1000) as catalog:
            with pytest.raises(MissingPart, match="The model tiny takes about"):
                await text_of(catalog, "tiny", recordings[0])

    asyncio.run(main())


def test_idle_models_leave_but_not_the_default_one_nor_one_in_use(
    tmp_path: Path, tiny_model: Path, recordings: list[Path]
) -> None:
    folders = [Path(shutil.copytree(tiny_model, tmp_path / name)) for name in "abc"]
    now = [0.0]

    async def main() -> None:
        async with served(*folders, clock=lambda: now[0]) as catalog:
            for name in "abc":
                await text_of(catalog, name, recordings[0])
            now[0] = 100.0
            async with catalog.acquire("c", PLAIN):
                await catalog.give_up_idle(60.0)
            assert catalog.ready().models == {"a": "loaded", "b": "not loaded", "c": "loaded"}
            assert catalog.ready().ok
            assert await text_of(catalog, "b", recordings[1])

    asyncio.run(main())


def test_the_sweeper_looks_by_itself(tmp_path: Path, tiny_model: Path, recordings: list[Path]) -> None:
    folders = [Path(shutil.copytree(tiny_model, tmp_path / name)) for name in "ab"]

    async def main() -> None:
        async with served(*folders, idle_s=0.2) as catalog:
            await catalog.start()
            await text_of(catalog, "b", recordings[0])
            began = time.monotonic()
            while catalog.find("b").loaded:
                assert time.monotonic() - began < 5
                await asyncio.sleep(0.02)
            assert catalog.find("a").loaded

    asyncio.run(main())


def test_a_default_model_that_comes_late_is_loaded_without_a_request(tmp_path: Path, tiny_model: Path) -> None:
    folder = tmp_path / "late"

    async def main() -> None:
        async with served(folder, retry_s=0.05) as catalog:
            await catalog.start()
            await asyncio.sleep(0.3)
            assert not catalog.ready().ok
            shutil.copytree(tiny_model, tmp_path / "copy")
            (tmp_path / "copy").rename(folder)
            began = time.monotonic()
            while not catalog.ready().ok:
                assert time.monotonic() - began < 10
                await asyncio.sleep(0.02)
            assert catalog.ready().models == {"late": "loaded"}

    asyncio.run(main())


def test_a_swap_drops_nobody(tiny_model: Path, other_model: Path, recordings: list[Path], loads: Loads) -> None:
    async def main() -> None:
        async with served(tiny_model) as catalog:
            before = await text_of(catalog, "tiny", recordings[1])
            identity = await catalog.identity("tiny")
            async with catalog.lease("tiny", PLAIN) as old:
                loads.gate.clear()
                swap = asyncio.create_task(catalog.swap("tiny", other_model))
                while len(loads.names) < 2:
                    await asyncio.sleep(0.01)
                assert await text_of(catalog, "tiny", recordings[1]) == before
                loads.gate.set()
                await swap
                assert (await asyncio.to_thread(old.recognizer.transcribe, recordings[1])).text == before
                async with catalog.lease("tiny", PLAIN) as new:
                    assert new.identity != old.identity == identity
                    assert (await asyncio.to_thread(new.recognizer.transcribe, recordings[1])).text != before
                assert len(catalog._retired) == 1
            assert catalog._retired == []
            assert await catalog.identity("tiny") != identity
            assert catalog.find("tiny").languages == ("uz",)

    asyncio.run(main())


def test_a_swap_that_fails_leaves_the_old_one(tmp_path: Path, tiny_model: Path, recordings: list[Path]) -> None:
    async def main() -> None:
        async with served(tiny_model) as catalog:
            before = await text_of(catalog, "tiny", recordings[1])
            with pytest.raises(MissingPart, match="The model tiny is not available"):
                await catalog.swap("tiny", tmp_path / "absent")
            assert await text_of(catalog, "tiny", recordings[1]) == before
            assert catalog.ready().ok

    asyncio.run(main())


def test_settings_say_what_is_wrong(tmp_path: Path) -> None:
    one = ServedModel(path=tmp_path / "runs" / "digits" / "model")
    assert one.shown_name == "digits"
    for settings, words in (
        ({"models": ()}, "models is empty; name a model folder"),
        ({"models": (one, one)}, "models has 'digits' 2 times"),
        ({"models": (one,), "aliases": {"a": "b"}}, "aliases has 'a' for 'b', which is no model; use digits"),
        ({"models": (one,), "aliases": {"digits": "digits"}}, "is a model already"),
        ({"models": (one,), "idle_s": 0.0}, "idle_s is 0.0; use seconds above 0"),
        ({"models": (one,), "memory_bytes": 0}, "memory_bytes is 0; use bytes above 0"),
        ({"models": (one,), "variants": 0}, "variants is 0; use 1 or more"),
    ):
        with pytest.raises(ValueError, match=words):
            ModelsSettings(**settings)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="name is 'a b'; use letters"):
        ServedModel(path=tmp_path, name="a b")
    with pytest.raises(ValueError, match="do nothing with the routes"):
        ServedModel(path=tmp_path / "routes.yaml", engine="onnx")
    with pytest.raises(ValueError, match="engine is 'foo'; use one of auto, ctranslate2, onnx, torch"):
        ServedModel(path=tmp_path, engine="foo")


def test_what_fails_again_and_again_is_logged_once(
    tmp_path: Path, tiny_model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with served(tmp_path / "absent", retry_s=0.05) as catalog:
            await catalog.start()
            await asyncio.sleep(0.4)
            shutil.copytree(tiny_model, tmp_path / "absent")
            for _ in range(500):
                if catalog.ready().ok:
                    break
                await asyncio.sleep(0.02)
            assert catalog.ready().ok

    with caplog.at_level("INFO", "harken.serving.served.models"):
        asyncio.run(main())
    told = [record.getMessage() for record in caplog.records if record.name == "harken.serving.served.models"]
    assert sum("absent does not exist" in line for line in told) == 1
    assert "(tried again every 0.05 s)" in told[0]
    assert told[-1].startswith("the model absent was loaded in ")
