"""What a microphone driven too hard does to speech."""

import numpy as np

from harken.audio.level import active_samples
from harken.core import Waveform


def clip_waveform(waveform: Waveform, share: float, *, sample_rate_hz: int) -> Waveform:
    """(samples,) float32 cut off at the amplitude that `share` (0 to 1) of the samples of active speech exceed.

    What is not cut off keeps its value, so the active level falls by what was above. Silence stays as it is. Where
    fewer active samples than `share` are above zero, the faintest of these is the limit, so nothing is cut to silence.
    """
    active = active_samples(waveform, sample_rate_hz=sample_rate_hz)
    if not active.any():
        return waveform
    sizes = np.abs(waveform[active])
    limit = np.float32(max(np.quantile(sizes, 1 - share), sizes[sizes > 0].min()))
    clipped: Waveform = np.clip(waveform, -limit, limit)
    return clipped
