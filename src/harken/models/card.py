"""The model card: README.md of a model folder."""

from typing import Any


def model_card(name: str, description: dict[str, Any]) -> str:
    """Markdown with front matter as model hubs read it, from the fields of a ModelDescription."""
    languages = description["languages"]
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
        f"| output units | {description['vocab_size'] - 1} ({description['tokenizer']}) and the CTC blank |",
        f"| text normalisation of the labels | {description['normalizer']} |",
        *(f"| {key} | {value} |" for key, value in description["provenance"].items() if isinstance(value, str | int)),
        "",
    ]
    return "\n".join(lines)


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
