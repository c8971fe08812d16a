"""`harken data`: manifests and what is done with them."""

from pathlib import Path
from typing import Annotated, Any

import typer

from harken.cli.output import counted, note, print_json

app = typer.Typer(help="Make manifests, check them, and divide them.", no_args_is_help=True)

ManifestArgument = Annotated[Path, typer.Argument(help="Manifest (JSON Lines).")]
ThreadsOption = Annotated[int | None, typer.Option(min=1, help="Threads that read audio; by default cores, at most 8.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
SeedOption = Annotated[int, typer.Option(help="Seed of everything drawn at random.")]


@app.command("import")
def import_(
    kind: Annotated[
        str,
        typer.Argument(
            help="Kind of corpus, such as dir, librispeech, commonvoice or kaldi; docs/guide/importers.md has all."
        ),
    ],
    source: Annotated[str, typer.Argument(help="The corpus: a folder or file in its published layout.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Manifest to write.")],
    option: Annotated[list[str] | None, typer.Option(help="key=value for the importer; may be repeated.")] = None,
    json_output: JsonOption = False,
) -> None:
    """Make a manifest from a corpus. What cannot be used is listed beside it, in NAME.rejected.tsv."""
    from harken.cli.folders import check_output_file
    from harken.core import InputError
    from harken.core.files import write_text
    from harken.data.importers import import_corpus
    from harken.data.manifest import write_manifest

    check_output_file(out)
    result = import_corpus(kind, source, **_pairs(option or [], "--option", "require_text=false"))
    if not result.utterances:
        reason = (
            f"the first of {len(result.rejected)}: {result.rejected[0].reason}" if result.rejected else "it is empty"
        )
        raise InputError(f"{source} gave no utterance ({reason}).", hint="Nothing was written.")
    written = write_manifest(out, result.utterances)
    listing = out.with_suffix(".rejected.tsv")
    if result.rejected:
        write_text(listing, "".join(f"{item.item}\t{item.reason}\n" for item in result.rejected))
        note(f"{counted(len(result.rejected), 'item')} left out; see {listing}")
    hours = sum(u.duration_s for u in result.utterances) / 3600
    if json_output:
        print_json({"manifest": str(out), "utterances": written, "hours": hours, "rejected": len(result.rejected)})
    else:
        typer.echo(f"{out}: {counted(written, 'utterance')}, {hours:.2f} h")


def _pairs(pairs: list[str], option: str, example: str) -> dict[str, Any]:
    """Repeated NAME=VALUE options as a mapping; values are read as YAML."""
    from harken.core import InputError, apply_overrides

    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not (name and equals and value):
            raise InputError(f"{option} {pair!r} is not NAME=VALUE.", hint=f"Write {option} {example}.")
        if name in found:
            raise InputError(f"{option} gives {name!r} twice.", hint="Keep one of them.")
        found[name] = apply_overrides({}, [f"value={value}"])["value"]
    return found


@app.command("validate")
def validate(
    manifest: ManifestArgument,
    out: Annotated[Path | None, typer.Option(help="Manifest to write with what passed.")] = None,
    table: Annotated[
        Path | None, typer.Option(help="Table of what to drop and why to write: .tsv, .csv or .jsonl.")
    ] = None,
    all_rows: Annotated[
        bool, typer.Option("--all-rows", help="Give every utterance a row of the table, not only those with findings.")
    ] = False,
    reject: Annotated[
        list[str] | None, typer.Option(help="Check whose findings reject the utterance too; may be repeated.")
    ] = None,
    limit: Annotated[
        list[str] | None,
        typer.Option(help="NAME=VALUE for a limit, such as min_snr_db=10, or min_snr_db=none; repeatable."),
    ] = None,
    max_duration_s: Annotated[float | None, typer.Option(help="Reject longer utterances (seconds).")] = None,
    min_duration_s: Annotated[float | None, typer.Option(help="Reject shorter utterances (seconds).")] = None,
    examples: Annotated[int, typer.Option(min=0, help="Examples to print of each problem.")] = 3,
    threads: ThreadsOption = None,
    json_output: JsonOption = False,
) -> None:
    """Read every file and report every problem. Exit code 2 when an utterance is unusable."""
    from harken.cli.folders import check_output_file
    from harken.cli.progress import progress_on_stderr
    from harken.core import InputError, parse_settings
    from harken.data.manifest import check_manifest, read_manifest, write_manifest
    from harken.data.quality_table import check_table_path, quality_rows, write_quality_table
    from harken.data.validate import CHECKS, ValidationConfig, validate_utterances

    limits = {
        name: None if value in ("none", False) and name != "require_text" else value
        for name, value in _pairs(limit or [], "--limit", "min_snr_db=10").items()
    }
    for name, value in (("max_duration_s", max_duration_s), ("min_duration_s", min_duration_s)):
        if value is not None and name in limits:
            raise InputError(f"{name} is given twice, by --limit and by its own option.", hint="Keep one of them.")
        limits |= {} if value is None else {name: value}
    if "also_reject" in limits:
        raise InputError("--limit names also_reject.", hint="Write --reject CHECK for each check.")
    for check in reject or []:
        if check not in CHECKS:
            raise InputError(f"--reject names {check!r}, which is no check.", hint=f"Use {', '.join(CHECKS)}.")
    config = parse_settings(ValidationConfig, {**limits, "also_reject": reject or []}, source="harken data validate")
    if table is not None:
        check_table_path(table)
    elif all_rows:
        raise InputError("--all-rows is about the table, and there is no --table.", hint="Add --table FILE.tsv.")
    for option, path in (("--table", table), ("--out", out)):
        if path is not None:
            check_output_file(path, option=option)
    problems = check_manifest(manifest)
    if problems:
        if json_output:
            print_json({"problems": [{"line": p.line, "key": p.key, "message": p.message} for p in problems]})
        else:
            for problem in problems:
                typer.echo(f"{problem.file}:{problem.line}: {problem.key}: {problem.message}".replace(": :", ":"))
        raise typer.Exit(2)
    utterances = read_manifest(manifest)
    with progress_on_stderr("listening") as progress:
        report = validate_utterances(utterances, config, threads=threads, progress=progress)
    if json_output:
        print_json(report.as_json())
    else:
        typer.echo(report.table(examples=examples))
    if table is not None:
        rows = write_quality_table(table, quality_rows(utterances, report, every=all_rows))
        note(f"{table}: {counted(rows, 'row')}")
    if out is not None:
        write_manifest(out, report.kept)
        note(f"{out}: {counted(len(report.kept), 'utterance')} that passed")
    if report.rejected:
        raise typer.Exit(2)


@app.command("stats")
def stats(
    manifest: ManifestArgument,
    audio: Annotated[
        bool, typer.Option("--audio", help="Listen to everything: noise, loudness, bandwidth, silence, clipping.")
    ] = False,
    picture: Annotated[Path | None, typer.Option(help="PNG or SVG to draw.")] = None,
    sample: Annotated[int, typer.Option(help="Files to look at for sizes and memory; 0 for none.")] = 100,
    threads: ThreadsOption = None,
    json_output: JsonOption = False,
) -> None:
    """Describe a data set: hours, speakers, durations, words; with --audio also how it is recorded."""
    from harken.cli.folders import check_output_file
    from harken.cli.progress import progress_on_stderr
    from harken.core import InputError
    from harken.data.manifest import read_manifest
    from harken.data.quality_stats import listen_and_summarize
    from harken.data.stats import sample_files, summarize

    if picture is not None:
        if picture.suffix.lower() not in (".png", ".svg"):
            raise InputError(f"--picture is {picture}.", hint="Use a name that ends in .png or .svg.")
        check_output_file(picture, option="--picture")
    if threads is not None and not audio:
        raise InputError("--threads is about listening, and there is no --audio.", hint="Add --audio.")
    utterances = read_manifest(manifest)
    summary = summarize(utterances)
    sampled = sample_files(utterances, sample) if sample else None
    heard = None
    if audio:
        with progress_on_stderr("listening") as progress:
            heard = listen_and_summarize(utterances, threads=threads, progress=progress)
    parts = {"stats": summary, "sample": sampled, "audio": heard}
    if json_output:
        print_json({name: None if part is None else part.as_json() for name, part in parts.items()})
    else:
        for part in parts.values():
            if part is not None:
                typer.echo(part.table())
    if picture is not None:
        from harken.data.picture import draw_stats

        draw_stats(summary, picture, title=manifest.stem, audio=heard)
        note(f"picture: {picture}")


@app.command("split")
def split(
    manifest: ManifestArgument,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for train.jsonl, validation.jsonl, ...")],
    part: Annotated[
        list[str] | None, typer.Option(help="NAME=SHARE, repeated; by default train=0.8 validation=0.1 test=0.1.")
    ] = None,
    by: Annotated[
        str, typer.Option(help="What no two parts share: speaker, recording, utterance, or tag.")
    ] = "speaker",
    seed: SeedOption = 0,
    json_output: JsonOption = False,
) -> None:
    """Divide a manifest into parts that share no speaker (or recording)."""
    from harken.cli.folders import check_output_folder, refuse_own_manifest
    from harken.core import InputError
    from harken.data.manifest import read_manifest, write_manifest
    from harken.data.split import split_by_ratio, split_by_tag

    check_output_folder(out)
    utterances = read_manifest(manifest)
    if by == "tag":
        parts = split_by_tag(utterances).parts
    elif by in ("speaker", "recording", "utterance"):
        shares = _shares(part or ["train=0.8", "validation=0.1", "test=0.1"])
        parts = split_by_ratio(utterances, shares, by=by, seed=seed).parts  # type: ignore[arg-type]
    else:
        raise InputError(f"--by is {by!r}.", hint="Use speaker, recording, utterance or tag.")
    for name in parts:
        refuse_own_manifest(manifest, out / f"{name}.jsonl")
    counts = {name: write_manifest(out / f"{name}.jsonl", members) for name, members in parts.items()}
    if json_output:
        print_json(counts)
    else:
        for name, count in counts.items():
            typer.echo(f"{out / name}.jsonl: {counted(count, 'utterance')}")


def _shares(parts: list[str]) -> dict[str, float]:
    """--part NAME=SHARE as a mapping. A name becomes a file name, so it may not leave the folder."""
    from harken.core import InputError

    shares = _pairs(parts, "--part", "train=0.8")
    for name, share in shares.items():
        if isinstance(share, bool) or not isinstance(share, int | float):
            raise InputError(f"--part {name}={share} has no number.", hint="Write --part train=0.8.")
        if Path(name).name != name:
            raise InputError(f"--part names {name!r}, which cannot be a file name.", hint="Write --part train=0.8.")
    return shares


@app.command("compose")
def compose(
    manifest: ManifestArgument,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the audio and manifest.jsonl.")],
    min_clips: Annotated[int, typer.Option(help="Fewest clips in an utterance.")] = 1,
    max_clips: Annotated[int, typer.Option(help="Most clips in an utterance.")] = 7,
    passes: Annotated[int, typer.Option(help="How often each clip is used.")] = 1,
    noise_gaps: Annotated[
        bool, typer.Option("--noise-gaps", help="Fill the gaps with noise at the clips' floor, not with silence.")
    ] = False,
    seed: SeedOption = 0,
) -> None:
    """Join short clips of one speaker into longer utterances."""
    from harken.cli.folders import check_output_folder, refuse_own_manifest
    from harken.core import parse_settings
    from harken.data.compose import ComposeConfig, compose_utterances
    from harken.data.manifest import read_manifest

    settings = {"min_clips": min_clips, "max_clips": max_clips, "passes": passes, "seed": seed}
    gap_fill = "noise" if noise_gaps else "silence"
    config = parse_settings(ComposeConfig, {**settings, "gap_fill": gap_fill}, source="harken data compose")
    check_output_folder(out)
    utterances = read_manifest(manifest)
    refuse_own_manifest(manifest, out / "manifest.jsonl")
    composed = compose_utterances(utterances, out, config)
    typer.echo(f"{out / 'manifest.jsonl'}: {counted(len(composed), 'utterance')}")


@app.command("version")
def version(
    name: Annotated[str, typer.Argument(help="Name of the data set.")],
    number: Annotated[str, typer.Argument(help="Version, such as 1.0.", metavar="VERSION")],
    manifests: Annotated[list[Path], typer.Argument(help="Its manifests; each part is named after its file.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Lock file to write (JSON).")],
) -> None:
    """Record the hash of every file of a data set."""
    from harken.cli.folders import check_output_file
    from harken.data.version import version_dataset

    check_output_file(out)
    record = version_dataset(name, number, {path.stem: path for path in manifests}, out)
    typer.echo(f"{out}: {counted(len(record.files), 'file')}, content {record.content_sha256[:16]}")


@app.command("verify")
def verify(
    lock: Annotated[Path, typer.Argument(help="Lock file from `harken data version`.")],
    json_output: JsonOption = False,
) -> None:
    """Compare a data set with its recorded hashes. Exit code 2 when anything differs."""
    from harken.data.version import verify_version

    check = verify_version(lock)
    rows = {"added": check.added, "missing": check.missing, "changed": check.changed}
    if json_output:
        manifests = [{"item": item.item, "reason": item.reason} for item in check.manifests]
        print_json({"ok": check.ok, **{kind: list(names) for kind, names in rows.items()}, "manifests": manifests})
    else:
        for kind, names in rows.items():
            for name in names:
                typer.echo(f"{kind}: {name}")
        for item in check.manifests:
            typer.echo(f"manifest {item.item}: {item.reason}")
        typer.echo("unchanged" if check.ok else "changed")
    if not check.ok:
        raise typer.Exit(2)
