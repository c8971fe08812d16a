"""Sentences with names that a character model never saw, for the benchmark of decoding: Uzbek, spoken by espeak-ng.

The spelling of Uzbek follows its sounds, so that a model taught with nonsense words can write any word, with a wrong
letter here and there: what a language model and hotwords are for. The voices of the test are not those of the training.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harken.core import Utterance, keyed_generator
from harken.core.units import samples_to_seconds
from harken.data.fresh_process import SAMPLE_RATE_HZ, speak_files
from harken.data.manifest import write_manifest
from harken.data.synthetic import SpokenLine

PEOPLE = (
    "nilufar", "jahongir", "shahzod", "dilnoza", "bekzod", "gulbahor", "sardor", "munisa", "otabek", "zarina", "temur",
    "farruh", "sevara", "kamola", "rustam", "nodira", "botir", "feruza", "anvar", "malika", "sanjar", "ozoda",
)  # fmt: skip
PLACES = (
    "toshkent", "samarqand", "buxoro", "xiva", "andijon", "namangan", "qarshi", "termiz", "nukus", "urganch",
    "guliston", "jizzax", "navoiy", "zomin", "parkent",
)  # fmt: skip
NAMES = (*PEOPLE, *PLACES)
OTHER_PEOPLE = ("aziz", "barno", "davron", "elyor", "hulkar", "iroda", "jasur", "laziz", "nargiza", "sherzod")
OTHER_PLACES = ("chirchiq", "olmaliq", "angren", "denov", "kattaqorgon", "marhamat", "pop", "shovot")
WHO = ("bola", "ota", "ona", "aka", "singil", "mehmon", "ustoz", "shifokor", "haydovchi", "qiz")
WHERE = ("maktab", "bozor", "kutubxona", "daryo", "qishloq", "bekat", "masjid", "zavod")
TEMPLATES = (
    "ertaga {who} {where} tomon boradi", "{who} kecha {where} yonida edi", "{who} bilan {other} {where} haqida gapirdi",
    "bugun {where} yonida {who} qoladi", "{who} va {other} yana {where} tomon ketdi",
)  # fmt: skip
NAMED, PLAIN = "sentences with names", "sentences without names"
VOICES = ("uz+m1", "uz+f1", "uz+m3", "uz+f2", "uz+m4", "uz+f3")
TEST_VOICES = ("uz+m2", "uz+f4")
_FIRST, _VOWELS, _LAST = (*"bdfghjklmnpqrstvxyz", "sh", "ch"), tuple("aeiou"), ("", "", *"lmnrstzkq")
_SETS = {"train": "train", "validation": "validation", "test": "validation"}
Slots = tuple[Sequence[str], Sequence[str]]


@dataclass(frozen=True, kw_only=True)
class NameTask:
    """Manifests to train with, sentences to test on, and texts for language models; no text holds a test sentence."""

    sets: dict[str, Path]
    tests: dict[str, list[Utterance]]
    texts: list[str]
    texts_without_names: list[str]


def make_names(folder: Path, *, training: int = 1_000, testing: int = 60) -> NameTask:
    """`training` sentences to learn from; `testing` with names, and as many without."""
    draw = keyed_generator(0, "names")
    nonsense = [nonsense_word(draw) for _ in range(training)]
    unheard = [nonsense_word(draw) for _ in range(training)]
    carriers = fill(training // 2, (nonsense, nonsense), draw)
    loose = [" ".join(draw.choice(nonsense, int(draw.integers(2, 5)))) for _ in range(training - training // 2)]
    tests = {NAMED: fill(testing, (PEOPLE, PLACES), draw), PLAIN: fill(testing, (WHO, WHERE), draw)}
    tested = {text for sentences in tests.values() for text in sentences}
    plain = fill(300, (WHO, WHERE), draw)
    texts = {
        "with": [*plain, *fill(300, (PEOPLE + OTHER_PEOPLE, PLACES + OTHER_PLACES), draw)],
        "without": [*plain, *fill(300, (OTHER_PEOPLE, OTHER_PLACES), draw)],
    }
    spoken = {
        "train": speak(folder / "train", [*carriers, *loose], VOICES, draw),
        "validation": speak(
            folder / "validation", fill(max(6, training // 20), (unheard, unheard), draw), VOICES, draw
        ),
    }
    for name, utterances in spoken.items():
        write_manifest(folder / f"{name}.jsonl", utterances)
    return NameTask(
        sets={name: folder / f"{place}.jsonl" for name, place in _SETS.items()},
        tests={name: speak(folder / name.split()[1], said, TEST_VOICES, draw) for name, said in tests.items()},
        texts=[text for text in texts["with"] if text not in tested],
        texts_without_names=[text for text in texts["without"] if text not in tested],
    )


def nonsense_word(draw: np.random.Generator) -> str:
    """Two or three syllables."""
    syllables = (
        str(draw.choice(_FIRST)) + str(draw.choice(_VOWELS)) + str(draw.choice(_LAST))
        for _ in range(int(draw.integers(2, 4)))
    )
    return "".join(syllables)


def fill(count: int, slots: Slots, draw: np.random.Generator) -> list[str]:
    """Sentences of the templates with people and places drawn for them."""
    people, places = slots
    sentences = []
    for number in range(count):
        who, other = draw.choice(people, 2, replace=False)
        sentences.append(TEMPLATES[number % len(TEMPLATES)].format(who=who, other=other, where=draw.choice(places)))
    return sentences


def speak(folder: Path, texts: Sequence[str], voices: Sequence[str], draw: np.random.Generator) -> list[Utterance]:
    """The voices take turns, at pitches and rates of their own for each sentence."""
    lines = [
        SpokenLine(
            name=f"{number:04d}.flac",
            text=text,
            voice=voices[number % len(voices)],
            pitch=int(draw.integers(35, 66)),
            rate_wpm=int(draw.integers(130, 191)),
        )
        for number, text in enumerate(texts)
    ]
    samples = speak_files(folder, lines)
    return [
        Utterance(
            id=f"{folder.name}-{Path(line.name).stem}",
            audio=str(folder / line.name),
            duration_s=samples_to_seconds(count, sample_rate_hz=SAMPLE_RATE_HZ),
            text=line.text,
            speaker=line.voice,
            language="uz",
        )
        for line, count in zip(lines, samples, strict=True)
    ]
