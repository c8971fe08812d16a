from pathlib import Path

import pytest

from harken.core import InputError
from harken.evaluation.errors.keywords import Keyword, keyword_recall, load_keywords


def test_recall_precision_and_groups(scored) -> None:
    result, _ = scored(
        [
            ("call Anna in New York", "call anna in New York!"),
            ("New York, not York", "new pork not York"),
            ("call Hannah", "call Anna"),
        ],
        normalizer="basic",
    )
    keywords = [Keyword(text="New York", group="place"), Keyword(text="ANNA", group="person"), "york", "Berlin"]
    found = keyword_recall(result, keywords)
    rows = {row["keyword"]: (row["count"], row["hits"], row["false_alarms"]) for row in found["words"]}
    assert rows == {"New York": (2, 1, 0), "ANNA": (1, 1, 1), "york": (3, 2, 0), "Berlin": (0, 0, 0)}
    assert [row["keyword"] for row in found["words"]] == ["New York", "york", "ANNA", "Berlin"]
    assert found["groups"] == {
        "person": {"count": 1, "hits": 1, "false_alarms": 1, "recall": 1.0, "precision": 0.5},
        "place": {"count": 2, "hits": 1, "false_alarms": 0, "recall": 0.5, "precision": 1.0},
    }
    totals = {key: found[key] for key in ("count", "hits", "false_alarms", "recall", "precision")}
    assert totals == {"count": 6, "hits": 4, "false_alarms": 1, "recall": 4 / 6, "precision": 0.8}
    assert found["words"][-1]["recall"] is None


def test_a_phrase_is_hit_when_all_its_words_are_right(scored) -> None:
    result, _ = scored([("new york", "new uh york"), ("new big york", "new york")])
    [row] = keyword_recall(result, ["new york"])["words"]
    assert (row["count"], row["hits"]) == (1, 1)  # a word more in between takes nothing away
    assert row["false_alarms"] == 1  # in the second utterance it was not said


def test_no_phrase_crosses_utterances(scored) -> None:
    result, _ = scored([("big new", "big new"), ("york is", "york is")])
    assert keyword_recall(result, ["new york"])["count"] == 0


def test_overlapping_phrases_and_other_scripts(scored) -> None:
    result, _ = scored([("no no no", "no no no"), ("मुझे दिल्ली जाना है", "मुझे दिल्ली जाना है")])
    found = {row["keyword"]: row["hits"] for row in keyword_recall(result, ["no no", "दिल्ली जाना"])["words"]}
    assert found == {"no no": 2, "दिल्ली जाना": 1}


def test_scripts_without_spaces_are_cut_as_the_score_is(scored) -> None:
    result, _ = scored([("我住在北京市", "我住在北京市"), ("北京很大", "南京很大")], normalizer="basic")
    [row] = keyword_recall(result, ["北京"])["words"]
    assert (row["count"], row["hits"], row["false_alarms"]) == (2, 1, 0)


def test_matches_a_slow_search(scored, make_pairs) -> None:
    result, _ = scored(make_pairs(300, vocabulary=12, error_rate=0.3, longest=12, seed=8))
    phrases = ["w1", "w2 w3", "w4 w4", "w5 w6 w7", "w99", "w1 w99"]
    found = {row["keyword"]: row for row in keyword_recall(result, phrases)["words"]}
    for phrase in phrases:
        words = phrase.split()
        count = hits = alarms = 0
        for row in range(result.utterances):
            steps = result.alignments.operations(row)
            said = [step for step in steps if step.reference is not None]
            heard = [step for step in steps if step.hypothesis is not None]
            for start in range(len(said) - len(words) + 1):
                span = said[start : start + len(words)]
                if [step.reference for step in span] == words:
                    count += 1
                    hits += all(step.kind == "C" for step in span)
            for start in range(len(heard) - len(words) + 1):
                span = heard[start : start + len(words)]
                if [step.hypothesis for step in span] == words:
                    numbers = [next((n for n, other in enumerate(said) if other is step), None) for step in span]
                    expected = all(step.kind == "C" for step in span) and all(
                        number == numbers[0] + place for place, number in enumerate(numbers)
                    )
                    alarms += not expected
        assert (found[phrase]["count"], found[phrase]["hits"], found[phrase]["false_alarms"]) == (count, hits, alarms)


def test_what_cannot_be_looked_for_is_said(scored) -> None:
    result, _ = scored([("hello", "hello")], normalizer="basic")
    found = keyword_recall(result, ["Hello", "hello!", "..."])
    assert found["count"] == 1
    assert found["skipped"] == [
        {"keyword": "hello!", "reason": "the same as 'Hello' after normalisation"},
        {"keyword": "...", "reason": "nothing is left of it under the normaliser 'basic'"},
    ]
    assert keyword_recall(result, [])["recall"] is None
    assert keyword_recall(scored([])[0], ["a"])["count"] == 0
    with pytest.raises(InputError, match=r"keywords is one text\. Put it into a list"):
        keyword_recall(result, "hello")


def test_keywords_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "keywords.txt"
    path.write_text("\ufeffNew York\tplace\r\n\n  Тошкент \n#1\tother\n", encoding="utf-8")
    assert load_keywords(path) == [
        Keyword(text="New York", group="place"),
        Keyword(text="Тошкент"),
        Keyword(text="#1", group="other"),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\n \n", r"keywords.txt holds no keywords. Write one per line"),
        (b"a\tb\tc\n", r"line 1: 'a\\tb\\tc' is no keyword. Write 'keyword'"),
        (b"a\nb\t\n", r"line 2: 'b' is no keyword"),
        (b"ok\n\tgroup\n", r"line 2: 'group' is no keyword"),
        (b"\xff\xfe", r"keywords.txt cannot be read as UTF-8 text"),
    ],
)
def test_bad_keyword_files(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "keywords.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        load_keywords(path)


def test_no_keyword_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing.txt does not exist. Give a text file"):
        load_keywords(tmp_path / "nothing.txt")
    with pytest.raises(InputError, match=r"cannot be read"):
        load_keywords(tmp_path)
