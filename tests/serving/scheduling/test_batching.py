"""Which audio shares a pass."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harken.serving.contract import Priority
from harken.serving.decoding.decoded import DecodedAudio
from harken.serving.scheduling.batching import in_order, is_full, next_batch
from harken.serving.scheduling.settings import QueueSettings
from harken.serving.scheduling.work import Work

ONE, OTHER = object(), object()


def work(duration_s: float, *, at_s: float = 0.0, recognizer: Any = ONE, priority: Priority = Priority.REQUEST) -> Work:
    audio = DecodedAudio(Path("none"), samples=int(16_000 * duration_s), sample_rate_hz=16_000)
    return Work(audio=audio, waveform=np.zeros(1, np.float32), recognizer=recognizer, priority=priority, arrived_s=at_s)


def test_nothing_waits() -> None:
    assert next_batch([], QueueSettings()) == []


def test_the_first_comes_first_and_lengths_are_alike() -> None:
    waiting = [work(10, at_s=2), work(20, at_s=1), work(30, at_s=3), work(5, at_s=4), work(12, at_s=5)]
    settings = QueueSettings(stretch=2.0, batch_s=100.0)
    assert [w.duration_s for w in next_batch(waiting, settings)] == [20, 10, 12]


def test_padding_counts() -> None:
    waiting = [work(10, at_s=1), work(15, at_s=2), work(10, at_s=3)]
    assert [w.duration_s for w in next_batch(waiting, QueueSettings(batch_s=30.0))] == [10, 15]
    assert [w.duration_s for w in next_batch(waiting, QueueSettings(batch_s=29.0))] == [10, 10]


def test_one_alone_may_be_longer_than_a_batch() -> None:
    assert len(next_batch([work(50), work(50)], QueueSettings(batch_s=30.0))) == 1


def test_short_ones_count_as_alike() -> None:
    waiting = [work(0.1), work(3.0), work(10.0)]
    assert len(next_batch(waiting, QueueSettings(short_s=3.0, stretch=1.5))) == 2


def test_different_answers_never_share() -> None:
    waiting = [work(5, at_s=1, recognizer=OTHER), work(5, at_s=2), work(5, at_s=3, recognizer=OTHER)]
    assert [w.arrived_s for w in next_batch(waiting, QueueSettings())] == [1, 3]


def test_the_number_is_limited() -> None:
    assert len(next_batch([work(1) for _ in range(20)], QueueSettings(max_batch=16))) == 16


def test_requests_go_first_and_jobs_have_their_turn() -> None:
    job = work(1, at_s=0, priority=Priority.JOB)
    early, late = work(1, at_s=29), work(1, at_s=31)
    assert in_order([late, job, early], QueueSettings(age_s=30.0)) == [early, job, late]


def test_a_batch_is_full_where_nothing_like_it_has_room() -> None:
    settings = QueueSettings(batch_s=30.0, max_batch=3)
    assert not is_full([work(10)], settings)
    assert is_full([work(16)], settings)
    assert is_full([work(1), work(1), work(1)], settings)


@pytest.mark.parametrize(
    ("name", "value"),
    [("max_requests", 0), ("batch_s", 0.0), ("max_wait_s", -1.0), ("stretch", 0.5), ("job_share", 0.0)],
)
def test_wrong_settings_are_named(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{name} is {value}; use "):
        QueueSettings(**{name: value})
