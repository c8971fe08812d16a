"""`harken models variants`: models known by name, their sizes, and what can train them."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harken.cli.output import note, print_json

if TYPE_CHECKING:
    from harken.models.variants import Variant, VariantSize


def list_variants(
    models: Annotated[
        list[str] | None,
        typer.Argument(metavar="MODEL", help="Names, hub ids or local folders; all known models by default."),
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """List pretrained models with their sizes, the memory that training takes, and the machines that can train them.

    Memory is that of weights, gradients and AdamW's states in float32. Activations come on top: they depend on the
    batch. The machines follow from a rule: these states take at most half of the memory, and training is at least ten
    times faster than the speech lasts.
    """
    from harken.models.variants import VARIANTS, size_of

    chosen = [_variant(name) for name in models] if models else VARIANTS
    sizes = [(variant, size_of(variant)) for variant in chosen]
    if json_output:
        print_json([_plain(variant, size) for variant, size in sizes])
        return
    typer.echo(_table(sizes))
    note(
        "Memory without activations, which the batch decides. full: all weights can be trained there; "
        "lora: a LoRA adapter on a frozen model; -: neither."
    )


def _variant(name: str) -> "Variant":
    from harken.models.variants import find_variant, variant_of

    return variant_of(Path(name)) if Path(name).is_dir() else find_variant(name)


def _plain(variant: "Variant", size: "VariantSize") -> dict[str, Any]:
    from harken.models.advice import HARDWARE, WEIGHT_BYTES, advise, states_bytes

    return {
        **asdict(variant),
        "parameters": size.parameters,
        "trained_parameters": size.trained,
        "lora_parameters": size.lora,
        "weights_bytes": WEIGHT_BYTES * size.parameters,
        "full_bytes": states_bytes(size, "full"),
        "lora_bytes": states_bytes(size, "lora"),
        "machines": {hardware.name: advise(size, hardware) for hardware in HARDWARE},
    }


def _table(sizes: "Sequence[tuple[Variant, VariantSize]]") -> str:
    from harken.core.tables import text_table
    from harken.models.advice import HARDWARE, WAYS, WEIGHT_BYTES, advise, states_bytes

    rows = [
        (
            variant.name,
            variant.hub_id or "",
            f"{size.parameters:,}",
            f"{WEIGHT_BYTES * size.parameters / 1e6:,.0f}",
            *(_gigabytes(states_bytes(size, way)) for way in WAYS),
            *(advise(size, hardware) or "-" for hardware in HARDWARE),
        )
        for variant, size in sizes
    ]
    head = ("name", "hub id", "parameters", "weights MB", "full GB", "LoRA GB", *(item.name for item in HARDWARE))
    return text_table([head, *rows])


def _gigabytes(count: int | None) -> str:
    return "-" if count is None else f"{count / 1e9:.1f}"
