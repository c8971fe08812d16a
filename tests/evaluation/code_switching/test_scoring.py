"""Scores of code-switched speech: cases worked by hand, and a slow obvious scorer over the whole labelled set.

The sentences are those of `tests/data/code_switching_uz_ru.jsonl`; the hypotheses below are made up, with errors as
recognisers make them.
"""

import itertools
import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harken.core import InputError, Utterance
from harken.evaluation.code_switching.language_mix import describe_mix
from harken.evaluation.code_switching.scoring import (
    CodeSwitchingScore,
    code_switching_summary,
    label_references,
    score_code_switching,
)
from harken.evaluation.code_switching.switch_points import SwitchPoint, switch_points
from harken.evaluation.code_switching.word_languages import fit_labels, labels_of
from harken.evaluation.scoring.metrics import Score, score
from harken.text.languages import OTHER, LanguageIdentifier, words_by_language
from harken.text.segmentation import Units

DATA = Path(__file__).parents[2] / "data" / "code_switching_uz_ru.jsonl"
SENTENCES = [json.loads(line) for line in DATA.read_text("utf-8").splitlines()]
BY_TEXT = {" ".join(s["words"]): s for s in SENTENCES}


# Switch points of one sentence


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ("", []),
        ("uz", []),
        ("other other", []),
        ("uz uz uz", []),
        ("uz ru", [(1, "uz", "ru")]),
        ("uz ru uz", [(1, "uz", "ru"), (2, "ru", "uz")]),
        ("uz other other ru ru", [(3, "uz", "ru")]),
        ("other uz other uz", []),
        ("uz en other ru", [(1, "uz", "en"), (3, "en", "ru")]),
    ],
)
def test_switch_points(labels: str, expected: list[tuple[int, str, str]]) -> None:
    found = [SwitchPoint(index=index, before=before, after=after) for index, before, after in expected]
    assert switch_points(labels.split()) == found


# Cases worked by hand


@dataclass(frozen=True, kw_only=True)
class Case:
    """A sentence of the set, a hypothesis (`/r`, `/u`, `/o`, `/e` are labels), and the figures counted on paper.

    `pairs`: aligned pairs in a language, and those in the same one. `switches`: of the reference, of the hypothesis,
    correct at tolerance 0, correct at tolerance 1. `uz` and `ru`: words, substitutions, deletions, insertions.
    `points`: the same for words outside the sentence's main language.
    """

    text: str
    hypothesis: str
    codes: str
    pairs: tuple[int, int]
    switches: tuple[int, int, int, int]
    uz: tuple[int, int, int, int]
    ru: tuple[int, int, int, int]
    points: tuple[int, int, int, int]


MEETING = "бугун совещание соат нечада бошланади"
SORRY = "извини я опоздал йўлда машинам бузилиб қолди"
CASES = [
    Case(
        text=MEETING,
        hypothesis="бугун/u совещание/r соат/u нечада/u бошланади/u",
        codes="CCCCC",
        pairs=(5, 5),
        switches=(2, 2, 2, 2),
        uz=(4, 0, 0, 0),
        ru=(1, 0, 0, 0),
        points=(1, 0, 0, 0),
    ),
    Case(  # the wrong word in the right language
        text=MEETING,
        hypothesis="бугун/u совещания/r соат/u нечада/u бошланади/u",
        codes="CSCCC",
        pairs=(5, 5),
        switches=(2, 2, 2, 2),
        uz=(4, 0, 0, 0),
        ru=(1, 1, 0, 0),
        points=(1, 1, 0, 0),
    ),
    Case(  # translated
        text=MEETING,
        hypothesis="бугун/u мажлис/u соат/u нечада/u бошланади/u",
        codes="CSCCC",
        pairs=(5, 4),
        switches=(2, 0, 0, 0),
        uz=(4, 0, 0, 0),
        ru=(1, 1, 0, 0),
        points=(1, 1, 0, 0),
    ),
    Case(  # left out
        text=MEETING,
        hypothesis="бугун/u соат/u нечада/u бошланади/u",
        codes="CDCCC",
        pairs=(4, 4),
        switches=(2, 0, 0, 0),
        uz=(4, 0, 0, 0),
        ru=(1, 0, 1, 0),
        points=(1, 0, 1, 0),
    ),
    Case(  # a word more in the embedded language: the boundary is where it was, before the inserted word
        text=MEETING,
        hypothesis="бугун/u ну/r совещание/r соат/u нечада/u бошланади/u",
        codes="CICCCC",
        pairs=(5, 5),
        switches=(2, 2, 2, 2),
        uz=(4, 0, 0, 0),
        ru=(1, 0, 0, 1),
        points=(1, 0, 0, 1),
    ),
    Case(  # a word more behind it belongs to the word behind the insertion, which is no point of interest
        text=MEETING,
        hypothesis="бугун/u совещание/r эрта/u соат/u нечада/u бошланади/u",
        codes="CCICCC",
        pairs=(5, 5),
        switches=(2, 2, 2, 2),
        uz=(4, 0, 0, 1),
        ru=(1, 0, 0, 0),
        points=(1, 0, 0, 0),
    ),
    Case(  # switches one word early
        text=SORRY,
        hypothesis="извини/r я/r кечикдим/u йўлда/u машинам/u бузилиб/u қолди/u",
        codes="CCSCCCC",
        pairs=(7, 6),
        switches=(1, 1, 0, 1),
        uz=(4, 0, 0, 0),
        ru=(3, 1, 0, 0),
        points=(3, 1, 0, 0),
    ),
    Case(  # two words early is not near
        text=SORRY,
        hypothesis="извини/r мен/u кечикдим/u йўлда/u машинам/u бузилиб/u қолди/u",
        codes="CSSCCCC",
        pairs=(7, 5),
        switches=(1, 1, 0, 0),
        uz=(4, 0, 0, 0),
        ru=(3, 2, 0, 0),
        points=(3, 2, 0, 0),
    ),
    Case(  # the last word before the switch is deleted: the hypothesis's boundary covers two of the reference
        text=SORRY,
        hypothesis="извини/r я/r йўлда/u машинам/u бузилиб/u қолди/u",
        codes="CCDCCCC",
        pairs=(6, 6),
        switches=(1, 1, 1, 1),
        uz=(4, 0, 0, 0),
        ru=(3, 0, 1, 0),
        points=(3, 0, 1, 0),
    ),
    Case(  # three switches where there is one: at tolerance 1 two are near, and one of them counts
        text=SORRY,
        hypothesis="извини/r я/r ҳали/u опоздал/r йўлда/u машинам/u бузилиб/u қолди/u",
        codes="CCICCCCC",
        pairs=(7, 7),
        switches=(1, 3, 1, 1),
        uz=(4, 0, 0, 1),
        ru=(3, 0, 0, 0),
        points=(3, 0, 0, 1),
    ),
    Case(  # a whole clause put into the main language
        text="я ему говорю келма бугун ишим кўп а он всё равно приехал",
        hypothesis="я/r ему/r говорю/r не/r могу/r сегодня/r занят/r а/r он/r всё/r равно/r приехал/r",
        codes="CCCSSSSCCCCC",
        pairs=(12, 8),
        switches=(2, 0, 0, 0),
        uz=(4, 4, 0, 0),
        ru=(8, 0, 0, 0),
        points=(4, 4, 0, 0),
    ),
    Case(  # a numeral is in no language: no pair, no switch, and its error is of neither
        text="эртага соат 10 да проходнойда учрашамиз",
        hypothesis="эртага/u соат/u ўн/u да/u проходнойда/r учрашамиз/u",
        codes="CCSCCC",
        pairs=(5, 5),
        switches=(2, 2, 2, 2),
        uz=(4, 0, 0, 0),
        ru=(1, 0, 0, 0),
        points=(1, 0, 0, 0),
    ),
    Case(  # the switch spans a numeral, which the hypothesis lacks
        text="остаток 250 ming soʻm ekan",
        hypothesis="остаток/r ming/u so'm/u ekan/u",
        codes="CDCCC",
        pairs=(4, 4),
        switches=(1, 1, 1, 1),
        uz=(3, 0, 0, 0),
        ru=(1, 0, 0, 0),
        points=(1, 0, 0, 0),
    ),
    Case(  # nothing recognised; both languages have four words, so the main one is the first by name, "ru"
        text="мы договорились на пятницу лекин у яна келмади",
        hypothesis="",
        codes="DDDDDDDD",
        pairs=(0, 0),
        switches=(1, 0, 0, 0),
        uz=(4, 0, 4, 0),
        ru=(4, 0, 4, 0),
        points=(4, 0, 4, 0),
    ),
    Case(  # switches that nobody made
        text="бу йил қиш жуда совуқ келди",
        hypothesis="бу/u год/r қиш/u очень/r совуқ/u келди/u",
        codes="CSCSCC",
        pairs=(6, 4),
        switches=(0, 4, 0, 0),
        uz=(6, 2, 0, 0),
        ru=(0, 0, 0, 0),
        points=(0, 0, 0, 0),
    ),
    Case(
        text="там на углу есть хорошая аптека",
        hypothesis="там/r на/r углу/r есть/r хорошая/r аптека/r",
        codes="CCCCCC",
        pairs=(6, 6),
        switches=(0, 0, 0, 0),
        uz=(0, 0, 0, 0),
        ru=(6, 0, 0, 0),
        points=(0, 0, 0, 0),
    ),
    Case(  # an Uzbek word at the end belongs to the last word, which is no point of interest
        text="она мне сказала майли бўпти и положила трубку",
        hypothesis="она/r мне/r сказала/r майли/u и/r положила/r трубку/r хўп/u",
        codes="CCCCDCCCI",
        pairs=(7, 7),
        switches=(2, 3, 2, 2),
        uz=(2, 0, 1, 1),
        ru=(6, 0, 0, 0),
        points=(2, 0, 1, 0),
    ),
    Case(  # here the last word is one
        text="на этой неделе плов готовит мой брат худо хоҳласа",
        hypothesis="на/r этой/r неделе/r плов/r готовит/r мой/r брат/r худо/u хоҳласа/u албатта/u",
        codes="CCCCCCCCCI",
        pairs=(9, 9),
        switches=(1, 1, 1, 1),
        uz=(2, 0, 0, 1),
        ru=(7, 0, 0, 0),
        points=(2, 0, 0, 1),
    ),
    Case(
        text="тўйга приглашение тарқатиб чиқдик",
        hypothesis="тўйга/u келинг/u приглашение/r тарқатиб/u чиқдик/u",
        codes="CICCC",
        pairs=(4, 4),
        switches=(2, 2, 2, 2),
        uz=(3, 0, 0, 1),
        ru=(1, 0, 0, 0),
        points=(1, 0, 0, 1),
    ),
    Case(  # a third language: the place is right and the direction is not
        text="bugun заказ koʻp boʻldi ulgurmadik",
        hypothesis="bugun/u order/e koʻp/u boʻldi/u ulgurmadik/u",
        codes="CSCCC",
        pairs=(5, 4),
        switches=(2, 2, 0, 0),
        uz=(4, 0, 0, 0),
        ru=(1, 1, 0, 0),
        points=(1, 1, 0, 0),
    ),
    Case(
        text="как дела яхши юрибсизми болалар катта бўлиб қолдими",
        hypothesis="как/r дела/r юрибсизми/u болалар/u катта/u бўлиб/u қолдими/u",
        codes="CCDCCCCC",
        pairs=(7, 7),
        switches=(1, 1, 1, 1),
        uz=(6, 0, 1, 0),
        ru=(2, 0, 0, 0),
        points=(2, 0, 0, 0),
    ),
    Case(  # one word cut into two
        text="сначала суҳбатдан ўтасиз потом ишга оламиз",
        hypothesis="с/r начала/r суҳбатдан/u ўтасиз/u потом/r ишга/u оламиз/u",
        codes="ISCCCCC",
        pairs=(6, 6),
        switches=(3, 3, 3, 3),
        uz=(4, 0, 0, 0),
        ru=(2, 1, 0, 1),
        points=(2, 1, 0, 1),
    ),
    Case(
        text="менга справка керак эди шунга келдим",
        hypothesis="менга/u справку/r керак/u эди/u шунга/u келдим/u",
        codes="CSCCCC",
        pairs=(6, 6),
        switches=(2, 2, 2, 2),
        uz=(5, 0, 0, 0),
        ru=(1, 1, 0, 0),
        points=(1, 1, 0, 0),
    ),
    Case(
        text="отчётни кечгача топшириш керак экан",
        hypothesis="от/r чётни/r кечгача/u топшириш/u керак/u экан/u",
        codes="ISCCCC",
        pairs=(5, 5),
        switches=(1, 1, 1, 1),
        uz=(4, 0, 0, 0),
        ru=(1, 1, 0, 1),
        points=(1, 1, 0, 1),
    ),
    Case(  # the ending stands alone: it is what the Russian word is aligned with, so the switch back is one late
        text="пулингизни кошелёкка солиб бердим",
        hypothesis="пулингизни/u кошелёк/r ка/u солиб/u бердим/u",
        codes="CISCC",
        pairs=(4, 3),
        switches=(2, 2, 1, 2),
        uz=(3, 0, 0, 0),
        ru=(1, 1, 0, 1),
        points=(1, 1, 0, 1),
    ),
    Case(
        text="ремень узилиб кетибди янгисини олиш керак",
        hypothesis="ремен/u узилиб/u кетибди/u янгисини/u олиш/u керак/u",
        codes="SCCCCC",
        pairs=(6, 5),
        switches=(1, 0, 0, 0),
        uz=(5, 0, 0, 0),
        ru=(1, 1, 0, 0),
        points=(1, 1, 0, 0),
    ),
    Case(
        text="там такой shovqin ничего не слышно",
        hypothesis="там/r такой/r шов/r кинь/r ничего/r не/r слышно/r",
        codes="CCISCCC",
        pairs=(6, 5),
        switches=(2, 0, 0, 0),
        uz=(1, 1, 0, 0),
        ru=(5, 0, 0, 1),
        points=(1, 1, 0, 1),
    ),
    Case(
        text="voobshe bu gapni kim aytdi senga",
        hypothesis="bu/u gapni/u kim/u aytdi/u senga/u",
        codes="DCCCCC",
        pairs=(5, 5),
        switches=(1, 0, 0, 0),
        uz=(5, 0, 0, 0),
        ru=(1, 0, 1, 0),
        points=(1, 0, 1, 0),
    ),
    Case(  # errors in the main language leave points of interest alone
        text="если честно менга бу иш ёқмаяпти бошқа жой қидиряпман",
        hypothesis="если/r честно/r мен/u бу/u иш/u ёқмаяпти/u жой/u қидиряпман/u",
        codes="CCSCCCDCC",
        pairs=(8, 8),
        switches=(1, 1, 1, 1),
        uz=(7, 1, 1, 0),
        ru=(2, 0, 0, 0),
        points=(2, 0, 0, 0),
    ),
    Case(  # the first Uzbek word becomes two Russian ones: the switch is one word late
        text="зря овора бўлдик ҳеч ким йўқ экан",
        hypothesis="зря/r а/r вора/r бўлдик/u ҳеч/u ким/u йўқ/u экан/u",
        codes="CISCCCCC",
        pairs=(7, 6),
        switches=(1, 1, 0, 1),
        uz=(6, 1, 0, 0),
        ru=(1, 0, 0, 1),
        points=(1, 0, 0, 0),
    ),
]
NAMES = {"u": "uz", "r": "ru", "o": OTHER, "e": "en"}


def _parse(hypothesis: str) -> tuple[list[str], list[str]]:
    pairs = [item.rsplit("/", 1) for item in hypothesis.split()]
    return [word for word, _ in pairs], [NAMES[label] for _, label in pairs]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.hypothesis or "nothing")
def test_figures_counted_by_hand(case: Case) -> None:
    sentence = BY_TEXT[case.text]
    words, labels = _parse(case.hypothesis)
    scored = score([case.text], [" ".join(words)])
    assert scored.alignments.letters(0) == case.codes
    result = score_code_switching(scored, [sentence["labels"]], [labels])
    assert (result.language_pairs, result.language_correct) == case.pairs
    exact, near = result.switches[0], result.switches[1]
    assert (exact.reference, exact.hypothesis, exact.correct, near.correct) == case.switches
    nothing = (0, 0, 0, 0)
    assert (_counts(result, "uz"), _counts(result, "ru")) == (case.uz, case.ru)
    assert _totals(result.points) == case.points
    if "en" in labels:
        assert _counts(result, "en") == nothing


def _counts(result: CodeSwitchingScore, language: str) -> tuple[int, ...]:
    return _totals(result.languages[language]) if language in result.languages else (0, 0, 0, 0)


def _totals(counts: Any) -> tuple[int, ...]:
    return tuple(
        int(array.sum()) for array in (counts.words, counts.substitutions, counts.deletions, counts.insertions)
    )


def test_all_hand_worked_cases_together() -> None:
    assert len(CASES) == 30
    assert len({case.text for case in CASES}) == 22
    parsed = [_parse(case.hypothesis) for case in CASES]
    scored = score([case.text for case in CASES], [" ".join(words) for words, _ in parsed])
    result = score_code_switching(scored, [BY_TEXT[c.text]["labels"] for c in CASES], [labels for _, labels in parsed])
    found = result.as_json()
    pairs = [sum(case.pairs[i] for case in CASES) for i in (0, 1)]
    assert found["language_accuracy"] == pytest.approx(pairs[1] / pairs[0])
    reference, hypothesis, exact, near = (sum(case.switches[i] for case in CASES) for i in range(4))
    assert found["switch_points"]["0"]["precision"] == pytest.approx(exact / hypothesis)
    assert found["switch_points"]["0"]["recall"] == pytest.approx(exact / reference)
    assert found["switch_points"]["1"]["f1"] == pytest.approx(2 * near / (reference + hypothesis))
    words, substitutions, deletions, insertions = (sum(case.uz[i] for case in CASES) for i in range(4))
    assert found["languages"]["uz"] == {
        "wer": pytest.approx((substitutions + deletions + insertions) / words),
        "words": words,
        "errors": substitutions + deletions + insertions,
        "substitutions": substitutions,
        "deletions": deletions,
        "insertions": insertions,
    }
    assert found["mer"] == scored.wer


def test_a_report_block_in_full() -> None:
    case = next(case for case in CASES if case.text.startswith("эртага соат 10"))
    words, labels = _parse(case.hypothesis)
    result = score_code_switching(score([case.text], [" ".join(words)]), [BY_TEXT[case.text]["labels"]], [labels])
    perfect = {"precision": 1.0, "recall": 1.0, "f1": 1.0, "reference": 1, "hypothesis": 1, "correct": 1}
    both = {**perfect, "reference": 2, "hypothesis": 2, "correct": 2}
    none = {"errors": 0, "substitutions": 0, "deletions": 0, "insertions": 0}
    assert result.as_json() == {
        "language_accuracy": 1.0,
        "language_pairs": 5,
        "language_correct": 5,
        "switch_points": {"0": both, "1": both},
        "directions": {"ru>uz": {"0": perfect, "1": perfect}, "uz>ru": {"0": perfect, "1": perfect}},
        "languages": {
            "ru": {"wer": 0.0, "words": 1, **none},
            "uz": {"wer": 0.0, "words": 4, **none},
            "other": {"wer": 1.0, "words": 1, **none, "errors": 1, "substitutions": 1},
        },
        "pier": {"value": 0.0, "with_insertions": 0.0, "words": 1, **none},
        "mer": pytest.approx(1 / 6),
        "set": {
            "cmi": pytest.approx(0.2),
            "cmi_switched": pytest.approx(0.2),
            "m_index": pytest.approx((1 - 0.68) / 0.68),
            "i_index": 0.5,
            "utterances": 1,
            "switched_utterances": 1,
            "switch_points": 2,
            "words": {"ru": 1, "uz": 4},
        },
        "reasons": {},
    }
    json.dumps(result.as_json(), allow_nan=False)


def test_figures_that_do_not_exist_are_null_and_say_why() -> None:
    silent = score_code_switching(score([""], [""]), [[]], [[]]).as_json()
    assert silent["language_accuracy"] is silent["mer"] is silent["pier"]["value"] is silent["set"]["m_index"] is None
    assert silent["switch_points"]["0"] == {
        **dict.fromkeys(("precision", "recall", "f1")),
        **dict.fromkeys(("reference", "hypothesis", "correct"), 0),
    }
    assert silent["languages"] == silent["directions"] == {}
    assert silent["set"]["cmi"] == 0.0
    assert set(silent["reasons"]) == (
        {"language_accuracy", "switch_points", "pier", "mer", "cmi_switched", "m_index", "i_index"}
    )
    empty = score_code_switching(score([], []), [], []).as_json()
    assert empty["set"]["cmi"] is None
    assert empty["reasons"]["cmi"] == "There are no utterances."
    alone = score_code_switching(score(["привет"], ["привет"]), [["ru"]], [["ru"]]).as_json()
    assert alone["languages"] == {
        "ru": {"wer": 0.0, "words": 1, "errors": 0, "substitutions": 0, "deletions": 0, "insertions": 0}
    }
    json.dumps([silent, empty, alone], allow_nan=False)


# The whole set, against a slow and obvious scorer


def _corrupt(draw: random.Random, rate: float) -> tuple[list[str], list[list[str]]]:
    """A hypothesis for each sentence of the set with words wrong, lost and added, and labels for all of them."""
    vocabulary = sorted({pair for s in SENTENCES for pair in zip(s["words"], s["labels"], strict=True)})
    texts, labels = [], []
    for sentence in SENTENCES:
        made: list[tuple[str, str]] = []
        for pair in [*zip(sentence["words"], sentence["labels"], strict=True), None]:
            while draw.random() < rate / 3:
                made.append(draw.choice(vocabulary))
            if pair is None or draw.random() < rate / 3:
                continue
            made.append(draw.choice(vocabulary) if draw.random() < rate / 2 else pair)
        texts.append(" ".join(word for word, _ in made))
        labels.append([draw.choice(["uz", "ru", "en", OTHER]) if draw.random() < 0.1 else label for _, label in made])
    return texts, labels


def _most_matches(near: Sequence[Sequence[int]]) -> int:
    """Largest number of pairs, by augmenting paths; `near` lists the partners of each on the left."""
    partner: dict[int, int] = {}

    def place(left: int, tried: set[int]) -> bool:
        for right in near[left]:
            if right not in tried:
                tried.add(right)
                if right not in partner or place(partner[right], tried):
                    partner[right] = left
                    return True
        return False

    return sum(place(left, set()) for left in range(len(near)))


def _spans(labels: Sequence[str]) -> list[tuple[int, int, tuple[str, str]]]:
    """(last old word, first new word, direction) of each switch."""
    words = [i for i, label in enumerate(labels) if label != OTHER]
    return [(i, j, (labels[i], labels[j])) for i, j in itertools.pairwise(words) if labels[i] != labels[j]]


def _slow_score(scored: Score, ours: Sequence[Sequence[str]], theirs: Sequence[Sequence[str]]) -> dict[str, Any]:
    totals = Counter(label for labels in ours for label in labels if label != OTHER)
    found: Counter[Any] = Counter()
    cmi = []
    for row in range(scored.utterances):
        reference, hypothesis = ours[row], theirs[row]
        words = Counter(label for label in reference if label != OTHER)
        ranked = sorted(words, key=lambda label: (-words[label], -totals[label], label))
        points = [label != OTHER and label != ranked[0] for label in reference]
        cmi.append(1 - words[ranked[0]] / words.total() if ranked else 0.0)
        i = j = 0
        behind: dict[int, set[int]] = {}  # boundary of the hypothesis -> boundaries of the reference at that place
        for operation in scored.alignments.operations(row):
            behind.setdefault(j, set()).add(i)
            if operation.kind == "I":
                found["insertions", hypothesis[j]] += 1
                near = min(i, len(reference) - 1)
                found["points", "I"] += near >= 0 and points[near]
            else:
                found["words", reference[i]] += 1
                found["points", "words"] += points[i]
                if operation.kind != "C":
                    found[operation.kind, reference[i]] += 1
                    found["points", operation.kind] += points[i]
                if operation.kind != "D" and OTHER not in (reference[i], hypothesis[j]):
                    found["pairs"] += 1
                    found["agreeing"] += reference[i] == hypothesis[j]
            i += operation.kind != "I"
            j += operation.kind != "D"
        behind.setdefault(j, set()).add(i)
        mine, other = _spans(reference), _spans(hypothesis)
        for direction in {d for _, _, d in mine + other}:
            left = [set(range(i + 1, j + 1)) for i, j, d in mine if d == direction]
            right = [
                set.union(*(behind[boundary] for boundary in range(i + 1, j + 1)))
                for i, j, d in other
                if d == direction
            ]
            found["left", direction] += len(left)
            found["right", direction] += len(right)
            for tolerance in (0, 1):
                near = [
                    [k for k, b in enumerate(right) if any(abs(x - y) <= tolerance for x in a for y in b)] for a in left
                ]
                found["matched", direction, tolerance] += _most_matches(near)
    return {"counts": found, "cmi": sum(cmi) / len(cmi), "totals": totals}


@pytest.mark.parametrize("rate", [0.0, 0.15, 0.5, 1.5])
def test_the_whole_set_agrees_with_a_slow_scorer(rate: float) -> None:
    texts, theirs = _corrupt(random.Random(f"code-switching {rate}"), rate)
    references = [" ".join(s["words"]) for s in SENTENCES]
    _check_against_slow_scorer(references, [s["labels"] for s in SENTENCES], texts, theirs)


def test_short_texts_that_switch_all_the_time_agree_with_a_slow_scorer() -> None:
    """Few words and labels at random, empty texts among them: deletions and insertions fall on many switch points."""
    draw = random.Random("alternating")

    def texts() -> tuple[list[str], list[list[str]]]:
        words = [[draw.choice("abcde") for _ in range(draw.randint(0, 7))] for _ in range(600)]
        labels = [[draw.choice(["uz", "uz", "ru", "ru", "en", OTHER]) for _ in text] for text in words]
        return [" ".join(text) for text in words], labels

    _check_against_slow_scorer(*texts(), *texts())


def test_a_switch_of_the_hypothesis_counts_for_one_of_the_reference() -> None:
    ours = [["uz", "ru", "uz", "ru"]]
    late = score_code_switching(score(["a b c d"], ["a b c d"]), ours, [["uz", "uz", "ru", "ru"]])
    assert [late.switches[tolerance].correct for tolerance in (0, 1)] == [0, 1]
    short = score_code_switching(score(["a b c d"], ["a d"]), ours, [["uz", "ru"]])
    assert [short.switches[tolerance].correct for tolerance in (0, 1)] == [1, 1]


def _check_against_slow_scorer(
    references: list[str], ours: list[list[str]], hypotheses: list[str], theirs: list[list[str]]
) -> None:
    scored = score(references, hypotheses)
    result = score_code_switching(scored, ours, theirs)
    slow = _slow_score(scored, ours, theirs)
    counts = slow["counts"]
    assert (result.language_pairs, result.language_correct) == (counts["pairs"], counts["agreeing"])
    for language, errors in result.languages.items():
        expected = [counts[kind, language] for kind in ("words", "S", "D", "insertions")]
        assert _totals(errors) == tuple(expected), language
    assert _totals(result.points) == tuple(counts["points", kind] for kind in ("words", "S", "D", "I"))
    directions = {key[1] for key in counts if isinstance(key, tuple) and key[0] in ("left", "right") and counts[key]}
    assert set(result.directions) == directions
    for direction, by_tolerance in result.directions.items():
        for tolerance, figures in by_tolerance.items():
            assert (figures.reference, figures.hypothesis, figures.correct) == (
                counts["left", direction],
                counts["right", direction],
                counts["matched", direction, tolerance],
            )
    assert result.mix.cmi == pytest.approx(slow["cmi"])
    assert {language: words for language, words in result.mix.words.items() if words} == slow["totals"]
    assert result.mix.switch_points == sum(len(switch_points(labels)) for labels in ours)
    assert result.mix.switched_utterances == sum(bool(switch_points(labels)) for labels in ours)
    # Nothing is lost or counted twice.
    for kind in ("words", "substitutions", "deletions", "insertions"):
        parts = sum(getattr(errors, kind) for errors in result.languages.values())
        assert parts.tolist() == getattr(scored.counts, kind).tolist()
    for tolerance, total in result.switches.items():
        assert total.correct == sum(by_tolerance[tolerance].correct for by_tolerance in result.directions.values())


def test_the_result_does_not_depend_on_the_order_of_utterances() -> None:
    texts, theirs = _corrupt(random.Random("order"), 0.6)
    rows = list(range(len(SENTENCES)))

    def figures(order: list[int]) -> dict[str, Any]:
        scored = score([" ".join(SENTENCES[row]["words"]) for row in order], [texts[row] for row in order])
        labels = [SENTENCES[row]["labels"] for row in order], [theirs[row] for row in order]
        found = score_code_switching(scored, *labels).as_json()
        found["set"]["cmi"] = found["set"]["cmi_switched"] = None  # means of floats: the last bit may move
        return found

    assert figures(rows) == figures(rows[::-1])


# The set


def test_how_mixed_a_set_is() -> None:
    """Ten words, six and four: p = 0.6, 0.4; pairs 2 + 3 + 1; switches 1 + 1 + 0."""
    labels = [["uz", "ru", "ru"], ["uz", OTHER, "uz", "uz", "ru"], ["uz", "uz"], [OTHER], ["ru"]]
    texts = [" ".join("abcdefgh"[: len(names)]) for names in labels]
    mix = score_code_switching(score(texts, texts), labels, labels).mix
    assert mix.cmi == pytest.approx((1 / 3 + 1 / 4) / 5)
    assert mix.cmi_switched == pytest.approx((1 / 3 + 1 / 4) / 2)
    assert mix.m_index == pytest.approx((1 - 0.52) / 0.52)
    assert mix.i_index == pytest.approx(2 / 6)
    assert (mix.switched_utterances, mix.switch_points, mix.utterances) == (2, 2, 5)


def test_the_m_index_is_one_for_equal_languages_and_needs_two() -> None:
    def index(*labels: str) -> float | None:
        text = " ".join("abcdefgh"[: len(labels)])
        return score_code_switching(score([text], [text]), [labels], [labels]).mix.m_index

    assert index("uz", "ru", "en", "en", "ru", "uz") == pytest.approx(1)
    assert index("uz", "uz") is None


def test_points_of_interest_may_be_given() -> None:
    scored = score(["a b c d", "e f"], ["a x c", "y f"])
    labels = [["uz"] * 4, ["ru"] * 2]
    given = score_code_switching(
        scored, labels, [["uz"] * 3, ["ru"] * 2], points_of_interest=[[False, True, False, True], [True, False]]
    )
    assert _totals(given.points) == (3, 2, 1, 0)
    assert given.pier == 1.0
    assert score_code_switching(scored, labels, [["uz"] * 3, ["ru"] * 2]).pier is None
    with pytest.raises(InputError, match="points of interest"):
        score_code_switching(scored, labels, [["uz"] * 3, ["ru"] * 2], points_of_interest=[[True], [True, False]])


def test_the_main_language_of_a_tie_is_the_larger_in_the_set() -> None:
    texts = ["a b", "c d e"]
    labels = [["ru", "uz"], ["uz", "uz", "uz"]]
    points = score_code_switching(score(texts, ["x b", "c d e"]), labels, labels).points
    assert (points.words.tolist(), points.substitutions.tolist()) == ([1, 0], [1, 0])


def test_text_without_spaces_is_scored_by_character() -> None:
    scored = score(["我要 meeting 明天"], ["我要 meeting 今天"])
    words = [["我", "要", "meeting", "明", "天"]]
    labels = fit_labels(
        [_utterance("0", "我要 meeting 明天")], [["zh", "en", "zh"]], words, normalizer="basic", units="mixed"
    )
    assert labels == [["zh", "zh", "en", "zh", "zh"]]
    result = score_code_switching(scored, labels, labels)
    assert result.mer == scored.wer == pytest.approx(1 / 5)
    assert result.pier == 0.0
    by_word = score(["我要 meeting"], ["我要 meeting"], units="words")
    assert score_code_switching(by_word, [["zh", "en"]], [["zh", "en"]]).as_json()["mer"] is None


# Labels: from an identifier, from the manifest


@pytest.fixture(scope="module")
def identifier() -> LanguageIdentifier:
    train = [s for s in SENTENCES if s["split"] == "train"]
    return LanguageIdentifier.train(words_by_language([s["words"] for s in train], [s["labels"] for s in train]))


def _utterance(id_: str, text: str | None, **fields: Any) -> Utterance:
    return Utterance(id=id_, audio=f"/data/{id_}.wav", duration_s=1.0, text=text, **fields)


def test_a_perfect_transcript_has_perfect_figures_whatever_the_identifier_thinks(
    identifier: LanguageIdentifier,
) -> None:
    texts = [" ".join(s["words"]) for s in SENTENCES]
    ours = [s["labels"] for s in SENTENCES]
    assert identifier.label_many([s["words"] for s in SENTENCES]) != ours
    found = score_code_switching(score(texts, texts), ours, identifier=identifier)
    assert found.language_accuracy == found.switches[0].f1 == found.switches[1].f1 == 1.0
    assert found.pier == found.mer == 0.0


def test_an_identifier_finds_the_switches_of_the_held_out_part(identifier: LanguageIdentifier) -> None:
    """Trained on the 100 sentences of the training part alone; `tests/text/test_languages.py` gives it more text."""
    held_out = [s for s in SENTENCES if s["split"] == "heldout"]
    texts = [" ".join(s["words"]) for s in held_out]
    found = identifier.label_many([s["words"] for s in held_out])
    result = score_code_switching(score(texts, texts), [s["labels"] for s in held_out], found)
    assert result.language_accuracy is not None
    assert result.language_accuracy > 0.93
    assert (result.switches[0].f1 or 0) > 0.75
    assert (result.switches[1].f1 or 0) > 0.8


def test_wrong_words_are_labelled_by_the_identifier_beside_the_right_ones(identifier: LanguageIdentifier) -> None:
    scored = score(["бугун совещание бўлади"], ["бугун у бўлади"])
    result = score_code_switching(scored, [["uz", "ru", "uz"]], identifier=identifier)
    assert (result.language_pairs, result.language_correct, result.switches[0].hypothesis) == (3, 2, 0)


def test_hypotheses_need_labels_or_an_identifier() -> None:
    with pytest.raises(InputError, match="no language labels"):
        score_code_switching(score(["a"], ["a"]), [["uz"]])


@pytest.mark.parametrize(
    ("labels", "message"), [([["uz"]], "'0' has 1 reference"), ([], "0 utterances"), (["uz"], "'0'")]
)
def test_labels_that_do_not_fit_name_the_utterance(labels: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        score_code_switching(score(["a b c"], ["a"]), labels, [["uz"]])


def test_labels_of_a_manifest(identifier: LanguageIdentifier) -> None:
    utterances = [
        _utterance("a", "Бугун meeting бор.", extra={"word_languages": ["uz-Cyrl", "EN", "uz"]}),
        _utterance("b", "good 12 morning", language="en-GB"),
        _utterance("c", "я не знаю", language="mixed"),
        _utterance("d", "мен ҳам билмайман", language="uz"),
        _utterance("e", ""),
    ]
    assert labels_of(utterances, identifier) == [
        ["uz", "en", "uz"],
        ["en", OTHER, "en"],  # a language the identifier does not know
        ["ru", "ru", "ru"],
        ["uz", "uz", "uz"],
        [],
    ]
    assert labels_of([utterances[3]]) == [["uz", "uz", "uz"]]
    with pytest.raises(InputError, match="'c' has no 'word_languages'"):
        labels_of(utterances)
    with pytest.raises(InputError, match="'f' has no reference text"):
        labels_of([_utterance("f", None)], identifier)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("uz ru", "not a list"),
        (["uz"], "1 labels and the text 2 words"),
        (["uz", 3], "holds 3"),
        (["uz", ""], "holds ''"),
    ],
)
def test_bad_labels_in_a_manifest_name_the_utterance(value: Any, message: str) -> None:
    with pytest.raises(InputError, match=f"'x': .*{message}"):
        labels_of([_utterance("x", "икки сўз", extra={"word_languages": value})])


def test_labels_follow_the_normaliser() -> None:
    utterances, labels = [_utterance("0", "Ҳа, e-mail — ёзинг!")], [["uz", "en", OTHER, "uz"]]
    words = [["ҳа", "e", "mail", "ёзинг"]]
    assert fit_labels(utterances, labels, words, normalizer="basic", units="words") == [["uz", "en", "en", "uz"]]
    with pytest.raises(InputError, match="'0': normaliser 'basic'"):
        fit_labels(utterances, labels, [["бошқа", "матн"]], normalizer="basic", units="words")


@pytest.mark.parametrize(("normalizer", "units"), [("basic", "mixed"), ("none", "words")])
def test_references_labelled_once_give_every_score_its_summary(
    monkeypatch: pytest.MonkeyPatch, normalizer: str, units: Units
) -> None:
    utterances = [
        _utterance(s["id"], " ".join(s["words"]), language="mixed", extra={"word_languages": s["labels"]})
        for s in SENTENCES[60:90]
    ]
    references = {u.id: u.text or "" for u in utterances}
    scores = [
        score(
            references,
            {id_: text.replace(left_out, "x") for id_, text in references.items()},
            normalizer=normalizer,
            units=units,
        )
        for left_out in ("керак", "а", "я")
    ]
    alone = [code_switching_summary(scored, utterances) for scored in scores]
    assert len({json.dumps(summary) for summary in alone}) == 3
    trained = []
    train = LanguageIdentifier.train
    monkeypatch.setattr(LanguageIdentifier, "train", lambda texts: trained.append(texts) or train(texts))
    labelled = label_references(utterances, normalizer=normalizer, units=units)
    assert labelled is not None
    assert [labelled.summarize(scored) for scored in scores] == alone
    assert len(trained) == 1
    with pytest.raises(InputError, match="not those of the score"):
        labelled.summarize(score({"a": "бир"}, {"a": "бир"}))


def test_references_without_labels_are_not_labelled() -> None:
    assert label_references([_utterance("a", "бир икки")]) is None
    with pytest.raises(InputError, match="'a' has no reference text"):
        label_references([_utterance("a", None, extra={"word_languages": []})])


def test_a_summary_of_a_labelled_manifest(identifier: LanguageIdentifier) -> None:
    chosen = SENTENCES[60:120]
    utterances = [
        _utterance(s["id"], " ".join(s["words"]), language="mixed", extra={"word_languages": s["labels"]})
        for s in chosen
    ]
    hypotheses = {s["id"]: " ".join(word for word in s["words"] if word != "керак") for s in chosen}
    scored = score({u.id: u.text or "" for u in utterances}, hypotheses)
    found = code_switching_summary(scored, utterances)
    assert found is not None
    assert found["labels"] == (
        {"manifest": 60, "not in manifest": 0, "identifier": "trained on the labelled references"}
    )
    assert found["languages"]["ru"]["errors"] == 0
    assert found["languages"]["uz"]["deletions"] == sum(s["words"].count("керак") for s in chosen) > 0
    assert found["language_accuracy"] == 1.0
    assert found["switch_points"]["0"]["f1"] == 1.0
    given = code_switching_summary(scored, utterances, identifier)
    assert given is not None
    assert given["labels"]["identifier"] == "given"
    bare = [_utterance(u.id, u.text) for u in utterances]
    assert code_switching_summary(scored, bare) is None
    predicted = code_switching_summary(scored, bare, identifier)
    assert predicted is not None
    assert predicted["labels"]["not in manifest"] == 60
    with pytest.raises(InputError, match="not those of the score"):
        code_switching_summary(scored, utterances[::-1])


def test_labels_of_one_language_alone_give_no_summary() -> None:
    utterances = [_utterance("a", "бир икки", extra={"word_languages": ["uz", "uz"]})]
    assert code_switching_summary(score({"a": "бир икки"}, {"a": "бир"}), utterances) is None


def test_the_mean_mixing_does_not_depend_on_the_order_of_utterances() -> None:
    draw = np.random.default_rng(8)
    sizes = draw.integers(1, 30, size=3000)
    languages = [draw.integers(1, 3, size=size) for size in sizes]

    def mixing(order: np.ndarray) -> tuple[float | None, float | None]:
        words = np.concatenate([languages[row] for row in order])
        found = describe_mix(words, np.repeat(np.arange(3000), sizes[order]), ("other", "ru", "uz"), count=3000)
        return found.cmi, found.cmi_switched

    assert len({mixing(draw.permutation(3000)) for _ in range(5)}) == 1
