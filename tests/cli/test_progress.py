import pytest

from harken.cli import progress
from harken.cli.progress import progress_on_stderr


def test_a_log_gets_a_line_now_and_then(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([0.0, 4.0, 11.0, 12.0, 22.0, 33.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(times))
    with progress_on_stderr("listening") as show:
        for done in (100, 1_100, 1_200, 2_200, 3_300):
            show(done, 3_300)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "listening: 1,100 of 3,300, about 22.0 s left",
        "listening: 2,200 of 3,300, about 11.0 s left",
    ]


def test_short_work_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_on_stderr("listening") as show:
        show(1, 2)
        show(2, 2)
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_a_bar(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    with progress_on_stderr("listening") as show:
        show(1, 2)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "listening" in captured.err
