"""How `harken plan` looks: a plan, several side by side, and the cards that can be planned for."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from harken.cli.output import counted

if TYPE_CHECKING:
    from harken.autoconfig.cards import Card
    from harken.autoconfig.comparison import ComparedPlan
    from harken.autoconfig.plan import Plan

_DECISIONS = {
    "Hardware": ("budget_bytes", "safety_margin", "fp16", "bf16", "dataloader_num_workers"),
    "Data": ("max_audio_duration_seconds", "use_streaming", "cache_audio"),
    "Model": ("gradient_checkpointing",),
    "Batches": (
        "per_device_train_batch_size",
        "gradient_accumulation_steps",
        "effective_batch_size",
        "target_audio_s",
        "update_audio_s",
        "evaluation_batch_size",
    ),
    "Training": (
        "preset",
        "num_epochs",
        "learning_rate",
        "updates_per_epoch",
        "eval_steps",
        "save_steps",
        "logging_steps",
    ),
    "Time": ("epoch_s", "training_s", "cost"),
}
_WALL_TIMES = ("epoch_s", "training_s")
_GIB = 1 << 30


def plan_text(plan: "Plan") -> str:
    """A plan for people: what it is about, its decisions in groups, memory, buckets, and what is left out by name."""
    about = {"Hardware": _hardware(plan), "Data": _data(plan), "Model": _model(plan), "Time": _speed(plan)}
    groups = [
        _group(title, [*about.get(title, ()), *((name, _shown(name, getattr(plan, name))) for name in names)])
        for title, names in _DECISIONS.items()
    ]
    return "\n\n".join([*groups, _memory(plan), _buckets(plan), _left_out(plan)])


def _group(title: str, rows: Iterable[tuple[str, str]]) -> str:
    return "\n".join([title, *(f"  {name:<30}{value}" for name, value in rows)])


def _hardware(plan: "Plan") -> list[tuple[str, str]]:
    from harken.core.units import format_bytes

    return [("device", plan.hardware["name"]), ("device memory", format_bytes(plan.hardware["memory_bytes"]))]


def _data(plan: "Plan") -> list[tuple[str, str]]:
    from harken.core.units import format_duration

    data = plan.dataset
    spread = data["duration_percentiles_s"]
    error = f" ± {format_duration(data['total_s_error'])}, estimated" if data["total_s_error"] else ""
    lengths = f"mean {data['mean_s']:.1f}, median {spread['p50']:.1f}, longest {spread['p100']:.1f} s"
    return [
        ("source", data["source"]),
        ("utterances", f"{data['utterances']:,}{_unknown(data['missing_durations'])}"),
        ("audio", f"{format_duration(data['total_s'])}{error} ({lengths})"),
    ]


def _unknown(missing: int) -> str:
    return f" ({missing:,} without a duration in the manifest)" if missing else ""


def _model(plan: "Plan") -> list[tuple[str, str]]:
    model = plan.model
    return [
        ("model", f"{model['name']} ({model['family']})"),
        ("way", model["way"]),
        ("parameters", f"{model['parameters']:,} ({model['trained']:,} trained)"),
        ("output units", f"{model['output_units']:,}"),
    ]


def _speed(plan: "Plan") -> list[tuple[str, str]]:
    from harken.autoconfig.comparison import audio_s_per_s

    return [("audio-seconds per second", f"{audio_s_per_s(plan):,.1f}")]


def _shown(name: str, value: Any) -> str:
    from harken.core.units import format_bytes, format_duration

    if isinstance(value, bool):
        return "yes" if value else "no"
    if name == "cost":
        return "not known: give --price-per-hour" if value is None else f"{value:,.2f}"
    if value is None:
        return "none"
    if name.endswith("_bytes"):
        return format_bytes(value)
    if name in _WALL_TIMES:
        return format_duration(value)
    if name.endswith(("_s", "_seconds")):
        return f"{value:,.1f} s"
    return f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else str(value)


def _memory(plan: "Plan") -> str:
    """The parts of the highest peak, with the share of the budget that each takes."""
    from harken.core.tables import text_table
    from harken.core.units import format_bytes

    worst = max(plan.buckets, key=lambda row: row.peak_bytes)
    parts = {**plan.memory, "together": plan.peak_bytes}
    rows = [(f"  {kind}", format_bytes(size), f"{size / plan.budget_bytes:.1%}") for kind, size in parts.items()]
    where = f"{counted(worst.batch_size, 'utterance')} of {worst.upper_edge_s:.1f} s"
    return "\n".join([f"Memory at the highest peak ({where})", text_table([("  memory", "size", "of budget"), *rows])])


def _buckets(plan: "Plan") -> str:
    from harken.core.tables import text_table
    from harken.core.units import format_bytes

    head = ("  up to", "utterances", "batch", "labels", "audio", "peak", "of budget", "saturated")
    rows = [
        (
            f"  {row.upper_edge_s:8.3f} s",
            f"{row.utterances:,}",
            row.batch_size,
            row.tokens,
            f"{row.batch_size * row.upper_edge_s:,.1f} s",
            format_bytes(row.peak_bytes),
            f"{row.peak_bytes / plan.budget_bytes:.1%}",
            "yes" if row.saturated else "no",
        )
        for row in plan.buckets
    ]
    return "\n".join(["Buckets (saturated: one utterance more would not fit)", text_table([head, *rows])])


def _left_out(plan: "Plan") -> str:
    """What is rejected: the longest by name, with the memory each would take."""
    from harken.core.tables import text_table
    from harken.core.units import format_bytes, format_duration

    rejected = plan.rejected
    if not rejected.utterances:
        return "Left out (rejected): nothing"
    rows = [
        (
            f"  {item.id}",
            format_duration(item.duration_s),
            "longer than the model's window" if item.needed_bytes is None else format_bytes(item.needed_bytes),
        )
        for item in rejected.longest
    ]
    count = counted(rejected.utterances, "utterance")
    more = rejected.utterances - len(rows)
    lines = [
        f"Left out (rejected): {count}, {format_duration(rejected.seconds)}, longer than max_audio_duration_seconds",
        text_table([("  longest", "length", "would take alone"), *rows]),
        *([f"  and {more:,} more"] if more else []),
    ]
    return "\n".join(lines)


def comparison_text(found: Sequence["ComparedPlan"]) -> str:
    """One row for each, and below the table why some do not fit."""
    from harken.autoconfig.comparison import summary_of
    from harken.core.tables import text_table
    from harken.core.units import format_bytes

    head = (
        "model", "way", "device", "fits", "precision", "checkpointing", "batch", "peak", "left out", "audio s/s",
        "hours", "cost",
    )  # fmt: skip
    rows: list[tuple[object, ...]] = []
    for item in found:
        if item.plan is None:
            rows.append((item.model, item.way, item.hardware, "no", *[""] * (len(head) - 4)))
            continue
        facts = summary_of(item.plan)
        rows.append(
            (
                item.model,
                item.way,
                item.hardware,
                "yes",
                facts["precision"],
                "on" if facts["gradient_checkpointing"] else "off",
                facts["per_device_train_batch_size"],
                format_bytes(facts["peak_bytes"]),
                f"{facts['left_out']:,}",
                f"{facts['audio_s_per_s']:,.1f}",
                f"{facts['training_s'] / 3600:,.2f}",
                "" if facts["cost"] is None else f"{facts['cost']:,.2f}",
            )
        )
    reasons = list(dict.fromkeys(item.refusal for item in found if item.refusal))
    return "\n".join([text_table([head, *rows]), *(["", *reasons] if reasons else [])])


def cards_text(cards: Sequence["Card"]) -> str:
    """The catalogue: memory that programs get, peak rates of dense matrices."""
    from harken.core.tables import text_table

    head = ("--gpu", "card", "GiB", "capability", "fp32 TFLOPS", "fp16", "bf16", "GB/s")
    rows = [
        (
            card.key,
            card.name,
            f"{card.memory_bytes / _GIB:.1f}",
            "{}.{}".format(*card.compute_capability),
            *("-" if rate is None else f"{rate / 1e12:g}" for rate in (card.fp32, card.fp16, card.bf16)),
            f"{card.bandwidth / 1e9:g}",
        )
        for card in cards
    ]
    return text_table([head, *rows])
