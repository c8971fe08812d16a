"""The picture of a plan: what is drawn of one bucket, of thirty, of bytes far below the budget."""

import re
import sys
from pathlib import Path
from typing import Any

import pytest

from harken.autoconfig.picture import draw_plan
from harken.autoconfig.plan import Plan
from harken.core import MissingPart


@pytest.fixture(scope="module")
def many(planning: Any) -> Plan:
    """Thirty buckets on a card that is too small for the longest batches wanted, and one utterance it cannot take."""
    world = planning.World(memory_bytes=6000 * planning.MB)
    made: Plan = world.plan([*planning.log_normal(3000), 10_800.0], gradient_checkpointing=False)
    assert any(row.saturated for row in made.buckets)
    return made


@pytest.fixture(scope="module")
def one(planning: Any) -> Plan:
    world = planning.World(model=planning.Shape(name="$a_b$ हिन्दी", window_s=30.0), memory_bytes=80_000 * planning.MB)
    made: Plan = world.plan(planning.log_normal(50))
    assert [row.saturated for row in made.buckets] == [False]
    return made


def words(plan: Plan, path: Path) -> list[str]:
    """Every text of the picture: an SVG names each in a comment."""
    draw_plan(plan, path)
    return re.findall(r"<!-- (.*?) -->", path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["one", "many"])
def test_equal_plans_give_equal_bytes(tmp_path: Path, name: str, request: pytest.FixtureRequest) -> None:
    pytest.importorskip("matplotlib")
    plan = request.getfixturevalue(name)
    for suffix in ("png", "svg"):
        for copy in "ab":
            draw_plan(plan, tmp_path / "new" / f"{copy}.{suffix}")
        assert (tmp_path / "new" / f"a.{suffix}").read_bytes() == (tmp_path / "new" / f"b.{suffix}").read_bytes()
    header = (tmp_path / "new" / "a.png").read_bytes()
    assert header[:8] == b"\x89PNG\r\n\x1a\n"
    assert (int.from_bytes(header[16:20], "big"), int.from_bytes(header[20:24], "big")) == (1560, 696)


def test_kinds_limits_and_full_batches_are_labelled(tmp_path: Path, many: Plan) -> None:
    pytest.importorskip("matplotlib")
    drawn = words(many, tmp_path / "a.svg")
    assert {"parameters", "optimizer", "gradients", "activations", "workspace", "saturated"} <= set(drawn)
    assert {"device 5.6 GiB", "budget 4.7 GiB"} <= set(drawn)
    assert "a-model (full) on a card" in drawn
    assert any(text.endswith("1 left out") for text in drawn)
    assert f"{many.buckets[-1].upper_edge_s:.1f}" in drawn  # the longest bucket always has its label


def test_where_nothing_is_full_nothing_says_so(tmp_path: Path, one: Plan) -> None:
    pytest.importorskip("matplotlib")
    drawn = words(one, tmp_path / "a.svg")
    assert "saturated" not in drawn
    assert "30.0" in drawn
    assert not any("left out" in text for text in drawn)


def test_limits_far_above_the_bars_are_said_not_drawn(tmp_path: Path, planning: Any) -> None:
    pytest.importorskip("matplotlib")
    roomy = planning.World(memory_bytes=10**12).plan(planning.log_normal(200))
    drawn = words(roomy, tmp_path / "a.svg")
    assert "beyond this picture: budget 791.6 GiB, device 931.3 GiB" in drawn
    assert not any(text.startswith("device") for text in drawn)


def test_without_matplotlib(tmp_path: Path, one: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingPart, match=r"matplotlib.*harken\[train\]"):
        draw_plan(one, tmp_path / "a.png")
    assert not list(tmp_path.iterdir())
