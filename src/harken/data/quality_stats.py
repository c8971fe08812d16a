"""How well a data set is recorded: the distribution of each measure over its utterances."""

from array import array
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from harken.core import Utterance
from harken.core.units import format_duration
from harken.data.importers import Rejection
from harken.data.listening import Progress, listen_to_all
from harken.data.stats import percentiles

MEASURES = (
    "snr_db",
    "loudness_lufs",
    "peak_db",
    "bandwidth_hz",
    "silence_share",
    "leading_silence_s",
    "trailing_silence_s",
    "clipped_share",
    "dc_offset",
)
"""Fields of AudioQuality that are described."""

_SPREADS = (
    ("snr_db", "signal to noise", "dB", 0),
    ("loudness_lufs", "loudness", "LUFS", 1),
    ("peak_db", "peak", "dB", 1),
    ("bandwidth_hz", "bandwidth", "Hz", 0),
    ("silence_share", "silence", "%", 0),
    ("leading_silence_s", "silence before", "s", 2),
    ("trailing_silence_s", "silence after", "s", 2),
)
"""What people are shown of them: the name, the unit and the decimals."""

_HISTOGRAM_BINS = 40


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AudioStats:
    """The recordings of a data set in numbers.

    `values` has, for each of MEASURES, (utterances,) numbers in the order of those that could be read, NaN where the
    measure has no value. `sample_rates_hz` counts them by rate, the most frequent first. `silent` are those without
    any sound, `clipped` those with clipping. What could not be read is in `unreadable` with the reason.
    """

    utterances: int
    duration_s: float
    unreadable: tuple[Rejection, ...]
    sample_rates_hz: Mapping[int, int]
    silent: int
    clipped: int
    values: Mapping[str, npt.NDArray[np.float64]]

    def known(self, measure: str) -> npt.NDArray[np.float64]:
        """The values of a measure, without the utterances that have none."""
        values = self.values[measure]
        return values[np.isfinite(values)]

    def as_json(self) -> dict[str, Any]:
        """Plain values for a JSON file."""
        return {
            "utterances": self.utterances,
            "duration_s": round(self.duration_s, 3),
            "unreadable": [asdict(rejection) for rejection in self.unreadable],
            "sample_rates_hz": {str(rate): count for rate, count in self.sample_rates_hz.items()},
            "silent": self.silent,
            "clipped": self.clipped,
            "measures": {name: self._describe(name) for name in MEASURES},
        }

    def table(self) -> str:
        """Lines for people."""
        rates = ", ".join(f"{rate:,} Hz ({count:,})" for rate, count in list(self.sample_rates_hz.items())[:5])
        rows = [("heard", f"{self.utterances:,} utterances, {format_duration(self.duration_s)}")]
        if self.unreadable:
            first = self.unreadable[0]
            rows.append(("unreadable", f"{len(self.unreadable):,}, the first is {first.item}: {first.reason}"))
        rows.append(("sample rate", rates or "unknown"))
        rows += [(name, self._spread(measure, unit, digits)) for measure, name, unit, digits in _SPREADS]
        if self.silent:
            rows.append(("without any sound", f"{self.silent:,}"))
        if self.clipped:
            most = float(self.known("clipped_share").max())
            rows.append(("clipping", f"in {self.clipped:,}, at most {most:.2%} of the samples"))
        return "\n".join(f"{name:<22} {value}" for name, value in rows)

    def _describe(self, measure: str) -> dict[str, Any]:
        values = self.known(measure)
        counts, edges = np.histogram(values, _HISTOGRAM_BINS) if len(values) else (np.zeros(0), np.zeros(0))
        return {
            **percentiles(values),
            "known": len(values),
            "histogram": {"edges": edges.round(6).tolist(), "counts": counts.astype(int).tolist()},
        }

    def _spread(self, measure: str, unit: str, digits: int) -> str:
        values = self.known(measure) * (100 if unit == "%" else 1)
        if not len(values):
            return "unknown"
        low, p5, p50, p95, high = (f"{v:,.{digits}f}" for v in np.percentile(values, (0, 5, 50, 95, 100)))
        missing = len(self.values[measure]) - len(values)
        return f"{p50} {unit} in the middle, {low} to {high} {unit}, nine in ten from {p5} to {p95} {unit}" + (
            f"; unknown for {missing:,}" if missing else ""
        )


def listen_and_summarize(
    utterances: Iterable[Utterance], *, threads: int | None = None, progress: Progress | None = None
) -> AudioStats:
    """Read and measure the audio of every utterance; of each, a dozen numbers are kept. Never raises for bad audio.

    `threads` (default: cores, at most 8) does not change the result. `progress` is called with how many utterances
    are done and how many there are.
    """
    columns = {name: array("d") for name in MEASURES}
    rates: Counter[int] = Counter()
    unreadable = []
    duration_s = 0.0
    with closing(listen_to_all(list(utterances), threads=threads, progress=progress)) as results:
        for item, heard in results:
            if heard.quality is None:
                unreadable.append(Rejection(item=item.id, reason=heard.problem[1]))
                continue
            duration_s += heard.heard_s
            rates[heard.quality.sample_rate_hz] += 1
            for name, column in columns.items():
                value = getattr(heard.quality, name)
                nothing = value is None or (name == "bandwidth_hz" and value == 0)
                column.append(np.nan if nothing else value)
    values = {name: np.array(column) for name, column in columns.items()}
    return AudioStats(
        utterances=rates.total(),
        duration_s=duration_s,
        unreadable=tuple(unreadable),
        sample_rates_hz=dict(sorted(rates.items(), key=lambda pair: (-pair[1], pair[0]))),
        silent=int(np.isneginf(values["peak_db"]).sum()),
        clipped=int((values["clipped_share"] > 0).sum()),
        values=values,
    )
