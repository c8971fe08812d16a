"""The pages on serving and operations say what the code has: every setting and its default, metric and check."""

import re
import subprocess
import typing
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from harken.http.metrics import HttpMetrics
from harken.inference.config import EngineConfig
from harken.inference.streaming import StreamingConfig
from harken.serving.jobs.webhooks import signature
from harken.serving.metrics import ServerMetrics
from harken.serving.settings import ServeSettings

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guide"
ELSEWHERE = (EngineConfig, StreamingConfig)  # blocks that have pages of their own


def setting_rows(settings: type[Any] = ServeSettings, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every path of the settings with its default, as the table writes them."""
    types = typing.get_type_hints(settings)
    for item in fields(settings):
        path, kind = f"{prefix}{item.name}", types[item.name]
        parts = [kind, *typing.get_args(kind)]
        block = next((part for part in parts if is_dataclass(part)), None)
        if block is None or block in ELSEWHERE:
            yield path, "" if block in ELSEWHERE else shown(default_of(item))
        else:
            assert isinstance(block, type)
            many = typing.get_origin(kind) is tuple
            yield from setting_rows(block, f"{path}{'[]' if many else ''}.")


def default_of(item: "Field[Any]") -> Any:
    if item.default_factory is not MISSING:
        return item.default_factory()
    return item.default


def shown(value: Any) -> str:
    if value is MISSING:
        return "required"
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | dict):
        return f"[{', '.join(value)}]" if isinstance(value, tuple) else "{}"
    return (
        f"{value:g}"
        if isinstance(value, float) and value < 100_000
        else str(int(value) if isinstance(value, float) else value)
    )


def table_under(page: str, heading: str) -> list[list[str]]:
    """Cells of the rows of the tables under a heading, without their heads."""
    text = (GUIDE / page).read_text(encoding="utf-8")
    part = text.partition(f"\n## {heading}\n")[2]
    assert part, f"{page} has no {heading!r}"
    part = re.split(r"\n## ", part)[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in part.splitlines() if line.startswith("|")]
    divided = [place for place, row in enumerate(rows) if set("".join(row)) <= set("-: ")]
    heads = {place - 1 for place in divided}
    return [row for place, row in enumerate(rows) if place not in heads and place not in divided]


def test_every_setting_is_in_the_table_with_its_default() -> None:
    told = [(row[0].strip("`"), row[1].strip("`")) for row in table_under("serving.md", "All settings")]
    expected = list(setting_rows())
    assert len(expected) > 90
    assert sorted(told) == sorted(expected)


def test_every_row_of_the_settings_says_something() -> None:
    assert [row[0] for row in table_under("serving.md", "All settings") if len(row) != 3 or len(row[2]) < 4] == []


def test_every_metric_is_in_the_table_with_its_labels() -> None:
    registry = CollectorRegistry()
    ServerMetrics(registry)
    HttpMetrics(registry, prefix="asr")
    expected = {}
    for collector in set(registry._collector_to_names):
        (family,) = collector.describe() if hasattr(collector, "describe") else collector.collect()
        name = f"{family.name}_total" if family.type == "counter" else family.name
        expected[name] = (family.type, ", ".join(f"`{label}`" for label in collector._labelnames) or "-")
    told = {row[0].strip("`"): (row[1], row[2]) for row in table_under("operations.md", "Metrics")}
    assert len(told) >= 15
    assert told == expected


def test_every_check_of_ready_is_told() -> None:
    import inspect

    from harken.serving import checks

    names = set(re.findall(r'^        "(\w+)": Check\(', inspect.getsource(checks), re.MULTILINE))
    assert len(names) >= 6
    assert names == {row[0].strip("`") for row in table_under("operations.md", "Ready and degraded")}


def test_the_code_that_checks_a_webhook_takes_what_the_server_signs() -> None:
    page = (GUIDE / "serving.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"<!-- runs -->\n```python\n(.*?)```", page, re.DOTALL)
    space: dict[str, Any] = {}
    exec(code, space)
    check = space["is_from_harken"]
    body, secret = b'{"event": "job.done"}', "s" * 32
    header = signature(secret, body, at_s=1_000)
    assert check(secret, body, header, now_s=1_200)
    assert not check(secret, body, header, now_s=1_400)
    assert not check(secret, body + b" ", header, now_s=1_200)
    assert not check("t" * 32, body, header, now_s=1_200)
    assert not check(secret, body, header.replace("t=1000", "t=1200"), now_s=1_200)
    for broken in ("", "t=1", "v1=0", "t=x,v1=0", "t=1000,v1=\xe9"):
        assert not check(secret, body, broken, now_s=1_000)


@pytest.mark.parametrize("page", ["serving.md", "operations.md"])
def test_yaml_of_the_page_is_settings_of_the_server(page: str, tmp_path: Path) -> None:
    """Each YAML block, with a model where it names none."""
    import yaml

    from harken.serving.settings import read_settings

    text = (GUIDE / page).read_text(encoding="utf-8")
    blocks = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert blocks
    for block in blocks:
        content = yaml.safe_load(block)
        content.setdefault("models", {"models": [{"path": "model"}]})
        file = tmp_path / "serve.yaml"
        file.write_text(yaml.safe_dump(content))
        read_settings(file, environment={})


def test_variables_of_the_page_are_settings(tmp_path: Path) -> None:
    from harken.serving.settings import read_settings

    text = (GUIDE / "serving.md").read_text(encoding="utf-8")
    lines = re.findall(r"^export (HARKEN_SERVE_\w+=.+)$", text, re.MULTILINE)
    assert len(lines) >= 2
    found = subprocess.run(
        ["bash", "-c", "\n".join(f"export {line}" for line in lines) + "\nenv -0"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    environment = dict(pair.split("=", 1) for pair in found.split("\0") if pair.startswith("HARKEN_SERVE_"))
    settings = read_settings(None, environment=environment, given={"models": {"models": [{"path": "model"}]}})
    assert settings.limits.rate == "60/minute"
    assert settings.cors.origins == ("https://app.example.org",)
