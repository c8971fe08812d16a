"""Mozilla Common Voice: one tab-separated file for each split beside a folder `clips`."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from harken.core import InputError, RejectFunction, Utterance
from harken.data.importers.candidates import Candidate, comma_separated, measure_candidates, need_folder, text_lines

DEFAULT_SPLITS = ("train", "dev", "test")
_TAG_COLUMNS = ("age", "gender", "accents", "accent", "variant", "sentence_domain")


def import_commonvoice(
    source: Path,
    *,
    reject: RejectFunction,
    splits: str | Iterable[str] = (),
    probe: bool = True,
    threads: int | None = None,
) -> Iterator[Utterance]:
    """Utterances of the folder of one language (the one with `clips`), split after split, in file order.

    `splits` names .tsv files ("train,dev,test", "validated", "other"); without it, those of train, dev and test that
    exist, or else validated. The speaker is `client_id`, the language `locale`; `tags` hold the split and the speaker's
    age, gender, accent, variant where given. `probe=False` takes durations from clip_durations.tsv without opening the
    clips it lists. Rejected are rows with a wrong number of columns, without a sentence, without a usable clip, and
    clips that an earlier split has. Raises InputError where the layout is not Common Voice's or a split is absent.
    """
    need_folder(source, "commonvoice")
    tables = _tables(source, comma_separated(splits))
    durations = {} if probe else _durations(source)

    def candidates() -> Iterator[Candidate]:
        used: dict[str, str] = {}
        for table in tables:
            for item, row, problem in _rows(table):
                if problem:
                    reject(item, problem)
                    continue
                clip = (
                    row["path"] if Path(row["path"]).suffix else row["path"] + ".mp3"
                )  # releases before 4 left it out
                earlier = used.setdefault(clip, table.name)
                if Path(clip).name != clip:
                    reject(item, f"the clip's name {clip!r} leads out of the folder clips")
                elif not row["sentence"].strip():
                    reject(item, "the sentence is empty")
                elif earlier != table.name:
                    reject(item, f"{clip} is in {earlier} already")
                else:
                    yield _candidate(source, table, item, clip, row, durations.get(clip))

    yield from measure_candidates(candidates(), reject=reject, probe=probe, threads=threads)


def _candidate(
    source: Path, table: Path, item: str, clip: str, row: dict[str, str], duration_s: float | None
) -> Candidate:
    tags = {name: row[name] for name in _TAG_COLUMNS if row.get(name)}
    return Candidate(
        item=f"{item} {clip}",
        id=Path(clip).stem,
        audio=source / "clips" / clip,
        text=row["sentence"],
        duration_s=duration_s,
        speaker=row.get("client_id") or None,
        language=row.get("locale") or None,
        recording=Path(clip).stem,
        tags={"split": table.stem, **tags},
    )


def _tables(source: Path, splits: list[str]) -> list[Path]:
    present = sorted(path.stem for path in source.glob("*.tsv"))
    if not (source / "clips").is_dir():
        raise InputError(
            f"{source} has no folder 'clips'.", hint="Give the folder of one language, such as cv-corpus-21.0/en."
        )
    if not splits:
        splits = [name for name in DEFAULT_SPLITS if name in present] or ["validated"]
    for name in splits:
        if name not in present:
            raise InputError(f"{source} has no {name}.tsv.", hint=f"It has: {', '.join(present) or 'no .tsv files'}.")
    return [source / f"{name}.tsv" for name in splits]


def _rows(table: Path) -> Iterator[tuple[str, dict[str, str], str]]:
    """(where, columns, what is wrong with the row or "").

    Common Voice does not quote: a sentence with one quotation mark would swallow lines in a CSV reader.
    """
    lines = text_lines(table)
    header = next(lines, (1, ""))[1].split("\t")
    missing = [name for name in ("path", "sentence") if name not in header]
    if missing:
        raise InputError(f"{table} has no column {missing[0]!r}.", hint=f"Its columns: {', '.join(header)}.")
    for number, line in lines:
        cells = line.split("\t")
        if cells == [""]:
            continue
        wrong = len(cells) != len(header)
        problem = f"the row has {len(cells)} columns, the header {len(header)}" if wrong else ""
        yield f"{table.name}:{number}", dict(zip(header, cells, strict=False)), problem


def _durations(source: Path) -> dict[str, float]:
    """Clip to seconds from clip_durations.tsv (`clip`, `duration[ms]`); empty where the release has none."""
    table = source / "clip_durations.tsv"
    if not table.is_file():
        return {}
    pairs = [line.split("\t") for _, line in text_lines(table)]
    return {pair[0]: float(pair[1]) / 1000 for pair in pairs if len(pair) == 2 and pair[1].isdigit()}
