"""Word-level language identification, measured on Uzbek and Russian in both scripts.

`tests/data/code_switching_uz_ru.jsonl` holds 295 sentences as they are spoken in Tashkent, and
`tests/data/monolingual_uz_ru.json` sentences and word lists of each language; both were written and labelled for
Harken. The rules of labelling are in `docs/guide/code-switching.md`.
"""

import itertools
import json
import math
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harken.core import InputError, MissingPart
from harken.text import normalize
from harken.text.languages import (
    OTHER,
    LanguageIdentifier,
    LanguageIdentifierConfig,
    has_letters,
    primary_language,
    words_by_language,
)
from harken.text.languages.context import posteriors
from harken.text.languages.word_model import WordModel

DATA = Path(__file__).parents[1] / "data"
SENTENCES = [json.loads(line) for line in (DATA / "code_switching_uz_ru.jsonl").read_text("utf-8").splitlines()]
MONOLINGUAL = json.loads((DATA / "monolingual_uz_ru.json").read_text("utf-8"))
HELD_OUT = [sentence for sentence in SENTENCES if sentence["split"] == "heldout"]
TRAIN = [sentence for sentence in SENTENCES if sentence["split"] == "train"]

_DIGRAPHS = {"yoʻ": "йў", "oʻ": "ў", "gʻ": "ғ", "sh": "ш", "ch": "ч", "yo": "ё", "yu": "ю", "ya": "я", "ye": "е"}
_TO_CYRILLIC = dict(zip("abdefghijklmnopqrstuvxyzʼ", "абдефгҳижклмнопқрстувхйзъ", strict=True))
_TO_LATIN = dict(zip("абвгдежзийклмнопрстуфхцыэ", "abvgdejziyklmnoprstufxsie", strict=True)) | {
    "ё": "yo",
    "ч": "ch",
    "ш": "sh",
    "щ": "sh",
    "ю": "yu",
    "я": "ya",
    "ъ": "",
    "ь": "",
}


def _uzbek_in_cyrillic(text: str) -> str:
    text = re.sub(r"\be", "э", text.lower())
    for latin, cyrillic in _DIGRAPHS.items():
        text = text.replace(latin, cyrillic)
    return "".join(_TO_CYRILLIC.get(letter, letter) for letter in text)


def _russian_in_latin(text: str) -> str:
    return "".join(_TO_LATIN.get(letter, letter) for letter in text.lower())


def _training_texts() -> dict[str, list[str]]:
    """The monolingual text in both scripts, and the words of the training sentences."""
    texts = {language: part["sentences"] + part["words"] for language, part in MONOLINGUAL.items()}
    texts["uz"] = texts["uz"] + [_uzbek_in_cyrillic(text) for text in texts["uz"]]
    texts["ru"] = texts["ru"] + [_russian_in_latin(text) for text in texts["ru"]]
    labelled = words_by_language([s["words"] for s in TRAIN], [s["labels"] for s in TRAIN])
    return {language: texts[language] + labelled[language] for language in texts}


@pytest.fixture(scope="module")
def identifier() -> LanguageIdentifier:
    return LanguageIdentifier.train(_training_texts())


def _accuracy(
    identifier: LanguageIdentifier, keep: Callable[[dict[str, Any], str], bool] = lambda sentence, word: True
) -> float:
    """Share of the held-out words that are in a language and get the right one."""
    right = total = 0
    for sentence, labels in zip(HELD_OUT, identifier.label_many([s["words"] for s in HELD_OUT]), strict=True):
        for word, expected, label in zip(sentence["words"], sentence["labels"], labels, strict=True):
            if expected != OTHER and keep(sentence, word):
                right, total = right + (label == expected), total + 1
    return right / total


def _plain(word: str) -> str:
    return normalize(word, "basic")


# The data


def test_the_labelled_set_is_well_formed() -> None:
    assert len(SENTENCES) == len({s["id"] for s in SENTENCES}) == len({" ".join(s["words"]) for s in SENTENCES}) == 295
    for sentence in SENTENCES:
        assert len(sentence["words"]) == len(sentence["labels"]) > 0
        assert set(sentence["labels"]) <= {"uz", "ru", OTHER}
        assert sentence["words"] == " ".join(sentence["words"]).split()
        text = " ".join(sentence["words"])
        scripts = {"cyrillic": bool(re.search("[а-яёўқғҳ]", text)), "latin": bool(re.search("[a-z]", text))}
        only = [name for name, present in scripts.items() if present]
        assert sentence["script"] == (only[0] if len(only) == 1 else "mixed")
        for word, label in zip(sentence["words"], sentence["labels"], strict=True):
            assert (label == OTHER) == (not has_letters(word))
            assert label == "uz" or not re.search("[ўқғҳ]", word) or _stem_is_russian(word)
    sizes = Counter((s["script"], s["split"]) for s in SENTENCES)
    assert sizes["cyrillic", "heldout"] == 116
    assert len(HELD_OUT) == 195
    switched = [s for s in SENTENCES if len(set(s["labels"]) - {OTHER}) == 2]
    assert len(switched) > 200


def _stem_is_russian(word: str) -> bool:
    """Uzbek letters may stand in a word labelled Russian only in an ending."""
    return not re.search("[ўқғҳ]", word[:4])


def test_no_held_out_sentence_is_in_the_training_text() -> None:
    known = {_plain(text) for text in itertools.chain(*_training_texts().values())}
    known |= {_plain(" ".join(s["words"])) for s in TRAIN}
    assert not [s for s in HELD_OUT if len(s["words"]) > 1 and _plain(" ".join(s["words"])) in known]


# Accuracy


def test_held_out_words_get_the_right_language(identifier: LanguageIdentifier) -> None:
    assert _accuracy(identifier) >= 0.965
    assert _accuracy(identifier, lambda sentence, word: sentence["script"] == "cyrillic") >= 0.97
    assert _accuracy(identifier, lambda sentence, word: sentence["script"] == "mixed") >= 0.945
    assert _accuracy(identifier, lambda sentence, word: sentence["script"] == "latin") >= 0.97


def test_words_never_seen_get_the_right_language(identifier: LanguageIdentifier) -> None:
    known = {_plain(word) for texts in _training_texts().values() for text in texts for word in text.split()}
    unseen = {_plain(word) for s in HELD_OUT for word in s["words"]} - known
    assert len(unseen) > 350
    assert _accuracy(identifier, lambda sentence, word: _plain(word) in unseen) >= 0.93


def test_accuracy_does_not_rest_on_having_seen_the_words() -> None:
    """Without any longer word of the held-out sentences in the monolingual text, two words in three are new."""
    held_out = {_plain(word) for s in HELD_OUT for word in s["words"] if len(_plain(word)) > 4}
    labelled = {_plain(word) for s in TRAIN for word in s["words"]}
    texts = {
        language: [word for text in texts for word in text.split() if _plain(word) not in held_out - labelled]
        for language, texts in _training_texts().items()
    }
    blind = LanguageIdentifier.train(texts)
    assert _accuracy(blind) >= 0.955
    assert _accuracy(blind, lambda sentence, word: sentence["script"] == "cyrillic") >= 0.965


def test_context_decides_words_of_both_languages(identifier: LanguageIdentifier) -> None:
    def label(text: str) -> str:
        return " ".join(identifier.label(text.split()))

    assert label("у бугун келмади") == "uz uz uz"
    assert label("у него нет времени") == "ru ru ru ru"
    assert label("она мне позвонила") == "ru ru ru"
    assert label("ота она рози бўлсин") == "uz uz uz uz"
    assert label("дам олиш куни") == "uz uz uz"
    assert label("дам тебе книгу") == "ru ru ru"


def test_what_has_no_letters_is_in_no_language(identifier: LanguageIdentifier) -> None:
    assert identifier.label(["соат", "10:30", "да", "—", "келдим", "ʻ", "!", "5-куни"]) == (
        ["uz", OTHER, "uz", OTHER, "uz", OTHER, OTHER, "uz"]
    )


def test_case_punctuation_and_apostrophes_do_not_matter(identifier: LanguageIdentifier) -> None:
    forms = ["koʻrdim", "ko'rdim", "ko‘rdim", "KO`RDIM,", "«koʻrdim»"]
    assert len({tuple(identifier.scores([form])[0]) for form in forms}) == 1


def test_the_language_of_a_text(identifier: LanguageIdentifier) -> None:
    uzbek = identifier.detect_language("Бугун ҳаво жуда яхши, боққа чиқамиз.")
    assert (uzbek.language, uzbek.shares, uzbek.is_mixed()) == ("uz", {"ru": 0.0, "uz": 1.0}, False)
    mixed = identifier.detect_language("Слушай, завтра не приду, ишим кўп")
    assert mixed.language == "ru"
    assert mixed.shares["uz"] == pytest.approx(2 / 6)
    assert mixed.is_mixed()
    assert not mixed.is_mixed(0.4)
    nothing = identifier.detect_language(" 12, 30 ")
    assert (nothing.language, nothing.is_mixed()) == (None, False)


def test_other_pairs_and_three_languages_at_once() -> None:
    texts = {
        "hi": ["main kal nahin aaya tha", "mujhe yeh kaam abhi karna hai", "tum kahan ja rahe ho", "haan theek hai"],
        "en": ["i could not come there today", "please finish this work now", "where are you going", "yes the meeting"],
        "el": ["δεν ξέρω τι να κάνω", "πού πας σήμερα", "ναι εντάξει"],
    }
    identifier = LanguageIdentifier.train(texts, {"en": ["office", "meeting"], "hi": ["kya", "nahin"]})
    assert identifier.languages == ("el", "en", "hi")
    text = "main office nahin ja raha meeting hai"
    assert " ".join(identifier.label(text.split())) == "hi en hi hi hi en hi"
    assert identifier.label(["ξέρεις", "please"]) == ["el", "en"]


# The model, against slow and obvious versions of itself


def test_probabilities_of_the_next_letter_sum_to_one() -> None:
    letters = "abc x"  # the edge and an unseen letter are of the alphabet too
    for before in ("", "a", "ab", "xx", "bab"):
        assert sum(math.exp(_last_letter(f" {before}{letter}")) for letter in letters) == pytest.approx(1)


def _last_letter(text: str) -> float:
    """log P(last letter | those before), by the recursion of Witten and Bell on the counts themselves."""
    counts = {"ab": 1 + math.log(3), "abc": 1.0, "ba": 1.0}
    grams: Counter[str] = Counter()
    for word, count in counts.items():
        padded = f" {word} "
        for end in range(2, len(padded) + 1):
            for start in range(max(0, end - 3), end):
                grams[padded[start:end]] += count  # type: ignore[assignment]

    def probability(gram: str) -> float:
        if not gram:
            return 1 / 5
        after = [count for other, count in grams.items() if other[:-1] == gram[:-1]]
        if not after:
            return probability(gram[1:])
        return (grams[gram] + len(after) * probability(gram[1:])) / (sum(after) + len(after))

    return math.log(probability(text[-3:]))


def test_a_word_is_the_product_of_its_letters_and_known_words_count_extra() -> None:
    words = {"ab": 3, "abc": 1, "ba": 1}
    letters = WordModel(words, order=3, lexicon_share=0.0, alphabet_size=5)
    for word in ("ab", "abc", "b", "xyz"):
        text = f" {word} "
        expected = sum(_last_letter(text[:end]) for end in range(2, len(text) + 1))
        assert letters.log_probability(word) == pytest.approx(expected)
    both = WordModel(words, order=3, lexicon_share=0.4, alphabet_size=5)
    for word, seen in (("ab", 3 / 5), ("xyz", 0)):
        expected = math.log(0.4 * seen + 0.6 * math.exp(letters.log_probability(word)))
        assert both.log_probability(word) == pytest.approx(expected)


@pytest.mark.parametrize(("languages", "switch"), [(2, 0.15), (3, 0.3), (2, 0.5)])
def test_posteriors_are_sums_over_all_paths(languages: int, switch: float) -> None:
    generator = np.random.default_rng(5)
    lengths = [4, 0, 1, 6, 3, 0]
    offsets = np.cumsum([0, *lengths])
    evidence = generator.normal(-8, 3, (offsets[-1], languages))
    found = posteriors(evidence, offsets, switch)
    for start, end in itertools.pairwise(offsets.tolist()):
        expected = np.zeros((end - start, languages))
        for path in itertools.product(range(languages), repeat=end - start):
            weight = math.prod(math.exp(evidence[start + i, state]) for i, state in enumerate(path))
            for before, after in itertools.pairwise(path):
                weight *= 1 - switch if before == after else switch / (languages - 1)
            for i, state in enumerate(path):
                expected[i, state] += weight
        if end > start:
            expected /= expected.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(found[start:end], expected, rtol=1e-9)


def test_extreme_evidence_gives_no_nan() -> None:
    evidence = np.array([[0.0, -5000.0], [-5000.0, 0.0], [-np.inf, 0.0], [-1e5, -1e5]])
    found = posteriors(evidence, np.array([0, 4]), 0.01)
    np.testing.assert_allclose(found, [[1, 0], [0, 1], [0, 1], [0.01, 0.99]], atol=1e-12)


def test_a_sentence_is_labelled_alike_alone_and_among_others(identifier: LanguageIdentifier) -> None:
    sentences = [s["words"] for s in SENTENCES]
    assert identifier.label_many(sentences) == [identifier.label(words) for words in sentences]
    assert identifier.label_many([[], ["салом"], []]) == [[], ["uz"], []]
    assert identifier.label_many([]) == []


def test_known_labels_are_kept_and_help_their_neighbours(identifier: LanguageIdentifier) -> None:
    assert identifier.label_many([["бор", "ну"]], [["ru", None]]) == [["ru", "ru"]]
    for language in ("uz", "ru"):  # "у" is "he" in one and "at" in the other
        assert identifier.label_many([["у", "у", "у"]], [[language, None, OTHER]]) == [[language, language, OTHER]]
    assert identifier.label_many([["word"]], [["en"]]) == [["en"]]
    with pytest.raises(InputError, match="known labels"):
        identifier.label_many([["a", "b"]], [["ru"]])


def test_scores_are_logs_of_probabilities(identifier: LanguageIdentifier) -> None:
    scores = identifier.scores(["мен", "очень", "12", "рад"])
    assert scores.shape == (4, 2)
    np.testing.assert_allclose(np.exp(scores).sum(axis=1), 1)
    assert identifier.languages == ("ru", "uz")
    assert scores[0, 1] > scores[0, 0]
    assert scores[1, 0] > scores[1, 1]
    assert identifier.scores([]).shape == (0, 2)


# Training, saving, refusing


def test_the_order_of_the_texts_does_not_matter(identifier: LanguageIdentifier, tmp_path: Path) -> None:
    texts = _training_texts()
    other = LanguageIdentifier.train({language: texts[language][::-1] for language in sorted(texts, reverse=True)})
    identifier.save(tmp_path / "a.json")
    other.save(tmp_path / "b.json")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    for sentence in HELD_OUT[:40]:
        assert np.array_equal(identifier.scores(sentence["words"]), other.scores(sentence["words"]))


def test_a_saved_identifier_comes_back_the_same(tmp_path: Path) -> None:
    config = LanguageIdentifierConfig(order=3, lexicon_share=0.2, switch_probability=0.3)
    first = LanguageIdentifier.train({"uz": ["мен келдим"], "ru": ["я пришёл"]}, config=config)
    first.save(tmp_path / "deep" / "identifier.json")
    again = LanguageIdentifier.load(tmp_path / "deep" / "identifier.json")
    assert (again.config, again.languages) == (config, ("ru", "uz"))
    assert np.array_equal(first.scores(["келди", "пришла"]), again.scores(["келди", "пришла"]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read as JSON"),
        ("[]", "not a language identifier"),
        ('{"format": "x"}', "not a language identifier"),
        ('{"format": "harken-language-identifier", "version": 99}', "version 99"),
        ('{"format": "harken-language-identifier", "version": 1}', "damaged"),
        ('{"format": "harken-language-identifier", "version": 1, "words": {"uz": {"a": 0}}}', "damaged"),
        ('{"format": "harken-language-identifier", "version": 1, "words": {"uz": {"a": 1}}}', "damaged.*two languages"),
        (
            '{"format": "harken-language-identifier", "version": 1, "config": {"order": 99},'
            ' "words": {"uz": {"a": 1}, "ru": {"b": 1}}}',
            "damaged.*order is 99",
        ),
        (
            '{"format": "harken-language-identifier", "version": 1, "config": {"ordre": 5},'
            ' "words": {"uz": {"a": 1}, "ru": {"b": 1}}}',
            "damaged.*ordre",
        ),
    ],
)
def test_a_damaged_file_is_refused_by_name(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "identifier.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=f"identifier.json.*{message}"):
        LanguageIdentifier.load(path)


def test_what_is_absent_or_cannot_be_learned_is_said(tmp_path: Path) -> None:
    with pytest.raises(MissingPart, match=r"nothing.json does not exist"):
        LanguageIdentifier.load(tmp_path / "nothing.json")
    with pytest.raises(InputError, match="two languages or more and got uz"):
        LanguageIdentifier.train({"uz": ["мен"]})
    with pytest.raises(InputError, match="no words to learn 'ru'"):
        LanguageIdentifier.train({"uz": ["мен"], "ru": ["12 — 5"]})
    with pytest.raises(InputError, match="'uz' is one string"):
        LanguageIdentifier.train({"uz": "мен келдим", "ru": ["я"]})
    for tag in ("uz-Cyrl", "other", "mixed", "", "Uzbek language"):
        with pytest.raises(InputError, match="no language"):
            LanguageIdentifier.train({tag: ["мен"], "ru": ["я"]})
    two = LanguageIdentifier.train({"uz": ["мен"], "ru": ["я"]})
    with pytest.raises(InputError, match="not a list of words"):
        two.label("мен келдим")


@pytest.mark.parametrize("setting", [{"order": 0}, {"lexicon_share": 1.0}, {"switch_probability": 0.0}])
def test_settings_that_cannot_work_are_refused(setting: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(setting))):
        LanguageIdentifierConfig(**setting)


def test_tags_and_letters() -> None:
    tags = ("uz", "uz-Latn-UZ", "EN-us", "en_GB", "RUS", "hin", "kk", "mixed")
    assert [primary_language(tag) for tag in tags] == ["uz", "uz", "en", "en", "ru", "hi", "kk", "mixed"]
    assert [has_letters(word) for word in ("a1", "10", "ʻ", "क", "中", "", "₽")] == [
        *(True, False, False, True, True, False, False)
    ]
