import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import soundfile

from harken.core import InputError, Utterance, parse_settings
from harken.data.importers import Rejection
from harken.data.validate import CHECKS, Finding, ValidationConfig, validate_utterances

SaveTone = Callable[..., Path]
Make = Callable[..., Utterance]


def checks(report: Any, name: str) -> list[str]:
    return [finding.check for finding in report.findings if finding.utterance == name]


@pytest.fixture
def corpus(tmp_path: Path, save_tone: SaveTone, make_utterance: Make) -> Callable[..., list[Utterance]]:
    """A function that makes `count` good utterances of speech-like noise bursts, each with its own file."""

    def make(count: int = 3) -> list[Utterance]:
        items = []
        for n in range(count):
            generator = np.random.default_rng(n)
            bursts = np.repeat(generator.random(20) > 0.4, 800) * generator.normal(0, 0.1, 16_000)
            path = tmp_path / f"good{n}.wav"
            soundfile.write(path, bursts + generator.normal(0, 3e-4, 16_000), 16_000, subtype="PCM_16")
            items.append(make_utterance(f"good{n}", audio=str(path), text=f"number {n % 10} yes"))
        return items

    return make


def test_a_good_set_has_no_findings(corpus: Callable[..., list[Utterance]]) -> None:
    items = corpus(30)
    report = validate_utterances(items)
    assert report.findings == ()
    assert (report.kept, report.rejected, report.counts) == (tuple(items), (), {})
    assert report.quality.keys() == {item.id for item in items}
    assert report.table() == "30 utterances, 30.0 s: 30 kept, 0 rejected."


def test_each_broken_file_is_rejected_with_its_reason(
    tmp_path: Path, corpus: Callable[..., list[Utterance]], make_utterance: Make
) -> None:
    good = corpus()
    whole = Path(good[0].audio).read_bytes()
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.wav").write_text("ffconcat version 1.0\nfile good0.wav\n")
    (tmp_path / "cut.wav").write_bytes(whole[: len(whole) // 2])
    soundfile.write(tmp_path / "none.flac", np.zeros(0, np.int16), 16_000)
    soundfile.write(tmp_path / "zero.wav", np.zeros(16_000, np.int16), 16_000)
    bad = [
        make_utterance("missing", audio=str(tmp_path / "gone.wav")),
        *(make_utterance(name, audio=str(tmp_path / f"{name}.wav")) for name in ("empty", "text", "cut", "zero")),
        make_utterance("none", audio=str(tmp_path / "none.flac")),
        make_utterance("late", audio=good[1].audio, offset_s=2.0),
        make_utterance("early", audio=good[2].audio, offset_s=0.5, duration_s=1.0),
    ]
    report = validate_utterances([*good, *bad])
    assert report.kept == tuple(good)
    assert [rejection.item for rejection in report.rejected] == [item.id for item in bad]
    found = {item.id: checks(report, item.id)[0] for item in bad}
    assert {name: found[name] for name in ("missing", "empty", "text", "none", "late", "early", "zero")} == {
        "missing": "unreadable", "empty": "unreadable", "text": "unreadable", "none": "unreadable",
        "late": "offset_beyond_end", "early": "ends_early", "zero": "silent",
    }  # fmt: skip
    assert found["cut"] in ("ends_early", "unreadable")
    assert "it lasts 0.500 s, the manifest says 1.000 s" in next(r.reason for r in report.rejected if r.item == "early")


def test_lengths_within_the_tolerance_pass(corpus: Callable[..., list[Utterance]], make_utterance: Make) -> None:
    good = corpus(4)

    def lasting(index: int, duration_s: float) -> Utterance:
        return make_utterance(f"u{index}", audio=good[index].audio, duration_s=duration_s)

    report = validate_utterances([lasting(0, 1.04), lasting(1, 1.06), lasting(2, 0.96), lasting(3, 0.94)])
    assert [checks(report, f"u{n}") for n in range(4)] == [[], ["ends_early"], [], ["file_is_longer"]]
    assert [item.id for item in report.kept] == ["u0", "u2", "u3"]
    halves = [make_utterance("a", audio=good[0].audio, duration_s=0.5), make_utterance("b", audio=good[0].audio,
              duration_s=0.5, offset_s=0.5)]  # fmt: skip
    assert validate_utterances(halves).findings == ()


def test_limits_of_length(corpus: Callable[..., list[Utterance]]) -> None:
    config = ValidationConfig(min_duration_s=2, max_duration_s=3)
    assert validate_utterances(corpus(1), config).rejected == (
        Rejection(item="good0", reason="too_short: it lasts 1.000 s, less than 2 s"),
    )
    assert validate_utterances(corpus(1), ValidationConfig(max_duration_s=0.5)).counts == {"too_long": 1}


def test_texts(corpus: Callable[..., list[Utterance]], make_utterance: Make) -> None:
    good = corpus(5)
    texts = [None, " \n", "cafe\u0301", "a\x00b\ufffd", "café"]
    items = [make_utterance(f"t{n}", audio=good[n].audio, text=text) for n, text in enumerate(texts)]
    report = validate_utterances(items)
    assert [checks(report, f"t{n}") for n in range(5)] == [
        ["missing_text"], ["empty_text"], ["not_nfc"], ["odd_characters"], [],
    ]  # fmt: skip
    assert [item.id for item in report.kept] == ["t2", "t3", "t4"]
    assert next(f.message for f in report.findings if f.utterance == "t3") == "U+0000, U+FFFD in 'a\\x00b\ufffd'"
    assert validate_utterances(items, ValidationConfig(require_text=False)).rejected == ()


def test_outliers_of_the_speaking_rate_are_found_in_each_language(
    corpus: Callable[..., list[Utterance]], make_utterance: Make
) -> None:
    audio = [item.audio for item in corpus(44)]
    slow = [make_utterance(f"zh{n}", audio=audio[n], text="字" * (4 + n % 2), language="zh") for n in range(21)]
    fast = [make_utterance(f"en{n}", audio=audio[21 + n], text="w" * (15 + n % 3), language="en") for n in range(21)]
    odd = [
        make_utterance("odd-zh", audio=audio[42], text="字" * 15, language="zh"),
        make_utterance("odd-en", audio=audio[43], text="www", language="en"),
    ]
    report = validate_utterances([*slow, *fast, *odd])
    assert [(f.utterance, f.message) for f in report.findings] == [
        ("odd-zh", "15.0 characters per second, usual are 4.5"),
        ("odd-en", "3.0 characters per second, usual are 16.0"),
    ]
    assert len(report.kept) == 44
    strict = validate_utterances([*slow, *fast, *odd], ValidationConfig(also_reject=("text_rate",)))
    assert {rejection.item for rejection in strict.rejected} == {"odd-zh", "odd-en"}
    assert not validate_utterances([*slow, *fast, *odd], ValidationConfig(max_text_rate_z=None)).findings


def test_copies_are_found_by_their_samples(
    tmp_path: Path, corpus: Callable[..., list[Utterance]], make_utterance: Make
) -> None:
    first, other, _ = corpus()
    samples, _ = soundfile.read(first.audio, dtype="int16")
    soundfile.write(tmp_path / "copy.flac", samples, 16_000, subtype="PCM_16")
    items = [
        first, other,
        make_utterance("copy", audio=str(tmp_path / "copy.flac"), text="number  0 yes"),
        make_utterance("clash", audio=first.audio, text="something else"),
        make_utterance("half", audio=first.audio, duration_s=0.5, text="half"),
    ]  # fmt: skip
    report = validate_utterances(items)
    assert checks(report, "copy") == ["duplicate_audio"]
    assert checks(report, "clash") == ["conflicting_text"]
    assert checks(report, "half") == []
    assert (
        Finding(utterance="copy", check="duplicate_audio", message="its samples are those of good0") in report.findings
    )


def test_one_recording_at_two_levels_and_in_two_codecs(tmp_path: Path, make_utterance: Make) -> None:
    samples = spoken()
    soundfile.write(tmp_path / "a.wav", samples, 16_000)
    soundfile.write(tmp_path / "quiet.wav", 0.3 * samples, 16_000)
    soundfile.write(tmp_path / "copy.ogg", samples, 16_000, format="OGG", subtype="VORBIS")
    whole, _ = soundfile.read(tmp_path / "a.wav", dtype="int16")
    soundfile.write(tmp_path / "same.flac", whole, 16_000)
    names = {"a": "a.wav", "quiet": "quiet.wav", "copy": "copy.ogg", "same": "same.flac"}
    items = [make_utterance(id_, audio=str(tmp_path / name), duration_s=3.0) for id_, name in names.items()]
    report = validate_utterances(items)
    found = {finding.utterance: finding for finding in report.findings}
    assert {id_: finding.check for id_, finding in found.items()} == {
        "quiet": "near_duplicate", "copy": "near_duplicate", "same": "duplicate_audio",
    }  # fmt: skip
    assert found["copy"].message.startswith("it is like a (similarity 0.99")
    assert not validate_utterances(items[:3], ValidationConfig(near_duplicate_similarity=None)).findings


def test_sample_rates_and_equal_lengths_are_notes(
    tmp_path: Path, save_tone: SaveTone, corpus: Callable[..., list[Utterance]], make_utterance: Make
) -> None:
    good = corpus()
    narrow = make_utterance(
        "narrow", audio=str(save_tone(tmp_path / "n.wav", rate=8_000, seconds=1)), text="hello there"
    )
    twins = [
        make_utterance(n, audio=good[k].audio, text="hello hello", speaker="s") for k, n in enumerate(("one", "twin"))
    ]
    report = validate_utterances([*good, narrow, *twins], ValidationConfig(min_snr_db=None))
    assert [(f.check, f.severity, f.message) for f in report.findings if f.utterance == "narrow"] == [
        ("sample_rate", "note", "8,000 Hz; most have 16,000 Hz")
    ]
    assert ("same_text_and_length", "like one") in [
        (f.check, f.message) for f in report.findings if f.utterance == "twin"
    ]
    assert len(report.kept) == 6


def spoken(seconds: float = 3.0, rate: int = 16_000) -> npt.NDArray[np.float64]:
    """Bursts of noise with pauses in faint noise: loud, full band, about 30 dB above its floor."""
    generator = np.random.default_rng(5)
    count = round(seconds * rate)
    gate = np.repeat(generator.random(count // 800 + 1) > 0.4, 800)[:count]
    samples: npt.NDArray[np.float64] = gate * generator.normal(0, 0.1, count) + generator.normal(0, 3e-3, count)
    return samples


def telephone(samples: npt.NDArray[np.float64], rate: int = 16_000) -> npt.NDArray[np.float64]:
    from harken.audio.resample import resample

    narrow = resample(samples.astype(np.float32), from_hz=rate, to_hz=rate // 2)
    return resample(narrow, from_hz=rate // 2, to_hz=rate).astype(np.float64)


@pytest.mark.parametrize(
    ("damage", "expected", "message"),
    [
        (lambda x: x, [], ""),
        (lambda x: np.clip(20 * x, -1, 1), ["clipping"], "% of its samples are clipped"),
        (lambda x: 0.2 * np.clip(20 * x, -1, 1), ["clipping"], "% of its samples are clipped"),
        (lambda x: np.append(x[:4_800], np.zeros(96_000)), ["mostly_silence", "edge_silence"], "% of it is silence"),
        (
            lambda x: np.concatenate([np.zeros(40_000), x, np.zeros(48_000)]),
            ["edge_silence"],
            "there is silence of 2.5 s before and 3.0 s after the speech",
        ),
        (lambda x: x + np.random.default_rng(1).normal(0, 0.15, len(x)), ["low_snr"], "signal-to-noise ratio"),
        (telephone, ["narrow_band"], "Hz, at 16,000 Hz"),
        (lambda x: x * 10 ** (-32 / 20), ["quiet"], "its loudness is -5"),
        (lambda x: x + 0.05, ["dc_offset"], "the mean of its samples is 0.05"),
    ],
)
def test_what_is_wrong_with_a_recording(
    tmp_path: Path, make_utterance: Make, damage: Callable[..., Any], expected: list[str], message: str
) -> None:
    samples = damage(spoken())
    soundfile.write(tmp_path / "a.wav", samples, 16_000)
    item = make_utterance("a", audio=str(tmp_path / "a.wav"), duration_s=len(samples) / 16_000, text="hi")
    report = validate_utterances([item])
    assert checks(report, "a") == expected
    assert not expected or any(message in finding.message for finding in report.findings)
    assert (len(report.kept), len(report.rejected)) == (1, 0)
    strict = validate_utterances([item], ValidationConfig(also_reject=tuple(expected)))
    assert len(strict.rejected) == bool(expected)
    off = ValidationConfig(
        max_clipped_share=None, max_silence_share=None, max_edge_silence_s=None, min_snr_db=None,
        min_bandwidth_hz=None, min_loudness_lufs=None, max_dc_offset=None,
    )  # fmt: skip
    assert validate_utterances([item], off).findings == ()


def test_a_short_or_honestly_narrow_recording_is_not_called_upsampled(tmp_path: Path, make_utterance: Make) -> None:
    soundfile.write(tmp_path / "short.wav", telephone(spoken())[:14_000], 16_000)  # may be vowels only
    soundfile.write(tmp_path / "narrow.wav", spoken(rate=8_000), 8_000)
    items = [
        make_utterance("short", audio=str(tmp_path / "short.wav"), duration_s=0.875, text="a"),
        make_utterance("narrow", audio=str(tmp_path / "narrow.wav"), duration_s=3.0, text="b"),
    ]
    assert {finding.check for finding in validate_utterances(items).findings} == {"sample_rate"}


def test_warnings_are_counted_beside_what_is_kept(tmp_path: Path, make_utterance: Make) -> None:
    soundfile.write(tmp_path / "a.wav", spoken() + 0.05, 16_000)
    report = validate_utterances([make_utterance("a", audio=str(tmp_path / "a.wav"), duration_s=3.0)])
    assert report.table().splitlines()[0] == "1 utterances, 3.0 s: 1 kept (1 with warnings), 0 rejected."


def test_the_report_can_be_printed_and_saved(corpus: Callable[..., list[Utterance]], make_utterance: Make) -> None:
    report = validate_utterances([*corpus(), make_utterance("gone", text="")])
    data = json.loads(json.dumps(report.as_json()))
    assert (data["utterances"], data["kept"], len(data["rejected"])) == (4, 3, 1)
    assert data["counts"] == {
        "unreadable": {"severity": "error", "count": 1}, "empty_text": {"severity": "error", "count": 1},
    }  # fmt: skip
    assert {finding["check"] for finding in data["findings"]} == {"unreadable", "empty_text"}
    lines = report.table().splitlines()
    assert lines[0] == "4 utterances, 4.0 s: 3 kept, 1 rejected."
    assert lines[1].split()[:3] == ["error", "unreadable", "1"]
    assert lines[2].strip().startswith("gone: ")


def test_progress_counts_to_the_end(corpus: Callable[..., list[Utterance]]) -> None:
    seen: list[tuple[int, int]] = []
    validate_utterances(corpus(20), progress=lambda done, total: seen.append((done, total)))
    assert seen == [(n, 20) for n in range(1, 21)]


def test_threads_do_not_change_the_report(corpus: Callable[..., list[Utterance]], make_utterance: Make) -> None:
    items = [*corpus(40), *(make_utterance(f"gone{n}") for n in range(40))]
    one, four = (validate_utterances(items, threads=threads).as_json() for threads in (1, 4))
    assert one == four


def test_an_empty_set_is_no_error() -> None:
    assert validate_utterances([]).as_json()["utterances"] == 0


@pytest.mark.parametrize(
    "settings",
    [{"min_duration_s": -1}, {"min_duration_s": 3, "max_duration_s": 2}, {"max_clipped_share": 2},
    {"max_text_rate_z": 0},
     {"also_reject": ["clip"]}, {"duration_tolerance_s": float("nan")}, {"max_snr": 3},
     {"max_dc_offset": 1.5}, {"max_edge_silence_s": -1}, {"min_loudness_lufs": float("inf")}],
)  # fmt: skip
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        parse_settings(ValidationConfig, settings, source="test")


def test_the_guide_names_every_check_and_limit() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "guide" / "data-quality.md").read_text(encoding="utf-8")
    names = [*CHECKS, *(field.name for field in fields(ValidationConfig) if field.name != "also_reject")]
    assert [name for name in names if f"`{name}`" not in guide] == []


def test_checks_have_meanings() -> None:
    assert {severity for severity, _ in CHECKS.values()} == {"error", "warning", "note"}
