"""`harken plan`: what a training run will take, for hardware that need not be at hand."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harken.cli.output import note, print_json

if TYPE_CHECKING:
    from harken.autoconfig.cards import Card
    from harken.autoconfig.comparison import ComparedPlan
    from harken.autoconfig.dataset import DatasetProfile
    from harken.autoconfig.hardware import HardwareProfile
    from harken.autoconfig.model import PlannedModel
    from harken.autoconfig.plan import Plan
    from harken.autoconfig.plan_inputs import PlanSettings
    from harken.autoconfig.presets import Preset

_ALL_CARDS = "all"
_CHECKPOINTING: dict[str, str | bool] = {"auto": "auto", "on": True, "off": False}


def plan(
    data: Annotated[Path | None, typer.Option("--data", help="Manifest of the training set.")] = None,
    models: Annotated[
        list[str] | None,
        typer.Option("--model", metavar="MODEL", help="Known name, hub id or local folder; repeatable."),
    ] = None,
    gpus: Annotated[
        list[str] | None,
        typer.Option(
            "--gpu",
            metavar="DEVICE",
            help="auto (this machine), cpu, a card such as t4, a size such as 24GiB, or all; repeatable.",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="File to write the plan to (JSON).")] = None,
    ways: Annotated[
        list[str] | None, typer.Option("--way", help="full, frozen-encoder or lora; repeatable. By default full.")
    ] = None,
    units: Annotated[
        int | None, typer.Option("--units", min=2, help="Vocabulary of a new CTC output layer, the blank included.")
    ] = None,
    preset: Annotated[
        str | None, typer.Option("--preset", help="demo, balanced or best: a model, how much data, how many epochs.")
    ] = None,
    margin: Annotated[float | None, typer.Option("--margin", help="Share of the memory that may be used.")] = None,
    target_batch_size: Annotated[
        int | None, typer.Option("--target-batch-size", help="Utterances of mean length per update.")
    ] = None,
    target_audio_s: Annotated[
        float | None, typer.Option("--target-audio-s", help="Seconds of speech per update, in its place.")
    ] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", help="Passes over the data.")] = None,
    learning_rate: Annotated[float | None, typer.Option("--learning-rate", help="Peak of the schedule.")] = None,
    precision: Annotated[str | None, typer.Option("--precision", help="auto, fp32, bf16 or fp16.")] = None,
    checkpointing: Annotated[
        str | None, typer.Option("--checkpointing", help="Gradient checkpointing: auto, on or off.")
    ] = None,
    max_duration: Annotated[
        float | None, typer.Option("--max-duration", help="Leave out longer utterances (seconds) even where they fit.")
    ] = None,
    utilisation: Annotated[
        float | None, typer.Option("--utilisation", help="Share of the peak rate that training reaches.")
    ] = None,
    price_per_hour: Annotated[
        float | None, typer.Option("--price-per-hour", help="Of the machine, in any currency.")
    ] = None,
    explain: Annotated[
        str | None, typer.Option("--explain", metavar="NAME", help="Say why a value is what it is, nothing else.")
    ] = None,
    picture: Annotated[Path | None, typer.Option("--picture", help="PNG or SVG to draw.")] = None,
    list_gpus: Annotated[bool, typer.Option("--list-gpus", help="List the cards known by name.")] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print the plan, or the comparison, as JSON.")] = False,
) -> None:
    """Predict memory, batch sizes and time of a training run, and say why. Nothing is trained or downloaded.

    With several models, ways or devices the outcome is a table that compares them.
    """
    if list_gpus:
        _list_cards(json_output)
        return
    from harken.autoconfig.presets import find_preset

    chosen = None if preset is None else find_preset(preset)
    settings = _settings(
        chosen,
        checkpointing,
        safety_margin=margin,
        target_batch_size=target_batch_size,
        target_audio_s=target_audio_s,
        num_epochs=epochs,
        learning_rate=learning_rate,
        precision=precision,
        max_audio_duration_s=max_duration,
        utilisation=utilisation,
        price_per_hour=price_per_hour,
    )
    _check_outputs(out, picture, explain)
    dataset = _dataset(data, chosen)
    hardware = _hardware(gpus or [])
    planned = _models(models or ([] if chosen is None else [chosen.model]), ways or [], units)
    found = _compared(dataset, planned, hardware, settings, one_only=out or picture or explain)
    if any(device.device == "cpu" for device in hardware) and "cpu" not in (gpus or []):
        note("No GPU was found here, so the plan is for the processor. --gpu t4 plans for a card.")
    if len(found) > 1:
        _show_comparison(found, json_output)
    else:
        _show(found[0], explain, json_output)
        _write(found[0].plan, out, picture)


def _settings(preset: "Preset | None", checkpointing: str | None, **given: Any) -> "PlanSettings":
    """What was given, over what the preset says, over the defaults of the settings' class."""
    from harken.autoconfig.plan_inputs import PlanSettings
    from harken.core import InputError, parse_settings

    if given["target_batch_size"] is not None and given["target_audio_s"] is not None:
        raise InputError(
            "--target-batch-size and --target-audio-s both say how large an update is.", hint="Keep one of them."
        )
    if checkpointing is not None and checkpointing not in _CHECKPOINTING:
        raise InputError(f"--checkpointing is {checkpointing!r}.", hint="Use auto, on or off.")
    values = {} if preset is None else asdict(preset.settings())
    values |= {name: value for name, value in given.items() if value is not None}
    values |= {} if checkpointing is None else {"gradient_checkpointing": _CHECKPOINTING[checkpointing]}
    return parse_settings(PlanSettings, values, source="harken plan")


def _check_outputs(out: Path | None, picture: Path | None, explain: str | None) -> None:
    """Wrong names are found before the work."""
    from harken.autoconfig.plan import decided_names
    from harken.cli.folders import check_output_file
    from harken.core import InputError

    if explain is not None and explain not in decided_names():
        raise InputError(
            f"--explain is {explain!r}, which no plan decides.", hint=f"Use one of {', '.join(decided_names())}."
        )
    if picture is not None and picture.suffix.lower() not in (".png", ".svg"):
        raise InputError(f"--picture is {picture}.", hint="Use a name that ends in .png or .svg.")
    for option, path in (("--out", out), ("--picture", picture)):
        if path is not None:
            check_output_file(path, option=option)


def _hardware(names: Sequence[str]) -> "list[HardwareProfile]":
    from harken.autoconfig.hardware import card_names, find_hardware

    each = dict.fromkeys(card for name in names for card in (card_names() if name == _ALL_CARDS else [name]))
    return [find_hardware(name) for name in each] if each else [find_hardware()]


def _dataset(data: Path | None, preset: "Preset | None") -> "DatasetProfile":
    """The training set; of a preset, as many utterances as it trains on."""
    from harken.autoconfig.dataset import profile_dataset
    from harken.autoconfig.dataset_subset import draw_subset
    from harken.core import InputError
    from harken.training.recipe import Recipe

    if data is None:
        raise InputError("There is no data to plan for.", hint="Name the training manifest with --data.")
    profile = profile_dataset(data)
    if preset is None:
        return profile
    if profile.utterances > preset.train_samples:
        note(f"The preset {preset.name} trains on {preset.train_samples:,} of {profile.utterances:,} utterances.")
    seed: Any = Recipe.__dataclass_fields__["seed"].default
    return draw_subset(profile, preset.train_samples, seed=seed)


def _models(names: Sequence[str], ways: Sequence[str], units: int | None) -> "list[PlannedModel]":
    from harken.core import InputError, MissingPart, parse_settings

    if not names:
        raise InputError("There is no model to plan for.", hint="Name one with --model; harken models variants.")
    try:
        from harken.autoconfig.model import TrainedParts, planned_model
    except ImportError as err:
        raise MissingPart(f"Planning needs torch and transformers: {err}.", hint="pip install 'harken[train]'") from err
    parts = [parse_settings(TrainedParts, {"way": way}, source="harken plan") for way in dict.fromkeys(ways)]
    each = [(name, part) for name in dict.fromkeys(names) for part in parts or [TrainedParts()]]
    planned = [planned_model(name, parts=part, units=units) for name, part in each]
    if units is not None and all(model.profile.output_units != units for model in planned):
        raise InputError("--units is about a CTC output layer, and the model has none.", hint="Leave it out.")
    return planned


def _compared(
    dataset: "DatasetProfile",
    models: "Sequence[PlannedModel]",
    hardware: "Sequence[HardwareProfile]",
    settings: "PlanSettings",
    *,
    one_only: Path | str | None,
) -> "list[ComparedPlan]":
    """Plans for all pairs. A single one that cannot be made is an error, among several it is a row."""
    from harken.autoconfig.comparison import compare_plans
    from harken.cli.progress import progress_on_stderr
    from harken.core import InputError

    count = len(models) * len(hardware)
    if count > 1 and one_only is not None:
        raise InputError(
            f"--out, --picture and --explain are about one plan, and these are {count}.",
            hint="Name one model, one way and one device.",
        )
    with progress_on_stderr("planning") as progress:
        return compare_plans(dataset, models, hardware, settings, progress=progress)


def _show_comparison(found: "Sequence[ComparedPlan]", json_output: bool) -> None:
    from harken.cli.plan_tables import comparison_text

    if json_output:
        print_json([item.as_json() for item in found])
    else:
        typer.echo(comparison_text(found))


def _show(found: "ComparedPlan", explain: str | None, json_output: bool) -> None:
    from harken.cli.plan_tables import plan_text
    from harken.core import InputError

    if found.plan is None:
        raise InputError(found.refusal)
    if explain is not None and json_output:
        print_json(asdict(found.plan.decision(explain)))
    elif explain is not None:
        typer.echo("\n".join(found.plan.explain(explain)))
    elif json_output:
        print_json(found.plan.as_json())
    else:
        typer.echo(plan_text(found.plan))
        note("--explain NAME says why a value is what it is.")


def _write(made: "Plan | None", out: Path | None, picture: Path | None) -> None:
    if made is None:
        return
    if out is not None:
        made.write(out)
        note(f"plan: {out}")
    if picture is not None:
        from harken.autoconfig.picture import draw_plan

        draw_plan(made, picture)
        note(f"picture: {picture}")


def _list_cards(json_output: bool) -> None:
    from harken.autoconfig.cards import CARDS
    from harken.cli.plan_tables import cards_text

    if json_output:
        print_json([_plain(card) for card in CARDS])
    else:
        typer.echo(cards_text(CARDS))


def _plain(card: "Card") -> dict[str, Any]:
    return {
        "name": card.key,
        "card": card.name,
        "memory_bytes": card.memory_bytes,
        "compute_capability": list(card.compute_capability),
        "flops": card.flops,
        "bandwidth": card.bandwidth,
    }
