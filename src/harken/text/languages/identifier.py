"""The language of every word of a sentence, learned from text in each language.

A word is judged by its letters, by whether it was seen, and by its neighbours. Script is not part of a label: text in
both scripts of a language goes under one tag.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from harken.core import InputError, MissingPart, Strict
from harken.core.files import write_json
from harken.text.languages.context import posteriors
from harken.text.languages.labels import OTHER, clean_word, has_letters, is_language
from harken.text.languages.word_model import WordModel

FORMAT = "harken-language-identifier"
VERSION = 1

_MOST_CACHED = 1 << 18  # distinct words whose evidence is remembered between calls


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageIdentifierConfig(Strict):
    """Settings of the model.

    `order` is the longest character n-gram, `lexicon_share` the weight of the frequencies of seen words against the
    character model, `switch_probability` how often the next word is in another language. The defaults did best on the
    training part of the Uzbek-Russian set in `tests/data`.
    """

    order: int = 5
    lexicon_share: float = 0.5
    switch_probability: float = 0.15

    def __post_init__(self) -> None:
        if not 1 <= self.order <= 10:
            raise ValueError(f"order is {self.order}; use 1 to 10")
        if not 0 <= self.lexicon_share < 1:
            raise ValueError(f"lexicon_share is {self.lexicon_share}; use 0 or more and below 1")
        if not 0 < self.switch_probability <= 0.5:
            raise ValueError(f"switch_probability is {self.switch_probability}; use above 0 and at most 0.5")


@dataclass(frozen=True, slots=True, kw_only=True)
class TextLanguage:
    """The language of a whole text.

    `language` is the one most words are in, None for a text without words. `shares` holds the part of the words that
    each language has, those in no language left out; all are zero for a text without words.
    """

    language: str | None
    shares: Mapping[str, float]

    def is_mixed(self, least_share: float = 0.1) -> bool:
        """Whether two or more languages have at least `least_share` of the words each."""
        return sum(share >= least_share for share in self.shares.values()) > 1


class LanguageIdentifier:
    """Labels words with languages. Make one with `train` or `load`; it does not change afterwards."""

    def __init__(self, counts: Mapping[str, Mapping[str, int]], config: LanguageIdentifierConfig | None = None) -> None:
        """`counts` says per language how often each cleaned word was seen. Raises InputError as `train` does."""
        self.config = config or LanguageIdentifierConfig()
        self.languages = tuple(sorted(counts))
        _check_counts(counts)
        self._counts = {language: dict(counts[language]) for language in self.languages}
        alphabet = {letter for words in self._counts.values() for word in words for letter in word}
        self._models = [
            WordModel(
                self._counts[language],
                order=self.config.order,
                lexicon_share=self.config.lexicon_share,
                alphabet_size=len(alphabet) + 2,  # the edge of a word, and a letter nobody has seen
            )
            for language in self.languages
        ]
        self._numbers = {language: number for number, language in enumerate(self.languages)}
        self._evidence: dict[str, list[float] | None] = {}

    @classmethod
    def train(
        cls,
        texts_by_language: Mapping[str, Iterable[str]],
        lexicons: Mapping[str, Iterable[str]] | None = None,
        config: LanguageIdentifierConfig | None = None,
    ) -> Self:
        """Learn from texts in each language and, if given, from lists of words, each of which counts once more.

        Languages are named by BCP-47 tags without the script. A few thousand words each already tell Uzbek from
        Russian. Give the texts in every script that is to be recognised.

        Raises InputError for fewer than two languages, a language without any word, and a label that is no tag.
        """
        lexicons = lexicons or {}
        counts: dict[str, Counter[str]] = {}
        for language in chain(texts_by_language, lexicons):
            lists = texts_by_language.get(language, ()), lexicons.get(language, ())
            if any(isinstance(given, str) for given in lists):
                raise InputError(f"The text of {language!r} is one string.", hint="Give a list of texts.")
            raw = Counter(word for text in chain(*lists) for word in text.split())
            seen = counts[language] = Counter[str]()
            for word, count in raw.items():
                if has_letters(word):
                    seen[clean_word(word)] += count
        return cls(counts, config)

    def label(self, words: Sequence[str]) -> list[str]:
        """The language of each word of one sentence, or "other" for a word without a letter."""
        return self.label_many([words])[0]

    def label_many(
        self, sentences: Sequence[Sequence[str]], known: Sequence[Sequence[str | None]] | None = None
    ) -> list[list[str]]:
        """The language of each word of each sentence; a million running words take seconds.

        `known` may hold labels that are already sure, None for the others: they are kept, and the words beside them
        are judged accordingly. Raises InputError where `known` does not fit the sentences.
        """
        _check_sentences(sentences, known)
        certain = None if known is None else [label for labels in known for label in labels]
        probabilities_WL, offsets, judged = self._judge(sentences, certain)
        names = [self.languages[number] for number in probabilities_WL.argmax(axis=1).tolist()]
        labels = [name if is_judged else OTHER for name, is_judged in zip(names, judged, strict=True)]
        if certain is not None:
            labels = [found if sure is None else sure for found, sure in zip(labels, certain, strict=True)]
        ends = offsets.tolist()
        return [labels[start:end] for start, end in pairwise(ends)]

    def scores(self, words: Sequence[str]) -> npt.NDArray[np.float64]:
        """(words, languages) natural log of P(language | sentence), languages in the order of `languages`.

        A word without a letter is no evidence; its row says what its neighbours suggest.
        """
        _check_sentences([words], None)
        probabilities_WL, _, _ = self._judge([words], None)
        logs: npt.NDArray[np.float64] = np.log(np.maximum(probabilities_WL, np.finfo(np.float64).tiny))
        return logs

    def detect_language(self, text: str) -> TextLanguage:
        """The language of a whole text, and how much of it is in each."""
        found = Counter(label for label in self.label(text.split()) if label != OTHER)
        total = found.total()
        shares = {language: found[language] / total if total else 0.0 for language in self.languages}
        return TextLanguage(language=max(self.languages, key=shares.__getitem__) if total else None, shares=shares)

    def save(self, path: Path) -> None:
        """Write the identifier as JSON: its settings and the words it has seen. Equal identifiers give equal bytes."""
        words = {language: dict(sorted(self._counts[language].items())) for language in self.languages}
        write_json(Path(path), {"format": FORMAT, "version": VERSION, "config": asdict(self.config), "words": words})

    @classmethod
    def load(cls, path: Path) -> Self:
        """The identifier in a file. Raises MissingPart when it is absent, InputError when it is damaged."""
        path = Path(path)
        data = _read(path)
        words = data.get("words")
        if not isinstance(words, dict) or not all(_is_count_table(table) for table in words.values()):
            raise InputError(f"{path} is damaged: 'words' is not a table of counts.", hint="Train and save it again.")
        try:
            return cls(words, LanguageIdentifierConfig(**data.get("config", {})))
        except (TypeError, ValueError) as err:
            raise InputError(f"{path} is damaged: {err}.", hint="Train and save it again.") from err
        except InputError as err:
            raise InputError(f"{path} is damaged: {err.message}", hint="Train and save it again.") from err

    def _judge(
        self, sentences: Sequence[Sequence[str]], certain: Sequence[str | None] | None
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], list[bool]]:
        """(words, languages) probabilities, where each sentence begins, and which words have letters."""
        rows: list[list[float]] = []
        judged: list[bool] = []
        nothing = [0.0] * len(self.languages)
        for word in chain.from_iterable(sentences):
            found = self._evidence_of(word)
            judged.append(found is not None)
            rows.append(nothing if found is None else found)
        evidence_WL = np.array(rows, dtype=np.float64).reshape(len(rows), len(self.languages))
        for place, label in enumerate(certain or ()):
            if label in self._numbers:
                evidence_WL[place] = -np.inf
                evidence_WL[place, self._numbers[label]] = 0
        offsets = np.cumsum([0, *map(len, sentences)])
        return posteriors(evidence_WL, offsets, self.config.switch_probability), offsets, judged

    def _evidence_of(self, word: str) -> list[float] | None:
        """log P(word | language) for every language; None for a word without letters."""
        try:
            return self._evidence[word]
        except KeyError:
            pass
        if len(self._evidence) >= _MOST_CACHED:
            self._evidence.clear()
        found = None
        if has_letters(word):
            cleaned = clean_word(word)
            found = [model.log_probability(cleaned) for model in self._models]
        self._evidence[word] = found
        return found


def _check_counts(counts: Mapping[str, Mapping[str, int]]) -> None:
    for language, words in counts.items():
        if not is_language(language):
            raise InputError(f"{language!r} is no language.", hint="Use a BCP-47 tag without script, such as 'uz'.")
        if not words:
            raise InputError(f"There are no words to learn {language!r} from.", hint="Give text in that language.")
    if len(counts) < 2:
        names = ", ".join(counts) or "none"
        raise InputError(f"An identifier needs two languages or more and got {names}.", hint="Give text in each.")


def _check_sentences(sentences: Sequence[Sequence[str]], known: Sequence[Sequence[str | None]] | None) -> None:
    for sentence in sentences:
        if isinstance(sentence, str):
            raise InputError(f"{sentence[:40]!r} is text, not a list of words.", hint="Use text.split().")
    if known is not None and list(map(len, known)) != list(map(len, sentences)):
        raise InputError("The known labels do not fit the sentences.", hint="Give one label, or None, per word.")


def _is_count_table(table: Any) -> bool:
    return isinstance(table, dict) and all(
        type(count) is int and count > 0 and word and not word.isspace() for word, count in table.items()
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as err:
        raise MissingPart(f"{path} does not exist.", hint="Train an identifier and save it there.") from err
    except (OSError, ValueError, RecursionError) as err:
        raise InputError(f"{path} cannot be read as JSON: {err}.", hint="Train and save it again.") from err
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise InputError(
            f"{path} is not a language identifier.", hint="Give a file that LanguageIdentifier.save wrote."
        )
    if data.get("version") != VERSION:
        raise InputError(
            f"{path} has version {data.get('version')!r}; this Harken reads version {VERSION}.",
            hint="Train and save it again.",
        )
    return data
