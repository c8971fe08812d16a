"""Longer utterances from short clips: clips of one speaker one after another, as connected digits need.

Clips of the same speaker, split and sample rate form a group. A pass over a group uses each of its clips exactly once,
in random order, cut into sequences of random length; several passes make a larger set. Randomness is keyed by (seed,
group, pass), so one group's utterances do not depend on the others.
"""

import io
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from harken.core import InputError, Strict, Utterance, Waveform, keyed_generator
from harken.core.units import samples_to_seconds, seconds_to_samples
from harken.data.manifest import write_manifest
from harken.data.threads import map_in_order

_LARGEST = 32_767 / 32_768
"""Largest 16-bit sample."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComposeConfig(Strict):
    """How clips are joined.

    `gap_s` is the range of the gap between two clips. `gap_fill` puts digital silence there, or white noise at the
    level of the quietest tenth of the clip that follows, which is nearer to a recording in one go: digital silence is
    far below anything a microphone gives and pulls at every average a model normalises by. `crossfade_s` is the
    overlap of two clips (used with no gap), `gain_db` the largest change of a clip's level, drawn from
    [-gain_db, gain_db] for each clip. `passes` is how many times each clip is used.
    """

    min_clips: int = 1
    max_clips: int = 7
    gap_s: tuple[float, float] = (0.02, 0.25)
    gap_fill: Literal["silence", "noise"] = "silence"
    crossfade_s: float = 0.0
    gain_db: float = 0.0
    passes: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.min_clips < 1:
            raise ValueError(f"min_clips is {self.min_clips}; use 1 or more")
        if self.max_clips < self.min_clips:
            raise ValueError(f"max_clips is {self.max_clips}; use min_clips ({self.min_clips}) or more")
        low, high = self.gap_s
        if not (0 <= low <= high and math.isfinite(high)):
            raise ValueError(f"gap_s is {self.gap_s}; use (shortest, longest) in seconds, 0 or more")
        if not (math.isfinite(self.crossfade_s) and self.crossfade_s >= 0):
            raise ValueError(f"crossfade_s is {self.crossfade_s}; use seconds, 0 or more")
        if self.crossfade_s and high:
            raise ValueError(f"crossfade_s is {self.crossfade_s}; use it with gap_s (0, 0), as silence cannot overlap")
        if self.gap_fill not in ("silence", "noise"):
            raise ValueError(f"gap_fill is {self.gap_fill!r}; use 'silence' or 'noise'")
        if self.gap_fill == "noise" and not high:
            raise ValueError(f"gap_fill is 'noise' and gap_s {self.gap_s}; use it with gaps that last")
        if not 0 <= self.gain_db <= 40:
            raise ValueError(f"gain_db is {self.gain_db}; use decibels from 0 to 40")
        if self.passes < 1:
            raise ValueError(f"passes is {self.passes}; use 1 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Clip:
    utterance: Utterance
    waveform: Waveform
    sample_rate_hz: int


def compose_utterances(
    clips: Iterable[Utterance], out: str | Path, config: ComposeConfig, *, threads: int | None = None
) -> list[Utterance]:
    """Join clips into longer utterances; write them as 16-bit FLAC to `out`/audio with `out`/manifest.jsonl.

    Returns the utterances in the order of the manifest. Each keeps the speaker, and the language and tags that all its
    clips share; `extra["clips"]` lists the ids of the clips. The sample rate of the clips is kept; channels are
    averaged. One that would pass full scale is made quieter as a whole. Equal clips and config give equal files.

    Raises InputError for no clips, a clip without text or speaker, a group whose clips cannot be divided into
    sequences of the wanted lengths, and unreadable audio (AudioDecodeError). Memory: the audio of one speaker's clips.
    """
    out = Path(out).absolute()
    groups = _groups(clips)
    names = _folder_names({speaker for speaker, _ in groups})
    composed: list[Utterance] = []
    for (speaker, split), members in groups.items():
        prefix = f"{names[speaker]}-{split}" if split else names[speaker]
        by_rate: dict[int, list[_Clip]] = {}
        for _, clip in map_in_order(_load, members, threads=threads):
            by_rate.setdefault(clip.sample_rate_hz, []).append(clip)
        for rate, loaded in sorted(by_rate.items()):
            stem = prefix if len(by_rate) == 1 else f"{prefix}-{rate}"
            plans = _plans(loaded, (speaker, split), config, out / "audio" / names[speaker], stem)
            composed += [utterance for _, utterance in map_in_order(_write, plans, threads=threads)]
    write_manifest(out / "manifest.jsonl", composed)
    return composed


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """One utterance to be written: its clips in order and the keys of its random numbers."""

    clips: Sequence[_Clip]
    path: Path
    keys: tuple[int | str, ...]
    config: ComposeConfig


def _groups(clips: Iterable[Utterance]) -> dict[tuple[str, str], list[Utterance]]:
    """(speaker, split) to clips in order of id, so that the order of the input does not matter."""
    groups: dict[tuple[str, str], list[Utterance]] = {}
    for clip in sorted(clips, key=lambda clip: clip.id):
        if not (clip.text or "").strip():
            raise InputError(f"The clip {clip.id!r} has no text.", hint="Clips are joined with their texts.")
        if clip.speaker is None:
            raise InputError(
                f"The clip {clip.id!r} has no speaker.", hint="Only clips of one speaker are joined; name the speakers."
            )
        groups.setdefault((clip.speaker, clip.tags.get("split", "")), []).append(clip)
    if not groups:
        raise InputError("There are no clips to join.", hint="Import or select some first.")
    return dict(sorted(groups.items()))


def _load(clip: Utterance) -> _Clip:
    from harken.audio.decode import decode_native

    samples, rate = decode_native(clip.audio, offset_s=clip.offset_s, duration_s=clip.duration_s)
    waveform = samples[0] if len(samples) == 1 else samples.mean(axis=0, dtype=np.float32)
    return _Clip(utterance=clip, waveform=waveform, sample_rate_hz=rate)


def _plans(
    clips: list[_Clip], group: tuple[str, str], config: ComposeConfig, folder: Path, stem: str
) -> Iterator[_Plan]:
    for number in range(config.passes):
        keys = (config.seed, "compose", *group, clips[0].sample_rate_hz, number)
        generator = keyed_generator(*keys)
        order = generator.permutation(len(clips))
        start = 0
        for index, length in enumerate(draw_lengths(len(clips), config, generator, name=group[0])):
            yield _Plan(
                clips=[clips[position] for position in order[start : start + length]],
                path=folder / f"{stem}-{number}-{index:05d}.flac",
                keys=(*keys, index),
                config=config,
            )
            start += length


def draw_lengths(total: int, config: ComposeConfig, generator: np.random.Generator, *, name: str) -> list[int]:
    """Lengths in [min_clips, max_clips] that add up to `total`, each uniform among those that leave a way to finish.

    Raises InputError (naming the speaker `name`) where there is none, as for 7 clips in sequences of 4 to 6.
    """

    def divisible(rest: int) -> bool:
        return math.ceil(rest / config.max_clips) * config.min_clips <= rest

    if not divisible(total):
        raise InputError(
            f"The {total} clips of speaker {name!r} cannot be divided into sequences of {config.min_clips} to "
            f"{config.max_clips}.",
            hint="Use a smaller min_clips.",
        )
    lengths = []
    while total:
        longest = min(config.max_clips, total)
        choices = [length for length in range(config.min_clips, longest + 1) if divisible(total - length)]
        lengths.append(choices[generator.integers(len(choices))])
        total -= lengths[-1]
    return lengths


def join_clips(
    waveforms: Sequence[Waveform], config: ComposeConfig, generator: np.random.Generator, *, sample_rate_hz: int
) -> Waveform:
    """(samples,) float32 in [-1, 1]: the waveforms in order, with gaps or cross-fades and levels as `config` says."""
    pieces = list(waveforms)
    if config.gain_db:
        gains_db = generator.uniform(-config.gain_db, config.gain_db, len(pieces))
        pieces = [piece * np.float32(10 ** (gain / 20)) for piece, gain in zip(pieces, gains_db, strict=True)]
    joined = pieces[0].copy()
    if config.crossfade_s:
        for piece in pieces[1:]:
            joined = _crossfade(joined, piece, seconds_to_samples(config.crossfade_s, sample_rate_hz=sample_rate_hz))
    else:
        parts = [joined]
        for gap_s, piece in zip(generator.uniform(*config.gap_s, len(pieces) - 1), pieces[1:], strict=True):
            samples = seconds_to_samples(gap_s, sample_rate_hz=sample_rate_hz)
            level = _floor_level(piece, sample_rate_hz=sample_rate_hz) if config.gap_fill == "noise" else 0.0
            parts += [np.float32(level) * generator.standard_normal(samples, dtype=np.float32), piece]
        joined = np.concatenate(parts)
    peak = float(np.abs(joined).max(initial=0.0))
    return joined * np.float32(_LARGEST / peak) if peak > 1 else joined


def _floor_level(waveform: Waveform, *, sample_rate_hz: int) -> float:
    """Root mean square of the quietest tenth of a waveform's 10 ms frames; 0 for less than one frame."""
    length = seconds_to_samples(0.01, sample_rate_hz=sample_rate_hz)
    energies = np.sort(np.square(waveform[: len(waveform) // length * length]).reshape(-1, length).mean(axis=1))
    return float(np.sqrt(energies[: max(1, len(energies) // 10)].mean())) if len(energies) else 0.0


def _crossfade(first: Waveform, second: Waveform, overlap: int) -> Waveform:
    """The end of `first` fades into the start of `second`; speech is not alike there, so powers add up to one."""
    overlap = min(overlap, len(first), len(second))
    angle = (np.arange(overlap, dtype=np.float32) + 0.5) * np.float32(np.pi / 2 / max(overlap, 1))
    mixed = first[len(first) - overlap :] * np.cos(angle) + second[:overlap] * np.sin(angle)
    return np.concatenate([first[: len(first) - overlap], mixed, second[overlap:]])


def _write(plan: _Plan) -> Utterance:
    import soundfile

    rate = plan.clips[0].sample_rate_hz
    joined = join_clips(
        [clip.waveform for clip in plan.clips], plan.config, keyed_generator(*plan.keys), sample_rate_hz=rate
    )
    # Scaled here because libsndfile's own scaling of floats does not give back the 16-bit samples they came from.
    samples = np.clip(np.rint(joined * np.float32(32_768)), -32_768, 32_767).astype(np.int16)
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format="FLAC", subtype="PCM_16")
    plan.path.parent.mkdir(parents=True, exist_ok=True)
    plan.path.write_bytes(buffer.getbuffer())  # the manifest, written last and all or nothing, makes them count
    members = [clip.utterance for clip in plan.clips]
    first = members[0]
    shared = {key: value for key, value in first.tags.items() if all(m.tags.get(key) == value for m in members)}
    return Utterance(
        id=plan.path.stem,
        audio=str(plan.path),
        duration_s=samples_to_seconds(len(samples), sample_rate_hz=rate),
        text=" ".join((member.text or "").strip() for member in members),
        speaker=first.speaker,
        language=first.language if all(member.language == first.language for member in members) else "mixed",
        recording=plan.path.stem,
        tags=shared,
        extra={"clips": [member.id for member in members]},
    )


def _folder_names(speakers: set[str]) -> dict[str, str]:
    """Speaker to a name every file system takes; speakers that would share one get a number."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for speaker in sorted(speakers):
        plain = re.sub(r"[^\w.-]", "_", speaker)[:80].strip(".") or "_"
        name, number = plain, 2
        while name.casefold() in taken:
            name, number = f"{plain}_{number}", number + 1
        taken.add(name.casefold())
        names[speaker] = name
    return names
