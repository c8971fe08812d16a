"""Utterances and transcripts."""

import dataclasses
import pickle
from typing import Any

import pytest

from harken.core import Segment, Transcript, Utterance, Word


def make(**changes: Any) -> Utterance:
    return Utterance(**{"id": "a", "audio": "/x/a.wav", "duration_s": 1.5, **changes})


def test_an_utterance_knows_its_defaults() -> None:
    utterance = make()
    assert (utterance.text, utterance.offset_s, utterance.speaker, utterance.tags) == (None, 0.0, None, {})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"id": ""}, "id is empty"),
        ({"audio": ""}, "audio is empty"),
        ({"duration_s": 0.0}, "duration_s is 0.0"),
        ({"duration_s": -1.0}, "duration_s is -1.0"),
        ({"duration_s": float("nan")}, "duration_s is nan"),
        ({"duration_s": float("inf")}, "duration_s is inf"),
        ({"offset_s": -0.1}, "offset_s is -0.1"),
        ({"offset_s": float("nan")}, "offset_s is nan"),
    ],
)
def test_an_impossible_utterance_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make(**changes)


def test_unknown_and_known_to_be_empty_text_differ() -> None:
    assert make(text=None) != make(text="")


def test_values_are_frozen_and_take_keywords_only() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        make().id = "b"  # type: ignore[misc]
    with pytest.raises(TypeError):
        Utterance("a", "/x/a.wav", 1.0)  # type: ignore[call-arg, misc]


def test_two_utterances_do_not_share_their_tags() -> None:
    assert make().tags is not make().tags


def test_utterances_cross_process_boundaries() -> None:
    utterance = make(text="о‘zbek", tags={"split": "train"}, extra={"lang_prob": 0.5})
    assert pickle.loads(pickle.dumps(utterance)) == utterance


def test_words_of_a_transcript_are_those_of_its_segments_in_order() -> None:
    first = Segment(
        text="a b",
        start_s=0.0,
        end_s=1.0,
        words=(Word(text="a", start_s=0.0, end_s=0.4), Word(text="b", start_s=0.4, end_s=1.0, confidence=0.5)),
    )
    second = Segment(text="c", start_s=1.0, end_s=2.0, words=(Word(text="c", start_s=1.0, end_s=2.0),))
    transcript = Transcript(text="a b c", duration_s=2.0, segments=(first, second))
    assert [word.text for word in transcript.words] == ["a", "b", "c"]
    assert Transcript(text="", duration_s=0.1).words == ()
