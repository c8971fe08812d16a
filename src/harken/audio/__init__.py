"""Floor 1: everything between a file of audio and the numbers a model takes.

The names of `features`, `augment` and `synthesis` are looked up when they are first used, so that decoding a file
does not pay for them.
"""

from harken.audio.decode import decode_audio, decode_native, probe_audio
from harken.audio.limits import AudioDecodeError, AudioInfo, DecodeLimits
from harken.audio.quality import AudioQuality, measure_quality, peak_normalize
from harken.audio.resample import resample
from harken.audio.vad import SpeechDetector, VadConfig, VadState, detect_speech
from harken.core.lazy import lazy_names

_HOMES = {
    "FeatureConfig": "features",
    "KaldiConfig": "features",
    "MfccConfig": "features",
    "NemoConfig": "features",
    "check_features": "features",
    "normalize_features": "features",
    "change_speed": "augment",
    "draw_speed": "augment",
    "Voice": "synthesis",
    "list_variants": "synthesis",
    "FeatureExtractor": "features",
    "AugmentConfig": "augment",
    "NoiseConfig": "augment",
    "PitchConfig": "augment",
    "SpecAugmentConfig": "augment",
    "SpeedConfig": "augment",
    "VocalTractConfig": "augment",
    "RoomConfig": "augment",
    "CodecConfig": "augment",
    "ClippingConfig": "augment",
    "augment_and_tell": "augment",
    "check_augmentation": "augment",
    "augment_features": "augment",
    "augment_waveform": "augment",
    "list_voices": "synthesis",
    "synthesize": "synthesis",
    "integrated_loudness": "loudness",
}
__all__ = [
    "AudioDecodeError",
    "AudioInfo",
    "AudioQuality",
    "AugmentConfig",
    "ClippingConfig",
    "CodecConfig",
    "DecodeLimits",
    "FeatureConfig",
    "FeatureExtractor",
    "KaldiConfig",
    "MfccConfig",
    "NemoConfig",
    "NoiseConfig",
    "PitchConfig",
    "RoomConfig",
    "SpecAugmentConfig",
    "SpeechDetector",
    "SpeedConfig",
    "VadConfig",
    "VadState",
    "VocalTractConfig",
    "Voice",
    "augment_and_tell",
    "augment_features",
    "augment_waveform",
    "change_speed",
    "check_augmentation",
    "check_features",
    "decode_audio",
    "decode_native",
    "detect_speech",
    "draw_speed",
    "integrated_loudness",
    "list_variants",
    "list_voices",
    "measure_quality",
    "normalize_features",
    "peak_normalize",
    "probe_audio",
    "resample",
    "synthesize",
]
__getattr__ = lazy_names(__name__, _HOMES)
