"""`harken.serving.garbage`: when the collector is kept still."""

import asyncio
import gc

import pytest

from harken.serving.garbage import keep_still


def test_the_collector_is_still_once_all_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    done, answers = [], iter([False, False, True])
    monkeypatch.setattr(gc, "collect", lambda: done.append("collect"))
    monkeypatch.setattr(gc, "freeze", lambda: done.append("freeze"))

    def is_loaded() -> bool:
        done.append("look")
        return next(answers)

    asyncio.run(keep_still(is_loaded))
    assert done == ["look", "look", "look", "collect", "freeze"]
