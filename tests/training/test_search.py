"""A search on the tones: settings that cannot learn lose, and a broken search goes on."""

import json
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from harken.core import InputError, parse_settings
from harken.training.loop import Interrupted
from harken.training.progress import SilentView, Standing
from harken.training.recipe import Recipe
from harken.training.search import Parameter, SearchConfig, Trial, search, search_table

pytest.importorskip("optuna", reason="needs the extra `search`")

MakeRecipe = Callable[..., Recipe]
RATES = {"optimizer.learning_rate": Parameter(choices=(2e-2, 1e-7))}


def maker(tiny_recipe: MakeRecipe, *common: str) -> Callable[[Sequence[str]], Recipe]:
    return lambda settings: tiny_recipe("training.updates=24", "training.evaluate_every=6", *common, *settings)


def test_a_rate_that_cannot_learn_loses(tiny_recipe: MakeRecipe, tmp_path: Path) -> None:
    told: list[Trial] = []
    config = SearchConfig(parameters=RATES, trials=5, early_stopping=False)
    result = search(maker(tiny_recipe), config, tmp_path, on_trial=told.append)
    assert [trial.number for trial in result.trials] == [0, 1, 2, 3, 4]
    assert list(result.trials) == told
    tried = {trial.settings["optimizer.learning_rate"] for trial in result.trials}
    assert tried == {2e-2, 1e-7}
    assert result.best is not None
    assert result.best.settings == {"optimizer.learning_rate": 2e-2}
    assert all(trial.updates == 24 for trial in result.trials)
    slow = [trial.wer for trial in result.trials if trial.settings["optimizer.learning_rate"] == 1e-7]
    assert min(wer for wer in slow if wer is not None) > (result.best.wer or 0.0)
    assert json.loads((tmp_path / "search.json").read_text())["best"] == result.best.number
    assert (tmp_path / "search.png").read_bytes().startswith(b"\x89PNG")
    lines = search_table(result).splitlines()
    assert lines[0].split() == ["trial", "state", "WER", "%", "updates", "optimizer.learning_rate"]
    assert lines[1].split()[0] == str(result.best.number)


def test_the_same_seed_tries_the_same_settings(tiny_recipe: MakeRecipe, tmp_path: Path) -> None:
    space = {"optimizer.learning_rate": Parameter(low=1e-4, high=1e-1, log=True)}
    config = SearchConfig(parameters=space, trials=2, seed=3)
    first = search(maker(tiny_recipe, "training.updates=2"), config, tmp_path / "a")
    again = search(maker(tiny_recipe, "training.updates=2"), config, tmp_path / "b")
    assert [trial.settings for trial in first.trials] == [trial.settings for trial in again.trials]
    assert all(1e-4 <= trial.settings["optimizer.learning_rate"] <= 1e-1 for trial in first.trials)


def test_a_trial_that_falls_behind_is_stopped(tiny_recipe: MakeRecipe, tmp_path: Path) -> None:
    config = SearchConfig(parameters={"optimizer.learning_rate": Parameter(choices=(2e-2, 1e-7))}, trials=8)
    result = search(maker(tiny_recipe), config, tmp_path)
    stopped = [trial for trial in result.trials if trial.state == "stopped"]
    assert stopped
    assert all(trial.updates < 24 and "other trials were better there" in trial.cause for trial in stopped)
    assert result.best is not None
    assert result.best.settings == {"optimizer.learning_rate": 2e-2}


class StopAt(SilentView):
    def __init__(self, shown: int) -> None:
        self.left = shown

    def show(self, standing: Standing) -> None:
        self.left -= 1
        if self.left == 0:
            signal.raise_signal(signal.SIGINT)


def test_a_broken_search_goes_on(tiny_recipe: MakeRecipe, tmp_path: Path) -> None:
    config = SearchConfig(parameters=RATES, trials=3, early_stopping=False)
    with pytest.raises(Interrupted):
        search(maker(tiny_recipe), config, tmp_path, view=StopAt(30))  # in the second trial
    result = search(maker(tiny_recipe), config, tmp_path)
    assert [trial.state for trial in result.trials] == ["finished", "failed", "finished"]
    assert result.trials[1].cause == "its process ended"
    assert len(search(maker(tiny_recipe), config, tmp_path).trials) == 3  # nothing more to do
    other = SearchConfig(parameters={"optimizer.weight_decay": Parameter(choices=(0.0, 0.1))})
    with pytest.raises(InputError, match=r"holds a search over optimizer\.learning_rate, not over optimizer\.weight_"):
        search(maker(tiny_recipe), other, tmp_path)


def test_a_failing_trial_is_listed_with_its_cause(tiny_recipe: MakeRecipe, tmp_path: Path) -> None:
    space = {"batches.update_samples": Parameter(choices=(4, 8)), "schedule.warmup_updates": Parameter(choices=(0, 99))}

    def make(settings: Sequence[str]) -> Recipe:
        return tiny_recipe("training.updates=null", "training.epochs=1", *settings)  # 99 is more than its updates

    result = search(make, SearchConfig(parameters=space, trials=4), tmp_path)
    failed = [trial for trial in result.trials if trial.settings["schedule.warmup_updates"] == 99]
    assert failed
    assert all(trial.state == "failed" and "The warm-up takes 99 updates" in trial.cause for trial in failed)


def test_settings_no_recipe_has_are_refused_before_any_trial(tiny_recipe: MakeRecipe, tmp_path: Path) -> None:
    config = SearchConfig(parameters={"optimizer.learning_rat": Parameter(choices=(1,))})
    with pytest.raises(InputError, match="learning_rat"):
        search(maker(tiny_recipe), config, tmp_path / "search")
    assert not (tmp_path / "search").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"parameters": {}}, "parameters is empty"),
        ({"parameters": {"a": {"choices": [1], "low": 0}}}, "give choices, or low and high"),
        ({"parameters": {"a": {"low": 2, "high": 1}}}, "low below high"),
        ({"parameters": {"a": {"low": 0, "high": 1, "log": True}}}, "use a number above 0 with log"),
        ({"parameters": {"a": {"low": 0.5, "high": 2, "whole": True}}}, "use whole numbers with whole"),
        ({"parameters": {"a": {"choices": [1], "log": True}}}, "log and whole belong to low and high"),
        ({"parameters": {"a": {"choices": [1]}}, "trials": 0}, "trials is 0"),
    ],
)
def test_a_space_that_makes_no_sense(settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_settings(SearchConfig, settings, source="space.yaml")


@pytest.mark.parametrize(("low", "high"), [(1.0, float("inf")), (float("-inf"), 1.0), (float("nan"), 1.0)])
def test_a_range_without_end_is_refused(low: float, high: float) -> None:
    with pytest.raises(ValueError, match="use two numbers, low below high"):
        Parameter(low=low, high=high)


@pytest.mark.parametrize(
    "other", [Parameter(choices=(2e-2, 1e-3)), Parameter(low=1e-4, high=1e-2), Parameter(low=1, high=3, whole=True)]
)
def test_a_search_over_other_values_is_another_search(
    tiny_recipe: MakeRecipe, tmp_path: Path, other: Parameter
) -> None:
    make = maker(tiny_recipe, "training.updates=1")
    search(make, SearchConfig(parameters=RATES, trials=1), tmp_path)
    journal = (tmp_path / "search.log").read_bytes()
    changed = SearchConfig(parameters={"optimizer.learning_rate": other}, trials=2)
    with pytest.raises(InputError, match=r"with other values of optimizer\.learning_rate\. Name another folder\."):
        search(make, changed, tmp_path)
    assert (tmp_path / "search.log").read_bytes().startswith(journal)
    assert len(search(make, SearchConfig(parameters=RATES, trials=1), tmp_path).trials) == 1


@pytest.mark.parametrize("content", [b"", b"mine", b"mine\n", b"[1]\n", b"\x93\xfa\n"])
def test_a_file_that_is_no_journal_stays(tiny_recipe: MakeRecipe, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "search.log").write_bytes(content)
    with pytest.raises(InputError, match=r"search\.log is not the journal of a search\."):
        search(maker(tiny_recipe), SearchConfig(parameters=RATES), tmp_path)
    assert (tmp_path / "search.log").read_bytes() == content


def test_data_that_cannot_be_used_costs_no_trial(tiny_recipe: MakeRecipe, tmp_path: Path) -> None:
    make = maker(tiny_recipe, "data.train=absent.jsonl")
    with pytest.raises(InputError, match=r"absent\.jsonl does not exist"):
        search(make, SearchConfig(parameters=RATES), tmp_path / "out")
    assert not (tmp_path / "out").exists()
