"""A corpus of Uzbek, Russian and mixed sentences spoken by espeak-ng, to try code-switching out where there is no data.

It shows that training, curricula and scoring by language work, and no more: the vocabulary is small, the grammar of the
mixed sentences is made up, and what is trained on it does not understand real people.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harken.core import InputError, Utterance, Waveform, keyed_generator
from harken.core.units import samples_to_seconds, seconds_to_samples
from harken.data.fresh_process import SAMPLE_RATE_HZ, speak_files, spoken_waveform
from harken.data.manifest import write_manifest
from harken.data.synthetic import DIGIT_WORDS, held_out

MIXED = "mixed"
NOISE_TAG = "noise"
"""Tag whose value is clean or noisy, for the stages of a curriculum."""

VARIANTS = ("m1", "f1", "m3", "f2", "m7", "f4", "Andy", "linda", "ed", "belinda")
"""Timbres; with a pitch each makes a speaker, the same for both languages. The last fifth is for testing."""

VOCABULARY: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "uz": {
        "greeting": ("salom", "assalomu alaykum", "xayr", "rahmat", "xush kelibsiz", "yaxshimisiz"),
        "day": ("dushanba", "seshanba", "chorshanba", "payshanba", "juma", "shanba", "yakshanba"),
        "time": ("bugun", "ertaga", "kecha", "hozir"),
        "digit": DIGIT_WORDS["uz"],
        "thing": ("kitob", "telefon raqami", "choy", "non", "uy", "bozor"),
        "ask": ("kerak", "qancha turadi", "qayerda", "bormi"),
    },
    "ru": {
        "greeting": ("привет", "здравствуйте", "до свидания", "спасибо", "добро пожаловать", "как дела"),
        "day": ("понедельник", "вторник", "среда", "четверг", "пятница", "суббота", "воскресенье"),
        "time": ("сегодня", "завтра", "вчера", "сейчас"),
        "digit": DIGIT_WORDS["ru"],
        "thing": ("книга", "номер телефона", "чай", "хлеб", "дом", "рынок"),
        "ask": ("нужен", "сколько стоит", "где находится", "есть"),
    },
}
"""Phrases by language and kind, each in the script of its language."""

TEMPLATES = (
    ("greeting", "time", "day"),
    ("thing", "digit", "digit", "digit"),
    ("time", "thing", "ask"),
    ("greeting", "thing", "ask"),
    ("day", "digit", "thing"),
    ("digit", "digit", "digit", "digit"),
)
"""Kinds of phrases, in the order they are spoken."""

_JOIN_S = 0.04  # silence between two phrases of one sentence
_EDGE_S = 0.1  # silence around a sentence
_QUIET = 10 ** (-45 / 20)  # of the peak; below it espeak-ng's padding counts as silence


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sentence:
    """One utterance to be spoken: (language, phrase) after one another; `snr_db` None without noise.

    `seed` and `name` are what the noise depends on.
    """

    name: str
    phrases: tuple[tuple[str, str], ...]
    variant: str
    pitch: int
    rate_wpm: int
    snr_db: float | None
    seed: int

    def waveform(self) -> Waveform:
        from harken.audio.noise import add_noise, generate_noise

        waveform = _join([self._speak(language, phrase) for language, phrase in self.phrases])
        if self.snr_db is None:
            return waveform
        generator = keyed_generator("code switched, noise", self.seed, self.name)
        noise = generate_noise(len(waveform), "pink", sample_rate_hz=SAMPLE_RATE_HZ, generator=generator)
        return add_noise(waveform, noise, snr_db=self.snr_db, sample_rate_hz=SAMPLE_RATE_HZ)

    def _speak(self, language: str, phrase: str) -> Waveform:
        """The phrase without the silence that espeak-ng puts around it."""
        voice = f"{language}+{self.variant}"
        waveform = spoken_waveform(phrase, voice=voice, rate_wpm=self.rate_wpm, pitch=self.pitch)
        loud = np.flatnonzero(np.abs(waveform) > _QUIET * max(float(np.abs(waveform).max(initial=0.0)), 1e-6))
        return waveform[loud[0] : loud[-1] + 1] if len(loud) else waveform


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """The arguments of `code_switched_corpus` that decide what is spoken."""

    utterances: int
    mixed_share: float
    noisy_share: float
    snr_db: tuple[float, float]
    vocabulary: Mapping[str, Mapping[str, Sequence[str]]]
    templates: Sequence[Sequence[str]]
    variants: Sequence[str]
    seed: int


def code_switched_corpus(
    out: Path,
    *,
    utterances: int = 300,
    mixed_share: float = 0.4,
    noisy_share: float = 0.5,
    snr_db: tuple[float, float] = (5.0, 15.0),
    vocabulary: Mapping[str, Mapping[str, Sequence[str]]] = VOCABULARY,
    templates: Sequence[Sequence[str]] = TEMPLATES,
    variants: Sequence[str] = VARIANTS,
    seed: int = 0,
) -> list[Utterance]:
    """Write `utterances` FLAC files (16 kHz, 16 bit) into `out`/audio, and `out`/manifest.jsonl; returns its content.

    A share of `mixed_share` are mixed: each phrase of a template is in one of the two languages, at least one in each,
    and its voice speaks it. The others are in either language by turns. `noisy_share` of each kind get pink noise at a
    signal-to-noise ratio drawn from `snr_db`. Languages, templates and noise depend on the number and the seed alone.

    `language` is that of the words, or mixed; `extra` holds `word_languages`, one for each word of `text.split()`;
    `tags` hold `noise` (clean, noisy), `split` (train, test: the last fifth of `variants`, at least one of two or more)
    and the variant. A speaker is a variant with its pitch, who speaks both languages.

    The same arguments give the same bytes: everything is spoken by one fresh process, because espeak-ng does not repeat
    itself within a process. Files appear only when all of them are done. Raises InputError for wrong arguments and
    unknown voices, MissingPart without the extra `synthesis`.
    """
    wanted = _Wanted(
        utterances=utterances,
        mixed_share=mixed_share,
        noisy_share=noisy_share,
        snr_db=snr_db,
        vocabulary=vocabulary,
        templates=templates,
        variants=variants,
        seed=seed,
    )
    _check(wanted)
    sentences = _plan(wanted)
    audio = out / "audio"
    samples = speak_files(audio, sentences)
    testing = set(held_out(variants))
    made = [
        _utterance(sentence, audio / sentence.name, count, "test" if sentence.variant in testing else "train")
        for sentence, count in zip(sentences, samples, strict=True)
    ]
    write_manifest(out / "manifest.jsonl", made)
    return made


def _utterance(sentence: _Sentence, audio: Path, samples: int, split: str) -> Utterance:
    words = [(word, language) for language, phrase in sentence.phrases for word in phrase.split()]
    languages = {language for _, language in words}
    return Utterance(
        id=Path(sentence.name).stem,
        audio=str(audio.resolve()),
        duration_s=samples_to_seconds(samples, sample_rate_hz=SAMPLE_RATE_HZ),
        text=" ".join(word for word, _ in words),
        speaker=f"{sentence.variant}-p{sentence.pitch}",
        language=MIXED if len(languages) > 1 else languages.pop(),
        tags={
            NOISE_TAG: "clean" if sentence.snr_db is None else "noisy",
            "split": split,
            "variant": sentence.variant,
        },
        extra={"word_languages": [language for _, language in words]},
    )


def _plan(wanted: _Wanted) -> list[_Sentence]:
    """What is spoken by whom; a pure function of its arguments."""
    seed, vocabulary, languages = wanted.seed, wanted.vocabulary, tuple(wanted.vocabulary)
    sentences: list[_Sentence] = []
    mixed = plain = 0
    for index in range(wanted.utterances):
        generator = keyed_generator("code switched", seed, index)
        template = wanted.templates[int(generator.integers(len(wanted.templates)))]
        # Shares are met as one goes along, so that any beginning of the corpus has them too.
        is_mixed = int((index + 1) * wanted.mixed_share + 1e-9) > mixed
        turn = mixed if is_mixed else plain // len(languages)
        noisy = int((turn + 1) * wanted.noisy_share + 1e-9) > int(turn * wanted.noisy_share + 1e-9)
        chosen = _languages(len(template), languages, generator) if is_mixed else [languages[plain % len(languages)]]
        mixed, plain = mixed + is_mixed, plain + (not is_mixed)
        variant = wanted.variants[int(generator.integers(len(wanted.variants)))]
        sentences.append(
            _Sentence(
                name=f"switch-{index:06d}.flac",
                phrases=tuple(
                    (language, str(generator.choice(np.array(vocabulary[language][kind], dtype=object))))
                    for kind, language in zip(template, chosen * (1 if is_mixed else len(template)), strict=True)
                ),
                variant=variant,
                pitch=int(keyed_generator("pitch", seed, variant).integers(30, 71)),
                rate_wpm=int(generator.integers(130, 201)),
                snr_db=round(float(generator.uniform(*wanted.snr_db)), 2) if noisy else None,
                seed=seed,
            )
        )
    return sentences


def _languages(phrases: int, languages: Sequence[str], generator: np.random.Generator) -> list[str]:
    """A language for each phrase, not all the same."""
    while True:
        drawn = [languages[int(choice)] for choice in generator.integers(len(languages), size=phrases)]
        if len(set(drawn)) > 1:
            return drawn


def _check(wanted: _Wanted) -> None:
    vocabulary, templates, variants, snr_db = wanted.vocabulary, wanted.templates, wanted.variants, wanted.snr_db
    if wanted.utterances < 1:
        raise InputError(f"utterances is {wanted.utterances}.", hint="Use 1 or more.")
    for name, share in (("mixed_share", wanted.mixed_share), ("noisy_share", wanted.noisy_share)):
        if not 0 <= share <= 1:
            raise InputError(f"{name} is {share}.", hint="Use 0 to 1.")
    if not -60 <= snr_db[0] <= snr_db[1] <= 100:
        raise InputError(f"snr_db is {snr_db}.", hint="Use the lowest and the highest, in dB.")
    if not variants or len(set(variants)) < len(variants):
        raise InputError(f"variants is {list(variants)}.", hint="Name at least one variant, each only once.")
    if len(vocabulary) != 2:
        raise InputError(f"vocabulary has {len(vocabulary)} languages.", hint="Give two.")
    if not templates or any(len(template) < 2 for template in templates):
        raise InputError("A template has fewer than two phrases.", hint="Give templates of two phrases or more.")
    for template in templates:
        for kind in template:
            for language, phrases in vocabulary.items():
                if not all(phrase.split() for phrase in phrases.get(kind, ("",))) or not phrases.get(kind):
                    raise InputError(
                        f"vocabulary has no phrases of the kind {kind!r} in {language!r}, or an empty one.",
                        hint="Give both languages at least one phrase of each kind that a template names.",
                    )


def _join(pieces: Sequence[Waveform]) -> Waveform:
    edge, gap = (
        np.zeros(seconds_to_samples(seconds, sample_rate_hz=SAMPLE_RATE_HZ), dtype=np.float32)
        for seconds in (_EDGE_S, _JOIN_S)
    )
    parts = [edge]
    for number, piece in enumerate(pieces):
        parts += [piece] if number == 0 else [gap, piece]
    return np.concatenate([*parts, edge])
