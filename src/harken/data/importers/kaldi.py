"""Kaldi data folders: wav.scp, text, utt2spk, segments. Commands in them are never run."""

from collections.abc import Iterator
from pathlib import Path

from harken.core import InputError, RejectFunction, Utterance
from harken.data.importers.candidates import Candidate, measure_candidates, need_folder, text_lines

_PIPE_REASON = (
    "wav.scp gives a command, and Harken never runs commands found in data; "
    "write the audio to files (wav-copy scp:wav.scp ...) and name those"
)


def import_kaldi(
    source: Path,
    *,
    reject: RejectFunction,
    root: str | Path | None = None,
    language: str | None = None,
    threads: int | None = None,
) -> Iterator[Utterance]:
    """Utterances of a Kaldi data folder, in the order of `segments`, or of `wav.scp` where there is none.

    Relative paths in wav.scp are taken from `root` (default: the data folder). utt2spk, utt2lang and spk2gender are
    used where present; without `text`, utterances have none. An end of -1 in `segments` means the end of the file.
    Rejected are pipes, archives (`file.ark:123`), standard input, segments of unknown recordings or with wrong times,
    names given twice, transcripts without audio, audio without a transcript, and unusable files. Raises InputError
    where there is no wav.scp.
    """
    need_folder(source, "kaldi")
    if not (source / "wav.scp").is_file():
        raise InputError(f"{source} has no wav.scp.", hint="Give a Kaldi data folder, such as data/train.")
    recordings = _table(source / "wav.scp", reject)
    texts = _table(source / "text", reject) if (source / "text").is_file() else None
    speakers, languages, genders = (
        _table(source / name, reject) if (source / name).is_file() else {}
        for name in ("utt2spk", "utt2lang", "spk2gender")
    )
    segments = _table(source / "segments", reject) if (source / "segments").is_file() else None
    folder = Path(root).absolute() if root is not None else source

    def candidates() -> Iterator[Candidate]:
        for name, value in (recordings if segments is None else segments).items():
            recording, offset_s, end_s = (name, 0.0, None) if segments is None else _segment(value)
            reason = _refusal(recording, recordings, offset_s, end_s)
            if not reason and texts is not None and name not in texts:
                reason = "the file 'text' has no line for it"
            if reason:
                reject(name, reason)
                continue
            speaker = speakers.get(name)
            yield Candidate(
                item=name,
                id=name,
                audio=folder / recordings[recording],
                text=None if texts is None else texts[name],
                offset_s=offset_s,
                duration_s=None if end_s is None else end_s - offset_s,
                speaker=speaker,
                language=languages.get(name, language),
                recording=recording,
                tags={"gender": genders[speaker]} if speaker in genders else {},
            )
        known = recordings if segments is None else segments
        for name in texts or {}:
            if name not in known:
                reject(name, f"it has a transcript but no line in {'wav.scp' if segments is None else 'segments'}")

    yield from measure_candidates(candidates(), reject=reject, threads=threads)


def _table(path: Path, reject: RejectFunction) -> dict[str, str]:
    """First column to the rest of the line; a name given again is rejected. Raises InputError unless UTF-8."""
    rows: dict[str, str] = {}
    for number, line in text_lines(path):
        name, *rest = line.split(maxsplit=1) or [""]
        if name in rows:
            reject(f"{path.name}:{number}", f"{name} has a line already")
        elif name:
            rows[name] = rest[0].strip() if rest else ""
    return rows


def _segment(value: str) -> tuple[str, float, float | None]:
    """(recording, start, end) of a line of `segments`; NaN where a number is missing or is none."""
    recording, *numbers = value.split() or [""]
    times = []
    for text in [*numbers[:2], "nan", "nan"][:2]:
        try:
            times.append(float(text))
        except ValueError:
            times.append(float("nan"))
    return recording, times[0], None if times[1] == -1 else times[1]


def _refusal(recording: str, recordings: dict[str, str], offset_s: float, end_s: float | None) -> str:
    """Why a line cannot be used, or ""."""
    path = recordings.get(recording)
    if path is None:
        return f"wav.scp has no recording {recording!r}"
    if path.endswith("|") or path.startswith("|"):
        return _PIPE_REASON
    if path in ("", "-"):
        return "wav.scp gives no file for it"
    archive, colon, position = path.rpartition(":")
    if colon and archive.endswith(".ark") and position.isdigit():
        return f"{path} is a position in a Kaldi archive; write the audio to files (wav-copy) and name those"
    if not offset_s >= 0:
        return "segments gives it no usable start"
    if end_s is not None and not end_s > offset_s:
        return f"segments has it end at {end_s} s, not after its start at {offset_s} s"
    return ""
