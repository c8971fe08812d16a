import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from harken.core import InputError, MissingPart, Utterance
from harken.data.picture import draw_stats
from harken.data.quality_stats import listen_and_summarize
from harken.data.stats import summarize

Make = Callable[..., Utterance]


def size(path: Path) -> tuple[int, int]:
    """(width, height) from a PNG's header."""
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")


def test_a_picture_with_odd_names_and_numbers(tmp_path: Path, make_utterance: Make) -> None:
    pytest.importorskip("matplotlib")
    generator = np.random.default_rng(0)
    items = [
        make_utterance(f"u{n}", duration_s=float(seconds), speaker=["$a$b_{", "हिन्दी", "f" * 128, None, "x^2"][n % 5])
        for n, seconds in enumerate(generator.lognormal(1.6, 0.5, 200))
    ]
    for suffix in ("png", "svg"):
        for name in "ab":
            draw_stats(summarize(items), tmp_path / f"{name}.{suffix}")
        assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()
    assert size(tmp_path / "a.png") == (1440, 1008)
    assert b"<svg" in (tmp_path / "a.svg").read_bytes()[:1000]


@pytest.mark.parametrize("text", ["a", None])
def test_one_utterance_is_enough(tmp_path: Path, make_utterance: Make, text: str | None) -> None:
    pytest.importorskip("matplotlib")
    draw_stats(summarize([make_utterance("a", text=text)]), tmp_path / "a.png")
    assert size(tmp_path / "a.png") == (1440, 1008)


def test_the_recordings_take_two_more_rows(
    tmp_path: Path, save_tone: Callable[..., Path], make_utterance: Make
) -> None:
    pytest.importorskip("matplotlib")
    items = [
        make_utterance(f"u{n}", audio=str(save_tone(tmp_path / f"{n}.wav", hz=200 * n + 200)), duration_s=0.5)
        for n in range(3)
    ]
    for name, heard in (("three", items), ("none", [make_utterance("gone")])):
        draw_stats(summarize(items), tmp_path / f"{name}.svg", audio=listen_and_summarize(heard))
    three, none = ((tmp_path / f"{name}.svg").read_text(encoding="utf-8") for name in ("three", "none"))
    assert "<!-- Loudness -->" in three
    assert "<!-- nothing could be read -->" in none
    draw_stats(summarize(items), tmp_path / "a.png", audio=listen_and_summarize(items))
    assert size(tmp_path / "a.png") == (1440, 1795)


def test_nothing_to_draw_and_nothing_to_draw_with(
    tmp_path: Path, make_utterance: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="empty"):
        draw_stats(summarize([]), tmp_path / "a.png")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingPart, match="matplotlib"):
        draw_stats(summarize([make_utterance("a")]), tmp_path / "a.png")
    assert not list(tmp_path.iterdir())
