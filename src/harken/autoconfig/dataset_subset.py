"""A data set of which only some utterances are trained on."""

import hashlib
from dataclasses import replace

import numpy as np

from harken.autoconfig.dataset import DatasetProfile
from harken.core import InputError, keyed_generator


def draw_subset(profile: DatasetProfile, utterances: int, *, seed: int) -> DatasetProfile:
    """The profile of so many of the utterances; the profile itself where there are no more.

    They are those that a recipe's `data.train_samples` draws with this seed from a manifest it can use all of. Of a
    sampled profile they are like them, drawn from the sample. Raises InputError for less than one utterance.
    """
    if utterances < 1:
        raise InputError(f"{utterances} utterances are to be trained on.", hint="Use 1 or more.")
    if utterances >= profile.utterances:
        return profile
    places = np.sort(keyed_generator(seed, "samples").permutation(len(profile.durations_s))[:utterances])
    durations_s = profile.durations_s[places]
    share = utterances / profile.utterances
    return replace(
        profile,
        source=f"{utterances:,} of {profile.utterances:,} in {profile.source}",
        utterances=utterances,
        durations_s=durations_s,
        characters=profile.characters[places],
        total_s=float(durations_s.mean(dtype=np.float64)) * utterances,
        total_s_error=profile.total_s_error * share,
        total_bytes=None if profile.total_bytes is None else round(profile.total_bytes * share),
        longest=tuple(item for item in profile.longest if np.float32(item.duration_s) in durations_s),
        missing_durations=round(profile.missing_durations * share),
        sha256=hashlib.sha256(f"{utterances} {seed} {profile.sha256}".encode()).hexdigest(),
    )
