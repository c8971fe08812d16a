import random

import numpy as np
import panphon.distance
import pytest

from harken.evaluation.errors import sounds
from harken.evaluation.errors.pronunciation import feature_table
from harken.evaluation.errors.sounds import align_sounds, sort_sounds, sound_costs
from harken.evaluation.scoring import alignment
from harken.evaluation.scoring.encode import EncodedTexts

PHONEMES = ["a", "o", "i", "u", "p", "b", "t̪", "d", "s", "z", "ʃ", "t͡ʃ", "rʲ", "m", "n", "iː", "ʁ", "ʔ"]


def _encode(words: list[list[int]]) -> EncodedTexts:
    flat = np.array([sound for word in words for sound in word], dtype=np.int32)
    return EncodedTexts(flat, np.concatenate(([0], np.cumsum([len(word) for word in words], dtype=np.int64))))


def _pairs(count: int, longest: int = 9) -> tuple[list[list[int]], list[list[int]]]:
    draw = random.Random(f"{count} {longest}")
    return tuple(  # type: ignore[return-value]
        [[draw.randrange(len(PHONEMES)) for _ in range(draw.randint(0, longest))] for _ in range(count)]
        for _ in range(2)
    )


def _slow_path(reference: list[int], hypothesis: list[int], costs: sounds.SoundCosts) -> list[tuple[int, int]]:
    """The textbook recurrence with explicit edges; ties as sclite breaks them."""
    nodes: dict[tuple[int, int], tuple[int, str]] = {(0, 0): (0, "")}
    for i in range(len(reference) + 1):
        for j in range(len(hypothesis) + 1):
            ways = []
            if i and j:
                ways.append(
                    (nodes[i - 1, j - 1][0] + int(costs.substitution[reference[i - 1], hypothesis[j - 1]]), "S")
                )
            if j:
                ways.append((nodes[i, j - 1][0] + costs.gap, "I"))
            if i:
                ways.append((nodes[i - 1, j][0] + costs.gap, "D"))
            if ways:
                nodes[i, j] = min(ways, key=lambda way: (way[0], "SID".index(way[1])))
    path, i, j = [], len(reference), len(hypothesis)
    while i or j:
        edge = nodes[i, j][1]
        path.append((reference[i - 1] if edge != "I" else -1, hypothesis[j - 1] if edge != "D" else -1))
        i, j = i - (edge != "I"), j - (edge != "D")
    return path


def test_costs_are_those_of_panphon() -> None:
    """panphon gives three features each other's weights; with its list put in order, the distances are equal."""
    distance = panphon.distance.Distance()
    distance.fm.weights = sounds._weights()
    assert sorted(filter(None, distance.fm.weights)) == sorted(feature_table().weights)
    costs = sound_costs(PHONEMES)
    references, hypotheses = _pairs(40, 6)
    for reference, hypothesis in zip(references, hypotheses, strict=True):
        steps = align_sounds(_encode([reference]), _encode([hypothesis]), costs)
        ours = sum(
            costs.gap if -1 in pair else int(costs.substitution[pair]) for pair in zip(*steps.tolist(), strict=True)
        )
        words = ["".join(PHONEMES[sound] for sound in word) for word in (reference, hypothesis)]
        if [feature_table().ipa_segs(word) for word in words] == [
            [feature_table().normalize(PHONEMES[sound]) for sound in word] for word in (reference, hypothesis)
        ]:
            assert ours / 16 == pytest.approx(distance.weighted_feature_edit_distance(*words))


def test_paths_match_a_slow_alignment(monkeypatch: pytest.MonkeyPatch) -> None:
    costs = sound_costs(PHONEMES)
    references, hypotheses = _pairs(300)
    expected = sorted(step for pair in zip(references, hypotheses, strict=True) for step in _slow_path(*pair, costs))
    for cells in (1 << 20, 500, 1):  # many pairs at once, a few, one
        monkeypatch.setattr(alignment, "BATCH_CELLS", cells)
        steps = align_sounds(_encode(references), _encode(hypotheses), costs)
        assert sorted(map(tuple, steps.T.tolist())) == expected


def test_a_single_sound_is_aligned_like_any_other() -> None:
    steps = align_sounds(_encode([[0, 0, 0], [0]]), _encode([[0], [0, 0]]), sound_costs(PHONEMES[:1]))
    assert sorted(map(tuple, steps.T.tolist())) == [(-1, 0), (0, -1), (0, -1), (0, 0), (0, 0)]


def test_alike_sounds_go_together() -> None:
    costs = sound_costs(PHONEMES)
    number = PHONEMES.index
    steps = align_sounds(
        _encode([[number(sound) for sound in ("p", "a", "t̪")]]),
        _encode([[number(sound) for sound in ("b", "a", "s", "d")]]),
        costs,
    )
    pairs = {(PHONEMES[a] if a >= 0 else "", PHONEMES[b] if b >= 0 else "") for a, b in steps.T.tolist()}
    assert pairs == {("p", "b"), ("a", "a"), ("t̪", "d"), ("", "s")}


def test_costs_are_a_distance() -> None:
    costs = sound_costs([*PHONEMES, "aɪ", "eɪ"]).substitution
    assert np.array_equal(costs, costs.T)
    assert not np.diag(costs).any()
    off_diagonal = costs[~np.eye(len(costs), dtype=bool)]
    assert off_diagonal.min() > 0
    # A diphthong is the mean of its parts: [aɪ] and [eɪ] differ by half of what [a] and [e] do.
    vowels = sound_costs(["a", "e"]).substitution[0, 1]
    assert costs[-1, -2] == vowels / 2


def test_alike_sounds_stand_side_by_side() -> None:
    found = sort_sounds(PHONEMES)
    assert sorted(found) == sorted(PHONEMES)
    vowels = {"a", "o", "i", "u", "iː"}
    kinds = [sound in vowels for sound in found]
    assert kinds == sorted(kinds) or kinds == sorted(kinds, reverse=True)


def test_empty_sides() -> None:
    costs = sound_costs(PHONEMES)
    steps = align_sounds(_encode([[], [1, 2], []]), _encode([[3], [], []]), costs)
    assert sorted(map(tuple, steps.T.tolist())) == [(-1, 3), (1, -1), (2, -1)]
    assert align_sounds(_encode([]), _encode([]), costs).shape == (2, 0)
    assert sound_costs([]).substitution.shape == (0, 0)
