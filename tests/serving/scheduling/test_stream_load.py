"""Files see how far live streams are behind."""

import threading
import time

import pytest

from harken.serving.scheduling.stream_load import StreamLoad


def test_whoever_waits_goes_on_once_nothing_is_pending() -> None:
    load = StreamLoad()
    assert load.wait_quiet(0)
    load.add(2)
    assert load.pending == 2
    assert not load.wait_quiet(0.02)
    load.remove()
    began = time.monotonic()
    threading.Timer(0.05, load.remove).start()
    assert load.wait_quiet(5.0)
    assert 0.03 < time.monotonic() - began < 1.0


def test_more_is_never_removed_than_added() -> None:
    with pytest.raises(ValueError, match="chunks is 1; only 0 wait"):
        StreamLoad().remove()
