"""FLEURS: for each language `train.tsv`, `dev.tsv`, `test.tsv` without header beside `audio/{train,dev,test}/*.wav`."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from harken.core import InputError, RejectFunction, Utterance
from harken.data.importers.candidates import (
    Candidate,
    audio_files,
    comma_separated,
    measure_candidates,
    need_folder,
    text_lines,
)

SPLITS = ("train", "dev", "test")
_COLUMNS = 7  # id, file, text as written, normalised text, its characters, samples, gender
_RATE_HZ = 16_000


def import_fleurs(
    source: Path,
    *,
    reject: RejectFunction,
    splits: str | Iterable[str] = (),
    languages: str | Iterable[str] = (),
    text: Literal["raw", "normalized"] = "raw",
    probe: bool = True,
    threads: int | None = None,
) -> Iterator[Utterance]:
    """Utterances of FLEURS in `source`: the folder of one language (`uz_uz`), or one that holds such folders.

    `splits` and `languages` choose ("dev,test", "uz_uz,ru_ru"); without them everything there is. `text` takes the
    column with capitals and punctuation, or the normalised one. The language is the locale's first part; `tags` hold
    the split, the locale, the gender and the number of the `sentence`, which several people read, in every language.
    Speakers are not published. `probe=False` takes durations from the table without opening files. Rejected are rows of
    another length, without text, without a usable file, given twice, and audio files without a row. Raises InputError
    where the layout is another one, or a split or a language is absent.
    """
    need_folder(source, "fleurs")
    if text not in ("raw", "normalized"):
        raise InputError(f"text is {text!r}.", hint="Use raw or normalized.")
    tables = _tables(source, comma_separated(splits), comma_separated(languages))

    def candidates() -> Iterator[Candidate]:
        for table in tables:
            folder = table.parent / "audio" / table.stem
            where = f"{table.parent.name}/{table.name}"
            unused = {path.name for path in audio_files(folder)}
            for number, line in text_lines(table):
                cells = line.split("\t")
                if cells == [""]:
                    continue
                item = f"{where}:{number}"
                if len(cells) != _COLUMNS:
                    reject(item, f"the row has {len(cells)} columns, not {_COLUMNS}")
                    continue
                name, content = cells[1], cells[2 if text == "raw" else 3].strip()
                present = name in unused
                unused.discard(name)
                if not name or Path(name).name != name:
                    reject(item, f"the file's name {name!r} leads out of the folder audio/{table.stem}")
                elif not present and (folder / name).is_file():
                    reject(item, f"{name} has a row already")
                elif not content:
                    reject(item, "the text is empty")
                else:
                    yield _candidate(item, table, folder / name, cells, content)
            for name in sorted(unused):
                reject(f"{table.parent.name}/audio/{table.stem}/{name}", f"{table.name} has no row for this file")

    yield from measure_candidates(candidates(), reject=reject, probe=probe, threads=threads)


def _candidate(item: str, table: Path, audio: Path, cells: list[str], text: str) -> Candidate:
    locale, samples, gender = table.parent.name, cells[5], cells[6].strip().lower()
    tags = {"split": table.stem, "locale": locale, "sentence": cells[0], **({"gender": gender} if gender else {})}
    return Candidate(
        item=f"{item} {audio.name}",
        id=f"{locale}-{audio.stem}",
        audio=audio,
        text=text,
        duration_s=int(samples) / _RATE_HZ if samples.isdecimal() and int(samples) > 0 else None,
        language=locale.partition("_")[0],
        recording=f"{locale}-{audio.stem}",
        tags=tags,
    )


def _tables(source: Path, splits: list[str], languages: list[str]) -> list[Path]:
    own = any((source / f"{name}.tsv").is_file() for name in SPLITS)
    folders = [source] if own else sorted({path.parent for name in SPLITS for path in source.glob(f"*/{name}.tsv")})
    if not folders:
        raise InputError(f"{source} has no train.tsv, dev.tsv or test.tsv.", hint="Give a folder such as fleurs/uz_uz.")
    present = [folder.name for folder in folders]
    for name in languages:
        if name not in present:
            raise InputError(f"{source} has no language {name!r}.", hint=f"It has: {', '.join(present)}.")
    for name in splits:
        if name not in SPLITS:
            raise InputError(f"FLEURS has no split {name!r}.", hint=f"Use {', '.join(SPLITS)}.")
    tables = []
    for folder in folders:
        if languages and folder.name not in languages:
            continue
        for name in splits or SPLITS:
            table = folder / f"{name}.tsv"
            if not table.is_file():
                if splits:
                    raise InputError(f"{folder} has no {name}.tsv.", hint="Choose other splits.")
                continue
            if not (folder / "audio" / name).is_dir():
                raise InputError(
                    f"{folder} has no folder audio/{name}.", hint=f"Unpack audio/{name}.tar.gz inside audio."
                )
            tables.append(table)
    return tables
