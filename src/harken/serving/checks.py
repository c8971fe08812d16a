"""How the parts of a server are asked whether they work, for `/ready`."""

from collections.abc import Mapping

from harken.serving.parts import Check, NotWorking, NotYet
from harken.serving.workshop import Workshop

CHECK_S = 4.0  # of the 5 s in which /ready answers


def checks(parts: Workshop) -> Mapping[str, Check]:
    """Files need models and a decoder. Without the others the server is degraded."""

    async def ask_database() -> str:
        await parts.database.answers(CHECK_S)
        return "answers"

    async def ask_blobs() -> str:
        await parts.blobs.answers(CHECK_S)
        return "answers"

    async def ask_cache() -> str:
        await parts.cache.ping(CHECK_S)
        return "answers"

    async def ask_limits() -> str:
        if not await parts.limiter.ping():
            raise NotWorking("Limits are counted in this process alone.", hint="Start Redis.")
        return "counted"

    async def ask_models() -> str:
        found = parts.models.ready()
        words = ", ".join(f"{name}: {state}" for name, state in found.models.items())
        if not found.ok:
            is_loading = next(iter(found.models.values())) == "loading"  # the default one, which is the first
            raise NotYet(words) if is_loading else NotWorking(words)
        return words

    async def ask_decoder() -> str:
        if parts.decoder.failure is not None:
            raise parts.decoder.failure
        if not parts.decoder.ready:
            raise NotYet("No decoding worker is there yet.")
        return "workers wait"

    return {
        "models": Check(ask=ask_models),
        "decoder": Check(ask=ask_decoder),
        "database": Check(ask=ask_database, required=False),
        "blobs": Check(ask=ask_blobs, required=False),
        "cache": Check(ask=ask_cache, required=False),
        "limits": Check(ask=ask_limits, required=False),
    }
