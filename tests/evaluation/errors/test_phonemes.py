import json
import random
import sys
from collections import Counter
from typing import Any

import pytest

from harken.core import InputError, MissingPart
from harken.evaluation.errors import phonemes as module
from harken.evaluation.errors import pronunciation
from harken.evaluation.errors.phonemes import NOTHING, phoneme_confusions
from harken.evaluation.errors.pronunciation import pronounce

WORDS = {
    "ru": "привет мир сегодня хорошая погода бабушка пошла домой щука в и на тень день ночь",
    "uz": "oʻzbek tili gʻalaba maʼno ўзбек тили ғалаба маъно shahar bola kitob va bu",
    "en": "the house mouse their there weather whether a i see sea light right hello world",
    "hi": "नमस्ते दुनिया हिन्दी में भाषा कमल ज़रूर और है घर पर",
}


def _pairs(language: str, count: int = 60) -> list[tuple[str, str]]:
    draw = random.Random(f"phonemes {language}")
    words = WORDS[language].split()
    pairs = []
    for _ in range(count):
        reference = [draw.choice(words) for _ in range(draw.randint(0, 8))]
        hypothesis = []
        for word in reference:
            chance = draw.random()
            if chance < 0.3:
                hypothesis.append(draw.choice(words))
            elif chance > 0.1:
                hypothesis.append(word)
            if draw.random() < 0.1:
                hypothesis.append(draw.choice(words))
        pairs.append((" ".join(reference), " ".join(hypothesis)))
    return pairs


def _spoken(texts: list[str], language: str) -> Counter[str]:
    return Counter(phoneme for text in texts for word in pronounce(text.split(), language) for phoneme in word)


def _margin(found: dict[str, Any], side: int) -> Counter[str]:
    """Counts summed over rows (0) or columns (1), without the one for nothing."""
    sums: Counter[str] = Counter()
    for entry in found["counts"]:
        sums[found["phonemes"][entry[side]]] += entry[2]
    del sums[NOTHING]
    return sums


def _confused(found: dict[str, Any]) -> dict[tuple[str, str], int]:
    names = found["phonemes"]
    return {(names[row], names[column]): count for row, column, count in found["counts"] if row != column}


@pytest.mark.parametrize("language", sorted(WORDS))
def test_rows_sum_to_the_reference_and_columns_to_the_hypothesis(scored, language: str) -> None:
    pairs = _pairs(language)
    result, _ = scored(pairs)
    answer = phoneme_confusions(result, [language] * len(pairs))
    found = answer["languages"][language]
    assert answer["skipped"] == []
    assert _margin(found, 0) == _spoken([reference for reference, _ in pairs], language)
    assert _margin(found, 1) == _spoken([hypothesis for _, hypothesis in pairs], language)
    assert found["reference_phonemes"] == sum(_margin(found, 0).values())
    assert found["hypothesis_phonemes"] == sum(_margin(found, 1).values())
    assert found["words"] == result.words
    assert found["phonemes"][-1] == NOTHING
    assert found["unpronounced"] == {"words": 0, "types": 0, "examples": []}
    assert found["counts"] == sorted(found["counts"])
    json.dumps(answer, allow_nan=False)


def test_confusions_a_listener_would_name(scored) -> None:
    result, _ = scored([("бабушка пошла домой", "бапушка пашла до мой"), ("тень", "день")])
    found = phoneme_confusions(result, ["ru", "ru-RU"])["languages"]["ru"]
    assert _confused(found) == {("b", "p"): 1, ("o", "a"): 1, ("tʲ", "dʲ"): 1}
    result, _ = scored([("the mouse", "the house"), ("right", "light")])
    found = phoneme_confusions(result, ["en"] * 2)["languages"]["en"]
    assert _confused(found) == {("m", "h"): 1, ("ɹ", "l"): 1}
    result, _ = scored([("gʻalaba qildi", "galaba kildi")])
    assert _confused(phoneme_confusions(result, ["uz"])["languages"]["uz"]) == {("ʁ", "ɡ"): 1, ("q", "k"): 1}
    result, _ = scored([("घर पर", "गर पर")])
    assert _confused(phoneme_confusions(result, ["hi"])["languages"]["hi"]) == {("ɡ̤", "ɡ"): 1}


def test_deleted_and_inserted_words_face_nothing(scored) -> None:
    result, _ = scored([("мир", ""), ("", "да")])
    found = phoneme_confusions(result, ["ru", "ru"])["languages"]["ru"]
    expected = {(NOTHING, phoneme): 1 for phoneme in "da"} | {(phoneme, NOTHING): 1 for phoneme in ("mʲ", "i", "r")}
    assert _confused(found) == expected


def test_languages_are_kept_apart_and_none_is_lost(scored) -> None:
    result, _ = scored([("привет", "привет"), ("hello", "hello"), ("salom", "salom"), ("сәлем", "сәлем"), ("x", "x")])
    tags = ["ru-RU", "en-GB", None, "kk", "mixed"]
    answer = phoneme_confusions(result, tags)
    assert list(answer["languages"]) == ["en", "ru"]
    assert [(one["language"], one["utterances"], one["words"]) for one in answer["skipped"]] == [
        ("kk", 1, 1),
        ("mixed", 1, 1),
        (None, 1, 1),
    ]
    assert [one["reason"] for one in answer["skipped"]] == [
        "there are no phonemes for it; known are en, hi, ru, uz",
        "the words of mixed speech need a language each",
        "the language is not known",
    ]
    assert list(phoneme_confusions(result, tags, default="uz")["languages"]) == ["en", "ru", "uz"]


def test_words_of_switching_speech(scored) -> None:
    result, _ = scored([("men bugun работал много", "men bu gun работа много"), ("привет", "привет")])
    labels = [["uz", "uz", "ru", "ru"], None]
    answer = phoneme_confusions(result, ["mixed", "ru"], word_languages=labels)
    assert answer["skipped"] == []
    uzbek, russian = answer["languages"]["uz"], answer["languages"]["ru"]
    assert (uzbek["words"], russian["words"]) == (2, 3)
    assert _margin(uzbek, 0) == _spoken(["men bugun"], "uz")
    assert _margin(uzbek, 1) == _spoken(["men bu gun"], "uz")
    assert _margin(russian, 0) == _spoken(["работал много привет"], "ru")
    assert _margin(russian, 1) == _spoken(["работа много привет"], "ru")
    assert _confused(russian) == {("l", NOTHING): 1}


def test_insertions_belong_to_the_word_before_or_else_the_next(scored) -> None:
    result, _ = scored([("да yes", "ну да oh yes"), ("", "да")])
    answer = phoneme_confusions(result, [None, "ru"], word_languages=[["ru", "en"], []])
    assert _margin(answer["languages"]["ru"], 1) == _spoken(["ну да да"], "ru")  # "oh" is no Russian word
    assert answer["languages"]["ru"]["unpronounced"] == {"words": 1, "types": 1, "examples": ["oh"]}
    assert _margin(answer["languages"]["en"], 1) == _spoken(["yes"], "en")


def test_words_that_cannot_be_read_are_counted(scored) -> None:
    result, _ = scored([("привет 5 wifi wifi", "привет wifi wi fi")])
    found = phoneme_confusions(result, ["ru"])["languages"]["ru"]
    assert found["unpronounced"]["words"] == 6
    assert found["unpronounced"]["examples"][0] == "wifi"
    assert found["reference_phonemes"] == len(pronounce(["привет"], "ru")[0])
    result, _ = scored([("5", "6")])
    assert phoneme_confusions(result, ["ru"])["languages"]["ru"]["phonemes"] == [NOTHING]


def test_huge_regions_are_aligned_word_by_word(scored, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = _pairs("ru")
    result, _ = scored(pairs)
    whole = phoneme_confusions(result, ["ru"] * len(pairs))["languages"]["ru"]
    monkeypatch.setattr(module, "LARGEST_REGION_CELLS", 20)
    parted = phoneme_confusions(result, ["ru"] * len(pairs))["languages"]["ru"]
    assert parted["counts"] != whole["counts"]
    assert (_margin(parted, 0), _margin(parted, 1)) == (_margin(whole, 0), _margin(whole, 1))


def test_an_absent_package_is_an_error_or_a_reason(scored, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pronunciation, "_epitran", pronunciation._epitran.__wrapped__)
    monkeypatch.setitem(sys.modules, "epitran.simple", None)
    result, _ = scored([("привет", "привет"), ("hello", "hello")])
    with pytest.raises(MissingPart, match=r"pip install 'harken\[eval\]'"):
        phoneme_confusions(result, ["ru", "en"])
    answer = phoneme_confusions(result, ["ru", "en"], missing="skip")
    assert list(answer["languages"]) == ["en"]
    [skipped] = answer["skipped"]
    assert (skipped["language"], skipped["words"]) == ("ru", 1)
    assert "pip install 'harken[eval]'" in skipped["reason"]


def test_lists_that_do_not_fit_are_refused(scored) -> None:
    result, _ = scored([("a b", "a b"), ("c", "c")])
    with pytest.raises(InputError, match="languages has 1 entries for 2 utterances"):
        phoneme_confusions(result, ["en"])
    with pytest.raises(InputError, match="word_languages has 1 entries for 2 utterances"):
        phoneme_confusions(result, ["en", "en"], word_languages=[None])
    with pytest.raises(InputError, match=r"'u0' has 1 word languages and 2 words\. Label the words"):
        phoneme_confusions(result, ["en", "en"], word_languages=[["en"], None])


def test_empty_set(scored) -> None:
    assert phoneme_confusions(scored([])[0], []) == {"languages": {}, "skipped": []}
