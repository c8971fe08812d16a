"""The benchmark of decoding: what it counts and concludes, and all of it on a small untrained model."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from benchmarks import bench_decoding as bench
from benchmarks import decoding_names as names
from benchmarks import decoding_times as times
from tools import performance_page

from harken.audio.features import FeatureConfig
from harken.core import Utterance
from harken.data.manifest import read_manifest
from harken.inference.ctc.config import CtcDecodingConfig
from harken.inference.greedy import Token
from harken.models.family import find_family
from harken.models.folder import describe, save_model
from harken.text.tokenize import CharTokenizer, WordTokenizer


def outcome(*, errors: int = 1, fixed: int = 1, broken: int = 0) -> bench.Outcome:
    return bench.Outcome(words=10, errors=errors, fixed=fixed, broken=broken)


def case(group: str = "digits", set_: str = "half", condition: str = "noise-10db", **changed: Any) -> bench.Case:
    outcomes = {bench.GREEDY: outcome(errors=2, fixed=0), bench.LM: outcome(), bench.HOTWORDS: outcome()}
    return bench.Case(group=group, set=set_, condition=condition, outcomes=outcomes | changed)


def test_words_fixed_and_broken_by_hand() -> None:
    references = ["one two three", "four", "five six"]
    greedy = ["one too three", "four", "five"]
    better = ["one two tree", "four four", "five six"]
    found = bench.compare(references, greedy, better)
    assert (found.words, found.errors, found.fixed, found.broken) == (6, 2, 2, 1)
    assert found.wer == pytest.approx(100 / 3)
    assert found.cell(beside_greedy=True) == "33.3 (+2 \u22121)"
    assert bench.compare(references, greedy, greedy).cell(beside_greedy=False) == "33.3"


def test_halves_share_no_recording_and_have_all_digits() -> None:
    clips = [
        Utterance(
            id=f"{digit}-{take}", audio="x.wav", duration_s=1, text=digit, tags={"split": split, "index": str(take)}
        )
        for digit in bench.DIGITS
        for take, split in enumerate(["test"] * 5 + ["train"] * 5)
    ]
    parts = bench.halves(clips)
    ids = {name: {clip.id for clip in part} for name, part in parts.items()}
    assert {name: len(part) for name, part in ids.items()} == {"A": 25, "B": 25}
    assert ids["A"].isdisjoint(ids["B"])
    assert all({clip.text for clip in part} == set(bench.DIGITS) for part in parts.values())


def test_what_misses_the_target() -> None:
    good = {"word edges, units are words, as Harken has them, median": {"value": 80.0}}
    assert bench.missed([case(), case("names", bench.NAMED)], good) == []
    assert len(bench.missed([case(**{bench.LM: outcome(errors=2)})], {})) == 1  # in noise, no better
    assert bench.missed([case(condition="clean", **{bench.LM: outcome(errors=2)})], {}) == []
    assert len(bench.missed([case(condition="clean", **{bench.LM: outcome(errors=3)})], {})) == 1
    even = {bench.HOTWORDS: outcome(fixed=1, broken=1)}
    assert len(bench.missed([case("names", bench.NAMED, **even)], {})) == 1
    assert bench.missed([case("names", names.PLAIN, **even)], {}) == []
    late = {"word edges, units are words, as Harken has them, median": {"value": 80.1}}
    assert bench.missed([], late) == ["word edges, units are words, as Harken has them, median: 80.1 ms"]


def test_edges_of_words_by_hand() -> None:
    tokenizer = WordTokenizer(["<pad>", "one", "three", "two"])
    tokens = [Token(id=1, first=10, end=12, probability=1.0), Token(id=3, first=30, end=31, probability=1.0)]
    texts, spans = times.word_spans(tokens, tokenizer, 0.01, 0.5)
    assert texts == ["one", "two"]
    assert np.array(spans[times.FRAMES]) == pytest.approx(np.array([(0.1, 0.12), (0.3, 0.31)]))
    assert np.array(spans[times.MIDDLES]) == pytest.approx(np.array([(0.0, 0.21), (0.21, 0.5)]))
    # 0.3 s for three letters, 0.28 s more than was emitted, but not over the middle of the blanks
    assert np.array(spans[times.OURS]) == pytest.approx(np.array([(0.0, 0.21), (0.21, 0.455)]))
    true = [(0.0, 0.2), (0.22, 0.5)]
    found = times.edge_distances(true, spans[times.MIDDLES], times.matched(["one", "two"], texts))
    assert found == pytest.approx([0.01, 0.01])  # a sentence's first start and last end do not count
    assert times.matched(["one", "three", "two"], ["one", "two", "two"]) == [(0, 0), (2, 2)]


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> names.NameTask:
    return names.make_names(tmp_path_factory.mktemp("names"), training=12, testing=5)


def test_names_are_in_the_test_alone_and_no_text_holds_a_test_sentence(task: names.NameTask) -> None:
    heard = {
        word for name in ("train", "validation") for line in read_manifest(task.sets[name]) for word in _words(line)
    }
    assert heard.isdisjoint(names.NAMES)
    tested = {name: [line.text for line in lines] for name, lines in task.tests.items()}
    assert len(tested[names.NAMED]) == len(tested[names.PLAIN]) == 5
    assert set(task.texts).isdisjoint(tested[names.NAMED] + tested[names.PLAIN])
    assert {word for text in task.texts_without_names for word in text.split()}.isdisjoint(names.NAMES)
    assert {word for line in task.tests[names.PLAIN] for word in _words(line)}.isdisjoint(names.NAMES)


def test_voices_of_the_test_are_others(task: names.NameTask) -> None:
    speakers = [{line.speaker for line in lines} for lines in (read_manifest(task.sets["train"]), *task.tests.values())]
    assert speakers[0] == set(names.VOICES)
    assert speakers[1] == speakers[2] == set(names.TEST_VOICES)


def test_all_decoders_read_the_same_scores(task: names.NameTask, tmp_path: Path) -> None:
    model = bench.open_model(_untrained(tmp_path / "model"))
    sets = {names.NAMED: task.tests[names.NAMED][:2]}
    lm = bench.write_lm(tmp_path / "lm.arpa", task.texts)
    hotwords = bench.write_hotwords(tmp_path / "names.txt", bench.NAMES)
    configs = {
        bench.GREEDY: CtcDecodingConfig(),
        bench.LM: CtcDecodingConfig(lm=lm),
        bench.HOTWORDS: CtcDecodingConfig(hotwords=hotwords),
    }
    found = list(bench.measure_cases(model, "names", sets, ("clean", "noise-10db"), configs))
    assert [(one.set, one.condition) for one in found] == [(names.NAMED, "clean"), (names.NAMED, "noise-10db")]
    words = sum(len(_words(line)) for line in sets[names.NAMED])
    assert all(one.outcomes[bench.GREEDY].words == words for one in found)
    assert all(one.outcomes[bench.GREEDY].fixed == one.outcomes[bench.GREEDY].broken == 0 for one in found)
    page = performance_page.page([bench.conclude(found, {})])
    assert f"| {names.NAMED} | noise-10db | {words} |" in page


def _untrained(folder: Path) -> Path:
    """A recurrent model over letters."""
    family, tokenizer = find_family("recurrent-ctc"), CharTokenizer(["<pad>", " ", *"abcdefghijklmnopqrstuvxyz"])
    features = FeatureConfig(kind="nemo", dimensions=20, normalize="mean-scale")
    settings = family.parse({"width": 32, "layers": 1}, source="test")
    torch.manual_seed(3)
    model = family.build(settings, features.dimensions, tokenizer.vocab_size).eval()
    description = describe(
        model, family="recurrent-ctc", settings=settings, features=features, tokenizer=tokenizer, normalizer="basic",
        languages=["uz"],
    )  # fmt: skip
    save_model(folder, model=model, description=description, tokenizer=tokenizer)
    return folder


def _words(line: Utterance) -> list[str]:
    return (line.text or "").split()
