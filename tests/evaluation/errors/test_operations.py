import random
from itertools import groupby

import numpy as np
import pytest

from harken.core import InputError
from harken.evaluation.errors.operations import check_order, find_runs, operations_of


def test_operations_say_where_they_stand(scored) -> None:
    result, _ = scored([("a b c", "a x c d"), ("", "y"), ("e", "")])
    operations = operations_of(result.alignments)
    words = [*result.alignments.words, None]
    assert operations.codes.tobytes() == b"CSCIID"
    assert operations.utterance.tolist() == [0, 0, 0, 0, 1, 2]
    assert [words[id_] for id_ in operations.reference] == ["a", "b", "c", None, None, "e"]
    assert [words[id_] for id_ in operations.hypothesis] == ["a", "x", "c", "d", "y", None]
    assert operations.place.tolist() == [0, 1, 2, 3, 3, 3]


def test_runs_match_a_loop() -> None:
    draw = random.Random(1)
    for length in (0, 1, 2, *range(3, 200, 7)):
        inside = [draw.random() < 0.6 for _ in range(length)]
        utterance = sorted(draw.randrange(5) for _ in range(length))
        expected = []
        place = 0
        for (_, true), items in groupby(zip(utterance, inside, strict=True)):
            count = len(list(items))
            if true:
                expected.append((place, place + count))
            place += count
        starts, ends = find_runs(np.array(inside, dtype=bool), np.array(utterance, dtype=np.int64))
        assert list(zip(starts.tolist(), ends.tolist(), strict=True)) == expected


def test_other_utterances_are_refused(scored) -> None:
    result, utterances = scored([("a", "a"), ("b", "b")])
    check_order(result, utterances)
    with pytest.raises(InputError, match="1 utterances and 2 scored"):
        check_order(result, utterances[:1])
    with pytest.raises(InputError, match=r"'u1' stands where 'u0' was scored"):
        check_order(result, utterances[::-1])
