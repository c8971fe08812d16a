from collections.abc import Callable

import pytest

from harken.core import InputError, Utterance, parse_settings
from harken.data.importers import Rejection
from harken.data.select import SelectConfig, select_utterances

Make = Callable[..., Utterance]


@pytest.fixture
def items(make_utterance: Make) -> list[Utterance]:
    return [
        make_utterance(f"u{n}", duration_s=float(n + 1), language="uz" if n % 2 else "ru", speaker=f"s{n % 3}")
        for n in range(12)
    ]


def test_strict_five_to_ten_seconds(items: list[Utterance]) -> None:
    found = select_utterances(items, SelectConfig(min_duration_s=5, max_duration_s=10))
    assert [item.duration_s for item in found.kept] == [5, 6, 7, 8, 9, 10]
    assert found.rejected[0] == Rejection(item="u0", reason="it lasts 1.000 s, less than 5 s")
    assert found.rejected[-1].reason == "it lasts 12.000 s, more than 10 s"
    assert len(found.kept) + len(found.rejected) == len(items)


def test_language_speaker_and_text(items: list[Utterance], make_utterance: Make) -> None:
    found = select_utterances(items, SelectConfig(languages=("uz",), speakers=("s0", "s1")))
    assert [item.id for item in found.kept] == ["u1", "u3", "u7", "u9"]
    silent = [make_utterance("a", text=None), make_utterance("b", text=" "), make_utterance("c")]
    assert [item.id for item in select_utterances(silent, SelectConfig(require_text=True)).kept] == ["c"]
    unknown = select_utterances(silent, SelectConfig(languages=("uz",)))
    assert {rejection.reason for rejection in unknown.rejected} == {"its language is unknown"}


def test_a_number_is_drawn_whatever_the_order(items: list[Utterance]) -> None:
    drawn = select_utterances(items, SelectConfig(max_utterances=5))
    other = select_utterances(items[::-1], SelectConfig(max_utterances=5))
    assert len(drawn.kept) == 5
    assert {item.id for item in drawn.kept} == {item.id for item in other.kept}
    assert {r.reason for r in drawn.rejected} == {"not drawn: 5 utterances are the limit"}
    assert {item.id for item in select_utterances(items, SelectConfig(max_utterances=5, seed=3)).kept} != {
        item.id for item in drawn.kept
    }
    assert select_utterances(items, SelectConfig(max_utterances=500)).kept == tuple(items)


def test_hours_are_a_limit_that_is_kept(items: list[Utterance]) -> None:
    found = select_utterances(items, SelectConfig(max_hours=20 / 3600))
    assert 15 <= sum(item.duration_s for item in found.kept) <= 20
    assert len(found.kept) + len(found.rejected) == 12


@pytest.mark.parametrize(
    "settings",
    [
        {"min_duration_s": -1}, {"max_duration_s": float("nan")}, {"min_duration_s": 5, "max_duration_s": 4},
        {"max_utterances": 0}, {"max_hours": 0}, {"max_minutes": 3},
    ],
)  # fmt: skip
def test_settings_that_cannot_work_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(InputError):
        parse_settings(SelectConfig, settings, source="test")


def test_tags(make_utterance: Make) -> None:
    tags = {"a": {"noise": "none"}, "b": {"noise": "bus"}, "c": {}}
    found = select_utterances(
        [make_utterance(name, tags=tags[name]) for name in tags], SelectConfig(tags={"noise": ("none", "street")})
    )
    assert [item.id for item in found.kept] == ["a"]
    assert [item.reason for item in found.rejected] == ["its tag noise is bus", "its tag noise is unknown"]
