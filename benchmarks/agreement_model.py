"""A small Whisper that hears 16 s and knows spoken digits, trained by recipes/digits-whisper.yaml.

It is trained on what a stream gives it: stretches of a long track, with a part of the silence around them, from one
digit to as many as its window holds. Attention over 16 s costs much and is slow to find its place from random weights,
so the window grows by stages; the positions of the encoder are sines, which go on beyond it.

    python -m benchmarks.agreement_model FOLDER

trains one there (HARKEN_FSDD as in `digit_sets`) and prints its model folder. After Ctrl-C the same command goes on.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from benchmarks.digit_sets import corpus, division
from benchmarks.harness import ROOT
from benchmarks.stream_track import RATE_HZ, Sentence, Track, make_track
from harken.core import Utterance, apply_overrides, keyed_generator, load_yaml, parse_settings
from harken.data.importers import import_corpus
from harken.data.manifest import write_manifest
from harken.testing import random_whisper
from harken.training.recipe import Recipe, with_absolute_paths
from harken.training.run import resume, train

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
LONG_S = 16


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A window, the longest utterances in it (the slowest speed makes them longer), and how its training differs."""

    window_s: float
    longest_s: float
    counts: Mapping[str, int]
    overrides: Sequence[str]


STAGES = (
    Stage(
        window_s=1.5, longest_s=1.4, counts={"train": 12_000, "validation": 200, "test": 200},
        overrides=("batches.update_samples=48", "training.updates=900", "training.evaluate_every=150"),
    ),
    Stage(
        window_s=4, longest_s=3.6, counts={"train": 6000, "validation": 150, "test": 150},
        overrides=("batches.update_samples=16", "training.updates=1600", "training.evaluate_every=200"),
    ),
    Stage(
        window_s=7, longest_s=6.5, counts={"train": 5000, "validation": 100, "test": 100},
        overrides=("batches.update_samples=12", "training.updates=1000", "training.evaluate_every=200"),
    ),
    Stage(
        window_s=11, longest_s=10.0, counts={"train": 4000, "validation": 80, "test": 80},
        overrides=("batches.update_samples=8", "training.updates=800", "training.evaluate_every=200"),
    ),
    Stage(
        window_s=LONG_S, longest_s=15.0, counts={"train": 5000, "validation": 60, "test": 60},
        overrides=("batches.update_samples=8", "training.updates=1600", "training.evaluate_every=400"),
    ),
)  # fmt: skip
MINUTES = {"train": 60.0, "validation": 8.0, "test": 8.0}  # of the tracks that utterances are cut from
LEAD_S, TAIL_S, CUT_S = 0.5, 1.5, 0.08  # most silence around the words, and most of the word before them
UNBROKEN_GAP_S = 0.25  # what is left of a pause where speech goes on and on
SHAPE: dict[str, Any] = {
    "d_model": 128, "encoder_layers": 4, "decoder_layers": 2, "encoder_attention_heads": 4,
    "decoder_attention_heads": 4, "encoder_ffn_dim": 512, "decoder_ffn_dim": 512, "max_target_positions": 96,
    "init_std": 0.08, "dropout": 0.05,
}  # fmt: skip


def trained(folder: Path, stages: Sequence[Stage] = STAGES) -> Path:
    """A model folder below `folder`, trained on the training clips. What was done there by an earlier call, even one
    that was interrupted, is not done again."""
    model: Path | None = None
    for stage in stages:
        home = folder / f"{stage.window_s:g}s"
        run = home / "run"
        if not (run / "model").is_dir():
            if (run / "checkpoints").is_dir():
                resume(run)
            else:
                train(_prepared(home, stage, model), run)
        model = run / "model"
    assert model is not None
    return model


def _prepared(home: Path, stage: Stage, model: Path | None) -> Recipe:
    """The recipe of a stage, with its data and what it starts from written to `home`."""
    start = home / "start"
    if model is None:
        random_start(start, stage.window_s)
    else:
        widened(model, start, stage.window_s)
    parts = division(import_corpus("fsdd", corpus()).utterances, None)
    data = [f"data.{name}={write_utterances(clips, home, name, stage)}" for name, clips in parts.items()]
    recipe = ROOT / "recipes" / "digits-whisper.yaml"
    given = apply_overrides(load_yaml(recipe), [f"model.pretrained={start}", *data, *stage.overrides])
    return with_absolute_paths(parse_settings(Recipe, given, source=str(recipe)), home)


def random_start(folder: Path, window_s: float) -> Any:
    """Write a Whisper with random weights that hears `window_s`, and return its network."""
    positions = round(window_s * 50)
    return random_whisper(folder, languages=("en",), words=DIGITS, max_source_positions=positions, **SHAPE)


def widened(model: Path, folder: Path, window_s: float) -> Path:
    """The Whisper in `model` with another window, as a folder to start from."""
    import torch
    from transformers import WhisperForConditionalGeneration

    network = random_start(folder, window_s)
    learnt = WhisperForConditionalGeneration.from_pretrained(model, local_files_only=True).state_dict()
    positions = "model.encoder.embed_positions.weight"  # a table of sines
    with torch.no_grad():
        network.load_state_dict({**learnt, positions: network.state_dict()[positions]})
    network.save_pretrained(folder)
    return folder


def write_utterances(clips: Sequence[Utterance], folder: Path, name: str, stage: Stage) -> Path:
    """A manifest of stretches of two tracks of these clips, one with pauses between its sentences and one without."""
    tracks = [make_track(clips, MINUTES[name] / 2, seed=1)]
    tracks.append(unbroken(make_track(clips, MINUTES[name] / 2, seed=2)))
    generator = keyed_generator(round(stage.window_s * 1000), name, "stretches")
    found = []
    (folder / name).mkdir(parents=True, exist_ok=True)
    for number in range(stage.counts[name]):
        track = tracks[number % 2]
        begin_s, end_s, text = draw_stretch(track, stage.longest_s, generator)
        path = folder / name / f"{number:05d}.flac"
        samples = track.waveform[round(begin_s * RATE_HZ) : round(end_s * RATE_HZ)]
        soundfile.write(path, samples, RATE_HZ, subtype="PCM_16")
        duration_s = len(samples) / RATE_HZ
        found.append(Utterance(id=path.stem, audio=str(path), duration_s=duration_s, text=text, language="en"))
    write_manifest(folder / f"{name}.jsonl", found)
    return folder / f"{name}.jsonl"


def draw_stretch(track: Track, longest_s: float, generator: np.random.Generator) -> tuple[float, float, str]:
    """Begin and end in seconds, and the words that lie within; of any length up to `longest_s`.

    It may begin just before the end of the word before: a stream cuts its buffer where it believes that a word ended.
    """
    words = track.words
    most_s = longest_s - LEAD_S
    fitting = [place for place, (_, first_s, last_s) in enumerate(words) if last_s - first_s <= most_s]
    length_s = generator.uniform(0.3, most_s)
    first = last = fitting[generator.integers(len(fitting))]
    while last + 1 < len(words) and words[last + 1][2] - words[first][1] <= length_s:
        last += 1
    before_s = words[first - 1][2] - CUT_S if first else 0.0
    after_s = words[last + 1][1] if last + 1 < len(words) else words[last][2]
    begin_s = generator.uniform(max(before_s, words[first][1] - LEAD_S), words[first][1])
    end_s = generator.uniform(words[last][2], min(after_s, words[last][2] + TAIL_S, begin_s + longest_s))
    return begin_s, end_s, " ".join(word for word, _, _ in words[first : last + 1])


def unbroken(track: Track) -> Track:
    """The track with its pauses cut short."""
    begins_s = [sentence.words[0][1] for sentence in track.sentences]
    pieces, sentences, at_s = [], [], 0.0
    for sentence, until_s in zip(track.sentences, [*begins_s[1:], len(track.waveform) / RATE_HZ], strict=True):
        begin_s, kept_s = sentence.words[0][1], min(until_s, sentence.words[-1][2] + UNBROKEN_GAP_S)
        pieces.append(track.waveform[round(begin_s * RATE_HZ) : round(kept_s * RATE_HZ)])
        shift_s = at_s - begin_s
        sentences.append(Sentence(words=[(word, a_s + shift_s, b_s + shift_s) for word, a_s, b_s in sentence.words]))
        at_s += len(pieces[-1]) / RATE_HZ
    return Track(waveform=np.concatenate(pieces), sentences=sentences)


if __name__ == "__main__":
    print(trained(Path(sys.argv[1])))
