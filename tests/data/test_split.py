from collections import Counter

import pytest

from harken.core import InputError, Utterance
from harken.data.split import split_by_count, split_by_ratio, split_by_tag


def corpus(count: int, *, speakers: int = 10) -> list[Utterance]:
    return [
        Utterance(
            id=f"u{n}", audio=f"/c/{n // 2}.wav", duration_s=1.0 + n % 7, speaker=f"s{n % speakers}",
            recording=f"r{n // 4}", tags={"split": "test" if n % 5 == 0 else "train"} if n % 9 else {},
        )
        for n in range(count)
    ]  # fmt: skip


def ids(parts: dict[str, tuple[Utterance, ...]]) -> dict[str, set[str]]:
    return {name: {item.id for item in part} for name, part in parts.items()}


@pytest.mark.parametrize("by", ["speaker", "recording", "utterance"])
def test_parts_are_disjoint_and_together_everything(by: str) -> None:
    items = corpus(1000, speakers=50)
    split = split_by_ratio(items, {"train": 0.8, "val": 0.1, "test": 0.1}, by=by)  # type: ignore[arg-type]
    assert Counter(item.id for part in split.parts.values() for item in part) == Counter(item.id for item in items)
    assert split.left_over == ()
    owner: dict[str, str] = {}
    for name, part in split.parts.items():
        for item in part:
            group = {"speaker": item.speaker, "recording": item.recording, "utterance": item.id}[by]
            assert owner.setdefault(str(group), name) == name
    assert [len(part) for part in split.parts.values()] == pytest.approx([800, 100, 100], abs=20)


def test_single_utterances_are_divided_exactly() -> None:
    split = split_by_ratio(corpus(997), {"train": 8, "val": 1, "test": 1}, by="utterance")
    assert {name: len(part) for name, part in split.parts.items()} == {"train": 798, "val": 99, "test": 100}


def test_the_order_of_the_input_does_not_matter_and_the_seed_does() -> None:
    items = corpus(300, speakers=30)
    ratios = {"train": 0.7, "test": 0.3}
    first = ids(dict(split_by_ratio(items, ratios).parts))
    assert ids(dict(split_by_ratio(items[::-1], ratios).parts)) == first
    assert ids(dict(split_by_ratio(items, ratios, seed=1).parts)) != first
    kept = split_by_ratio(items, ratios).parts["train"]
    assert list(kept) == [item for item in items if item in kept]  # in the order of the input


def test_adding_data_moves_few_utterances() -> None:
    ratios = {"train": 0.8, "val": 0.1, "test": 0.1}
    before = split_by_ratio(corpus(2000), ratios, by="utterance").parts
    after = split_by_ratio(corpus(2200), ratios, by="utterance").parts
    side = {item.id: name for name, part in before.items() for item in part}
    moved = sum(side.get(item.id, name) != name for name, part in after.items() for item in part)
    assert moved <= 40  # 2 % of 2,000; a shuffle would move a third


@pytest.mark.parametrize("total", range(5))
def test_a_small_set_is_used_up_in_order_of_the_parts(total: int) -> None:
    split = split_by_count(corpus(total), {"train": 2, "val": 1})
    train = min(2, total)
    val = min(1, total - train)
    assert {name: len(part) for name, part in split.parts.items()} == {"train": train, "val": val}
    assert len(split.left_over) == total - train - val
    ratio = split_by_ratio(corpus(total), {"train": 0.8, "val": 0.1, "test": 0.1}, by="utterance")
    assert sum(len(part) for part in ratio.parts.values()) == total
    assert len(ratio.parts["train"]) >= min(1, total)


def test_counts_are_reached_and_the_rest_is_left_over() -> None:
    items = corpus(5000)
    split = split_by_count(items, {"train": 2000, "val": 400})
    assert (len(split.parts["train"]), len(split.parts["val"]), len(split.left_over)) == (2000, 400, 2600)
    everything = [*split.parts["train"], *split.parts["val"], *split.left_over]
    assert Counter(item.id for item in everything) == Counter(item.id for item in items)


def test_counts_by_speaker_share_no_speaker() -> None:
    split = split_by_count(corpus(1000, speakers=20), {"train": 500, "val": 100}, by="speaker")
    assert (len(split.parts["train"]), len(split.parts["val"]), len(split.left_over)) == (500, 100, 400)
    speakers = [{item.speaker for item in part} for part in split.parts.values()]
    assert not speakers[0] & speakers[1]


def test_unequal_speakers_still_give_every_part_one() -> None:
    sizes = {"big": 1000, "b": 1, "c": 1}
    items = [
        Utterance(id=f"{speaker}-{n}", audio="/a", duration_s=1.0, speaker=speaker)
        for speaker, size in sizes.items()
        for n in range(size)
    ]
    for seed in range(5):
        split = split_by_ratio(items, {"train": 0.8, "val": 0.1, "test": 0.1}, seed=seed)
        assert sorted(len({item.speaker for item in part}) for part in split.parts.values()) == [1, 1, 1]


def test_one_speaker_cannot_be_in_two_parts() -> None:
    with pytest.raises(InputError, match=r"There is 1 speaker for 2 parts.*Split by recording or by utterance"):
        split_by_ratio(corpus(10, speakers=1), {"train": 0.9, "val": 0.1})
    with pytest.raises(InputError, match=r"There are 2 recordings for 3 parts.*Split by utterance"):
        split_by_ratio(corpus(8), {"a": 1, "b": 1, "c": 1}, by="recording")


def test_by_speaker_needs_speakers() -> None:
    with pytest.raises(InputError, match=r"'u' has no speaker.*Split by recording"):
        split_by_ratio([Utterance(id="u", audio="/a", duration_s=1.0)], {"train": 1.0})


def test_recordings_without_name_go_by_file_wherever_it_lies() -> None:
    def parts(folder: str) -> dict[str, set[str]]:
        items = [
            Utterance(id=f"u{n}", audio=f"{folder}/{n // 3}.wav", duration_s=1.0, offset_s=n % 3) for n in range(60)
        ]
        return ids(dict(split_by_ratio(items, {"train": 0.5, "val": 0.5}, by="recording").parts))

    assert parts("/here") == parts("/some/where/else")
    assert all(len(part) == 30 for part in parts("/here").values())
    assert all({f"u{3 * k + i}" for i in range(3)} <= part or not {f"u{3 * k + i}" for i in range(3)} & part
               for part in parts("/here").values() for k in range(20))  # fmt: skip


@pytest.mark.parametrize("sizes", [{}, {"a": 0}, {"a": -1}, {"a": float("nan")}, {"a": float("inf")}])
def test_sizes_have_to_be_positive(sizes: dict[str, float]) -> None:
    with pytest.raises(InputError):
        split_by_ratio(corpus(3), sizes, by="utterance")


def test_by_tag() -> None:
    split = split_by_tag(corpus(45))
    assert {name: len(part) for name, part in split.parts.items()} == {"test": 8, "train": 32}
    assert [item.id for item in split.left_over] == ["u0", "u9", "u18", "u27", "u36"]
