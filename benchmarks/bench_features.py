"""CPU time of features, beside the implementations people use: one thread each, contenders taking turns."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.harness import Timing, interleaved

NAME = "features"
ROUNDS = 9
RATE_HZ = 16_000
UTTERANCES = 60
LONG_S, SHORT_S = 10, 1

Wave = npt.NDArray[np.float32]


def run() -> dict[str, Any]:
    waveforms = [_speech_like(index) for index in range(UTTERANCES)]
    long = interleaved(_contenders(waveforms) | _padded(waveforms), ROUNDS)
    short = interleaved(_contenders([waveform[: SHORT_S * RATE_HZ] for waveform in waveforms]), ROUNDS)
    pairs = {
        "log-mel: times faster than transformers' torch path": (long, "whisper", "transformers torch"),
        "log-mel: times faster than transformers' numpy path": (long, "whisper", "transformers numpy"),
        "log-mel padded to 30 s: times faster than transformers": (long, "whisper 30 s", "transformers torch 30 s"),
        "log-mel of 1 s: times faster than transformers' torch path": (short, "whisper", "transformers torch"),
        "fbank: times faster than kaldi-native-fbank": (long, "kaldi", "kaldi-native-fbank"),
        "fbank of 1 s: times faster than kaldi-native-fbank": (short, "kaldi", "kaldi-native-fbank"),
    }
    ratios = {title: _ratio(times, ours, theirs) for title, (times, ours, theirs) in pairs.items()}
    to_beat = list(ratios.values())
    figures = ratios | {
        f"{name}, {UTTERANCES} utterances of {seconds} s": _cost(times[name])
        for seconds, times in ((LONG_S, long), (SHORT_S, short))
        for name in times
        if name in OURS
    }
    return {
        "name": NAME,
        "title": f"Features of {UTTERANCES} utterances",
        "target": "log-mel of 10 min in 10 s utterances at least 2 times faster than transformers' "
        "WhisperFeatureExtractor, fbank no slower than kaldi-native-fbank",
        "met": to_beat[0]["value"] >= 2 and to_beat[4]["value"] >= 1,
        "figures": figures,
        "rivals": {
            f"{name}, {seconds} s": times[name].as_json()
            for seconds, times in ((LONG_S, long), (SHORT_S, short))
            for name in times
            if name not in OURS
        },
    }


OURS = ("whisper", "whisper 30 s", "kaldi", "nemo", "mfcc")


def _contenders(waveforms: list[Wave]) -> dict[str, Callable[[], object]]:
    """The same features of the same audio, without padding."""
    import kaldi_native_fbank as knf
    import torch
    from transformers import WhisperFeatureExtractor

    from harken.audio.features import FeatureConfig, FeatureExtractor

    torch.set_num_threads(1)
    ours = {
        "whisper": FeatureExtractor(FeatureConfig(kind="whisper")),
        "kaldi": FeatureExtractor(FeatureConfig(kind="kaldi")),
        "nemo": FeatureExtractor(FeatureConfig(kind="nemo", normalize="per-feature")),
        "mfcc": FeatureExtractor(FeatureConfig(kind="mfcc", dimensions=13)),
    }
    rival = WhisperFeatureExtractor()
    options = knf.FbankOptions()
    options.frame_opts.dither = 0
    options.mel_opts.num_bins = 80
    # What it asks for, a list of samples in the 16-bit range, is made outside the clock.
    as_lists = [(waveform * 32768).tolist() for waveform in waveforms]

    def kaldi_native() -> None:
        for samples in as_lists:
            computer = knf.OnlineFbank(options)
            computer.accept_waveform(RATE_HZ, samples)
            computer.input_finished()
            np.stack([computer.get_frame(index) for index in range(computer.num_frames_ready)])

    def with_torch() -> None:
        for waveform in waveforms:
            rival(waveform, sampling_rate=RATE_HZ, padding="do_not_pad", return_tensors="np")

    def with_numpy() -> None:
        for waveform in waveforms:
            rival._np_extract_fbank_features([waveform], "cpu")

    rivals = {"transformers torch": with_torch, "transformers numpy": with_numpy, "kaldi-native-fbank": kaldi_native}
    return {name: _each(extractor, waveforms) for name, extractor in ours.items()} | rivals


def _padded(waveforms: list[Wave]) -> dict[str, Callable[[], object]]:
    """Both padded to Whisper's 30 s window, which is what transformers does unless told otherwise."""
    from transformers import WhisperFeatureExtractor

    from harken.audio.features import FeatureConfig, FeatureExtractor

    rival = WhisperFeatureExtractor()

    def with_torch() -> None:
        for waveform in waveforms:
            rival(waveform, sampling_rate=RATE_HZ, return_tensors="np")

    ours = FeatureExtractor(FeatureConfig(kind="whisper", pad_to_s=30.0))
    return {"whisper 30 s": _each(ours, waveforms), "transformers torch 30 s": with_torch}


def _each(extractor: Callable[[Wave], object], waveforms: list[Wave]) -> Callable[[], object]:
    return lambda: [extractor(waveform) for waveform in waveforms]


def _ratio(times: dict[str, Timing], ours: str, theirs: str) -> dict[str, Any]:
    """How many times less CPU time ours takes; the spread is over rounds, each with its own pair."""
    rounds = sorted(rival / own for own, rival in zip(times[ours].cpu_s, times[theirs].cpu_s, strict=True))
    value = times[theirs].median_cpu_s / times[ours].median_cpu_s
    return {
        "value": value,
        "unit": "×",
        "median": value,
        "spread": [rounds[0], rounds[-1]],
        "cpu_s": times[ours].median_cpu_s,
        "wall_s": times[ours].median_wall_s,
    }


def _cost(time: Timing) -> dict[str, Any]:
    return {
        "value": time.median_cpu_s,
        "unit": "s CPU",
        "median": time.median_cpu_s,
        "spread": [min(time.cpu_s), max(time.cpu_s)],
        "cpu_s": time.median_cpu_s,
        "wall_s": time.median_wall_s,
    }


def _speech_like(seed: int) -> Wave:
    """Ten seconds of harmonics of a gliding pitch, in syllables, over noise."""
    generator = np.random.default_rng(seed)
    time = np.arange(LONG_S * RATE_HZ) / RATE_HZ
    phase = 2 * np.pi * ((90 + 3 * seed) * time + 15 * np.sin(2 * np.pi * 0.7 * time))
    voice = np.zeros(len(time))
    for harmonic in range(1, 25):
        voice += np.sin(harmonic * phase + harmonic) / harmonic
    voice *= 0.05 * (1 + np.sin(2 * np.pi * 3 * time))
    return np.asarray(voice + 0.005 * generator.standard_normal(len(time)), np.float32)
