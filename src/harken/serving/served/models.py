"""The served models: `ModelCatalog`, and models to work with."""

import asyncio
import gc
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from harken.core import MissingPart, Recognizer
from harken.http.errors import Overloaded
from harken.serving.contract import ModelInfo, TranscribeOptions
from harken.serving.errors import SwapUnderWay, UnknownModel
from harken.serving.metrics import ServerMetrics
from harken.serving.served.facts import ModelFacts, asked, identity_of, load_served, read_facts
from harken.serving.served.memory import resident_bytes, usual_budget
from harken.serving.served.settings import DEFAULT_NAMES, ModelsSettings, ServedModel
from harken.serving.served.slot import Held, Slot
from harken.serving.served.variants import Variants

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A model in somebody's hands: `recognizer` does what the options ask; `identity` tells it from other models."""

    name: str
    recognizer: Recognizer
    identity: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """Whether requests for the default model are answered, and the state of every model in words."""

    ok: bool
    models: dict[str, str]


class ServedModels:
    """Answers `ModelCatalog`. Belongs to one event loop; what takes time runs in threads."""

    def __init__(
        self, settings: ModelsSettings, *, metrics: ServerMetrics, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Reads the descriptions of all models. One that is absent or damaged is served as an error."""
        self.settings, self._metrics, self._clock = settings, metrics, clock
        self._slots = {model.shown_name: Slot(name=model.shown_name, model=model) for model in settings.models}
        self._default = next(iter(self._slots))
        names = dict.fromkeys(DEFAULT_NAMES, self._default) | settings.aliases
        self._names = names | {name: name for name in self._slots}
        self._retired: list[Held] = []
        self._budget = settings.memory_bytes
        self._loads = asyncio.Lock()  # one at a time, so that what memory grows by is that model's
        self._freed = asyncio.Event()
        self._sweeper: asyncio.Task[None] | None = None
        for slot in self._slots.values():
            self._describe(slot)

    def list(self) -> list[ModelInfo]:
        """Of the models whose folders are as they should be."""
        return [slot.info() for slot in self._slots.values() if slot.facts is not None]

    def find(self, name: str) -> ModelInfo:
        """See `ModelCatalog.find`. MissingPart tells the last look at a folder; a thread looks again after a while."""
        slot = self._slot(name)
        if slot.facts is None and slot.describing is None and self._clock() >= slot.retry_at_s:
            slot.describing = asyncio.create_task(self._describe_again(slot))
        return slot.info()

    def ready(self) -> Readiness:
        """The default model is in memory, or was and left it; what failed at its last load is not ready."""
        default = self._slots[self._default]
        ok = default.held is not None or (default.failure is None and default.was_loaded)
        return Readiness(ok=ok, models={name: slot.state for name, slot in self._slots.items()})

    async def start(self) -> None:
        """Begins to load the default model, and to look for idle ones. Returns at once."""
        self._sweeper = asyncio.create_task(self._sweep())
        self._begin_load(self._slots[self._default])

    async def close(self) -> None:
        """Gives all models up; for when nobody works with one any more."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        tasks = [self._sweeper, *(task for slot in self._slots.values() for task in (slot.loading, slot.describing))]
        await asyncio.gather(*filter(None, tasks), return_exceptions=True)
        for slot in self._slots.values():
            slot.held = None
        self._tell()

    async def identity(self, name: str) -> str:
        """Of the model behind a name now. Raises as `find`."""
        slot = self._slot(name)
        slot.info()
        if slot.identity is not None:
            return slot.identity
        model = slot.model
        found = await asyncio.to_thread(asked, identity_of, model)
        if slot.model is model:
            slot.identity = found
        return found

    @asynccontextmanager
    async def acquire(self, name: str, options: TranscribeOptions) -> AsyncIterator[Recognizer]:
        """A model that does what `options` ask, and stays in memory within the context.

        Entering raises UnknownModel, InputError for options it cannot take, MissingPart where it cannot be loaded,
        Overloaded where models in use leave no memory for it.
        """
        async with self.lease(name, options) as lease:
            yield lease.recognizer

    @asynccontextmanager
    async def lease(self, name: str, options: TranscribeOptions) -> AsyncIterator[Lease]:
        """As `acquire`, with the model's identity."""
        slot = self._slot(name)
        held = await self._in_memory(slot)
        with self._in_use(held):
            recognizer = held.variants.known(options)
            if recognizer is None:
                recognizer = await asyncio.to_thread(held.variants.make, options)
            yield Lease(name=slot.name, recognizer=recognizer, identity=held.identity)

    async def swap(self, name: str, folder: Path) -> ModelInfo:
        """See `ModelCatalog.swap`. The new model has the engine and the settings of the old one."""
        slot = self._slot(name)
        if slot.swapping.locked():
            raise SwapUnderWay(f"The model {slot.name} is being exchanged already.", hint="Wait for that to end.")
        async with slot.swapping, self._loads:
            model = replace(slot.model, path=folder, name=slot.name)
            facts = await asyncio.to_thread(asked, read_facts, model)
            held = await self._loaded(model, facts, keep=slot)
            if slot.held is not None:
                self._retire(slot.held)
            slot.model, slot.facts, slot.held, slot.identity = model, facts, held, held.identity
            slot.failure, slot.was_loaded = None, True
        self._metrics.set_wer(slot.name, facts.wer)
        self._tell()
        return slot.info()

    def _slot(self, name: str) -> Slot:
        known = self._names.get(name)
        if known is None:
            raise UnknownModel(f"There is no model {name[:100]!r}.", hint=f"Use {', '.join(self._slots)}.")
        return self._slots[known]

    def _describe(self, slot: Slot) -> None:
        try:
            slot.facts = asked(read_facts, slot.model)
            self._metrics.set_wer(slot.name, slot.facts.wer)
        except MissingPart as err:
            self._failed(slot, err)

    async def _describe_again(self, slot: Slot) -> None:
        model = slot.model
        try:
            facts = await asyncio.to_thread(asked, read_facts, model)
            if slot.facts is None and slot.model is model:  # neither loaded nor swapped meanwhile
                slot.facts, slot.failure = facts, None
                self._metrics.set_wer(slot.name, facts.wer)
        except MissingPart as err:
            self._failed(slot, err)
        finally:
            slot.describing = None

    def _failed(self, slot: Slot, error: MissingPart) -> None:
        if str(slot.failure) != str(error):  # once, however often it is tried again
            logger.error("%s (tried again every %g s)", error, self.settings.retry_s)
        slot.failure, slot.retry_at_s = error, self._clock() + self.settings.retry_s

    async def _in_memory(self, slot: Slot) -> Held:
        while slot.held is None:
            if slot.loading is None and slot.failure is not None and self._clock() < slot.retry_at_s:
                raise slot.failure_again()
            self._begin_load(slot)
            assert slot.loading is not None
            await asyncio.shield(slot.loading)  # it goes on for others, and for the next, when this one leaves
        return slot.held

    @contextmanager
    def _in_use(self, held: Held) -> Iterator[None]:
        held.users += 1
        try:
            yield
        finally:
            held.users -= 1
            held.last_used_s = self._clock()
            if held.retired and not held.users:
                self._retired.remove(held)
            if not held.users:
                self._freed.set()

    def _begin_load(self, slot: Slot) -> None:
        if slot.loading is None and slot.held is None:
            slot.loading = asyncio.create_task(self._load(slot))
            slot.loading.add_done_callback(lambda task: task.cancelled() or task.exception())  # it may have no waiter

    async def _load(self, slot: Slot) -> None:
        began_s = self._clock()
        try:
            async with self._loads:
                if slot.held is not None:  # swapped in meanwhile
                    return
                model = slot.model
                slot.facts = await asyncio.to_thread(asked, read_facts, model)
                slot.held = await self._loaded(model, slot.facts, keep=slot)
                slot.identity, slot.failure, slot.was_loaded = slot.held.identity, None, True
        except MissingPart as err:
            self._failed(slot, err)
            raise
        finally:
            slot.loading = None
        logger.info("the model %s was loaded in %.1f s", slot.name, self._clock() - began_s)
        self._metrics.set_wer(slot.name, slot.facts.wer)
        self._tell()

    async def _loaded(self, model: ServedModel, facts: ModelFacts, *, keep: Slot) -> Held:
        await self._make_room(facts.memory_bytes, model.shown_name, keep)
        identity = await asyncio.to_thread(asked, identity_of, model)
        before = resident_bytes()
        recognizer = await asyncio.to_thread(load_served, model)
        return Held(
            recognizer=recognizer,
            variants=Variants(recognizer, languages=facts.languages, most=self.settings.variants),
            identity=identity,
            memory_bytes=max(facts.memory_bytes, resident_bytes() - before),
            last_used_s=self._clock(),
        )

    async def _make_room(self, needed: int, name: str, keep: Slot) -> None:
        """Gives up models that nobody uses until `needed` bytes fit; waits a while for those that somebody does."""
        self._budget = self._budget or usual_budget()
        if self._budget is None:
            return
        if needed > self._budget:
            raise MissingPart(
                f"The model {name} takes about {needed >> 20} MiB, and models may take {self._budget >> 20}.",
                hint="Raise memory_bytes, or serve a smaller one.",
            )
        until = self._clock() + self.settings.room_wait_s
        while self._used() + needed > self._budget:
            idle = [slot for slot in self._idle() if slot is not keep]
            if idle:
                await self._evict(min(idle, key=lambda slot: slot.held.last_used_s if slot.held else 0.0))
                continue
            self._freed.clear()
            try:
                await asyncio.wait_for(self._freed.wait(), max(0.0, until - self._clock()))
            except TimeoutError as err:
                self._metrics.refused("model_busy")
                raise Overloaded(
                    f"There is no memory for the model {name} while others are in use.",
                    hint="Try again.",
                    retry_after_s=max(1.0, self.settings.room_wait_s),
                ) from err

    def _used(self) -> int:
        held = [slot.held for slot in self._slots.values() if slot.held is not None]
        return sum(each.memory_bytes for each in [*held, *self._retired])

    def _idle(self) -> Iterator[Slot]:
        return (slot for slot in self._slots.values() if slot.held is not None and not slot.held.users)

    async def _evict(self, slot: Slot) -> None:
        logger.info("the model %s leaves the memory", slot.name)
        slot.held = None
        self._tell()
        await asyncio.to_thread(gc.collect)

    def _retire(self, held: Held) -> None:
        if held.users:
            held.retired = True
            self._retired.append(held)

    async def _sweep(self) -> None:
        """Gives up models that were idle for too long, and loads the default one where that has failed, for ever."""
        idle_s, default = self.settings.idle_s, self._slots[self._default]
        pause_s = min(5.0, max(0.05, self.settings.retry_s), 5.0 if idle_s is None else idle_s / 4)
        while True:
            await asyncio.sleep(pause_s)
            if default.failure is not None and self._clock() >= default.retry_at_s:
                self._begin_load(default)
            if idle_s is not None:
                await self.give_up_idle(idle_s)

    async def give_up_idle(self, idle_s: float) -> None:
        """Gives up all but the default model that nobody has used for so long."""
        for slot in [slot for slot in self._idle() if slot.name != self._default]:
            if slot.held is not None and not slot.held.users and self._clock() - slot.held.last_used_s >= idle_s:
                await self._evict(slot)

    def _tell(self) -> None:
        self._metrics.set_models_loaded(sum(slot.held is not None for slot in self._slots.values()))
