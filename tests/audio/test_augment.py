"""Augmentation does what it says, and the same for the same key."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import soundfile

from harken.audio.augment import (
    AugmentConfig,
    ClippingConfig,
    CodecConfig,
    NoiseConfig,
    PitchConfig,
    RoomConfig,
    SpecAugmentConfig,
    SpeedConfig,
    VocalTractConfig,
    augment_and_tell,
    augment_features,
    augment_waveform,
    change_speed,
    draw_speed,
)
from harken.audio.codecs import transcode
from harken.audio.distortion import clip_waveform
from harken.audio.features import FeatureConfig, FeatureExtractor
from harken.audio.level import active_samples
from harken.audio.noise import add_noise, generate_noise
from harken.audio.pitch import shift_pitch, stretch
from harken.audio.rooms import reverberate, room_response
from harken.audio.spec_augment import mask_features, warp_vocal_tract
from harken.audio.telephone import telephone
from harken.core import InputError, keyed_generator, parse_settings

RATE = 16_000
Wave = npt.NDArray[np.float32]


def harmonic(hz: float, seconds: float = 2.0) -> Wave:
    time = np.arange(round(seconds * RATE)) / RATE
    return np.asarray(sum(np.sin(2 * np.pi * k * hz * time + k) / k for k in range(1, 12)) * 0.1, np.float32)


def fundamental(waveform: Wave) -> float:
    """Hertz of the strongest line between 60 and 500 Hz, from a finely sampled spectrum."""
    size = 1 << 19
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform)), size))
    low, high = int(60 * size / RATE), int(500 * size / RATE)
    return float((low + np.argmax(spectrum[low:high])) * RATE / size)


def bursts(seconds: float = 4.0, seed: int = 0) -> Wave:
    """Half a second of loud noise, half a second of almost nothing, and so on."""
    samples = np.random.default_rng(seed).standard_normal(round(seconds * RATE))
    on = (np.arange(len(samples)) // (RATE // 2)) % 2 == 0
    return np.asarray(samples * np.where(on, 0.05, 1e-5), np.float32)


# --- speed


@pytest.mark.parametrize("factor", [0.9, 1.1, 0.5, 2.0])
def test_speed_divides_the_duration_and_multiplies_the_frequency(factor: float) -> None:
    waveform = harmonic(150)
    changed = change_speed(waveform, factor, sample_rate_hz=RATE)
    assert len(changed) == pytest.approx(len(waveform) / factor, abs=2)
    assert fundamental(changed) == pytest.approx(150 * factor, rel=2e-3)
    assert changed.dtype == np.float32


def test_speed_one_and_nothing_are_left_alone() -> None:
    waveform = harmonic(150)
    assert change_speed(waveform, 1.0, sample_rate_hz=RATE) is waveform
    assert len(change_speed(waveform[:0], 0.9, sample_rate_hz=RATE)) == 0


def test_the_drawn_speed_is_the_one_that_is_used() -> None:
    config = AugmentConfig(speed=SpeedConfig(probability=0.8), noise=NoiseConfig(probability=1.0))
    waveform = harmonic(150, 0.5)
    factors = []
    for index in range(60):
        factor = draw_speed(config, generator=keyed_generator(1, 2, f"u{index}"))
        changed = augment_waveform(waveform, config, sample_rate_hz=RATE, generator=keyed_generator(1, 2, f"u{index}"))
        assert len(changed) == pytest.approx(len(waveform) / factor, abs=2)
        factors.append(factor)
    assert set(factors) == {0.9, 1.0, 1.1}
    assert draw_speed(AugmentConfig(), generator=keyed_generator(0)) == 1.0


# --- pitch


@pytest.mark.parametrize("hz", [90.0, 140.0, 230.0])
@pytest.mark.parametrize("semitones", [-2.0, -1.0, 0.5, 2.0, 7.0])
def test_pitch_moves_the_fundamental_and_keeps_the_duration(hz: float, semitones: float) -> None:
    waveform = harmonic(hz)
    shifted = shift_pitch(waveform, semitones, sample_rate_hz=RATE)
    assert len(shifted) == len(waveform)
    assert fundamental(shifted) == pytest.approx(hz * 2 ** (semitones / 12), rel=0.01)
    middle = slice(2_000, -2_000)  # no beating where frames were joined
    assert np.sqrt(np.square(shifted[middle]).mean()) == pytest.approx(np.sqrt(np.square(waveform).mean()), rel=0.05)


def test_stretch_keeps_events_in_their_place() -> None:
    waveform = bursts()
    longer = stretch(waveform, 2 * len(waveform), frame_samples=480, search_samples=200)
    power = np.square(longer).reshape(-1, RATE // 10).mean(axis=1)  # of tenths of a second
    loud = power > 1e-4
    for start in range(0, 80, 20):  # one second loud, one second quiet; the tenth at a border may be either
        assert loud[start + 1 : start + 9].all()
        assert not loud[start + 11 : start + 19].any()


@pytest.mark.parametrize("samples", [0, 1, 100, 1_919, 1_920, 1_921])
def test_pitch_of_short_waveforms(samples: int) -> None:
    assert shift_pitch(harmonic(150)[:samples], 2.0, sample_rate_hz=RATE).shape == (samples,)


# --- noise


def test_active_samples_are_the_loud_ones() -> None:
    waveform = bursts()
    loud = np.arange(len(waveform)) // (RATE // 2) % 2 == 0
    np.testing.assert_array_equal(active_samples(waveform, sample_rate_hz=RATE), loud)
    assert not active_samples(np.zeros(1_000, np.float32), sample_rate_hz=RATE).any()
    assert active_samples(np.ones(1, np.float32), sample_rate_hz=RATE).tolist() == [True]
    assert active_samples(np.ones(0, np.float32), sample_rate_hz=RATE).shape == (0,)


@pytest.mark.parametrize("snr_db", [-5.0, 10.0, 20.0, 30.0])
@pytest.mark.parametrize("kind", ["white", "pink", "brown"])
def test_the_ratio_over_active_speech_is_the_one_asked_for(kind: Any, snr_db: float) -> None:
    speech = bursts()
    noise = generate_noise(len(speech), kind, sample_rate_hz=RATE, generator=np.random.default_rng(5))
    mix = add_noise(speech, noise, snr_db=snr_db, sample_rate_hz=RATE)
    on = np.arange(len(speech)) // (RATE // 2) % 2 == 0
    added = mix.astype(np.float64) - speech
    measured = 10 * np.log10(np.square(speech[on], dtype=np.float64).mean() / np.square(added[on]).mean())
    assert measured == pytest.approx(snr_db, abs=0.1)
    assert np.abs(mix).max() <= 1


def test_a_mix_beyond_full_scale_is_scaled_as_a_whole() -> None:
    speech = np.asarray(bursts() * 6, np.float32)
    noise = np.random.default_rng(1).standard_normal(len(speech), dtype=np.float32)
    mix = add_noise(speech, noise, snr_db=0.0, sample_rate_hz=RATE)
    assert np.abs(mix).max() == pytest.approx(1.0)
    share = np.linalg.lstsq(np.stack([speech, noise], axis=1).astype(np.float64), mix, rcond=None)[0]
    on = np.arange(len(speech)) // (RATE // 2) % 2 == 0
    powers = np.square(speech[on] * share[0]).mean() / np.square(noise[on] * share[1]).mean()
    assert 10 * np.log10(powers) == pytest.approx(0.0, abs=0.1)
    np.testing.assert_allclose(mix, speech * share[0] + noise * share[1], atol=1e-5)


def test_silence_and_silent_noise_are_left_alone() -> None:
    silence = np.zeros(1_000, np.float32)
    assert add_noise(silence, np.ones(1_000, np.float32), snr_db=10, sample_rate_hz=RATE) is silence
    speech = bursts()
    assert add_noise(speech, np.zeros_like(speech), snr_db=10, sample_rate_hz=RATE) is speech


@pytest.mark.parametrize(("kind", "slope_db"), [("white", 0.0), ("pink", -3.01), ("brown", -6.02)])
def test_colours_fall_by_their_slope_per_octave(kind: Any, slope_db: float) -> None:
    noise = generate_noise(40 * RATE, kind, sample_rate_hz=RATE, generator=np.random.default_rng(2))
    power = np.square(np.abs(np.fft.rfft(noise)))
    hz = np.fft.rfftfreq(len(noise), 1 / RATE)
    octaves = [10 * np.log10(power[(hz >= low) & (hz < 2 * low)].mean()) for low in (100, 200, 400, 800, 1600, 3200)]
    np.testing.assert_allclose(np.diff(octaves), slope_db, atol=0.3)


def test_noise_files_and_babble(tmp_path: Path) -> None:
    paths = []
    for index in range(3):
        path = tmp_path / f"noise-{index}.wav"
        soundfile.write(
            path,
            generate_noise(RATE // 2, "white", sample_rate_hz=RATE, generator=np.random.default_rng(index)) * 0.1,
            RATE,
            subtype="FLOAT",
        )
        paths.append(str(path))
    speech = bursts()
    for kind in ("file", "babble"):
        config = AugmentConfig(noise=NoiseConfig(kinds=(kind,), files=tuple(paths), snr_db=(15, 15), probability=1.0))
        mix = augment_waveform(speech, config, sample_rate_hz=RATE, generator=keyed_generator(7))
        added = mix.astype(np.float64) - speech
        on = np.arange(len(speech)) // (RATE // 2) % 2 == 0
        measured = 10 * np.log10(np.square(speech[on], dtype=np.float64).mean() / np.square(added[on]).mean())
        assert measured == pytest.approx(15, abs=0.1)
        period = RATE // 2  # the file is shorter than the speech and goes on from its start
        np.testing.assert_allclose(added[:period], added[period : 2 * period], atol=1e-5)


def test_a_silent_noise_file_is_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silence.wav", np.zeros(1_000, np.float32), RATE)
    noise = NoiseConfig(kinds=("file",), files=(str(tmp_path / "silence.wav"),), probability=1.0)
    with pytest.raises(InputError, match=r"silence\.wav holds only silence"):
        augment_waveform(bursts(), AugmentConfig(noise=noise), sample_rate_hz=RATE, generator=keyed_generator(0))


# --- features


def test_the_vocal_tract_warp_moves_peaks_by_the_factor() -> None:
    extractor = FeatureExtractor(FeatureConfig(dimensions=80))
    time = np.arange(RATE) / RATE
    config = VocalTractConfig()
    for factor in (0.8, 0.9, 1.1, 1.2):
        for hz in (500, 1_000, 2_500):
            tone = np.asarray(0.3 * np.sin(2 * np.pi * hz * time), np.float32)
            moved = np.asarray(0.3 * np.sin(2 * np.pi * hz * factor * time), np.float32)
            warped = warp_vocal_tract(extractor(tone), factor, config).mean(axis=0)
            assert abs(int(warped.argmax()) - int(extractor(moved).mean(axis=0).argmax())) <= 1


def test_the_warp_keeps_its_ends_and_a_factor_of_one_changes_nothing() -> None:
    features = np.random.default_rng(0).standard_normal((50, 80), dtype=np.float32)
    np.testing.assert_allclose(warp_vocal_tract(features, 1.0, VocalTractConfig()), features, atol=1e-5)
    flat = np.full((5, 80), 3.25, np.float32)
    for factor in (0.8, 1.2):
        np.testing.assert_allclose(warp_vocal_tract(flat, factor, VocalTractConfig()), flat, rtol=1e-5)
        places = np.arange(80, dtype=np.float32)[None]
        warped = warp_vocal_tract(places, factor, VocalTractConfig())[0]
        assert (np.diff(warped) > 0).all()
        assert warped[[0, -1]] == pytest.approx([0, 79], abs=0.5)
    assert warp_vocal_tract(features[:, :1], 1.2, VocalTractConfig()).shape == (50, 1)
    assert warp_vocal_tract(features[:0], 1.2, VocalTractConfig()).shape == (0, 80)


def test_the_warp_equals_the_equation_of_the_paper() -> None:
    """Jaitly and Hinton (2013), equation 1, on a ramp whose value at every filter is its centre frequency."""
    config = VocalTractConfig(low_hz=0.0)
    mels = 400  # fine enough for linear interpolation between centres to be exact to a few hertz
    edges = np.linspace(0, 1127 * np.log1p(8000 / 700), mels + 2)[1:-1]
    centres = 700 * np.expm1(edges / 1127)
    for alpha in (0.8, 0.93, 1.2):

        def paper(f: float, alpha: float = alpha) -> float:
            limit = 4800 * min(alpha, 1)
            if f <= limit / alpha:
                return f * alpha
            return 8000 - (8000 - limit) / (8000 - limit / alpha) * (8000 - f)

        ramp = np.asarray(centres[None], np.float32)
        came_from = warp_vocal_tract(ramp, alpha, config)[0].astype(np.float64)
        inside = slice(5, -5)
        np.testing.assert_allclose([paper(f) for f in came_from[inside]], centres[inside], atol=3)


@pytest.mark.parametrize("fill", ["zero", "mean"])
def test_masks_are_bands_of_the_fill_within_their_widths(fill: Any) -> None:
    features = np.random.default_rng(0).standard_normal((400, 80), dtype=np.float32) + 5
    config = SpecAugmentConfig(frequency_masks=1, time_masks=1, fill=fill)
    value = np.float32(0.0) if fill == "zero" else features.mean()
    widths = []
    for index in range(300):
        masked = mask_features(features, config, generator=keyed_generator(index))
        changed = masked != features
        assert (masked[changed] == value).all()
        rows, columns = np.flatnonzero(changed.all(axis=1)), np.flatnonzero(changed.all(axis=0))
        for found, widest in ((rows, 100), (columns, 27)):
            assert len(found) <= widest
            assert len(found) == 0 or found[-1] - found[0] + 1 == len(found)
        np.testing.assert_array_equal(changed, np.isin(np.arange(400), rows)[:, None] | np.isin(np.arange(80), columns))
        widths.append((len(rows), len(columns)))
    times, frequencies = np.array(widths).T
    assert times.min() <= 2
    assert 97 <= times.max() <= 100
    assert (frequencies.min(), frequencies.max()) == (0, 27)
    assert times.mean() == pytest.approx(50, abs=6)
    assert frequencies.mean() == pytest.approx(13.5, abs=1.5)


@pytest.mark.parametrize("share", [0.05, 0.2, 1.0])
def test_time_masks_are_capped_by_their_share(share: float) -> None:
    features = np.ones((60, 80), np.float32)
    config = SpecAugmentConfig(frequency_masks=0, time_masks=1, time_share=share, fill="zero")
    widths = {
        int((mask_features(features, config, generator=keyed_generator(index)) == 0).all(axis=1).sum())
        for index in range(400)
    }
    assert widths == set(range(int(share * 60) + 1))


@pytest.mark.parametrize("shape", [(0, 80), (1, 80), (3, 1)])
def test_masks_on_tiny_features(shape: tuple[int, int]) -> None:
    features = np.ones(shape, np.float32)
    config = AugmentConfig(spec_augment=SpecAugmentConfig(), vocal_tract=VocalTractConfig())
    assert augment_features(features, config, generator=keyed_generator(0)).shape == shape
    assert (features == 1).all()


# --- keys


EVERYTHING = AugmentConfig(
    speed=SpeedConfig(), pitch=PitchConfig(), room=RoomConfig(t60_s=(0.2, 0.3), rooms=4), noise=NoiseConfig(),
    clipping=ClippingConfig(), codec=CodecConfig(), vocal_tract=VocalTractConfig(), spec_augment=SpecAugmentConfig(),
)  # fmt: skip


def test_a_waveform_goes_the_way_from_a_mouth_to_a_recording() -> None:
    """Every block drawn and applied by hand, one after the other, from one generator."""
    always: dict[str, Any] = {"probability": 1.0}
    room = RoomConfig(t60_s=(0.2, 0.3), rooms=4, **always)
    noise, clipping = NoiseConfig(snr_db=(5, 20), **always), ClippingConfig(share=(0.01, 0.1), **always)
    for index, kind in enumerate(("mp3", "opus", "telephone")):
        codec = CodecConfig(kinds=(kind,), **always)  # type: ignore[arg-type]
        config = AugmentConfig(
            speed=SpeedConfig(), pitch=PitchConfig(**always), room=room, noise=noise, clipping=clipping, codec=codec
        )
        waveform = bursts(1.0)
        augmented, told = augment_and_tell(waveform, config, sample_rate_hz=RATE, generator=keyed_generator(index))
        chance = keyed_generator(index)
        chance.random()
        factor = (0.9, 1.0, 1.1)[int(chance.integers(3))]
        expected = change_speed(waveform, factor, sample_rate_hz=RATE)
        chance.random()
        semitones = chance.uniform(-2, 2)
        expected = shift_pitch(expected, semitones, sample_rate_hz=RATE)
        chance.random()
        number = int(chance.integers(4))
        response = room_response(room, number, sample_rate_hz=RATE)
        expected = reverberate(expected, response, sample_rate_hz=RATE)
        chance.random()
        colour: Any = ("white", "pink", "brown")[int(chance.integers(3))]
        added = generate_noise(len(expected), colour, sample_rate_hz=RATE, generator=chance)
        snr_db = chance.uniform(5, 20)
        expected = add_noise(expected, added, snr_db=snr_db, sample_rate_hz=RATE)
        chance.random()
        share = chance.uniform(0.01, 0.1)
        expected = clip_waveform(expected, share, sample_rate_hz=RATE)
        chance.random()
        chance.integers(1)
        if kind == "telephone":
            said: dict[str, Any] = {"kind": kind, "law": "mu"}
            expected = telephone(expected, law="mu", sample_rate_hz=RATE)
        else:
            kbps = {"mp3": (32, 48, 64), "opus": (12, 16, 24)}[kind][int(chance.integers(3))]
            said = {"kind": kind, "kbps": kbps}
            expected = transcode(expected, kind, kbps=kbps, sample_rate_hz=RATE)  # type: ignore[arg-type]
        np.testing.assert_array_equal(augmented, expected)
        told.setdefault("speed", {"factor": 1.0})
        assert told == {
            "speed": {"factor": factor},
            "pitch": {"semitones": semitones},
            "room": {"room": number, "t60_s": response.t60_s, "distance_m": response.distance_m},
            "noise": {"kind": colour, "snr_db": snr_db},
            "clipping": {"share": share},
            "codec": said,
        }


def test_blocks_that_are_off_draw_nothing() -> None:
    """So that adding a kind of augmentation to Harken changes no result of an older recipe."""
    config = AugmentConfig(noise=NoiseConfig(kinds=("white",), snr_db=(10, 10), probability=1))
    waveform, chance = bursts(1.0), keyed_generator(3)
    chance.random(), chance.integers(1)
    added = chance.standard_normal(len(waveform), dtype=np.float32)
    np.testing.assert_array_equal(
        augment_waveform(waveform, config, sample_rate_hz=RATE, generator=keyed_generator(3)),
        add_noise(waveform, added, snr_db=10, sample_rate_hz=RATE),
    )


def test_what_did_not_happen_is_not_told() -> None:
    waveform = bursts(0.2)
    config = AugmentConfig(speed=SpeedConfig(factors=(1.0,)), noise=NoiseConfig(probability=0))
    same, told = augment_and_tell(waveform, config, sample_rate_hz=RATE, generator=keyed_generator(0))
    assert same is waveform
    assert told == {}


def test_equal_keys_give_equal_bits_whatever_the_order_and_the_thread() -> None:
    waveforms = {f"u{index}": bursts(1.0, seed=index) for index in range(24)}
    extractor = FeatureExtractor(FeatureConfig())

    def work(name: str) -> tuple[Wave, Wave]:
        generator = keyed_generator(11, 3, name)
        waveform = augment_waveform(waveforms[name], EVERYTHING, sample_rate_hz=RATE, generator=generator)
        return waveform, augment_features(extractor(waveform), EVERYTHING, generator=generator)

    alone = {name: work(name) for name in waveforms}
    with ThreadPoolExecutor(8) as pool:
        names = list(waveforms)[::-1]
        together = dict(zip(names, pool.map(work, names), strict=True))
    for name in waveforms:
        np.testing.assert_array_equal(alone[name][0], together[name][0])
        np.testing.assert_array_equal(alone[name][1], together[name][1])
    assert len({alone[name][0].tobytes() for name in waveforms}) == len(waveforms)


def test_arguments_are_not_changed_and_nothing_on_means_nothing_done() -> None:
    waveform = bursts(1.0)
    features = np.ones((30, 80), np.float32)
    waveform.flags.writeable = features.flags.writeable = False
    augment_waveform(waveform, EVERYTHING, sample_rate_hz=RATE, generator=keyed_generator(0))
    augment_features(features, EVERYTHING, generator=keyed_generator(0))
    off = AugmentConfig()
    assert augment_waveform(waveform, off, sample_rate_hz=RATE, generator=keyed_generator(0)) is waveform
    assert augment_features(features, off, generator=keyed_generator(0)) is features


def test_probabilities_are_kept() -> None:
    config = AugmentConfig(noise=NoiseConfig(probability=0.3))
    waveform = bursts(0.1)
    changed = sum(
        augment_waveform(waveform, config, sample_rate_hz=RATE, generator=keyed_generator(index)) is not waveform
        for index in range(1_000)
    )
    assert changed == pytest.approx(300, abs=50)


@pytest.mark.parametrize("samples", [0, 1, 7])
def test_tiny_waveforms_pass_through_everything(samples: int) -> None:
    for index in range(10):
        result = augment_waveform(
            bursts(0.1)[:samples], EVERYTHING, sample_rate_hz=RATE, generator=keyed_generator(index)
        )
        assert result.dtype == np.float32
        assert np.isfinite(result).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"speed": {"factors": []}}, "factors is empty"),
        ({"speed": {"factors": [0.1]}}, "factors holds 0.1"),
        ({"speed": {"probability": 1.5}}, "probability is 1.5"),
        ({"pitch": {"semitones": 0}}, "semitones is 0"),
        ({"noise": {"kinds": ["babble"]}}, "files is empty"),
        ({"noise": {"files": ["a.wav"]}}, "add file or babble"),
        ({"noise": {"snr_db": [30, 10]}}, r"snr_db is \[30"),
        ({"noise": {"kinds": ["grey"]}}, "grey"),
        ({"room": {"t60_s": [0.05, 0.3]}}, r"t60_s is \[0.05"),
        ({"room": {"distance_m": [2, 1]}}, r"distance_m is \[2"),
        ({"room": {"rooms": 0}}, "rooms is 0 and files is empty"),
        ({"room": {"rooms": -1}}, "rooms is -1"),
        ({"room": {"probability": 2}}, "probability is 2"),
        ({"clipping": {"share": [0, 0.1]}}, r"share is \[0"),
        ({"clipping": {"share": 0.1}}, "share"),
        ({"codec": {"kinds": []}}, "kinds is empty"),
        ({"codec": {"kinds": ["amr"]}}, "amr"),
        ({"codec": {"mp3_kbps": [65]}}, "mp3_kbps holds 65"),
        ({"codec": {"opus_kbps": [1]}}, "opus_kbps holds 1"),
        ({"codec": {"law": "u"}}, "law"),
        ({"rooms": {}}, "did you mean 'room'"),
        ({"vocal_tract": {"factors": [1.2, 0.8]}}, "factors is"),
        ({"vocal_tract": {"knee_hz": 9000}}, "knee_hz is 9000"),
        ({"spec_augment": {"time_share": 0}}, "time_share is 0"),
        ({"spec_augment": {"time_masks": -1}}, "time_masks is -1"),
        ({"specaugment": {}}, "did you mean 'spec_augment'"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_settings(AugmentConfig, settings, source="recipe.yaml")
