"""How many models are held, which is given up, and that threads load one model once."""

import gc
import weakref
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event

import pytest

from harken.inference.loaded_models import LoadedModels


class Model:
    def __init__(self, name: str) -> None:
        self.name = name


class Shelf:
    """Loads models, and says which it has loaded."""

    def __init__(self, most: int) -> None:
        self.loads: list[str] = []
        self.models = LoadedModels(self._load, most=most, kept={"kept": Model("kept")})

    def _load(self, name: str) -> Model:
        self.loads.append(name)
        return Model(name)

    def ask(self, names: str) -> None:
        assert [self.models.get(name).name for name in names] == list(names)


def test_a_model_is_loaded_once_while_it_is_held() -> None:
    shelf = Shelf(most=2)
    assert shelf.models.get("a") is shelf.models.get("a")
    assert shelf.loads == ["a"]


@pytest.mark.parametrize(
    ("most", "asked", "loaded"),
    [
        (1, "abab", "abab"),
        (2, "abab", "ab"),
        (2, "abcb", "abc"),  # a goes for c, b stays
        (2, "abacab", "abcb"),  # b goes for c, since a was used after it; then c for b
        (3, "abcabc", "abc"),
    ],
)
def test_the_least_recently_used_is_given_up(most: int, asked: str, loaded: str) -> None:
    shelf = Shelf(most)
    shelf.ask(asked)
    assert "".join(shelf.loads) == loaded


def test_what_is_given_up_leaves_the_memory_before_the_next_comes() -> None:
    alive: list[weakref.ref[Model]] = []
    counts = []

    def load(name: str) -> Model:
        gc.collect()
        counts.append(sum(model() is not None for model in alive))
        made = Model(name)
        alive.append(weakref.ref(made))
        return made

    models = LoadedModels(load, most=2)
    for name in "abcde":
        models.get(name)
    assert counts == [0, 1, 1, 1, 1]


def test_kept_models_count_for_nothing_and_are_never_given_up() -> None:
    shelf = Shelf(most=1)
    kept = shelf.models.get("kept")
    shelf.ask("ab")
    assert shelf.models.get("kept") is kept
    assert shelf.loads == ["a", "b"]
    assert [name in shelf.models for name in ("kept", "a", "b")] == [True, False, True]


def test_threads_wait_for_one_load_and_not_for_others() -> None:
    begun, may_end = Event(), Event()
    loads: list[str] = []

    def load(name: str) -> Model:
        loads.append(name)
        if name == "slow":
            begun.set()
            assert may_end.wait(10)
        return Model(name)

    models = LoadedModels(load, most=2)
    with ThreadPoolExecutor(4) as pool:
        slow = [pool.submit(models.get, "slow") for _ in range(3)]
        assert begun.wait(10)
        assert pool.submit(models.get, "quick").result(10).name == "quick"
        assert not any(future.done() for future in slow)
        may_end.set()
        assert len({id(future.result(10)) for future in slow}) == 1
    assert sorted(loads) == ["quick", "slow"]


def test_many_threads_and_few_places() -> None:
    shelf, start = Shelf(most=2), Barrier(8)

    def ask(seed: int) -> list[str]:
        start.wait(10)
        return [shelf.models.get("abc"[(seed + step) % 3]).name for step in range(200)]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(ask, range(8)))
    assert found == [["abc"[(seed + step) % 3] for step in range(200)] for seed in range(8)]
    assert sum(name in shelf.models for name in "abc") == 2


def test_what_failed_is_tried_again() -> None:
    answers = iter([OSError("the disk is gone"), Model("a")])

    def load(_name: str) -> Model:
        answer = next(answers)
        if isinstance(answer, OSError):
            raise answer
        return answer

    models = LoadedModels(load, most=1)
    with pytest.raises(OSError, match="the disk is gone"):
        models.get("a")
    assert "a" not in models
    assert models.get("a").name == "a"


def test_no_places_are_refused() -> None:
    with pytest.raises(ValueError, match="most is 0; use 1 or more"):
        LoadedModels(Model, most=0)
