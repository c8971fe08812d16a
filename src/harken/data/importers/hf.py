"""Hugging Face datasets: a folder saved by `save_to_disk`, or a data set of the hub.

A manifest needs files, so audio that a data set holds as bytes is written out, one file for each row, unchanged.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from importlib import import_module
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from harken.core import InputError, MissingPart, RejectFunction, RunFailed, Utterance
from harken.core.files import replacing
from harken.data.importers.candidates import AUDIO_SUFFIXES, Candidate, comma_separated, measure_candidates

TEXT_COLUMNS = ("text", "transcription", "transcript", "sentence", "normalized_text", "english_transcription")
SPEAKER_COLUMNS = ("speaker", "speaker_id", "client_id")
LANGUAGE_COLUMNS = ("language", "locale", "lang", "lang_id")
ID_COLUMNS = ("id", "utt_id", "segment_id")
"""Names of columns that are understood; the first that a data set has counts."""

HUB_NAMES: dict[str, tuple[str, str | None, str | None]] = {
    "minds14": ("PolyAI/minds14", "en-US", None),
    "librispeech": ("openslr/librispeech_asr", "clean", "test"),
    "speechocean762": ("mispeech/speechocean762", None, None),
}
"""Short names: the data set's id, and the configuration and split used where none is asked for."""

_MAGIC = ((b"RIFF", ".wav"), (b"fLaC", ".flac"), (b"OggS", ".ogg"), (b"ID3", ".mp3"), (b"\x1aE\xdf\xa3", ".webm"))


def import_hf(
    source: Path,
    *,
    reject: RejectFunction,
    out: str | Path | None = None,
    config: str | None = None,
    splits: str | Iterable[str] = (),
    text_column: str | None = None,
    speaker_column: str | None = None,
    language_column: str | None = None,
    streaming: bool = False,
    rows: int | None = None,
    threads: int | None = None,
) -> Iterator[Utterance]:
    """Utterances of a saved folder, or of the hub's data set `source` (owner/name, or a name in HUB_NAMES), by split.

    Audio held as bytes is written to `out`/audio; `out` is needed then. The columns of text, speaker and language
    are the named ones, or the first of TEXT_COLUMNS, SPEAKER_COLUMNS, LANGUAGE_COLUMNS that exist; the id is a
    column of ID_COLUMNS or the split and row number. With `streaming` the hub's rows are taken as they arrive: no
    copy of the data set is kept besides the audio files. `rows` takes that many of each split; of the hub, nothing
    beyond them is fetched. `tags` hold the split and every other column of plain values. Rejected are rows without
    text or audio and unusable files. Raises MissingPart without the package datasets, InputError for a folder that
    is none and columns that are absent, RunFailed when the hub cannot be reached.
    """
    # A path is a folder; "owner/name" that is no folder here can only be meant for the hub.
    local = source.exists() or source.is_absolute() or str(source).startswith(".")
    if rows is not None and rows < 1:
        raise InputError(f"rows is {rows}.", hint="Take 1 or more, or leave it out for all.")
    if local and streaming:
        raise InputError(f"streaming does nothing for the folder {source}.", hint="Leave it out.")
    found = (
        _load_folder(source)
        if local
        else _load_hub(str(source), config, comma_separated(splits), streaming=streaming or rows is not None)
    )
    wanted = comma_separated(splits) or list(found)
    absent = [name for name in wanted if name not in found]
    if absent:
        raise InputError(f"{source} has no split {absent[0]!r}.", hint=f"It has: {', '.join(found)}.")

    def candidates() -> Iterator[Candidate]:
        for split in wanted:
            dataset = found[split]
            audio = _audio_column(dataset, source)
            names = {
                "text": _column(dataset, text_column, TEXT_COLUMNS),
                "speaker": _column(dataset, speaker_column, SPEAKER_COLUMNS),
                "language": _column(dataset, language_column, LANGUAGE_COLUMNS),
                "id": _column(dataset, None, ID_COLUMNS),
            }
            for index, row in enumerate(islice(_plain_rows(dataset, audio), rows)):
                item = f"{split}[{index}]"
                if names["text"] and row[names["text"]] is None:
                    reject(item, f"the column {names['text']!r} is empty")
                    continue
                try:
                    path = _audio_path(row[audio], out, split, index)
                except _NoAudioError as err:
                    reject(item, str(err))
                    continue
                yield _candidate(item, split, index, row, names, audio, path)

    yield from measure_candidates(candidates(), reject=reject, threads=threads)


class _NoAudioError(Exception):
    """A row without audio; the message is the reason of its rejection."""


def _candidate(
    item: str, split: str, index: int, row: dict[str, Any], names: dict[str, str], audio: str, path: Path
) -> Candidate:
    used = {audio, *names.values()}
    tags = {
        name: str(value) for name, value in row.items() if name not in used and isinstance(value, str | int | float)
    }
    identifier = str(row.get(names["id"]) or "")
    text, speaker, language = (
        None if row.get(names[role]) in (None, "") and role != "text" else row.get(names[role])
        for role in ("text", "speaker", "language")
    )
    return Candidate(
        item=item,
        id=f"{split}/{identifier}" if identifier else f"{split}/{index:06d}",
        audio=path,
        text=None if text is None else str(text),
        speaker=None if speaker is None else str(speaker),
        language=None if language is None else str(language),
        tags={
            **{name: value for name, value in tags.items() if value and name not in ("file", "path")},
            "split": split,
        },
    )


def _audio_path(value: Any, out: str | Path | None, split: str, index: int) -> Path:
    """The file of a row's audio, written first where the row holds bytes."""
    if not isinstance(value, dict) or not (value.get("bytes") or value.get("path")):
        raise _NoAudioError("the row has no audio")
    if not value.get("bytes"):
        return Path(value["path"]).absolute()
    if out is None:
        raise InputError(
            "The data set holds its audio as bytes, and a manifest needs files.",
            hint="Say where to write them: out=FOLDER.",
        )
    content: bytes = value["bytes"]
    folder = Path(out).absolute() / "audio" / _file_name(split)
    path = folder / f"{index:06d}{_suffix(value.get('path'), content)}"
    if not (path.is_file() and path.stat().st_size == len(content) and _same(path, content)):
        with replacing(path) as file:
            file.write(content)
    return path


def _same(path: Path, content: bytes) -> bool:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").digest() == hashlib.sha256(content).digest()


def _suffix(name: str | None, content: bytes) -> str:
    for magic, suffix in _MAGIC:
        if content.startswith(magic):
            return suffix
    suffix = PurePosixPath(name or "").suffix.lower()
    return suffix if suffix in AUDIO_SUFFIXES else ".bin"


def _file_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", text).lstrip(".") or "_"


def _plain_rows(dataset: Any, audio: str) -> Iterator[dict[str, Any]]:
    """Rows as plain values: audio as {"bytes", "path"} without decoding, class numbers as their names."""
    datasets = _package()
    plain = dataset.cast_column(audio, datasets.Audio(decode=False))
    labels = {name: kind for name, kind in dataset.features.items() if isinstance(kind, datasets.ClassLabel)}
    for row in plain:
        for name, kind in labels.items():
            value = row[name]
            row[name] = kind.int2str(value) if isinstance(value, int) and 0 <= value < kind.num_classes else None
        yield row


def _audio_column(dataset: Any, source: Path) -> str:
    datasets = _package()
    if dataset.features is None:  # a stream whose files do not say what is in them
        raise InputError(f"{source} does not say which columns it has.", hint="Import it without streaming.")
    found = [name for name, kind in dataset.features.items() if isinstance(kind, datasets.Audio)]
    if not found:
        raise InputError(
            f"{source} has no column of audio; its columns: {', '.join(dataset.features)}.",
            hint="Cast the column with datasets.Audio() and save it again.",
        )
    return str(found[0])


def _column(dataset: Any, asked: str | None, known: tuple[str, ...]) -> str:
    """The column asked for, or the first known one that exists, or ""."""
    if asked is None:
        return next((name for name in known if name in dataset.features), "")
    if asked not in dataset.features:
        raise InputError(f"There is no column {asked!r}.", hint=f"The columns: {', '.join(dataset.features)}.")
    return asked


def _load_folder(source: Path) -> Mapping[str, Any]:
    datasets = _package()
    if not source.exists():
        raise InputError(f"{source} does not exist.", hint="Check the path.")
    try:
        loaded = datasets.load_from_disk(str(source))
    except (FileNotFoundError, ValueError, KeyError, OSError) as err:
        raise InputError(
            f"{source} is not a data set saved by datasets: {_one_line(err)}.",
            hint="Save it with dataset.save_to_disk(FOLDER). For plain audio files use the importer 'dir'.",
        ) from err
    if isinstance(loaded, datasets.DatasetDict):
        return {str(name): part for name, part in loaded.items()}
    return {str(loaded.split or "all"): loaded}


def _load_hub(name: str, config: str | None, splits: list[str], *, streaming: bool) -> Mapping[str, Any]:
    load = partial(_package().load_dataset, streaming=streaming)
    identifier, usual_config, usual_split = HUB_NAMES.get(name, (name, None, None))
    splits = splits or ([usual_split] if usual_split else [])
    try:
        if not splits:
            return {str(key): part for key, part in load(identifier, config or usual_config).items()}
        return {split: load(identifier, config or usual_config, split=split) for split in splits}
    # Whatever goes wrong between here and the hub (network, access, a broken repository) has the same way out.
    except Exception as err:
        raise RunFailed(
            f"The data set {identifier!r} could not be loaded from the hub: {_one_line(err)}.",
            hint="Without network, save it elsewhere with dataset.save_to_disk(FOLDER) and import that folder.",
        ) from err


def _package() -> Any:
    try:
        return import_module("datasets")
    except ImportError as err:
        raise MissingPart(
            "Importing Hugging Face data sets needs the package datasets.",
            hint="Install it with: pip install 'harken[hf]'.",
        ) from err


def _one_line(err: BaseException) -> str:
    return " ".join(str(err).split())[:300].rstrip(".") or type(err).__name__
