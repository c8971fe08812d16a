"""`harken demo`: from audio to a tested recogniser, each step said and explained."""

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harken.cli.output import note

if TYPE_CHECKING:
    from harken.core import Utterance
    from harken.training.recipe import Recipe

DEMO_RECIPE = Path(__file__).with_name("demo_recipe.yaml")
VALIDATION_TAKES = range(5, 9)
PASSES = {"train": 4, "validation": 2, "test": 1}
"""How often each clip is used: the same digits in other company steady the choice of the best checkpoint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoData:
    """Manifests of the demo: `sets` maps train, validation, test (and unseen) to them."""

    sets: dict[str, Path]
    source: str


def demo(
    data: Annotated[
        Path | None,
        typer.Option(help="Folder with recordings in FSDD's layout, or a manifest; by default digits are synthesised."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for everything the demo makes.")] = Path("demo"),
    updates: Annotated[int | None, typer.Option(min=1, help="Training updates; by default the recipe's.")] = None,
) -> None:
    """Walk from audio to a tested recogniser in a few minutes on a CPU.

    Makes manifests, looks at the data, trains a small digit recogniser, scores it on held-out recordings, and
    transcribes one of them from WAV, MP3 and Opus.
    """
    started_s, started_cpu_s = time.monotonic(), time.process_time()
    if data is not None and not data.exists():
        from harken.core import InputError

        raise InputError(f"{data} does not exist.", hint="Give a folder of recordings or a manifest, or leave it out.")
    _require_unused(out)
    _step(1, "Data: recordings become manifests of utterances")
    prepared = _prepare(data, out / "data")
    typer.echo(f"   {prepared.source}")
    _step(2, "A look at the data, before anything is trained on it")
    _look(prepared, out)
    _step(3, "Training: a small recurrent model with CTC, one word per output unit")
    recipe = _recipe(prepared, out, updates)
    run = _train(recipe, out)
    _step(4, "Evaluation on recordings the model never heard")
    _evaluate(prepared, run, out)
    _step(5, "Transcription: the same recording as WAV, MP3 and Opus")
    _transcribe(prepared, run, out)
    typer.echo("")
    typer.echo(f"Done in {time.monotonic() - started_s:.0f} s ({time.process_time() - started_cpu_s:.0f} s of CPU).")
    typer.echo(f"   run folder   {run}")
    typer.echo(f"   picture      {run / 'training.png'}")
    typer.echo(f"   report       {out / 'report' / 'report.html'}")
    typer.echo(f"Next: harken transcribe YOUR.wav --model {run / 'model'}")


def _step(number: int, title: str) -> None:
    typer.echo("")
    typer.secho(f"{number}. {title}", bold=True)


def _require_unused(out: Path) -> None:
    """A demo starts afresh: the remains of an earlier one go, anything else stays and is an error."""
    from harken.core import InputError

    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out.is_dir() and ((out / "run").is_dir() or (out / "data").is_dir()) and (out / MARK).is_file()):
        raise InputError(f"{out} exists and is not an earlier demo.", hint="Choose another folder with --out.")
    if (out / "run").is_dir():
        from harken.tracking.lock import FolderLock

        FolderLock.take(out / "run").release()  # raises when that demo is still running
    note(f"removing the earlier demo in {out}")
    shutil.rmtree(out)


MARK = "made-by-harken-demo"


def _prepare(data: Path | None, folder: Path) -> DemoData:
    from harken.core.files import write_text

    folder.mkdir(parents=True)
    write_text(folder.parent / MARK, "This folder was made by `harken demo`, which may replace it.\n")
    if data is None:
        return _synthesised(folder)
    if data.is_file():
        return _from_manifest(data, folder)
    return _from_fsdd(data, folder)


def _write_sets(folder: Path, sets: Mapping[str, Sequence["Utterance"]]) -> dict[str, Path]:
    from harken.core import InputError
    from harken.data.manifest import write_manifest

    paths = {}
    for name, utterances in sets.items():
        if not utterances:
            raise InputError(f"There are no utterances for the {name} set.", hint="The demo needs more data.")
        paths[name] = folder / f"{name}.jsonl"
        write_manifest(paths[name], utterances)
        minutes = sum(u.duration_s for u in utterances) / 60
        speakers = len({u.speaker for u in utterances})
        typer.echo(f"   {name:<10}  {len(utterances):>5} utterances, {minutes:6.1f} min, {speakers} speakers")
    return paths


def _synthesised(folder: Path) -> DemoData:
    """Connected digits spoken by espeak-ng; some voices are kept for the test."""
    from harken.data.split import split_by_ratio
    from harken.data.synthetic import connected_digits

    utterances = connected_digits(folder / "audio")
    unseen = [u for u in utterances if u.tags.get("split") == "test"]
    rest = [u for u in utterances if u.tags.get("split") != "test"]
    parts = split_by_ratio(rest, {"train": 0.84, "validation": 0.06, "test": 0.1}, by="utterance").parts
    return DemoData(
        sets=_write_sets(folder, {**parts, "unseen": unseen}),
        source="connected digits synthesised by espeak-ng; `unseen` holds voices that are not in the other sets",
    )


def _from_fsdd(data: Path, folder: Path) -> DemoData:
    """Takes 0-4 of every speaker's digits are the test, the next few the validation set, the rest is for training."""
    from harken.data.compose import ComposeConfig, compose_utterances
    from harken.data.importers import import_corpus

    clips = import_corpus("fsdd", data).utterances
    chosen: dict[str, list[Utterance]] = {"train": [], "validation": [], "test": []}
    for clip in clips:
        take = int(clip.tags["index"])
        name = "test" if clip.tags["split"] == "test" else "validation" if take in VALIDATION_TAKES else "train"
        chosen[name].append(replace(clip, tags={"split": name}))
    composed = {
        name: compose_utterances(members, folder / name, ComposeConfig(passes=PASSES[name], gap_fill="noise"))
        for name, members in chosen.items()
    }
    return DemoData(
        sets=_write_sets(folder, composed),
        source=f"{len(clips)} recordings of single digits, joined into utterances of one to seven",
    )


def _from_manifest(manifest: Path, folder: Path) -> DemoData:
    """A manifest of one's own: by its split tags where it has train, validation and test, else at random."""
    from harken.data.manifest import read_manifest
    from harken.data.split import split_by_ratio, split_by_tag

    utterances = read_manifest(manifest)
    names = ("train", "validation", "test")
    parts = dict(split_by_tag(utterances).parts)
    if not set(names) <= set(parts):
        parts = dict(split_by_ratio(utterances, {"train": 0.8, "validation": 0.1, "test": 0.1}, by="utterance").parts)
    return DemoData(
        sets=_write_sets(folder, {name: parts[name] for name in names}), source=f"the utterances of {manifest}"
    )


def _look(prepared: DemoData, out: Path) -> None:
    from harken.data.manifest import read_manifest
    from harken.data.picture import draw_stats
    from harken.data.stats import summarize
    from harken.data.validate import validate_utterances
    from harken.data.version import version_dataset

    utterances = read_manifest(prepared.sets["train"])
    report = validate_utterances(utterances)
    for line in report.table(examples=1).splitlines():
        typer.echo(f"   {line}")
    draw_stats(summarize(utterances), out / "data" / "train.png", title="training set")
    record = version_dataset("demo", "1", dict(prepared.sets), out / "data" / "version.json")
    typer.echo(f"   picture {out / 'data' / 'train.png'}; content hash {record.content_sha256[:16]} in version.json")


def _recipe(prepared: DemoData, out: Path, updates: int | None) -> "Recipe":
    """The packaged recipe on the demo's manifests, written where `harken train` can use it again."""
    import yaml

    from harken.core import load_yaml
    from harken.core.files import write_text
    from harken.training.recipe import load_recipe

    content = load_yaml(DEMO_RECIPE)
    content["data"] |= {name: f"data/{prepared.sets[name].name}" for name in ("train", "validation", "test")}
    if updates is not None:
        content["training"] |= {"updates": updates, "evaluate_every": max(1, updates // 5)}
    path = out / "recipe.yaml"
    write_text(path, yaml.safe_dump(content, sort_keys=False))
    typer.echo(f"   recipe {path}; the same training again: harken train {path}")
    return load_recipe(path)


def _train(recipe: "Recipe", out: Path) -> Path:
    from harken.cli.training import run_recipe

    outcome = run_recipe(recipe, out / "run")
    for row in outcome.history.evaluations:
        name = "untouched" if row["step"] == 0 else f"update {row['step']:.0f}"
        mark = "  <- kept" if row["step"] == outcome.state.best_update else ""
        typer.echo(f"   {name:<12} validation WER {100 * row['val_wer']:6.2f} %{mark}")
    typer.echo(
        f"   {outcome.wall_s:.0f} s, {outcome.cpu_s:.0f} s of CPU; "
        f"{100 * outcome.data_wait_share:.1f} % of the time waiting for data"
    )
    return outcome.folder


def _evaluate(prepared: DemoData, run: Path, out: Path) -> None:
    from harken.cli.scoring import Scoring, evaluate_model
    from harken.evaluation.display import format_report

    report = evaluate_model(run / "model", Scoring(manifest=prepared.sets["test"]), out=out / "report")
    for line in format_report(report).splitlines():
        typer.echo(f"   {line}")
    if "unseen" in prepared.sets:
        unseen = evaluate_model(run / "model", Scoring(manifest=prepared.sets["unseen"]), out=out / "report-unseen")
        typer.echo(f"   on voices that were not trained on: WER {100 * unseen.summary['wer']['value']:.2f} %")


def _transcribe(prepared: DemoData, run: Path, out: Path) -> None:
    import numpy as np
    import soundfile

    from harken.audio.decode import decode_audio
    from harken.core import RunFailed
    from harken.data.manifest import read_manifest
    from harken.inference.engines import load

    utterance = max(read_manifest(prepared.sets["test"]), key=lambda u: (len((u.text or "").split()), u.id))
    recognizer = load(run / "model")
    rate = recognizer.sample_rate_hz
    waveform = decode_audio(
        utterance.audio, sample_rate_hz=rate, offset_s=utterance.offset_s, duration_s=utterance.duration_s
    )
    folder = out / "transcribed"
    folder.mkdir()
    typer.echo(f"   spoken   {utterance.text}")
    texts = {}
    for ending, kind in (
        ("wav", {"format": "WAV"}),
        ("mp3", {"format": "MP3"}),
        ("opus", {"format": "OGG", "subtype": "OPUS"}),
    ):
        path = folder / f"sample.{ending}"
        soundfile.write(path, np.clip(waveform, -1, 1), rate, **kind)
        texts[ending] = recognizer.transcribe(path).text
        typer.echo(f"   {ending:<8} {texts[ending]}")
    if len(set(texts.values())) > 1:
        raise RunFailed("The three formats gave different texts.", hint="Train longer: harken demo --updates 800.")
