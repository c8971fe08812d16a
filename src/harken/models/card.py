"""The model card: README.md of a model folder."""

from typing import Any

MIXED = "mixed"  # of several languages in one utterance, which hubs have no tag for


def model_card(name: str, description: dict[str, Any]) -> str:
    """Markdown with front matter as model hubs read it, from the fields of a ModelDescription."""
    languages = [language for language in description["languages"] if language != MIXED]
    lines = [
        "---",
        "library_name: harken",
        "pipeline_tag: automatic-speech-recognition",
        *(["language:", *(f"- {language}" for language in languages)] if languages else []),
        "---",
        "",
        f"# {name}",
        "",
        f"A `{description['family']}` speech recogniser with {description['parameters']:,} parameters.",
        "",
        "## Evaluation",
        "",
        *_evaluation(description["metrics"]),
        "",
        *_adapters(description),
        "## Use",
        "",
        "```bash",
        "harken transcribe recording.wav --model path/to/this/folder",
        "```",
        "",
        "## Facts",
        "",
        "| | |",
        "|---|---|",
        f"| sample rate | {description['sample_rate_hz']} Hz |",
        f"| features | {description['features'].get('kind')}, {description['features'].get('dimensions')} dimensions |",
        f"| output units | {output_units(description['vocab_size'], description['tokenizer'])} |",
        f"| text normalisation of the labels | {description['normalizer']} |",
        *(f"| {key} | {value} |" for key, value in description["provenance"].items() if isinstance(value, str | int)),
        "",
    ]
    return "\n".join(lines)


def output_units(vocab_size: int, tokenizer: str) -> str:
    """How many units a model tells apart; id 0 of a CTC model is its blank, and no unit."""
    if tokenizer == "WhisperTokenizer":
        return f"{vocab_size} ({tokenizer})"
    return f"{vocab_size - 1} ({tokenizer}) and the CTC blank"


def _adapters(description: dict[str, Any]) -> list[str]:
    """A section on adapters that are no part of the weights, which other tools would leave out without a word."""
    names, active = description["adapters"], description["active_adapters"]
    if not names:
        return []
    used = f"The figures above are with {', '.join(active)}." if active else "The figures above are without them."
    return [
        "## Adapters",
        "",
        f"`model.safetensors` is the base; its adapters lie beside it in `adapters/`: {', '.join(names)}. {used}",
        "",
    ]


def _evaluation(metrics: dict[str, Any]) -> list[str]:
    rows = [
        f"| {name} | {_rate(values.get('wer'))} | {_rate(values.get('cer'))} | {values.get('words', '')} |"
        for name, values in metrics.items()
        if isinstance(values, dict)
    ]
    if not rows:
        return ["Not evaluated yet: `harken evaluate` with a manifest of yours."]
    return ["| set | WER | CER | words |", "|---|---|---|---|", *rows]


def _rate(value: Any) -> str:
    if isinstance(value, dict):
        low, high = value.get("low"), value.get("high")
        interval = f" ({100 * low:.2f} to {100 * high:.2f})" if low is not None and high is not None else ""
        return _rate(value.get("value")) + interval
    return "" if value is None else f"{100 * value:.2f} %"
