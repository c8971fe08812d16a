"""What a Hugging Face data set says about its rows. Audio is never decoded, and `datasets` is not imported here."""

import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from harken.autoconfig.dataset_sources import AudioFacts, Entry, Rows, checked_seconds, count_characters, look_at_audio
from harken.core import HarkenError, InputError
from harken.data.importers.hf import ID_COLUMNS, TEXT_COLUMNS

DURATION_COLUMNS = ("duration_s", "duration", "length_s", "duration_seconds", "audio_duration")
"""Columns that hold seconds; the first that a data set has counts."""

_AUDIO_PATH_COLUMNS = ("audio", "audio_filepath")  # where a data set has paths as text instead of audio
_ROWS_AT_ONCE = 10_000


def is_huggingface(source: object) -> bool:
    """Whether `source` is one of the data sets of the package datasets, or a dictionary of them."""
    datasets = sys.modules.get("datasets")  # who has not imported it has no data set of it
    kinds = ("Dataset", "IterableDataset", "DatasetDict", "IterableDatasetDict")
    return datasets is not None and isinstance(source, tuple(getattr(datasets, kind) for kind in kinds))


def read_huggingface_rows(dataset: Any, *, first: int, utterances: int | None = None) -> Rows:
    """Rows of a `datasets.Dataset`, all of them, or of an `IterableDataset` the `first`.

    A stream is taken to be in random order. How many rows it has is `utterances` or what its split says, which a
    filter does not change. Raises InputError for a dictionary of splits, columns that are not known, neither a length
    nor audio, a stream that does not say how long it is, and lengths that cannot be used, naming the row.
    """
    splits = getattr(dataset, "keys", None)
    if splits is not None:
        names = [str(name) for name in splits()]
        raise InputError(
            f"The data set has {len(names)} splits: {', '.join(names)}.",
            hint=f"Pass one of them, such as dataset[{names[0]!r}]." if names else "Pass a data set.",
        )
    if dataset.features is None:
        raise InputError(
            "The stream does not say which columns it has.", hint="Plan with it before .map(), or give .map() features."
        )
    columns = _columns(dataset)
    if hasattr(dataset, "__len__"):
        return _table_rows(dataset, columns)
    return _stream_rows(dataset, columns, first=first, utterances=utterances)


def _columns(dataset: Any) -> dict[str, str]:
    """Names of the columns of each role, "" for those there are none of."""
    features = dataset.features
    columns = {
        "duration": next((name for name in DURATION_COLUMNS if _kind(features, name).startswith(_NUMBERS)), ""),
        "text": next((name for name in TEXT_COLUMNS if _kind(features, name) in _TEXTS), ""),
        "id": next((name for name in ID_COLUMNS if _kind(features, name).startswith((*_TEXTS, "int"))), ""),
        "audio": next(
            (name for name, feature in features.items() if type(feature).__name__ == "Audio"),
            next((name for name in _AUDIO_PATH_COLUMNS if _kind(features, name) in _TEXTS), ""),
        ),
    }
    if not (columns["duration"] or columns["audio"]):
        raise InputError(
            f"The data set has neither durations nor audio; its columns: {', '.join(features)}.",
            hint="Add a column 'duration' in seconds, or cast the audio with datasets.Audio().",
        )
    return columns


_NUMBERS = ("float", "int", "uint")
_TEXTS = ("string", "large_string")


def _kind(features: Any, name: str) -> str:
    return str(getattr(features.get(name), "dtype", ""))


def _table_rows(dataset: Any, columns: dict[str, str]) -> Rows:
    length = len(dataset)
    durations_s, characters = np.full(length, np.nan), np.zeros(length, np.int32)
    names = [columns[role] for role in ("duration", "text") if columns[role]]
    batches = dataset.select_columns(names).with_format("arrow").iter(batch_size=_ROWS_AT_ONCE) if names else ()
    start = 0
    for table in batches:
        rows = slice(start, start + len(table))
        if columns["duration"]:
            durations_s[rows] = _seconds(table[columns["duration"]], start)
        if columns["text"]:
            characters[rows] = [count_characters(text) for text in table[columns["text"]].to_pylist()]
        start = rows.stop
    return Rows(
        source="a Hugging Face data set",
        utterances=length,
        durations_s=durations_s,
        characters=characters,
        entries=lambda positions: _table_entries(dataset, columns, positions),
    )


def _seconds(column: Any, start: int) -> npt.NDArray[np.float64]:
    """A column of an Arrow table as float64, its nulls as NaN; `start` is the number of its first row."""
    missing = np.asarray(column.is_null())
    seconds = np.where(missing, np.nan, column.to_numpy().astype(np.float64))
    wrong = np.flatnonzero(~missing & ~((seconds > 0) & np.isfinite(seconds)))
    if wrong.size:
        raise _row_error(start + int(wrong[0]), f"duration_s is {seconds[wrong[0]]:g}; use seconds, a number above 0")
    return seconds


def _row_error(position: int, message: str) -> InputError:
    return InputError(
        f"Row {position} of the data set: {message}.", hint="Leave such rows out with dataset.filter(...)."
    )


def _table_entries(dataset: Any, columns: dict[str, str], positions: Sequence[int]) -> Iterator[Entry]:
    names = [columns[role] for role in ("id", "audio") if columns[role]]
    if not names:
        yield from (_entry({}, columns, position) for position in positions)
        return
    some = dataset.select(positions).select_columns(names).with_format(None)
    for position, row in zip(positions, _undecoded(some, columns), strict=True):
        yield _entry(row, columns, position)


def _undecoded(dataset: Any, columns: dict[str, str]) -> Any:
    """The data set with audio as {"bytes", "path"}."""
    name = columns["audio"]
    if not name or _kind(dataset.features, name) in _TEXTS:
        return dataset
    return dataset.cast_column(name, type(dataset.features[name])(decode=False))


def _entry(row: dict[str, Any], columns: dict[str, str], position: int) -> Entry:
    audio = row.get(columns["audio"])
    if isinstance(audio, dict):
        audio = audio.get("bytes") or audio.get("path")
    identifier = row.get(columns["id"])
    name = f"row {position}" if identifier in (None, "") else str(identifier)
    return Entry(id=name, where=f"row {position} of the data set", audio=audio)


def _stream_rows(stream: Any, columns: dict[str, str], *, first: int, utterances: int | None) -> Rows:
    durations_s, characters, entries = [], [], []
    names = sorted({name for name in columns.values() if name})
    rows = iter(_undecoded(stream.select_columns(names).with_format(None), columns))
    for position, row in enumerate(islice(rows, first)):
        try:
            durations_s.append(checked_seconds(row.get(columns["duration"])))
            characters.append(count_characters(row.get(columns["text"])))
        except (TypeError, ValueError) as err:
            raise _row_error(position, str(err)) from err
        entries.append(_looked_at(_entry(row, columns, position)))
    ended = next(rows, None) is None
    return Rows(
        source="a Hugging Face stream",
        utterances=len(entries) if ended else _stream_length(stream, utterances, first),
        durations_s=np.array(durations_s, dtype=np.float64),
        characters=np.array(characters, dtype=np.int32),
        entries=lambda positions: (entries[position] for position in positions),
    )


def _looked_at(entry: Entry) -> Entry:
    """The entry with facts instead of audio: the bytes of hundreds of rows do not fit, and a stream comes once."""
    facts: AudioFacts | None = None
    if isinstance(entry.audio, bytes):
        try:
            facts = look_at_audio(entry.audio)
        except HarkenError:  # it has no length then, which is an error only where the row gives none either
            facts = None
        return Entry(id=entry.id, where=entry.where, audio=facts)
    return entry


def _stream_length(stream: Any, utterances: int | None, first: int) -> int:
    split = (stream.info.splits or {}).get(str(stream.split))
    length = utterances or getattr(split, "num_examples", None)
    if not length:
        raise InputError(
            "The stream does not say how many rows it has.", hint="Pass the number, such as utterances=100_000."
        )
    return max(int(length), first + 1)
