"""The utterances a system fails on most, and a copy of them to listen to or train on."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harken.core import InputError, Utterance, Waveform
from harken.core.files import replacing
from harken.data import write_manifest
from harken.evaluation.errors.operations import check_order
from harken.evaluation.scoring.metrics import Score

LEAST_WORDS = 3
"""Utterances with fewer reference words come behind the others: a single error makes half or all of their rate."""

MANIFEST = "hardest.jsonl"


def hardest(score: Score, utterances: Sequence[Utterance], n: int = 20) -> list[dict[str, Any]]:
    """The `n` utterances of highest word error rate: {"id", "audio": None, "wer", "errors", "words"}.

    Those with `LEAST_WORDS` words or more come first, then shorter ones, then those whose reference has no words (by
    the words recognised there; their rate is None). Equal rates go by the number of errors, then by the order of the
    test set. Utterances without an error are never among them. `export_hardest` fills in the audio.

    Raises InputError for a negative `n`, and unless `utterances` are the scored ones in the scored order.
    """
    check_order(score, utterances)
    if n < 0:
        raise InputError(f"n is {n}; use 0 or more.")
    errors, words = score.counts.errors, score.counts.words
    wrong = np.flatnonzero(errors > 0)
    length = np.where(words >= LEAST_WORDS, 0, np.where(words > 0, 1, 2))[wrong]
    rate = errors[wrong] / np.maximum(words[wrong], 1)
    order = wrong[np.lexsort((wrong, -errors[wrong], -rate, length))]
    return [
        {
            "id": score.ids[row],
            "audio": None,
            "wer": score.counts.rate(row),
            "errors": int(errors[row]),
            "words": int(words[row]),
        }
        for row in order[:n].tolist()
    ]


def export_hardest(
    rows: Sequence[Mapping[str, Any]],
    utterances: Sequence[Utterance],
    load_audio: Callable[[Utterance], Waveform],
    folder: str | Path,
    *,
    sample_rate_hz: int,
    hypotheses: Mapping[str, str] | None = None,
) -> list[dict[str, Any]]:
    """Write the audio of `rows` (from `hardest`) as `audio/0001.flac`, ... in `folder`, and a manifest of it.

    The manifest, `hardest.jsonl`, is one `read_manifest` takes; its lines also hold "wer", "errors", "source" (the
    original audio) and, where `hypotheses` has it, "hypothesis". `load_audio` gives a waveform, (samples,) float32 in
    [-1, 1] at `sample_rate_hz`. Returns the rows with "audio" filled in; where the audio cannot be read it stays None
    and "cause" says why. Each file is written whole or not at all, the manifest last; an earlier one is removed first,
    so that no manifest ever names audio of another export. Where no audio can be read there is no manifest.

    Raises InputError for a row whose id is not among `utterances`, and where an utterance's own audio lies in
    `folder/audio` and would be overwritten.
    """
    folder, by_id = Path(folder), {utterance.id: utterance for utterance in utterances}
    missing = [row["id"] for row in rows if row["id"] not in by_id]
    if missing:
        raise InputError(f"{missing[0]!r} is not among the utterances.", hint="Give the utterances that were scored.")
    inside = f"{(folder / 'audio').absolute()}{os.sep}"
    if any(utterance.audio.startswith(inside) for utterance in utterances):
        raise InputError(f"Audio of the test set lies in {inside}.", hint="Export into another folder.")
    (folder / MANIFEST).unlink(missing_ok=True)
    exported, copies = [], []
    for number, row in enumerate(rows, start=1):
        utterance, name = by_id[row["id"]], f"audio/{number:04}.flac"
        try:
            waveform = load_audio(utterance)
            if len(waveform) == 0:
                raise InputError(f"{utterance.audio} has no audio samples.")
        except Exception as err:  # noqa: BLE001  one item of a batch: recorded with its cause
            (folder / name).unlink(missing_ok=True)
            exported.append({**row, "audio": None, "cause": f"{type(err).__name__}: {err}".rstrip(": ")})
            continue
        _write_flac(folder / name, waveform, sample_rate_hz)
        exported.append({**row, "audio": name})
        duration_s = len(waveform) / sample_rate_hz
        copies.append(_copy(utterance, folder / name, duration_s, row, (hypotheses or {}).get(utterance.id)))
    _remove_older(folder / "audio", len(rows))
    if copies:
        write_manifest(folder / MANIFEST, copies)
    return exported


def _copy(
    utterance: Utterance, audio: Path, duration_s: float, row: Mapping[str, Any], hypothesis: str | None
) -> Utterance:
    facts: dict[str, Any] = {"wer": row["wer"], "errors": row["errors"], "source": utterance.audio}
    if hypothesis is not None:
        facts["hypothesis"] = hypothesis.encode("utf-8", "replace").decode()  # half a surrogate pair is no JSON
    return Utterance(
        id=utterance.id,
        audio=str(audio.absolute()),
        duration_s=duration_s,
        text=utterance.text,
        speaker=utterance.speaker,
        language=utterance.language,
        recording=utterance.recording,
        tags=utterance.tags,
        extra={**utterance.extra, **facts},
    )


def _write_flac(path: Path, waveform: Waveform, sample_rate_hz: int) -> None:
    import soundfile

    with replacing(path) as file:
        soundfile.write(file, waveform, sample_rate_hz, format="FLAC", subtype="PCM_16")


def _remove_older(folder: Path, count: int) -> None:
    """Remove numbered files of an earlier, larger export."""
    for path in folder.glob("[0-9][0-9][0-9][0-9].flac"):
        if int(path.stem) > count:
            path.unlink()
