"""Duration buckets over a million utterances: time to the order of an epoch, memory, padding, and a far resume.

Rivals, where they are installed: transformers' `group_by_length` on the same million (a fixed number of utterances per
batch), and lhotse's DynamicBucketingSampler on fewer, because it walks through Python objects.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.harness import Timing, interleaved, peak_memory
from harken.data.sampler import BucketPlan, BucketSampler, plan_buckets

NAME = "sampler"
UTTERANCES = 1_000_000
FEWER = 20_000
BUCKETS = 30
BATCH_SECONDS = 200.0
RESUME_STEP = 100_000
ROUNDS = 5

LIMIT_ORDER_S, LIMIT_ORDER_BYTES, LIMIT_PADDING, LIMIT_RESUME_S = 2.0, 200e6, 0.05, 0.05


def run() -> dict[str, Any]:
    durations = log_normal(UTTERANCES)
    few = durations[:FEWER]
    plan = plan_buckets(durations, buckets=BUCKETS, batch_seconds=BATCH_SECONDS)
    contenders = {
        "order": lambda: order_epoch(durations),
        "resume": lambda: resume(durations, plan),
        "order of fewer": lambda: order_epoch(few),
    }
    transformers_order, lhotse_order = _transformers(durations), _lhotse(few)
    if transformers_order:
        contenders["transformers"] = transformers_order
    if lhotse_order:
        contenders["lhotse"] = lhotse_order
    times = interleaved(contenders, ROUNDS)
    padding = BucketSampler(durations, plan, seed=1).padding_share()
    memory = peak_memory("benchmarks.bench_sampler:order_in_a_fresh_process")
    order, far = times["order"], times["resume"]
    return {
        "name": NAME,
        "title": f"Order of an epoch of {UTTERANCES:,} utterances",
        "target": f"order ready in at most {LIMIT_ORDER_S:g} s CPU and {LIMIT_ORDER_BYTES / 1e6:g} MB, padding at most "
        f"{LIMIT_PADDING:.0%} with {BUCKETS} buckets, resume at step {RESUME_STEP:,} in at most "
        f"{LIMIT_RESUME_S * 1e3:g} ms",
        "met": order.median_cpu_s <= LIMIT_ORDER_S
        and memory.added_bytes <= LIMIT_ORDER_BYTES
        and padding <= LIMIT_PADDING
        and far.median_cpu_s <= LIMIT_RESUME_S,
        "figures": {
            "plan, sort and order": _figure(order),
            "memory added": {"value": memory.added_bytes / 1e6, "unit": "MB"},
            "padding": {"value": 100 * padding, "unit": "%"},
            "sort and resume": _figure(far),
            f"plan, sort and order of {FEWER:,}": _figure(times["order of fewer"]),
        },
        "rivals": _rivals(times, durations),
    }


def log_normal(count: int) -> npt.NDArray[np.float64]:
    """Durations like those of read speech: mean 6 s, 95th percentile 13.5 s, 0.3 to 40 s."""
    spread = 0.606
    draws = np.random.default_rng(0).lognormal(math.log(6) - spread**2 / 2, spread, count)
    return draws.clip(0.3, 40.0)


def order_epoch(durations: npt.NDArray[np.float64]) -> None:
    plan = plan_buckets(durations, buckets=BUCKETS, batch_seconds=BATCH_SECONDS)
    BucketSampler(durations, plan, seed=1).epoch_order(0)


def resume(durations: npt.NDArray[np.float64], plan: BucketPlan) -> None:
    """What a new process does: build the sampler, ask for the batch at a step far in."""
    sampler = BucketSampler(durations, plan, seed=1)
    sampler.batch(*divmod(RESUME_STEP, sampler.steps_per_epoch))


def order_in_a_fresh_process() -> None:
    order_epoch(log_normal(UTTERANCES))


def _transformers(durations: npt.NDArray[np.float64]) -> Any:
    try:
        from transformers.trainer_pt_utils import get_length_grouped_indices
    except ImportError:
        return None
    lengths = durations.tolist()
    return lambda: get_length_grouped_indices(lengths, batch_size=32)


def _lhotse(durations: npt.NDArray[np.float64]) -> Any:
    try:
        from lhotse import CutSet, MonoCut
        from lhotse.dataset.sampling import DynamicBucketingSampler
    except ImportError:
        return None
    cuts = CutSet.from_cuts(
        MonoCut(id=str(number), start=0.0, duration=seconds, channel=0)
        for number, seconds in enumerate(durations.round(3).tolist())
    )

    def order() -> None:
        sampler = DynamicBucketingSampler(cuts, max_duration=BATCH_SECONDS, num_buckets=BUCKETS, shuffle=True, seed=1)
        for _ in sampler:
            pass

    return order


def _rivals(times: dict[str, Timing], durations: npt.NDArray[np.float64]) -> dict[str, Any]:
    rivals: dict[str, Any] = {}
    if "transformers" in times:
        from transformers.trainer_pt_utils import get_length_grouped_indices

        order = np.array(get_length_grouped_indices(durations.tolist(), batch_size=32))
        batches = durations[order[: len(order) // 32 * 32]].reshape(-1, 32)
        rivals["transformers group_by_length"] = {
            **times["transformers"].as_json(),
            "utterances": len(durations),
            "padding_percent": 100 * (1 - batches.sum() / (batches.max(axis=1).sum() * 32)),
            "cpu_ratio": times["transformers"].median_cpu_s / times["order"].median_cpu_s,
        }
    if "lhotse" in times:
        rivals["lhotse DynamicBucketingSampler"] = {
            **times["lhotse"].as_json(),
            "utterances": FEWER,
            "cpu_ratio": times["lhotse"].median_cpu_s / times["order of fewer"].median_cpu_s,
        }
    return rivals


def _figure(timing: Timing) -> dict[str, Any]:
    return {
        "value": timing.median_cpu_s,
        "unit": "s CPU",
        "median": timing.median_cpu_s,
        "spread": [min(timing.cpu_s), max(timing.cpu_s)],
        "cpu_s": timing.median_cpu_s,
        "wall_s": timing.median_wall_s,
    }
