"""What is made for a model folder lies beside its files while it is made, and never afterwards."""

from pathlib import Path

import pytest

from harken.export.staging import staging


def test_what_was_renamed_stays_and_the_rest_goes(tmp_path: Path) -> None:
    with staging(tmp_path) as work:
        assert work.parent == tmp_path
        (work / "model.onnx").write_text("graph", encoding="utf-8")
        (work / "left").mkdir()
        (work / "model.onnx").rename(tmp_path / "model.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        with staging(tmp_path) as work:
            (work / "half").write_text("a graph", encoding="utf-8")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_two_exports_at_a_time_are_apart(tmp_path: Path) -> None:
    with staging(tmp_path) as first, staging(tmp_path) as second:
        assert first != second
