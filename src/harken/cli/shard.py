"""`harken data shard`: a data set in a few large files."""

from pathlib import Path
from typing import Annotated

import typer

from harken.cli.output import counted, leave_with_rejected, note, print_json


def shard(
    manifest: Annotated[Path, typer.Argument(help="Manifest (JSON Lines), or with --verify a folder of shards.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for the shards, their index and manifest.jsonl.")
    ] = None,
    shard_mb: Annotated[float, typer.Option(help="Size of a shard in MB (10^6 bytes).")] = 500.0,
    format_: Annotated[
        str, typer.Option("--format", help="keep: files as they are; flac: cut, 16 bit, one channel.")
    ] = "keep",
    verify: Annotated[bool, typer.Option("--verify", help="Compare a folder of shards with its hashes.")] = False,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads that read audio; by default cores, at most 8.")
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Pack the audio of a manifest into tar shards with an index. Exit code 2 when an utterance is unusable.

    Run again to go on after an interruption.
    """
    from harken.core import InputError

    if verify:
        if out is not None:
            raise InputError("--verify writes nothing, and there is --out.", hint="Leave one of them out.")
        _verify(manifest, json_output)
        return
    if out is None:
        raise InputError("Nothing says where to write.", hint="Add -o FOLDER.")
    if not 0 < shard_mb < 1e9:
        raise InputError(f"--shard-mb is {shard_mb}.", hint="Use megabytes above 0.")
    if format_ not in ("keep", "flac"):
        raise InputError(f"--format is {format_!r}.", hint="Use keep or flac.")
    _write(manifest, out, round(shard_mb * 1e6), format_, threads, json_output)


def _write(manifest: Path, out: Path, shard_bytes: int, encoding: str, threads: int | None, json_output: bool) -> None:
    from harken.cli.folders import check_output_folder, refuse_own_manifest
    from harken.cli.progress import progress_on_stderr
    from harken.core.units import format_bytes
    from harken.data.manifest import read_manifest
    from harken.data.shards import MANIFEST, write_shards

    utterances = read_manifest(manifest)
    check_output_folder(out)
    refuse_own_manifest(manifest, out / MANIFEST)
    with progress_on_stderr("packing") as progress:
        result = write_shards(
            utterances,
            out,
            shard_bytes=max(1, shard_bytes),
            encoding="flac" if encoding == "flac" else "keep",
            threads=threads,
            progress=progress,
        )
    if json_output:
        print_json(
            {
                "manifest": str(out / MANIFEST),
                "utterances": len(result.utterances),
                "shards": result.shards,
                "reused": result.reused,
                "bytes": result.total_bytes,
                "rejected": [{"id": item.item, "reason": item.reason} for item in result.rejected],
            }
        )
    else:
        shards = counted(result.shards, "shard")
        size = format_bytes(result.total_bytes)
        typer.echo(f"{out / MANIFEST}: {counted(len(result.utterances), 'utterance')} in {shards}, {size}")
        note(f"{result.reused:,} of them there already")
    leave_with_rejected(result.rejected, f"{out}/shard-*.tar.json lists them")


def _verify(folder: Path, json_output: bool) -> None:
    from harken.data.shards import verify_shards

    problems = verify_shards(folder)
    if json_output:
        print_json({"ok": not problems, "problems": problems})
    else:
        for problem in problems:
            typer.echo(problem)
        typer.echo("changed" if problems else "unchanged")
    if problems:
        raise typer.Exit(2)
