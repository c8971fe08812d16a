"""The bounded cache of arrays."""

import threading

import numpy as np
import pytest

from harken.core import MissingPart
from harken.core.machine import Memory
from harken.data import cache as cache_module
from harken.data.cache import ArrayCache, default_cache_bytes


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(samples).astype(np.float32)


def test_gives_back_what_was_put_bit_for_bit() -> None:
    cache = ArrayCache(100_000)
    odd = np.array([0.0, -0.0, np.nan, np.inf, -np.inf, 1e-40, 1.0, -1.0], dtype=np.float32)
    features = noise(600).reshape(20, 30)
    for key, value in (("odd", odd), ("features", features), ("noise", noise(100)), ("empty", noise(0))):
        assert cache.put(key, value)
        found = cache.get(key)
        assert found is not None
        assert (found.dtype, found.shape) == (np.float32, value.shape)
        assert np.array_equal(found.view(np.int32), value.view(np.int32))
    assert cache.get("absent") is None


def test_16_bit_audio_takes_half_the_room_and_loses_nothing() -> None:
    steps = np.arange(-32768, 32768, dtype=np.int64)
    audio = (steps / 32768).astype(np.float32)
    cache = ArrayCache(10**6)
    cache.put("a", audio)
    assert cache.stats.stored_bytes == 2 * len(audio)
    found = cache.get("a")
    assert found is not None
    assert np.array_equal(found.view(np.int32), audio.view(np.int32))


@pytest.mark.parametrize("odd_one", [1.0, -0.0, 0.5 / 32768, np.nan, 7.25])
def test_one_sample_that_is_not_16_bit_keeps_the_float(odd_one: float) -> None:
    audio = (np.arange(2000) / 32768).astype(np.float32)
    audio[1500] = odd_one
    cache = ArrayCache(10**6)
    cache.put("a", audio)
    assert cache.stats.stored_bytes == 4 * len(audio)
    found = cache.get("a")
    assert found is not None
    assert np.array_equal(found.view(np.int32), audio.view(np.int32))


def test_never_holds_more_than_it_was_given_and_keeps_what_came_first() -> None:
    cache = ArrayCache(1000)
    stored = [cache.put(i, noise(60, i)) for i in range(10)]  # 240 bytes each
    assert stored == [True] * 4 + [False] * 6
    assert (cache.stats.stored_bytes, cache.stats.items, cache.stats.refused) == (960, 4, 6)
    assert cache.put("small", noise(10))  # there is still room for this one
    assert cache.stats.stored_bytes == 1000
    assert cache.get(0) is not None
    assert cache.get(9) is None


def test_putting_a_key_again_replaces_it() -> None:
    cache = ArrayCache(1000)
    cache.put("a", noise(100))
    cache.put("a", noise(50, 1))
    assert cache.stats.stored_bytes == 200
    assert np.array_equal(cache.get("a"), noise(50, 1))
    assert not cache.put("a", noise(300))  # too large: the old one stays
    assert np.array_equal(cache.get("a"), noise(50, 1))


def test_stored_arrays_cannot_be_changed_from_outside() -> None:
    cache = ArrayCache(10**6)
    large = noise(10_000)
    part = large[:100]
    cache.put("part", part)
    assert cache.stats.stored_bytes == 400  # not the whole that the view would keep alive
    part[:] = 0
    found = cache.get("part")
    assert np.array_equal(found, noise(10_000)[:100])
    with pytest.raises(ValueError, match="read-only"):
        found[0] = 1.0  # type: ignore[index]


def test_pop_makes_room() -> None:
    cache = ArrayCache(400)
    cache.put("a", noise(100))
    assert np.array_equal(cache.pop("a"), noise(100))
    assert cache.pop("a") is None
    assert cache.put("b", noise(100, 1))


def test_release_drops_everything_and_halves_the_bound() -> None:
    cache = ArrayCache(1000)
    cache.put("a", noise(200))
    assert cache.release() == 800
    assert cache.get("a") is None
    assert (cache.stats.stored_bytes, cache.stats.max_bytes) == (0, 500)
    assert not cache.put("a", noise(200))


def test_zero_bytes_keep_nothing_and_a_negative_bound_is_refused() -> None:
    cache = ArrayCache(0)
    assert not cache.put("a", noise(0))
    assert np.array_equal(cache.get_or_load("a", lambda: noise(3)), noise(3))
    assert cache.stats.items == 0
    with pytest.raises(ValueError, match="max_bytes is -1"):
        ArrayCache(-1)


def test_loads_once_and_counts_hits() -> None:
    cache = ArrayCache(10**6)
    loads: list[str] = []

    def load() -> np.ndarray:
        loads.append("a")
        return noise(10)

    for _ in range(4):
        assert np.array_equal(cache.get_or_load("a", load), noise(10))
    assert loads == ["a"]
    assert (cache.stats.hits, cache.stats.misses, cache.stats.hit_share) == (3, 1, 0.75)
    assert ArrayCache(5).stats.hit_share == 0.0


def test_a_failed_load_stores_nothing() -> None:
    cache = ArrayCache(10**6)

    def fail() -> np.ndarray:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        cache.get_or_load("a", fail)
    assert cache.stats.items == 0


def test_keeping_the_first_half_beats_the_last_used_half_over_shuffled_epochs() -> None:
    """The numbers of the docstring, by simulation: 50 % against 15 %."""
    items, room, epochs = 400, 200, 12
    orders = [np.random.default_rng(e).permutation(items).tolist() for e in range(epochs)]
    cache = ArrayCache(room * 4)
    for key in (key for order in orders for key in order):
        cache.get_or_load(key, lambda: np.full(1, 0.1, dtype=np.float32))
    recent: dict[int, None] = {}
    lru_hits = 0
    for key in (key for order in orders for key in order):
        lru_hits += key in recent
        recent.pop(key, None)
        recent[key] = None
        if len(recent) > room:
            del recent[next(iter(recent))]
    later = items * (epochs - 1)
    assert cache.stats.hits / later == 0.5
    assert lru_hits / later == pytest.approx(0.5 + 0.5 * np.log(0.5), abs=0.02)


def test_many_threads_never_break_the_bound() -> None:
    cache = ArrayCache(20_000)
    wrong: list[object] = []

    def work(seed: int) -> None:
        for key in np.random.default_rng(seed).integers(0, 60, 300).tolist():
            if not np.array_equal(cache.get_or_load(key, lambda key=key: noise(250, key)), noise(250, key)):
                wrong.append(key)
            if key % 7 == 0:
                cache.pop(key)
            if cache.stats.stored_bytes > 20_000:
                wrong.append("bound")

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert cache.stats.stored_bytes == 1000 * cache.stats.items


def test_default_size_is_the_data_or_half_of_the_free_memory_or_nothing_from_10_gb_on() -> None:
    size = {"sample_rate_hz": 16_000, "available_bytes": 8_000_000_000}
    assert default_cache_bytes(100.0, **size) == 6_400_000
    assert default_cache_bytes(100_000.0, **size) == 4_000_000_000
    assert default_cache_bytes(156_250.0, **size) == 0  # 10 GB as float32
    assert default_cache_bytes(10.0, sample_rate_hz=16_000) == 640_000  # by this machine's own memory


def test_a_system_that_does_not_tell_its_memory_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "read_memory", lambda: Memory(total=None, limit=None, available=None))
    with pytest.raises(MissingPart, match="psutil"):
        default_cache_bytes(10.0, sample_rate_hz=16_000)
