"""A served name: which model stands behind it now, and whether that is in memory."""

import asyncio
from dataclasses import dataclass, field

from harken.core import MissingPart, Recognizer
from harken.serving.contract import ModelInfo
from harken.serving.served.facts import ModelFacts
from harken.serving.served.settings import ServedModel
from harken.serving.served.variants import Variants


@dataclass(eq=False, slots=True, kw_only=True)
class Held:
    """A model in memory. `users` have it in their hands; one that is `retired` leaves with the last of them."""

    recognizer: Recognizer
    variants: Variants
    identity: str
    memory_bytes: int
    last_used_s: float
    users: int = 0
    retired: bool = False


@dataclass(eq=False, slots=True, kw_only=True)
class Slot:
    """What is behind a name. `facts` are None where its folder is at fault, which `failure` then says."""

    name: str
    model: ServedModel
    facts: ModelFacts | None = None
    identity: str | None = None
    held: Held | None = None
    loading: "asyncio.Task[None] | None" = None
    describing: "asyncio.Task[None] | None" = None
    failure: MissingPart | None = None
    retry_at_s: float = 0.0
    was_loaded: bool = False
    swapping: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def state(self) -> str:
        """For everybody: loaded, loading, not loaded, or that it cannot be; why is in the log, with its paths."""
        if self.held is not None:
            return "loaded"
        if self.loading is not None:
            return "loading"
        return "not loaded" if self.failure is None else "cannot be loaded"

    def info(self) -> ModelInfo:
        """Raises MissingPart where the folder is at fault."""
        if self.facts is None:
            raise self.failure_again()
        return ModelInfo(
            name=self.name,
            family=self.facts.family,
            sample_rate_hz=self.facts.sample_rate_hz,
            languages=self.facts.languages,
            created_s=self.facts.created_s,
            loaded=self.held is not None,
            can_translate=self.facts.can_translate,
            can_stream=self.facts.can_stream,
        )

    def failure_again(self) -> MissingPart:
        """The last failure as an exception of its own, for another request."""
        known = self.failure or MissingPart(f"The model {self.name} is not available.")
        return MissingPart(known.message, hint=known.hint)
