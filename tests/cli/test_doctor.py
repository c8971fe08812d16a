"""`harken doctor`: the checks of this machine, and how they speak when something is wrong."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from harken.cli import doctor as room
from harken.cli.doctor import Check, collect, doctor, tone_share
from harken.core import InputError, MissingPart


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HARKEN_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(scope="module")
def checks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Check]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARKEN_HOME", str(tmp_path_factory.mktemp("home")))
        return {check.name: check for check in collect()}


def test_the_development_environment_has_every_part(checks: dict[str, Check]) -> None:
    wanted = {"Python", "torch", "speech detection", "speech synthesis", "matplotlib", "mlflow", "datasets"}
    assert {name: checks[name].state for name in wanted} == dict.fromkeys(wanted, "ok")


def test_every_codec_comes_back(checks: dict[str, Check]) -> None:
    found = {name: check for name, check in checks.items() if name.startswith("audio: ")}
    assert len(found) == 7
    assert {name: check.detail for name, check in found.items() if check.state != "ok"} == {}


def test_nothing_works_in_silence(checks: dict[str, Check]) -> None:
    assert all(check.detail for check in checks.values())
    assert [check.name for check in checks.values() if check.state == "broken" and not check.advice] == []
    assert len(checks) >= 18


# What a check says when its part fails


def test_absent_and_failing_parts_are_told_apart() -> None:
    def absent() -> Check:
        raise MissingPart("x needs y.", hint="Install y.")

    def wrong() -> Check:
        raise InputError("y is odd.", hint="Even it.")

    def unforeseen() -> Check:
        raise OSError("libsndfile.so.1:\n cannot open")

    assert room._attempt("x", absent) == Check(name="x", state="missing", detail="x needs y.", advice="Install y.")
    assert room._attempt("x", wrong) == Check(name="x", state="broken", detail="y is odd.", advice="Even it.")
    found = room._attempt("x", unforeseen)
    assert (found.state, found.detail) == ("broken", "OSError: libsndfile.so.1: cannot open")


def test_a_codec_that_returns_something_else_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(0).standard_normal(16_000).astype(np.float32)
    monkeypatch.setattr("harken.audio.decode_audio", lambda *_, **__: noise)
    found = room._attempt("audio: WAV", room._round_trip_check(room.CODECS[0]))
    assert found.state == "broken"
    assert "is the tone that went in" in found.detail


def test_an_absent_package_names_its_extra() -> None:
    found = room._package_check("harken_no_such_package", "speed", "why it helps")()
    assert found.state == "missing"
    assert found.advice == "Install it with: pip install 'harken[speed]'."


def test_a_home_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    occupied = tmp_path / "file"
    occupied.write_text("not a folder", encoding="utf-8")
    monkeypatch.setenv("HARKEN_HOME", str(occupied / "home"))
    found = room.check_home()
    assert found.state == "broken"
    assert "HARKEN_HOME" in found.advice


def test_home_is_made_and_left_empty(own_home: Path) -> None:
    assert room.check_home().state == "ok"
    assert list(own_home.iterdir()) == []


@pytest.mark.parametrize(("threads", "state"), [("1", "ok"), ("100000", "broken"), ("many", "ok")])
def test_more_threads_than_cores(threads: str, state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    assert room.check_processor().state == state


def test_little_memory_and_little_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "LOW_MEMORY_BYTES", 2**60)
    monkeypatch.setattr(room, "LOW_DISK_BYTES", 2**60)
    assert room.check_memory().state == "broken"
    assert room.check_disk().state == "broken"


# The measure behind the round trip


def test_a_pure_tone_is_all_tone_whatever_its_phase_and_level() -> None:
    time_s = np.arange(16_000) / 16_000
    for phase in (0.0, 0.7, math.pi / 2):
        tone = (0.01 * np.sin(2 * math.pi * 440 * time_s + phase)).astype(np.float32)
        assert tone_share(tone, frequency_hz=440, sample_rate_hz=16_000) == pytest.approx(1, abs=1e-4)


def test_half_noise_is_half_tone() -> None:
    time_s = np.arange(160_000) / 16_000
    noise = np.random.default_rng(1).standard_normal(160_000)
    mixed = (math.sqrt(2) * np.sin(2 * math.pi * 440 * time_s) + noise).astype(np.float32)
    assert tone_share(mixed, frequency_hz=440, sample_rate_hz=16_000) == pytest.approx(0.5, abs=0.01)


def test_silence_and_another_pitch_are_no_tone() -> None:
    time_s = np.arange(16_000) / 16_000
    assert tone_share(np.zeros(16_000, np.float32), frequency_hz=440, sample_rate_hz=16_000) == 0
    other = np.sin(2 * math.pi * 880 * time_s).astype(np.float32)
    assert tone_share(other, frequency_hz=440, sample_rate_hz=16_000) < 1e-6


# The command


def _pretend(monkeypatch: pytest.MonkeyPatch, *checks: Check) -> None:
    monkeypatch.setattr(room, "collect", lambda: list(checks))


FINE = Check(name="torch", state="ok", detail="2.13")
ABSENT = Check(name="numba", state="missing", detail="slower [without] it", advice="Install it.")
BROKEN = Check(name="disk", state="broken", detail="1 MiB free", advice="Free some space.")


def test_missing_parts_are_no_failure(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    _pretend(monkeypatch, FINE, ABSENT)
    assert doctor() == 0
    text = capsys.readouterr().out
    assert "1 work, 1 missing, 0 broken." in text
    assert "slower [without] it" in text  # brackets are text, not markup
    assert "Install it." in text


def test_broken_parts_fail_and_are_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    _pretend(monkeypatch, FINE, BROKEN)
    assert doctor() == 3
    assert "1 work, 0 missing, 1 broken: disk." in capsys.readouterr().out


def test_json_is_the_whole_of_stdout(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    _pretend(monkeypatch, FINE, BROKEN)
    assert doctor(json_output=True) == 3
    assert json.loads(capsys.readouterr().out) == {
        "checks": [
            {"name": "torch", "state": "ok", "detail": "2.13", "advice": ""},
            {"name": "disk", "state": "broken", "detail": "1 MiB free", "advice": "Free some space."},
        ]
    }
