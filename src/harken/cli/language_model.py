"""`harken lm`: language models for decoding."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harken.cli.output import counted, note, print_json

if TYPE_CHECKING:
    from harken.text.ngram import NgramModelBuild

app = typer.Typer(help="Build language models for decoding.", no_args_is_help=True)


@app.command("build")
def build(
    sources: Annotated[
        list[Path],
        typer.Argument(
            help="Texts, one sentence a line, or manifests (.jsonl); either may be .gz.", show_default=False
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="ARPA file to write; .arpa.gz packs it.")],
    order: Annotated[int, typer.Option(help="Words of the longest n-grams, 1 to 5.")] = 3,
    normalizer: Annotated[str, typer.Option(help="Text profile; use the one the model was trained with.")] = "basic",
    least_counts: Annotated[
        str | None,
        typer.Option(
            help="How often n-grams of 2, 3, ... words have to occur to be kept, such as 1,2; the last goes on."
        ),
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Count the words of texts and write an n-gram model (modified Kneser-Ney) in ARPA format."""
    from harken.core import parse_settings
    from harken.text import find_profile
    from harken.text.ngram import NgramConfig, build_ngrams
    from harken.text.ngram_arpa import write_arpa

    settings = {"order": order, "least_counts": _counts(least_counts)}
    config = parse_settings(NgramConfig, settings, source="harken lm build")
    profile = find_profile(normalizer)
    texts = (profile.function(text) for source in sources for text in _texts(source))
    model = build_ngrams(texts, config)
    write_arpa(out, model.tables)
    if json_output:
        print_json(_facts(out, model, profile.name))
    else:
        _tell(out, model)


def _counts(text: str | None) -> list[str]:
    return [] if text is None else text.split(",")


def _texts(source: Path) -> Iterator[str]:
    """Sentences of a text file or a manifest. Raises InputError that names a file that is neither."""
    from harken.core import InputError
    from harken.data.manifest import iterate_manifest, open_lines

    if ".jsonl" in source.suffixes[-2:]:
        yield from (utterance.text or "" for utterance in iterate_manifest(source))
        return
    with open_lines(source) as file:
        for number, line in enumerate(file, 1):
            try:
                yield line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as err:
                raise InputError(f"{source}, line {number} is not UTF-8 text.", hint="Convert the file.") from err


def _facts(out: Path, model: "NgramModelBuild", normalizer: str) -> dict[str, Any]:
    return {
        "file": str(out),
        "sentences": model.sentences,
        "running_words": model.running_words,
        "ngrams": [len(order.keys_N) for order in model.tables.orders],
        "discounts": [list(amounts) for amounts in model.discounts],
        "fallback_orders": list(model.fallback_orders),
        "normalizer": normalizer,
    }


def _tell(out: Path, model: "NgramModelBuild") -> None:
    sizes = ", ".join(counted(len(order.keys_N), f"{k}-gram") for k, order in enumerate(model.tables.orders, 1))
    read = f"{counted(model.running_words, 'word')} in {counted(model.sentences, 'sentence')}"
    typer.echo(f"{out}: {sizes} from {read}")
    if model.fallback_orders:
        orders = " and ".join(map(str, model.fallback_orders))
        note(f"too little text to estimate the discounts of order {orders}; 0.5, 1 and 1.5 are used there")
