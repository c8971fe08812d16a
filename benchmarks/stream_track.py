"""A long recording made of held-out spoken digits, with the time of every word, and how late a stream told them.

Sentences are of 2 to 7 clips of one speaker with short gaps, as the digits recipes are trained; a pause follows each.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harken.audio.decode import decode_native
from harken.audio.resample import resample
from harken.core import Utterance, Waveform, Word, keyed_generator
from harken.evaluation.streaming import Heard
from harken.evaluation.word_latency import WordLatencies, word_latencies

RATE_HZ = 16_000
CLIP_RATE_HZ = 8_000
GAP_S, PAUSE_S, SENTENCE_CLIPS = (0.02, 0.25), (1.6, 2.4), (2, 7)


@dataclass(frozen=True, kw_only=True)
class Sentence:
    """Words with their spans in the track, in seconds."""

    words: list[tuple[str, float, float]]

    @property
    def text(self) -> str:
        return " ".join(word for word, _, _ in self.words)


@dataclass(frozen=True, kw_only=True)
class Track:
    waveform: Waveform  # at RATE_HZ
    sentences: list[Sentence]

    @property
    def words(self) -> list[tuple[str, float, float]]:
        return [word for sentence in self.sentences for word in sentence.words]


def make_track(clips: Sequence[Utterance], minutes: float, *, seed: int = 0) -> Track:
    """At least that long; every clip is used before one is used again."""
    generator = keyed_generator(seed, "stream track")
    audio = {clip.id: decode_native(clip.audio)[0][0] for clip in clips}
    speakers = sorted({clip.speaker for clip in clips if clip.speaker})
    piles: dict[str, list[Utterance]] = {speaker: [] for speaker in speakers}
    pieces: list[Waveform] = []
    sentences: list[Sentence] = []
    samples = 0
    while samples < minutes * 60 * CLIP_RATE_HZ:
        speaker = speakers[len(sentences) % len(speakers)]
        words = []
        count = int(generator.integers(SENTENCE_CLIPS[0], SENTENCE_CLIPS[1] + 1))
        for place in range(count):
            if not piles[speaker]:
                members = [clip for clip in clips if clip.speaker == speaker]
                piles[speaker] = [members[i] for i in generator.permutation(len(members))]
            clip = piles[speaker].pop()
            begin_s = samples / CLIP_RATE_HZ
            samples += len(audio[clip.id])
            words.append((clip.text or "", begin_s, samples / CLIP_RATE_HZ))
            gap_s = generator.uniform(*(GAP_S if place + 1 < count else PAUSE_S))
            gap = _floor_noise(audio[clip.id], round(gap_s * CLIP_RATE_HZ), generator)
            samples += len(gap)
            pieces += [audio[clip.id], gap]
        sentences.append(Sentence(words=words))
    joined = resample(np.concatenate(pieces), from_hz=CLIP_RATE_HZ, to_hz=RATE_HZ)
    return Track(waveform=joined, sentences=sentences)


def _floor_noise(clip: Waveform, samples: int, generator: np.random.Generator) -> Waveform:
    """White noise at the level of the quietest tenth of a clip's 10 ms frames, as `compose` fills gaps."""
    energies = np.sort(np.square(clip[: len(clip) // 80 * 80]).reshape(-1, 80).mean(axis=1))
    level = np.float32(np.sqrt(energies[: max(1, len(energies) // 10)].mean()))
    noise: Waveform = level * generator.standard_normal(samples, dtype=np.float32)
    return noise


def latencies(track: Track, heard: Heard) -> WordLatencies:
    """For each word that was recognised: from its end until it was first shown in its place, and until committed."""
    times = [Word(text=text, start_s=start_s, end_s=end_s) for text, start_s, end_s in track.words]
    return word_latencies(times, heard.words)


def first_partial_s(track: Track, heard: Heard) -> list[float]:
    """For each sentence: from the beginning of its speech until a word of it was shown."""
    begins = [sentence.words[0][1] for sentence in track.sentences]
    found = []
    for begin_s, next_s in zip(begins, [*begins[1:], np.inf], strict=True):
        shown = next((time_s for time_s in heard.appeared_s if begin_s < time_s < next_s), None)
        if shown is not None:
            found.append(shown - begin_s)
    return found
