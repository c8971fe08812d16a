"""Conditions do what their names say, keep what they should, and always give the same bytes."""

import hashlib
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile

from harken.audio.augment_config import AugmentConfig, NoiseConfig, SpecAugmentConfig
from harken.audio.decode import decode_audio
from harken.audio.level import active_power, active_samples
from harken.core import InputError, MissingPart
from harken.evaluation.conditions import (
    CONDITIONS,
    Condition,
    apply_condition,
    find_conditions,
    read_conditions,
)

RATE = 16_000
Wave = npt.NDArray[np.float32]
NAMES = (
    "clean", "noise-20db", "noise-15db", "noise-10db", "noise-5db", "room-near", "room-far", "mp3-64k", "opus-16k",
    "telephone", "clipping", "speed-0.9", "speed-1.1",
)  # fmt: skip
KEEPS_LEVEL = ("room-near", "room-far", "mp3-64k", "opus-16k", "telephone")


def voice(seconds: float = 1.5, seed: int = 0, rate: int = RATE) -> Wave:
    """Harmonics in syllables, over a little noise."""
    time = np.arange(round(seconds * rate)) / rate
    phase = 2 * np.pi * (110 * time + 6 * np.sin(2 * np.pi * 0.9 * time + seed))
    sound = sum(np.sin(k * phase + k * k) / k for k in range(1, 25))
    loud = np.clip(np.sin(2 * np.pi * 3.1 * time), 0, None)
    noise = np.random.default_rng(seed).standard_normal(len(time))
    return np.asarray(0.1 * sound * loud + 1e-4 * noise, np.float32)


def under(name: str, waveform: Wave, identifier: str = "u1", seed: int = 0, rate: int = RATE) -> Wave:
    return apply_condition(waveform, CONDITIONS[name], sample_rate_hz=rate, utterance_id=identifier, seed=seed)


def level_db(waveform: Wave, rate: int = RATE) -> float:
    return 10 * np.log10(active_power(waveform, sample_rate_hz=rate))


def best_lag(first: Wave, second: Wave) -> int:
    size = 2 * len(first)
    likeness = np.fft.irfft(np.fft.rfft(second, size) * np.conj(np.fft.rfft(first, size)), size)
    place = int(np.argmax(likeness))
    return place if place < len(first) else place - size


def test_the_list_of_conditions() -> None:
    assert tuple(CONDITIONS) == NAMES
    assert {condition.kind for condition in CONDITIONS.values()} == {
        "clean", "noise", "room", "codec", "clipping", "speed",
    }  # fmt: skip


def test_clean_is_the_recording_itself() -> None:
    waveform = voice()
    assert under("clean", waveform) is waveform


@pytest.mark.parametrize("snr_db", [20, 15, 10, 5])
def test_noise_has_the_ratio_of_its_name_over_active_speech(snr_db: int) -> None:
    waveform = voice()
    loud = np.square(waveform).reshape(-1, 160).mean(axis=1)
    active = np.repeat(loud > 0.05 * loud.max(), 160)  # by hand: a few frames more or less change little
    added = under(f"noise-{snr_db}db", waveform).astype(np.float64) - waveform
    ratio = np.square(waveform[active], dtype=np.float64).mean() / np.square(added[active]).mean()
    assert 10 * np.log10(ratio) == pytest.approx(snr_db, abs=0.7)
    exact = active_samples(waveform, sample_rate_hz=RATE)
    ratio = np.square(waveform[exact], dtype=np.float64).mean() / np.square(added[exact]).mean()
    assert 10 * np.log10(ratio) == pytest.approx(snr_db, abs=0.01)


@pytest.mark.parametrize("name", KEEPS_LEVEL)
@pytest.mark.parametrize("rate", [8_000, 16_000])
def test_level_and_length_stay(name: str, rate: int) -> None:
    waveform = voice(rate=rate)
    changed = under(name, waveform, rate=rate)
    assert (changed.dtype, changed.shape) == (np.float32, waveform.shape)
    assert level_db(changed, rate) == pytest.approx(level_db(waveform, rate), abs=0.1)
    assert not np.array_equal(changed, waveform)


@pytest.mark.shared
@pytest.mark.parametrize("name", NAMES[:-2])
def test_digits_of_people_stay_in_place_and_as_loud(name: str, shared_fsdd: Path) -> None:
    for path in sorted((shared_fsdd / "recordings").glob("7_*_3.wav")):
        waveform = decode_audio(path, sample_rate_hz=8_000)
        changed = under(name, waveform, path.stem, rate=8_000)
        assert changed.shape == waveform.shape
        if name != "room-far":  # where the direct sound is 10 dB under its echoes; test_rooms has its place
            assert best_lag(waveform, changed) == 0, path.name
        if name in KEEPS_LEVEL:
            assert level_db(changed, 8_000) == pytest.approx(level_db(waveform, 8_000), abs=0.1)


def test_speed_changes_the_duration_and_nothing_else_does() -> None:
    waveform = voice()
    assert len(under("speed-0.9", waveform)) == pytest.approx(len(waveform) / 0.9, abs=1)
    assert len(under("speed-1.1", waveform)) == pytest.approx(len(waveform) / 1.1, abs=1)
    assert {len(under(name, waveform)) for name in NAMES[:-2]} == {len(waveform)}


def digests(waveforms: dict[str, Wave], names: tuple[str, ...], seed: int = 0) -> dict[tuple[str, str], str]:
    return {
        (name, identifier): hashlib.sha256(under(name, waveform, identifier, seed).tobytes()).hexdigest()
        for name in names
        for identifier, waveform in waveforms.items()
    }


SCRIPT = """
import json, sys; sys.path.insert(0, {folder!r})
import test_conditions as t
w = {{f"u{{i}}": t.voice(0.6, i) for i in (2, 0, 1)}}
print(json.dumps([[*key, value] for key, value in t.digests(w, t.NAMES[::-1]).items()]))
"""


def test_equal_bytes_in_any_order_thread_and_process() -> None:
    waveforms = {f"u{index}": voice(0.6, index) for index in range(3)}
    alone = digests(waveforms, NAMES)
    with ThreadPoolExecutor(6) as pool:
        together = list(
            pool.map(lambda key: digests({key[1]: waveforms[key[1]]}, (key[0],))[key], reversed(list(alone)))
        )
    assert together == list(alone.values())[::-1]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(folder=str(Path(__file__).parent))],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "4", "PRA_NUM_THREADS": "4", "PYTHONHASHSEED": "7"},
    )
    assert {(name, identifier): value for name, identifier, value in json.loads(done.stdout)} == alone


def test_utterances_seeds_and_conditions_have_chances_of_their_own() -> None:
    waveform = voice(0.5)
    noises = [
        under(name, waveform, identifier, seed) - waveform
        for name, identifier, seed in (
            ("noise-10db", "a", 0),
            ("noise-10db", "b", 0),
            ("noise-10db", "a", 1),
            ("noise-15db", "a", 0),
        )
    ]
    likeness = np.abs(np.corrcoef(noises)) - np.eye(4)
    assert likeness.max() < 0.2


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("samples", [0, 1, 50])
def test_tiny_and_silent_waveforms(name: str, samples: int) -> None:
    for waveform in (np.zeros(samples, np.float32), voice()[4_000 : 4_000 + samples]):
        changed = under(name, waveform)
        assert len(changed) == pytest.approx(samples, abs=0.12 * samples + 1)
        assert np.isfinite(changed).all()


def test_the_argument_is_not_changed() -> None:
    waveform = voice(0.5)
    waveform.flags.writeable = False
    for name in NAMES:
        under(name, waveform)


def test_facts_are_json_and_say_what_was_measured() -> None:
    facts = {name: json.loads(json.dumps(CONDITIONS[name].facts(RATE), allow_nan=False)) for name in NAMES}
    assert facts["clean"] == {"name": "clean", "kind": "clean", "description": "the recordings as they are"}
    assert facts["noise-5db"]["noise"] == {"kinds": ["speech"], "snr_db": [5.0, 5.0], "over": "active speech"}
    for name, t60_s in (("room-near", 0.3), ("room-far", 0.6)):
        room = facts[name]["room"]
        assert room["t60_s"]["lowest"] == pytest.approx(t60_s, rel=0.02)
        assert room["t60_s"]["highest"] == pytest.approx(t60_s, rel=0.02)
    assert facts["room-near"]["room"]["direct_to_reverberant_db"]["mean"] > 0
    assert facts["opus-16k"]["codec"]["codecs"][0]["encoder"] == "libopus"
    assert facts["telephone"]["codec"]["codecs"][0]["band_hz"] == [300, 3400]
    assert facts["clipping"]["clipping"]["share"] == [0.05, 0.05]
    assert facts["speed-0.9"]["speed"] == {"factors": [0.9]}


@pytest.mark.parametrize(
    ("spec", "names"),
    [
        ("all", NAMES),
        ("clean", ("clean",)),
        ("noise-10db,clean", ("clean", "noise-10db")),
        (" speed-1.1 , noise-5db ,", ("speed-1.1", "noise-5db")),
        ("mp3-64k,mp3-64k", ("mp3-64k",)),
        (["room-far", "clean"], ("clean", "room-far")),
    ],
)
def test_lists_keep_their_order_with_clean_first(spec: str | list[str], names: tuple[str, ...]) -> None:
    assert tuple(condition.name for condition in find_conditions(spec)) == names


def test_a_name_that_is_none_lists_those_there_are() -> None:
    with pytest.raises(InputError, match=r"no condition 'noise-7db'.*noise-10db"):
        find_conditions("clean,noise-7db")
    for nothing in ("", ",", []):
        with pytest.raises(InputError, match="list of conditions is empty"):
            find_conditions(nothing)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "a/b"}, "name is 'a/b'"),
        ({"name": ""}, "name is ''"),
        ({"name": "still"}, "only clean has none"),
        ({"name": "clean", "augmentation": AugmentConfig(noise=NoiseConfig(probability=1))}, "only clean has none"),
        ({"name": "half", "augmentation": AugmentConfig(noise=NoiseConfig())}, r"noise\.probability 0\.5"),
        ({"name": "masks", "augmentation": AugmentConfig(spec_augment=SpecAugmentConfig())}, "features"),
    ],
)
def test_conditions_that_cannot_be(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Condition(description="", **settings)  # type: ignore[arg-type]


def test_conditions_of_your_own(tmp_path: Path) -> None:
    (tmp_path / "sounds").mkdir()
    hum = np.asarray(0.1 * np.sin(2 * np.pi * 50 * np.arange(RATE) / RATE), np.float32)
    soundfile.write(tmp_path / "sounds" / "hum.wav", hum, RATE, subtype="FLOAT")
    path = tmp_path / "mine.yaml"
    path.write_text(
        "hum-10db:\n  description: mains hum\n  noise: {kinds: [file], files: [sounds/hum.wav], snr_db: [10, 10]}\n"
        "street:\n  room: {t60_s: [0.2, 0.2], rooms: 2}\n  noise: {kinds: [pink], snr_db: [0, 5]}\n",
        encoding="utf-8",
    )
    hummed, street = read_conditions(path)
    assert (hummed.name, hummed.kind, hummed.description) == ("hum-10db", "noise", "mains hum")
    assert street.kind == "room+noise"
    assert [condition.name for condition in find_conditions(f"{path},clean")] == ["clean", "hum-10db", "street"]
    waveform = voice()
    added = apply_condition(waveform, hummed, sample_rate_hz=RATE, utterance_id="u") - waveform
    spectrum = np.abs(np.fft.rfft(added, RATE))
    assert int(spectrum.argmax()) == 50


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x: 5", "condition x holds 5, not blocks"),
        ("x: {}", "only clean has none"),
        ("x: {noise: {snr_db: [5, 5], loud: 1}}", "loud is not a setting"),
        ("x: {noise: {probability: 0.5}}", "use 1"),
        ("x/y: {noise: {}}", "name is 'x/y'"),
    ],
)
def test_a_file_of_conditions_with_mistakes(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message) as caught:
        find_conditions(str(path))
    assert "mine.yaml" in str(caught.value)


def test_two_conditions_of_one_name(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("noise-10db: {noise: {snr_db: [10, 10]}}", encoding="utf-8")
    with pytest.raises(InputError, match="two conditions called 'noise-10db'"):
        find_conditions(["noise-10db", str(path)])


def test_what_is_missing_is_said_before_anything_is_recognised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyroomacoustics", None)
    with pytest.raises(MissingPart, match=r"pip install 'harken\[eval\]'"):
        CONDITIONS["room-near"].facts(11_025)  # a rate for which no room is known yet
