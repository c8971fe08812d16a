"""`harken data augment`: a data set with altered copies of its utterances."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harken.cli.output import counted, leave_with_rejected, note, print_json

if TYPE_CHECKING:
    from harken.data.augment import Treatment


def augment(
    manifest: Annotated[Path, typer.Argument(help="Manifest (JSON Lines).")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the audio and manifest.jsonl.")],
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="BLOCK.NAME=VALUE", help="Augmentation as in a recipe, such as noise.snr_db=[5,20]."
        ),
    ] = None,
    condition: Annotated[
        list[str] | None, typer.Option(help="Name of a test condition, such as noise-10db, or a file of them; repeat.")
    ] = None,
    copies: Annotated[int, typer.Option(help="Copies of each utterance, per condition or for --set.")] = 1,
    keep_original: Annotated[
        bool, typer.Option("--keep-original/--no-original", help="List the originals in the new manifest too.")
    ] = True,
    seed: Annotated[int, typer.Option(help="Seed of everything drawn at random.")] = 0,
    threads: Annotated[int | None, typer.Option(help="Threads; by default the cores, at most 8.")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Write altered copies of utterances: noise, rooms, codecs, clipping, speed. Exit code 2 when one is unusable.

    Augment the training part after splitting, not before. Run again to go on after an interruption.
    """
    from harken.cli.folders import check_output_folder, refuse_own_manifest
    from harken.cli.progress import progress_on_stderr
    from harken.core import InputError
    from harken.data.augment import MANIFEST, augment_utterances
    from harken.data.manifest import read_manifest

    if threads is not None and threads < 1:
        raise InputError(f"--threads is {threads}.", hint="Use 1 or more.")
    treatments = _treatments(set_ or [], condition or [], copies, seed)
    utterances = read_manifest(manifest)
    listing = out / MANIFEST
    check_output_folder(out)
    refuse_own_manifest(manifest, listing)
    with progress_on_stderr("augmenting") as progress:
        result = augment_utterances(
            utterances, out, treatments, keep_original=keep_original, threads=threads, progress=progress
        )
    if json_output:
        print_json(
            {
                "manifest": str(listing),
                "utterances": len(result.utterances),
                "written": result.written,
                "reused": result.reused,
                "rejected": [{"id": item.item, "reason": item.reason} for item in result.rejected],
            }
        )
    else:
        typer.echo(f"{listing}: {counted(len(result.utterances), 'utterance')}")
        note(f"{counted(result.written, 'file')} written, {result.reused:,} there already")
    leave_with_rejected(result.rejected, f"see {listing.with_suffix('.rejected.tsv')}")


def _treatments(settings: list[str], names: list[str], copies: int, seed: int) -> "list[Treatment]":
    """One treatment for each copy asked for: those of --set, then those of each --condition."""
    from harken.audio.augment_config import AugmentConfig
    from harken.core import InputError, apply_overrides, parse_settings
    from harken.data.augment import Treatment, random_treatments
    from harken.evaluation.conditions import CLEAN, condition_keys, find_conditions

    if copies < 1:
        raise InputError(f"--copies is {copies}.", hint="Use 1 or more.")
    if not settings and not names:
        raise InputError(
            "Nothing says how to augment.", hint="Add --set noise.snr_db=[5,20] or --condition noise-10db."
        )
    treatments: list[Treatment] = []
    if settings:
        augmentation = parse_settings(AugmentConfig, apply_overrides({}, settings), source="--set")
        treatments += random_treatments(augmentation, copies=copies, seed=seed)
    for condition in find_conditions(names) if names else ():
        if condition.name == CLEAN:
            continue
        for number in range(1, copies + 1):
            keys = condition_keys(condition.name, seed)
            treatments.append(
                Treatment(
                    name=condition.name if copies == 1 else f"{condition.name}-{number}",
                    augmentation=condition.augmentation,
                    keys=keys if number == 1 else (*keys, number),
                )
            )
    if not treatments:
        raise InputError("The only condition is clean, which changes nothing.", hint="Name another one.")
    return treatments
