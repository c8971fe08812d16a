"""Augmentation of waveforms and features.

All randomness comes from the generator that is passed in. Callers make it with `core.keyed_generator(seed, epoch,
id)`, so an utterance is augmented the same way whatever the order and whoever the worker.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from harken.audio.augment_config import (
    AugmentConfig,
    ClippingConfig,
    CodecConfig,
    NoiseConfig,
    NoiseKind,
    PitchConfig,
    RoomConfig,
    SpecAugmentConfig,
    SpeedConfig,
    VocalTractConfig,
)
from harken.audio.noise import add_noise, draw_kind, draw_noise
from harken.audio.pitch import shift_pitch
from harken.audio.spec_augment import mask_features, warp_vocal_tract
from harken.core import Features, Waveform

__all__ = [
    "AugmentConfig",
    "ClippingConfig",
    "CodecConfig",
    "NoiseConfig",
    "NoiseKind",
    "PitchConfig",
    "RoomConfig",
    "SpecAugmentConfig",
    "SpeedConfig",
    "VocalTractConfig",
    "augment_and_tell",
    "augment_features",
    "augment_waveform",
    "change_speed",
    "check_augmentation",
    "draw_speed",
]


def augment_waveform(
    waveform: Waveform, config: AugmentConfig, *, sample_rate_hz: int, generator: np.random.Generator
) -> Waveform:
    """Speed, pitch, room, noise, clipping, codec, each as `config` says; (samples,) float32 in, another length out
    after speed.

    The argument is not changed; it is returned itself when no augmentation is drawn. Where the sum with noise would
    leave [-1, 1] the whole mix is scaled down to a peak of 1, which keeps its signal-to-noise ratio. Room and codec
    keep the level of active speech and add no delay. Raises MissingPart for a room without pyroomacoustics and a codec
    without its encoder.
    """
    return augment_and_tell(waveform, config, sample_rate_hz=sample_rate_hz, generator=generator)[0]


def augment_and_tell(
    waveform: Waveform, config: AugmentConfig, *, sample_rate_hz: int, generator: np.random.Generator
) -> tuple[Waveform, dict[str, dict[str, Any]]]:
    """`augment_waveform`, and what was drawn: {"speed": {"factor": 0.9}, "noise": {"kind": "pink", ...}}.

    What is told is ready for JSON; a block that did nothing to the samples is not in it.
    """
    done: dict[str, dict[str, Any]] = {}
    for name, block in config.waveform_blocks.items():
        if name == "speed":
            factor = draw_speed(config, generator=generator)
            if factor != 1.0:
                waveform = change_speed(waveform, factor, sample_rate_hz=sample_rate_hz)
                done[name] = {"factor": factor}
        elif _happens(block.probability, generator):
            waveform, done[name] = _STAGES[name](waveform, block, sample_rate_hz, generator)
    return waveform, done


def check_augmentation(config: AugmentConfig) -> None:
    """Whether everything is there that a waveform augmentation needs, before the first waveform.

    Raises MissingPart for rooms without pyroomacoustics and codecs without encoder, AudioDecodeError for files of noise
    or room responses that cannot be opened.
    """
    from harken.audio.codecs import check_codec
    from harken.audio.decode import probe_audio
    from harken.audio.rooms import check_rooms

    if config.room is not None and config.room.rooms:
        check_rooms()
    if config.codec is not None:
        for kind in config.codec.kinds:
            if kind != "telephone":
                check_codec(kind)
    for block in (config.noise, config.room):
        for path in block.files if block is not None else ():
            probe_audio(path)


def _pitch(
    waveform: Waveform, config: PitchConfig, rate: int, generator: np.random.Generator
) -> tuple[Waveform, dict[str, Any]]:
    semitones = generator.uniform(-config.semitones, config.semitones)
    return shift_pitch(waveform, semitones, sample_rate_hz=rate), {"semitones": semitones}


def _room(
    waveform: Waveform, config: RoomConfig, rate: int, generator: np.random.Generator
) -> tuple[Waveform, dict[str, Any]]:
    from harken.audio.rooms import bank_size, reverberate, room_response

    index = int(generator.integers(bank_size(config)))
    response = room_response(config, index, sample_rate_hz=rate)
    told = {"room": index, "t60_s": response.t60_s, "distance_m": response.distance_m}
    return reverberate(waveform, response, sample_rate_hz=rate), told


def _noise(
    waveform: Waveform, config: NoiseConfig, rate: int, generator: np.random.Generator
) -> tuple[Waveform, dict[str, Any]]:
    kind = draw_kind(config, generator)
    noise = draw_noise(len(waveform), kind, config, sample_rate_hz=rate, generator=generator)
    snr_db = generator.uniform(*config.snr_db)
    return add_noise(waveform, noise, snr_db=snr_db, sample_rate_hz=rate), {"kind": kind, "snr_db": snr_db}


def _clipping(
    waveform: Waveform, config: ClippingConfig, rate: int, generator: np.random.Generator
) -> tuple[Waveform, dict[str, Any]]:
    from harken.audio.distortion import clip_waveform

    share = generator.uniform(*config.share)
    return clip_waveform(waveform, share, sample_rate_hz=rate), {"share": share}


def _codec(
    waveform: Waveform, config: CodecConfig, rate: int, generator: np.random.Generator
) -> tuple[Waveform, dict[str, Any]]:
    from harken.audio.codecs import transcode
    from harken.audio.telephone import telephone

    kind = config.kinds[int(generator.integers(len(config.kinds)))]
    if kind == "telephone":
        return telephone(waveform, law=config.law, sample_rate_hz=rate), {"kind": kind, "law": config.law}
    rates = config.mp3_kbps if kind == "mp3" else config.opus_kbps
    kbps = rates[int(generator.integers(len(rates)))]
    return transcode(waveform, kind, kbps=kbps, sample_rate_hz=rate), {"kind": kind, "kbps": kbps}


_STAGES: dict[str, Callable[[Waveform, Any, int, np.random.Generator], tuple[Waveform, dict[str, Any]]]] = {
    "pitch": _pitch,
    "room": _room,
    "noise": _noise,
    "clipping": _clipping,
    "codec": _codec,
}


def augment_features(features: Features, config: AugmentConfig, *, generator: np.random.Generator) -> Features:
    """Vocal-tract warp, then masks, each as `config` says; (frames, dimensions) float32 in and out.

    The argument is not changed; it is returned itself when no augmentation is drawn. The warp is meant for log-mel
    features only.
    """
    vocal_tract, masks = config.vocal_tract, config.spec_augment
    if vocal_tract is not None and _happens(vocal_tract.probability, generator):
        features = warp_vocal_tract(features, generator.uniform(*vocal_tract.factors), vocal_tract)
    if masks is not None and _happens(masks.probability, generator):
        features = mask_features(features, masks, generator=generator)
    return features


def draw_speed(config: AugmentConfig, *, generator: np.random.Generator) -> float:
    """The speed factor `augment_waveform` would use: its first draw, so an equally keyed generator foretells it.

    The augmented utterance lasts `1 / factor` times as long.
    """
    if config.speed is None or not _happens(config.speed.probability, generator):
        return 1.0
    return config.speed.factors[int(generator.integers(len(config.speed.factors)))]


def change_speed(waveform: Waveform, factor: float, *, sample_rate_hz: int) -> Waveform:
    """Play a waveform `factor` times as fast: duration divided, every frequency multiplied by it."""
    from harken.audio.resample import resample

    played_hz = round(sample_rate_hz * factor)
    if played_hz == sample_rate_hz or len(waveform) == 0:
        return waveform
    return resample(waveform, from_hz=played_hz, to_hz=sample_rate_hz)


def _happens(probability: float, generator: np.random.Generator) -> bool:
    """Draws even where the answer is certain, so that a probability changes nothing but how often."""
    return bool(generator.random() < probability)
