"""Augmentation of a data set once and for all: copies of its utterances as files, with a manifest.

Training draws new augmentations in every epoch and needs no files; these are for tools that read files, for listening,
and for test sets that others have to have too. A copy is a function of (its keys, the utterance's id): the same bytes
whatever the number of threads, and whether or not the work was interrupted.
"""

import hashlib
import json
import re
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import numpy.typing as npt

from harken.audio.augment import augment_and_tell, check_augmentation
from harken.audio.augment_config import AugmentConfig
from harken.core import (
    HarkenError,
    InputError,
    MissingPart,
    RunFailed,
    Utterance,
    Waveform,
    dump_settings,
    keyed_generator,
)
from harken.core.files import write_text
from harken.core.units import samples_to_seconds
from harken.data.importers import Rejection
from harken.data.manifest import iterate_manifest, write_manifest
from harken.data.threads import map_in_order

MANIFEST = "manifest.jsonl"
AUGMENTATION_TAG = "augmentation"
SOURCE_TAG = "augmented_from"


class CopyNotWritten(RunFailed):
    """A copy that could not be stored. The fault is not the utterance's, so it is not left out for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Treatment:
    """One copy of every utterance: what ends its id, what is done to it, and what keys its chance beside the id."""

    name: str
    augmentation: AugmentConfig
    keys: tuple[int | str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentedSet:
    """The utterances of the new manifest and what could not be used, by id; `reused` files were there already."""

    utterances: tuple[Utterance, ...]
    rejected: tuple[Rejection, ...]
    written: int
    reused: int


def random_treatments(augmentation: AugmentConfig, *, copies: int = 1, seed: int = 0) -> list[Treatment]:
    """`copies` copies called aug1, aug2, ..., each with chances of its own.

    Raises InputError for fewer than one copy, and for an augmentation that would leave every file as it is.
    """
    if copies < 1:
        raise InputError(f"copies is {copies}.", hint="Use 1 or more.")
    if augmentation.vocal_tract or augmentation.spec_augment:
        raise InputError(
            "vocal_tract and spec_augment change features, not audio.", hint="Keep them for the training recipe."
        )
    if not augmentation.waveform_blocks:
        raise InputError("The augmentation has no block, so every copy would be its original.", hint="Add noise, say.")
    return [
        Treatment(name=f"aug{number}", augmentation=augmentation, keys=(seed, "augment", number))
        for number in range(1, copies + 1)
    ]


def augment_utterances(
    utterances: Iterable[Utterance],
    out: str | Path,
    treatments: Sequence[Treatment],
    *,
    keep_original: bool = True,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> AugmentedSet:
    """Write a copy of every utterance for every treatment to `out`/audio, and `out`/manifest.jsonl.

    Files are 16-bit FLAC with one channel, at the rate of the original. A copy is called `<id>-<treatment>` and keeps
    text, speaker, language and tags; its `recording` is its original's, so that splits by speaker or by recording never
    part them (a split by utterance may). Tags say what was done (`augmentation`, such as "speed+noise", or "none" where
    chance did nothing) and to what (`augmented_from`); `extra["augmentation"]` has the numbers. With `keep_original`
    the originals come into the manifest too, each before its copies.

    Work that was interrupted goes on where it stopped: a file that is there, made by the same treatment from the same
    utterance and no older than its source, is kept. An utterance that cannot be read is left out with all its copies
    and listed with the reason, in `out`/manifest.rejected.tsv as well.

    Raises InputError for no utterances, treatments of one name, ids that would be used twice, a manifest in `out` that
    was not made so, files of noise or rooms that cannot be used, and when no utterance can; MissingPart for what a
    treatment needs and is absent; CopyNotWritten when a file cannot be stored.
    """
    items = list(utterances)
    _check(items, treatments)
    _refuse_other_manifest(Path(out) / MANIFEST)
    for treatment in treatments:
        check_augmentation(treatment.augmentation)
    out = Path(out).absolute()
    names = _file_names(items)
    work = partial(_copies, treatments=treatments, folder=out / "audio", names=names)
    kept: list[Utterance] = []
    rejected: list[Rejection] = []
    written = reused = 0
    for done, (utterance, result) in enumerate(map_in_order(work, items, threads=threads), 1):
        if isinstance(result, Rejection):
            rejected.append(result)
        else:
            kept += ([utterance] if keep_original else []) + [copy for copy, _ in result]
            reused += sum(there for _, there in result)
            written += sum(not there for _, there in result)
        if progress:
            progress(done, len(items))
    if not kept:
        raise InputError(
            f"None of the {len(items)} utterances could be used; {rejected[0].item}: {rejected[0].reason}",
            hint="Nothing was written.",
        )
    write_manifest(out / MANIFEST, kept)
    _list_rejected(out / "manifest.rejected.tsv", rejected)
    return AugmentedSet(utterances=tuple(kept), rejected=tuple(rejected), written=written, reused=reused)


def _check(items: Sequence[Utterance], treatments: Sequence[Treatment]) -> None:
    if not items:
        raise InputError("There are no utterances to augment.", hint="Import or select some first.")
    names = [treatment.name for treatment in treatments]
    if not names or len(set(names)) < len(names):
        raise InputError(
            f"The treatments are called {', '.join(names) or 'nothing'}.", hint="Give each a name of its own."
        )
    ids = {item.id for item in items}
    for item in items:
        for name in names:
            if f"{item.id}-{name}" in ids:
                raise InputError(
                    f"The copy of {item.id!r} would be called {item.id}-{name}, and there is such an utterance.",
                    hint="Augment the original manifest, not one that holds its copies.",
                )


def _refuse_other_manifest(path: Path) -> None:
    """Only a list of augmented copies may be replaced by another one."""
    if not path.exists():
        return
    try:
        ours = any(SOURCE_TAG in utterance.tags for utterance in iterate_manifest(path))
    except InputError:
        ours = False
    if not ours:
        raise InputError(f"{path} is there, and augmentation has not made it.", hint="Choose another folder.")


def _copies(
    utterance: Utterance, *, treatments: Sequence[Treatment], folder: Path, names: dict[str, str]
) -> list[tuple[Utterance, bool]] | Rejection:
    """Every copy of an utterance and whether its file was there already; the source is decoded at most once."""
    try:
        source: tuple[Waveform, int] | None = None
        copies = []
        for treatment in treatments:
            path = folder / treatment.name / f"{names[utterance.id]}.flac"
            made_from = _made_from(utterance, treatment)
            found = _finished(path, made_from, utterance)
            if found is None:
                source = source or _load(utterance)
                copies.append((_make(utterance, treatment, source, path, made_from), False))
            else:
                copies.append((_copy_of(utterance, treatment, path, *found), True))
    except (MissingPart, CopyNotWritten):
        raise
    except (HarkenError, OSError) as err:
        return Rejection(item=utterance.id, reason=str(err))
    return copies


def _load(utterance: Utterance) -> tuple[Waveform, int]:
    from harken.audio.decode import decode_native

    samples, rate = decode_native(utterance.audio, offset_s=utterance.offset_s, duration_s=utterance.duration_s)
    return (samples[0] if len(samples) == 1 else samples.mean(axis=0, dtype=np.float32)), rate


def _make(
    utterance: Utterance, treatment: Treatment, source: tuple[Waveform, int], path: Path, made_from: str
) -> Utterance:
    waveform, rate = source
    generator = keyed_generator(*treatment.keys, utterance.id)
    augmented, done = augment_and_tell(waveform, treatment.augmentation, sample_rate_hz=rate, generator=generator)
    # Scaled here because libsndfile's own scaling of floats does not give back the 16-bit samples they came from.
    samples = np.clip(np.rint(augmented * np.float32(32_768)), -32_768, 32_767).astype(np.int16)
    _store(path, samples, rate, json.dumps({"made_from": made_from, "done": done}))
    return _copy_of(utterance, treatment, path, samples_to_seconds(len(samples), sample_rate_hz=rate), done)


def _store(path: Path, samples: npt.NDArray[np.int16], sample_rate_hz: int, comment: str) -> None:
    """16-bit FLAC of one channel, whole or not at all."""
    import soundfile

    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    options: dict[str, Any] = {"samplerate": sample_rate_hz, "channels": 1, "format": "FLAC", "subtype": "PCM_16"}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with soundfile.SoundFile(temporary, "w", **options) as file:
                file.comment = comment
                file.write(samples)
            temporary.replace(path)  # not forced onto the disk: what a power cut leaves is checked before it is kept
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except (OSError, soundfile.SoundFileError) as err:
        reason = err.strerror if isinstance(err, OSError) else err
        raise CopyNotWritten(
            f"{path} cannot be written: {reason}.",
            hint="Check the folder and the space on its disk, then run again to go on.",
        ) from err


def _copy_of(
    utterance: Utterance, treatment: Treatment, path: Path, duration_s: float, done: dict[str, dict[str, Any]]
) -> Utterance:
    return Utterance(
        id=f"{utterance.id}-{treatment.name}",
        audio=str(path),
        duration_s=duration_s,
        text=utterance.text,
        speaker=utterance.speaker,
        language=utterance.language,
        recording=utterance.recording or _recording(utterance),
        tags={**utterance.tags, AUGMENTATION_TAG: "+".join(done) or "none", SOURCE_TAG: utterance.id},
        extra={**utterance.extra, AUGMENTATION_TAG: done},
    )


def _recording(utterance: Utterance) -> str:
    """What a split by recording takes for one without name: that of its file."""
    return PurePath(utterance.audio.rpartition("!")[2]).name


def _made_from(utterance: Utterance, treatment: Treatment) -> str:
    """A hash of all that decides a copy's samples but the content of the source."""
    facts = [
        list(treatment.keys), dump_settings(treatment.augmentation), utterance.id, PurePath(utterance.audio).name,
        utterance.offset_s, utterance.duration_s,
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _finished(path: Path, made_from: str, utterance: Utterance) -> tuple[float, dict[str, dict[str, Any]]] | None:
    """Duration and deeds of a file that need not be made again."""
    import soundfile

    try:
        changed = path.stat().st_mtime_ns
        source = Path(utterance.audio)
        if source.exists() and source.stat().st_mtime_ns > changed:
            return None
        with soundfile.SoundFile(path) as file:
            notes = json.loads(file.comment)
            if notes["made_from"] != made_from:
                return None
            if len(file.read(dtype="int16")) < file.frames:
                return None
            return samples_to_seconds(file.frames, sample_rate_hz=file.samplerate), notes["done"]
    except (OSError, soundfile.SoundFileError, ValueError, KeyError, TypeError):
        return None


def _file_names(items: Sequence[Utterance]) -> dict[str, str]:
    """Id to a name every file system takes; an id that had to be changed, or differs by case only, gets a hash."""
    plain = {item.id: re.sub(r"[^\w.-]", "_", item.id)[:100] for item in items}
    counts: dict[str, int] = {}
    for name in plain.values():
        counts[name.casefold()] = counts.get(name.casefold(), 0) + 1
    return {
        identifier: name
        if name == identifier and counts[name.casefold()] == 1 and not name.startswith(".")
        else f"{name.lstrip('.')}-{hashlib.sha256(identifier.encode()).hexdigest()[:8]}"
        for identifier, name in plain.items()
    }


def _list_rejected(path: Path, rejected: Sequence[Rejection]) -> None:
    if rejected:
        write_text(path, "".join(f"{item.item}\t{item.reason}\n" for item in rejected))
    else:
        path.unlink(missing_ok=True)
