"""Batches prepared in the background: the same with any number of workers, in order, and nothing left behind."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from harken.audio.features import FeatureConfig, FeatureExtractor
from harken.core import Features, InputError, Utterance, Waveform, keyed_generator
from harken.data.batch import Batch, collate
from harken.data.cache import ArrayCache
from harken.data.loader import BatchLoader
from harken.data.packing import PackedSampler, Sizes
from harken.data.reader import Augmentation, UtteranceFailed, UtteranceReader
from harken.data.rows import UtteranceRows, WindowRows
from harken.data.sampler import BucketPlan, BucketSampler

RATE = 1000


class Frames:
    """Ten samples a frame, two numbers each: mean and last sample."""

    dimensions = 2
    hop_s = 0.01

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, waveform: Waveform) -> Features:
        self.calls += 1
        whole = waveform[: len(waveform) // 10 * 10].reshape(-1, 10)
        return np.stack([whole.mean(axis=1), whole[:, -1]], axis=1)


class Store:
    """Audio by utterance number, and how often each was loaded."""

    def __init__(self) -> None:
        self.loads: Counter[str] = Counter()

    def __call__(self, utterance: Utterance) -> Waveform:
        self.loads[utterance.id] += 1
        samples = round(utterance.duration_s * RATE)
        return np.random.default_rng(int(utterance.id[1:])).standard_normal(samples).astype(np.float32)


UTTERANCES = [Utterance(id=f"u{i}", audio=f"/a/{i}.wav", duration_s=0.1 + 0.013 * (i * 7 % 20)) for i in range(41)]
LABELS = [list(range(1, 2 + i % 5)) for i in range(41)]
AUGMENTATION = Augmentation(
    waveform=lambda x, generator: x[: len(x) - int(generator.integers(0, 30))] * np.float32(generator.uniform(0.5, 1)),
    features=lambda x, generator: x + generator.standard_normal(x.shape, dtype=np.float32),
)


def make(
    *,
    load: Callable[[Utterance], Waveform] | None = None,
    augmentation: Callable[[int], Augmentation] | Augmentation | None = None,
    cache: ArrayCache | None = None,
    extractor: Frames | None = None,
    workers: int = 2,
    prefetch: int = 2,
    **ranks: int,
) -> BatchLoader:
    durations = [u.duration_s for u in UTTERANCES]
    sampler = BucketSampler(durations, BucketPlan(edges_s=(0.2, 0.4), batch_sizes=(6, 4)), seed=3, **ranks)  # type: ignore[arg-type]
    reader = UtteranceReader(extractor or Frames(), load or Store(), seed=3, cache=cache, augmentation=augmentation)
    return BatchLoader(sampler, UtteranceRows(UTTERANCES, reader, LABELS), workers=workers, prefetch=prefetch)


def same(a: Batch, b: Batch) -> bool:
    return all(
        np.array_equal(x, y) if isinstance(x, np.ndarray) else x == y
        for x, y in ((getattr(a, f.name), getattr(b, f.name)) for f in fields(Batch))
    )


def loader_threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("harken-loader")]


@pytest.fixture(autouse=True)
def _no_thread_is_left_behind() -> object:
    yield
    assert loader_threads() == []


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("cache_bytes", [0, 20_000, 10**7])
@pytest.mark.parametrize("augmentation", [None, AUGMENTATION, Augmentation(features=AUGMENTATION.features)])
def test_workers_and_cache_change_nothing(workers: int, cache_bytes: int, augmentation: Augmentation | None) -> None:
    plain = make(augmentation=augmentation, workers=0)
    other = make(augmentation=augmentation, workers=workers, cache=ArrayCache(cache_bytes))
    steps = 2 * plain.sampler.steps_per_epoch + 3
    count = 0
    for expected, batch in zip(plain.iterate(0, steps), other.iterate(0, steps), strict=True):
        assert same(expected, batch)
        count += 1
    assert count == steps
    assert other.batches == steps


def test_a_batch_is_the_padded_features_of_its_utterances() -> None:
    loader = make(workers=0)
    steps = loader.sampler.steps_per_epoch
    seen: list[str] = []
    for step, batch in enumerate(loader.iterate(0, steps)):
        indices = loader.sampler.batch(0, step).tolist()
        assert batch.ids == tuple(f"u{i}" for i in indices)
        seen += batch.ids
        expected = [Frames()(Store()(UTTERANCES[i])) for i in indices]
        assert batch.frames_B.tolist() == [len(x) for x in expected]
        assert batch.features_BFM.shape == (len(indices), max(map(len, expected)), 2)
        for row, x in zip(batch.features_BFM, expected, strict=True):
            assert np.array_equal(row[: len(x)], x)
            assert not row[len(x) :].any()
        assert batch.label_lengths_B.tolist() == [len(LABELS[i]) for i in indices]
        for row, i in zip(batch.labels_BT, indices, strict=True):
            assert row.tolist() == LABELS[i] + [0] * (batch.labels_BT.shape[1] - len(LABELS[i]))
        assert batch.duration_s == pytest.approx(sum(UTTERANCES[i].duration_s for i in indices))
        missing = len(expected) * max(map(len, expected)) - sum(map(len, expected))
        assert batch.padded_s == pytest.approx(missing * 0.01)
        types = [x.dtype for x in (batch.features_BFM, batch.frames_B, batch.labels_BT, batch.label_lengths_B)]
        assert types == [np.float32, np.int64, np.int64, np.int64]
    assert sorted(seen) == sorted(u.id for u in UTTERANCES)


def test_starting_in_the_middle_gives_what_a_whole_run_would_have_given() -> None:
    whole = list(make(augmentation=AUGMENTATION).iterate(0, 30))
    for batch, expected in zip(make(augmentation=AUGMENTATION).iterate(17, 30), whole[17:], strict=True):
        assert same(batch, expected)
    assert same(make(augmentation=AUGMENTATION).load(12), whole[12])
    assert list(make().iterate(5, 5)) == []
    with pytest.raises(ValueError, match="start_step is 6 and stop_step 5"):
        make().iterate(6, 5)


def test_augmentation_depends_on_epoch_and_utterance_alone() -> None:
    reader = make(augmentation=AUGMENTATION).rows.reader
    first = reader.features(UTTERANCES[4], 0)
    reader.features(UTTERANCES[5], 0)
    assert np.array_equal(reader.features(UTTERANCES[4], 0), first)
    assert reader.features(UTTERANCES[4], 1).tobytes() != first.tobytes()


def test_augmentation_may_change_with_the_epoch() -> None:
    loader = make(augmentation=lambda epoch: AUGMENTATION if epoch >= 1 else Augmentation())
    plain, augmented = make(workers=0), make(augmentation=AUGMENTATION, workers=0)
    steps = loader.sampler.steps_per_epoch
    for step, batch in enumerate(loader.iterate(0, 2 * steps)):
        assert same(batch, (plain if step < steps else augmented).load(step))


def test_features_are_computed_once_when_the_waveform_is_left_alone() -> None:
    store, extractor, cache = Store(), Frames(), ArrayCache(10**7)
    loader = make(
        load=store, extractor=extractor, cache=cache, augmentation=Augmentation(features=AUGMENTATION.features)
    )
    list(loader.iterate(0, 3 * loader.sampler.steps_per_epoch))
    assert set(store.loads.values()) == {1}
    assert extractor.calls == len(UTTERANCES)
    frames = sum(round(u.duration_s * RATE) // 10 for u in UTTERANCES)
    assert cache.stats.stored_bytes == frames * 2 * 4  # features only


def test_waveforms_are_kept_when_they_are_augmented() -> None:
    store, extractor, cache = Store(), Frames(), ArrayCache(10**7)
    loader = make(load=store, extractor=extractor, cache=cache, augmentation=AUGMENTATION)
    list(loader.iterate(0, 2 * loader.sampler.steps_per_epoch))
    assert set(store.loads.values()) == {1}
    assert extractor.calls == 2 * len(UTTERANCES)


def test_waveforms_of_an_earlier_check_make_room_for_features() -> None:
    store, cache = Store(), ArrayCache(10**7)
    loader = make(load=store, cache=cache)
    for utterance in UTTERANCES:
        loader.rows.reader.waveform(utterance)
    list(loader.iterate(0, loader.sampler.steps_per_epoch))
    assert set(store.loads.values()) == {1}
    frames = sum(round(u.duration_s * RATE) // 10 for u in UTTERANCES)
    assert cache.stats.stored_bytes == frames * 2 * 4


def test_one_cache_serves_manifests_that_use_the_same_ids() -> None:
    cache = ArrayCache(10**7)
    reader = UtteranceReader(Frames(), lambda u: np.full(20, len(u.audio), dtype=np.float32), seed=0, cache=cache)
    pieces = [
        Utterance(id="u", audio="/long/path.wav", duration_s=1.0),
        Utterance(id="u", audio="/b.wav", duration_s=1.0),
    ]
    assert [reader.waveform(u)[0] for u in pieces] == [14.0, 6.0]


def test_ranks_share_a_step_and_one_may_get_an_empty_batch() -> None:
    sampler = BucketSampler([1.0, 1.0], BucketPlan(edges_s=(1.0,), batch_sizes=(2,)), seed=0, world_size=3, rank=2)
    two = [Utterance(id=f"u{i}", audio=f"/{i}", duration_s=1.0) for i in range(2)]
    rows = UtteranceRows(two, UtteranceReader(Frames(), Store(), seed=0), [[1], [2]])
    batch = BatchLoader(sampler, rows).load(0)
    assert len(batch) == 0
    assert (batch.features_BFM.shape, batch.labels_BT.shape, batch.frames_B.shape) == ((0, 0, 2), (0, 0), (0,))
    assert (batch.duration_s, batch.padded_s) == (0, 0)


def test_without_labels_there_are_none() -> None:
    batch = collate(["a"], [np.ones((3, 2), np.float32)], None, dimensions=2, hop_s=0.01, duration_s=1.0)
    assert (batch.labels_BT.shape, batch.label_lengths_B.tolist()) == ((1, 0), [0])


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_a_broken_utterance_is_named_when_its_batch_is_due(workers: int) -> None:
    good = make(workers=0)
    unlucky = good.load(7).ids[-1]

    def load(utterance: Utterance) -> Waveform:
        if utterance.id == unlucky:
            raise InputError(f"{utterance.audio} is truncated.")
        return Store()(utterance)

    got: list[Batch] = []
    with pytest.raises(
        UtteranceFailed, match=rf"Utterance {unlucky} \(/a/\d+\.wav\).*InputError.*truncated"
    ) as failure:
        got += make(load=load, workers=workers).iterate(0, 20)  # noqa: PLW0127
    assert failure.value.utterance_id == unlucky
    assert isinstance(failure.value.__cause__, InputError)
    assert failure.value.exit_code == 4


def test_batches_before_a_broken_one_still_come() -> None:
    good = make(workers=0)
    unlucky = good.load(3).ids[0]

    def load(utterance: Utterance) -> Waveform:
        if utterance.id == unlucky:
            raise OSError("gone")
        return Store()(utterance)

    first = next(step for step in range(20) if unlucky in good.load(step).ids)
    batches = make(load=load, workers=3).iterate(0, 20)
    for step in range(first):
        assert same(next(batches), good.load(step))
    with pytest.raises(UtteranceFailed):
        next(batches)
    assert next(batches, None) is None


@pytest.mark.parametrize("how", ["break", "close", "consumer error"])
def test_leaving_early_stops_the_workers_promptly(how: str) -> None:
    made = Counter[str]()

    def slow(utterance: Utterance) -> Waveform:
        time.sleep(0.02)
        made[utterance.id] += 1
        return Store()(utterance)

    loader = make(load=slow, workers=3, prefetch=4)
    batches = loader.iterate(0, 10_000)
    next(batches)
    assert loader_threads()
    began = time.monotonic()
    if how == "consumer error":
        with pytest.raises(KeyboardInterrupt), closing(batches):
            raise KeyboardInterrupt
    elif how == "close":
        batches.close()
    else:
        for _ in batches:
            break
        del batches
    assert time.monotonic() - began < 1.0
    assert loader_threads() == []
    count = made.total()
    time.sleep(0.1)
    assert made.total() == count


def test_prefetch_bounds_what_is_made_ahead() -> None:
    started = Counter[int]()
    loader = make(workers=2, prefetch=3)
    make_batch = loader._make

    def counting(step: int, stop: threading.Event) -> Batch:
        started[step] += 1
        return make_batch(step, stop)

    loader._make = counting  # type: ignore[method-assign]
    with closing(loader.iterate(0, 1000)) as batches:
        for _ in range(3):
            next(batches)
        time.sleep(0.2)
        assert max(started) == 3 + 2 + 3 - 2  # the third batch is out, and five more follow it


def test_waiting_is_measured() -> None:
    def slow(utterance: Utterance) -> Waveform:
        time.sleep(0.01)
        return Store()(utterance)

    starved = make(load=slow, workers=1)
    list(starved.iterate(0, 5))
    assert 0.1 < starved.wait_s < 2.0
    fed = make(workers=1, prefetch=4)
    for _ in fed.iterate(0, 5):
        time.sleep(0.02)
    assert fed.wait_s < 0.05
    inline = make(load=slow, workers=0)
    list(inline.iterate(0, 5))
    assert inline.wait_s > 0.1


def test_misuse_is_refused() -> None:
    loader = make()
    reader = UtteranceReader(Frames(), Store(), seed=0)
    with pytest.raises(ValueError, match="workers is -1"):
        BatchLoader(loader.sampler, loader.rows, workers=-1)
    with pytest.raises(ValueError, match="prefetch is -1"):
        BatchLoader(loader.sampler, loader.rows, prefetch=-1)
    with pytest.raises(ValueError, match="40 utterances for a sampler of 41"):
        BatchLoader(loader.sampler, UtteranceRows(UTTERANCES[:-1], reader))
    with pytest.raises(ValueError, match="3 labels for 41 utterances"):
        UtteranceRows(UTTERANCES, reader, LABELS[:3])


@pytest.mark.parametrize("kind", ["kaldi", "whisper", "waveform"])
def test_with_the_real_features(kind: str) -> None:
    """Read-only arrays from the cache pass through the real front ends, whose results do not depend on it."""
    settings = {"waveform": {"dimensions": 1, "normalize": "mean-scale"}}.get(kind, {"normalize": "mean-scale"})
    if kind == "whisper":
        settings = {}
    extractor = FeatureExtractor(FeatureConfig(kind=kind, **settings))  # type: ignore[arg-type]
    audio = {f"u{i}": (np.arange(4000 + 100 * i) % 50 / 64).astype(np.float32) for i in range(6)}
    utterances = [Utterance(id=name, audio=f"/{name}", duration_s=len(x) / 16_000) for name, x in audio.items()]
    sampler = BucketSampler([u.duration_s for u in utterances], BucketPlan(edges_s=(1.0,), batch_sizes=(3,)), seed=0)
    results = []
    for cache_features in (True, False):
        reader = UtteranceReader(
            extractor, lambda u: audio[u.id], seed=0, cache=ArrayCache(10**7), cache_features=cache_features
        )
        results.append(list(BatchLoader(sampler, UtteranceRows(utterances, reader), workers=2).iterate(0, 4)))
    for cached, computed in zip(*results, strict=True):
        assert same(cached, computed)
        assert len(cached) == 3
    for name, x in audio.items():
        index = int(name[1:])
        assert np.array_equal(x, (np.arange(4000 + 100 * index) % 50 / 64).astype(np.float32))


def test_ctrl_c_in_a_real_process_ends_it_at_once(tmp_path: Path) -> None:
    script = tmp_path / "consume.py"
    script.write_text(
        textwrap.dedent(
            """
            import time
            import numpy as np
            from harken.core import Utterance
            from harken.data.loader import BatchLoader
            from harken.data.reader import UtteranceReader
            from harken.data.rows import UtteranceRows
            from harken.data.sampler import BucketPlan, BucketSampler

            class Frames:
                dimensions, hop_s = 1, 0.01
                def __call__(self, waveform):
                    return waveform.reshape(-1, 1)

            def load(utterance):
                time.sleep(0.01)
                return np.zeros(10, np.float32)

            utterances = [Utterance(id=f"u{i}", audio="/x", duration_s=1.0) for i in range(500)]
            sampler = BucketSampler([1.0] * 500, BucketPlan(edges_s=(1.0,), batch_sizes=(5,)), seed=0)
            rows = UtteranceRows(utterances, UtteranceReader(Frames(), load, seed=0))
            loader = BatchLoader(sampler, rows, workers=3)
            try:
                for number, batch in enumerate(loader.iterate(0, 100_000)):
                    if number == 3:
                        print("going", flush=True)
            except KeyboardInterrupt:
                import threading
                print("threads", threading.active_count(), flush=True)
            """
        )
    )
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "going\n"
        began = time.monotonic()
        os.kill(process.pid, signal.SIGINT)
        answer = process.stdout.read()
        assert process.wait(timeout=10) == 0
    assert time.monotonic() - began < 3.0
    assert answer == "threads 1\n"


def test_a_window_is_its_utterances_end_to_end() -> None:
    """Each is augmented as it is alone; features and labels are those of the whole."""
    seen: list[tuple[list[int], list[tuple[float, float]], float]] = []

    def label(item: Sequence[int], spans: Sequence[tuple[float, float]], generator: np.random.Generator) -> list[int]:
        seen.append((list(item), list(spans), generator.random()))
        return [LABELS[place][0] for place in item]

    louder = Augmentation(waveform=lambda x, g: x * np.float32(1 + g.random()), features=lambda x, g: x + g.random())
    reader = UtteranceReader(Frames(), Store(), seed=3, augmentation=louder)
    rows = WindowRows(UTTERANCES, reader, label, sample_rate_hz=RATE)
    assert (rows.utterances, rows.dimensions, rows.hop_s) == (41, 2, 0.01)
    row = rows.row([4, 0, 7], 2, lambda: None)
    assert row.id == "u4 + u0 + u7"
    assert row.duration_s == pytest.approx(sum(UTTERANCES[i].duration_s for i in (4, 0, 7)))
    assert row.labels == [1, 1, 1]
    parts = [Store()(UTTERANCES[i]) for i in (4, 0, 7)]
    gains = [1 + keyed_generator(3, 2, f"u{i}").random() for i in (4, 0, 7)]
    joined = np.concatenate([part * np.float32(gain) for part, gain in zip(parts, gains, strict=True)])
    ends = np.cumsum([len(part) for part in parts]) / RATE
    assert seen[0][:2] == ([4, 0, 7], list(zip([0.0, *ends[:-1]], ends.tolist(), strict=True)))
    window = keyed_generator(3, 2, "window", "u4", "u0", "u7")
    np.testing.assert_array_equal(row.features, Frames()(joined) + window.random())
    assert seen[0][2] == window.random()  # after what the features took


def test_windows_through_the_loader_are_the_same_with_threads() -> None:
    sizes = Sizes(
        durations_s=np.array([u.duration_s for u in UTTERANCES]), tokens=np.ones(41, np.int64), kinds=[0] * 41
    )
    sampler = PackedSampler(sizes, window_s=1.0, longest_tokens=9, batch_size=2, seed=5)
    reader = UtteranceReader(Frames(), Store(), seed=3, augmentation=AUGMENTATION)
    rows = WindowRows(UTTERANCES, reader, lambda item, _spans, _generator: list(item), sample_rate_hz=RATE)
    steps = 2 * sampler.steps_per_epoch
    inline = list(BatchLoader(sampler, rows, workers=0).iterate(0, steps))
    for expected, batch in zip(inline, BatchLoader(sampler, rows, workers=3).iterate(0, steps), strict=True):
        assert same(expected, batch)
    ids = [name for batch in inline[: sampler.steps_per_epoch] for row in batch.ids for name in row.split(" + ")]
    assert sorted(ids) == sorted(u.id for u in UTTERANCES)


def test_a_broken_utterance_of_a_window_is_named() -> None:
    def load(utterance: Utterance) -> Waveform:
        if utterance.id == "u7":
            raise OSError("gone")
        return Store()(utterance)

    rows = WindowRows(UTTERANCES, UtteranceReader(Frames(), load, seed=3), lambda *_: [1], sample_rate_hz=RATE)
    with pytest.raises(UtteranceFailed, match=r"Utterance u7 \(/a/7.wav\) could not be loaded: OSError: gone"):
        rows.row([4, 7, 0], 0, lambda: None)
