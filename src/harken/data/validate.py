"""Validation: every utterance is read and listened to, and everything wrong is reported by name.

Errors are what training and evaluation cannot use; those utterances are rejected. Warnings are worth a look. Notes are
facts about the set. What goes in equals kept plus rejected.
"""

import math
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING, Any, Literal

from harken.core import Strict, Utterance
from harken.core.units import format_duration
from harken.data.importers import Rejection
from harken.data.listening import Heard, Progress, listen_to_all
from harken.data.near_duplicates import find_near_duplicates

if TYPE_CHECKING:
    from harken.audio.fingerprint import Fingerprint
    from harken.audio.quality import AudioQuality

Severity = Literal["error", "warning", "note"]

CHECKS: dict[str, tuple[Severity, str]] = {
    "unreadable": ("error", "the audio cannot be decoded"),
    "offset_beyond_end": ("error", "the utterance begins after its file has ended"),
    "ends_early": ("error", "the audio is shorter than the manifest says"),
    "silent": ("error", "no sample is above the silence level"),
    "too_short": ("error", "shorter than min_duration_s"),
    "too_long": ("error", "longer than max_duration_s"),
    "missing_text": ("error", "there is no text"),
    "empty_text": ("error", "the text has no characters but spaces"),
    "file_is_longer": ("warning", "the file goes on after the utterance, and no other utterance uses it"),
    "clipping": ("warning", "samples are cut off at full scale, or were before the level was lowered"),
    "mostly_silence": ("warning", "little of the audio is above the silence level"),
    "edge_silence": ("warning", "a long silence comes before or after the speech"),
    "low_snr": ("warning", "speech is hardly louder than the noise"),
    "narrow_band": ("warning", "nothing is above a telephone's band, though the sample rate has room: upsampled"),
    "quiet": ("warning", "the loudness is far below that of speech recordings"),
    "dc_offset": ("warning", "the samples' mean is far from 0"),
    "text_rate": ("warning", "far more or fewer characters per second than usual: the text may be wrong"),
    "duplicate_audio": ("warning", "another utterance has the same samples"),
    "conflicting_text": ("warning", "another utterance has the same samples and another text"),
    "near_duplicate": ("warning", "another utterance is the same recording, at another level or in another codec"),
    "not_nfc": ("warning", "the text is not in Unicode's composed form (NFC), so equal words differ"),
    "odd_characters": ("warning", "the text has control or replacement characters"),
    "sample_rate": ("note", "the sample rate is not the most common one"),
    "same_text_and_length": ("note", "another utterance of the speaker has the same text and exact length"),
}
"""Every check, in the order of reports: its severity and what it means."""

_FEWEST_FOR_RATES = 20
"""Texts needed before "usual" characters per second mean anything."""

_NOT_NEGATIVE = (
    "min_duration_s",
    "max_duration_s",
    "duration_tolerance_s",
    "duration_tolerance_ratio",
    "max_edge_silence_s",
    "min_bandwidth_hz",
)

_SHORTEST_FOR_BANDWIDTH_S = 1.0
"""Less sound than this may be vowels only, which end where a telephone does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationConfig(Strict):
    """Limits of the checks; None switches one off.

    An utterance's audio may differ from its manifest by `duration_tolerance_s` or by the share
    `duration_tolerance_ratio`, whichever is more. Shares are fractions of the samples, `max_text_rate_z` is a robust
    z-score of log characters per second within a language. `min_bandwidth_hz` is asked of utterances with a second of
    sound or more whose sample rate has room for it. `max_edge_silence_s` holds for either end.
    `near_duplicate_similarity` is that of `harken.audio.fingerprint`. `also_reject` names checks that reject although
    they are no errors.
    """

    require_text: bool = True
    min_duration_s: float | None = None
    max_duration_s: float | None = None
    duration_tolerance_s: float = 0.05
    duration_tolerance_ratio: float = 0.01
    silence_peak_db: float = -60.0
    max_silence_share: float | None = 0.9
    max_edge_silence_s: float | None = 2.0
    max_clipped_share: float | None = 0.001
    min_snr_db: float | None = 5.0
    min_bandwidth_hz: float | None = 4500.0
    min_loudness_lufs: float | None = -50.0
    max_dc_offset: float | None = 0.02
    near_duplicate_similarity: float | None = 0.995
    max_text_rate_z: float | None = 6.0
    also_reject: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in _NOT_NEGATIVE:
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} is {value}; use a number, 0 or more")
        for name in ("max_silence_share", "max_clipped_share", "max_dc_offset", "near_duplicate_similarity"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"{name} is {value}; use a fraction from 0 to 1")
        for name in ("silence_peak_db", "min_snr_db", "min_loudness_lufs"):
            value = getattr(self, name)
            if value is not None and not math.isfinite(value):
                raise ValueError(f"{name} is {value}; use a number of decibels")
        if self.max_text_rate_z is not None and not self.max_text_rate_z > 0:
            raise ValueError(f"max_text_rate_z is {self.max_text_rate_z}; use a number above 0")
        shortest_s = self.min_duration_s or 0.0
        if self.max_duration_s is not None and self.max_duration_s < shortest_s:
            raise ValueError(f"max_duration_s is {self.max_duration_s}; use min_duration_s ({shortest_s}) or more")
        for check in self.also_reject:
            if check not in CHECKS:
                raise ValueError(f"also_reject names {check!r}; use {', '.join(CHECKS)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing found out about one utterance; `check` is a key of CHECKS."""

    utterance: str
    check: str
    message: str

    @property
    def severity(self) -> Severity:
        return CHECKS[self.check][0]


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationReport:
    """What validation found. `quality` maps the ids of readable utterances to their measurements."""

    kept: tuple[Utterance, ...]
    rejected: tuple[Rejection, ...]
    findings: tuple[Finding, ...]
    quality: Mapping[str, "AudioQuality"]
    duration_s: float

    @property
    def counts(self) -> dict[str, int]:
        """Check to the number of its findings, in the order of CHECKS, without those that found nothing."""
        found = Counter(finding.check for finding in self.findings)
        return {check: found[check] for check in CHECKS if found[check]}

    def as_json(self) -> dict[str, Any]:
        """Plain values for a JSON file; the utterances that are kept are in the manifest, not here."""
        return {
            "utterances": len(self.kept) + len(self.rejected),
            "duration_s": round(self.duration_s, 3),
            "kept": len(self.kept),
            "rejected": [asdict(rejection) for rejection in self.rejected],
            "counts": {check: {"severity": CHECKS[check][0], "count": n} for check, n in self.counts.items()},
            "findings": [{**asdict(finding), "severity": finding.severity} for finding in self.findings],
        }

    def table(self, *, examples: int = 1) -> str:
        """Lines for people: totals, then each check that found something with its first examples."""
        total = len(self.kept) + len(self.rejected)
        warned = {finding.utterance for finding in self.findings if finding.severity == "warning"}
        kept_warned = sum(item.id in warned for item in self.kept)
        lines = [
            f"{total:,} utterances, {format_duration(self.duration_s)}: {len(self.kept):,} kept"
            f"{f' ({kept_warned:,} with warnings)' if kept_warned else ''}, {len(self.rejected):,} rejected."
        ]
        for check, count in self.counts.items():
            severity, meaning = CHECKS[check]
            lines.append(f"{severity:<8} {check:<21} {count:>8,}  {meaning}")
            shown = [finding for finding in self.findings if finding.check == check][:examples]
            lines += [f"{'':>40}{finding.utterance}: {finding.message}" for finding in shown]
        return "\n".join(lines)


def validate_utterances(
    utterances: Iterable[Utterance],
    config: ValidationConfig | None = None,
    *,
    threads: int | None = None,
    progress: Progress | None = None,
) -> ValidationReport:
    """Run every check on every utterance, reading each one's audio once. Never raises for bad audio or text.

    `threads` (default: cores, at most 8) does not change the result. `progress` is called with how many utterances
    are done and how many there are.
    """
    config = config or ValidationConfig()
    items = list(utterances)
    users = Counter(item.audio for item in items)
    findings: list[Finding] = []
    quality: dict[str, AudioQuality] = {}
    first_of: dict[bytes, Utterance] = {}
    prints: list[tuple[Utterance, Fingerprint]] = []
    with closing(listen_to_all(items, threads=threads, progress=progress)) as results:
        for item, heard in results:
            findings += _text_findings(item, config)
            findings += _audio_findings(item, heard, config, alone=users[item.audio] == 1)
            if heard.quality is not None:
                quality[item.id] = heard.quality
                first = first_of.setdefault(heard.digest, item)
                findings += _duplicate(item, first)
                if first is item and heard.fingerprint is not None:
                    prints.append((item, heard.fingerprint))
    findings += _rate_findings({id_: measured.sample_rate_hz for id_, measured in quality.items()})
    findings += _near_duplicates(prints, config)
    findings += _text_rate_findings(items, config)
    findings += _same_text_and_length(items)
    return _report(items, findings, quality, config)


def _audio_findings(item: Utterance, heard: Heard, config: ValidationConfig, *, alone: bool) -> Iterator[Finding]:
    yield from _length_findings(item, heard, config, alone=alone)
    quality = heard.quality
    if quality is None:
        check, message = heard.problem
        yield Finding(utterance=item.id, check=check, message=message)
    elif quality.peak_db < config.silence_peak_db:
        message = f"its peak is {quality.peak_db:.0f} dB" if math.isfinite(quality.peak_db) else "every sample is 0"
        yield Finding(utterance=item.id, check="silent", message=message)
    else:
        yield from _quality_findings(item.id, quality, config)


def _length_findings(item: Utterance, heard: Heard, config: ValidationConfig, *, alone: bool) -> Iterator[Finding]:
    says = f"the manifest says {item.duration_s:.3f} s"
    tolerance_s = max(config.duration_tolerance_s, config.duration_tolerance_ratio * item.duration_s)
    if heard.quality is not None and item.duration_s - heard.heard_s > tolerance_s:
        yield Finding(utterance=item.id, check="ends_early", message=f"it lasts {heard.heard_s:.3f} s, {says}")
    elif heard.quality is not None and alone and not item.offset_s and heard.file_s - item.duration_s > tolerance_s:
        yield Finding(utterance=item.id, check="file_is_longer", message=f"its file has {heard.file_s:.3f} s, {says}")
    if config.min_duration_s is not None and item.duration_s < config.min_duration_s:
        message = f"it lasts {item.duration_s:.3f} s, less than {config.min_duration_s:g} s"
        yield Finding(utterance=item.id, check="too_short", message=message)
    if config.max_duration_s is not None and item.duration_s > config.max_duration_s:
        message = f"it lasts {item.duration_s:.3f} s, more than {config.max_duration_s:g} s"
        yield Finding(utterance=item.id, check="too_long", message=message)


def _quality_findings(identifier: str, quality: "AudioQuality", config: ValidationConfig) -> Iterator[Finding]:
    for check, message in (*_level_problems(quality, config), *_signal_problems(quality, config)):
        yield Finding(utterance=identifier, check=check, message=message)


def _level_problems(quality: "AudioQuality", config: ValidationConfig) -> Iterator[tuple[str, str]]:
    if config.max_clipped_share is not None and quality.clipped_share > config.max_clipped_share:
        yield "clipping", f"{quality.clipped_share:.2%} of its samples are clipped"
    lufs = quality.loudness_lufs
    if config.min_loudness_lufs is not None and lufs is not None and lufs < config.min_loudness_lufs:
        yield "quiet", f"its loudness is {lufs:.0f} LUFS"
    if config.max_dc_offset is not None and abs(quality.dc_offset) > config.max_dc_offset:
        yield "dc_offset", f"the mean of its samples is {quality.dc_offset:.3f}"
    if config.max_silence_share is not None and quality.silence_share > config.max_silence_share:
        yield "mostly_silence", f"{quality.silence_share:.0%} of it is silence"
    longest_s = config.max_edge_silence_s
    edges = [(quality.leading_silence_s, "before"), (quality.trailing_silence_s, "after")]
    long = [f"{seconds:.1f} s {side}" for seconds, side in edges if longest_s is not None and seconds > longest_s]
    if long:
        yield "edge_silence", f"there is silence of {' and '.join(long)} the speech"


def _signal_problems(quality: "AudioQuality", config: ValidationConfig) -> Iterator[tuple[str, str]]:
    if config.min_snr_db is not None and quality.snr_db is not None and quality.snr_db < config.min_snr_db:
        yield "low_snr", f"its signal-to-noise ratio is about {quality.snr_db:.0f} dB"
    least_hz = config.min_bandwidth_hz
    sounding_s = quality.duration_s * (1 - quality.silence_share)
    if (
        least_hz is not None
        and sounding_s >= _SHORTEST_FOR_BANDWIDTH_S
        and quality.bandwidth_hz < least_hz < quality.sample_rate_hz / 2
    ):
        yield "narrow_band", f"nothing above {quality.bandwidth_hz:,.0f} Hz, at {quality.sample_rate_hz:,} Hz"


def _text_findings(item: Utterance, config: ValidationConfig) -> Iterator[Finding]:
    text = item.text
    if text is None:
        if config.require_text:
            yield Finding(utterance=item.id, check="missing_text", message="the manifest gives no text")
        return
    if not text.strip():
        if config.require_text:
            yield Finding(utterance=item.id, check="empty_text", message=f"its text is {text!r}")
        return
    if not unicodedata.is_normalized("NFC", text):
        yield Finding(utterance=item.id, check="not_nfc", message=f"in {_shortened(text)}")
    odd = sorted(
        {c for c in text if c == "\ufffd" or (unicodedata.category(c) in ("Cc", "Co", "Cn") and c not in "\t\n\r")}
    )
    if odd:
        codes = ", ".join(f"U+{ord(character):04X}" for character in odd[:5])
        yield Finding(utterance=item.id, check="odd_characters", message=f"{codes} in {_shortened(text)}")


def _duplicate(item: Utterance, first: Utterance) -> Iterator[Finding]:
    if first is item:
        return
    if (first.text or "").split() == (item.text or "").split():
        yield Finding(utterance=item.id, check="duplicate_audio", message=f"its samples are those of {first.id}")
    else:
        message = f"its samples are those of {first.id}, whose text is {_shortened(first.text or '')}"
        yield Finding(utterance=item.id, check="conflicting_text", message=message)


def _near_duplicates(prints: Sequence[tuple[Utterance, "Fingerprint"]], config: ValidationConfig) -> Iterator[Finding]:
    """Recordings that are alike; those with equal samples are in `prints` once."""
    if config.near_duplicate_similarity is None:
        return
    pairs = find_near_duplicates(
        [found for _, found in prints],
        [item.duration_s for item, _ in prints],
        similarity=config.near_duplicate_similarity,
    )
    for earlier, later, similarity in pairs:
        message = f"it is like {prints[earlier][0].id} (similarity {similarity:.3f})"
        yield Finding(utterance=prints[later][0].id, check="near_duplicate", message=message)


def _rate_findings(rates: Mapping[str, int]) -> Iterator[Finding]:
    counts = Counter(rates.values())
    if len(counts) < 2:
        return
    usual = max(counts, key=lambda rate: (counts[rate], rate))
    for identifier, rate in rates.items():
        if rate != usual:
            message = f"{rate:,} Hz; most have {usual:,} Hz"
            yield Finding(utterance=identifier, check="sample_rate", message=message)


def _text_rate_findings(items: Sequence[Utterance], config: ValidationConfig) -> Iterator[Finding]:
    """Outliers of log characters per second in each language, by median and median absolute deviation.

    The log makes twice as fast and half as fast equally far; the medians are not moved by the outliers looked for
    (Iglewicz and Hoaglin 1993, "How to detect and handle outliers": 0.6745 makes it a z-score for a normal law).
    """
    if config.max_text_rate_z is None:
        return
    by_language: dict[str | None, list[tuple[Utterance, float]]] = {}
    for item in items:
        characters = len("".join((item.text or "").split()))
        if characters:
            by_language.setdefault(item.language, []).append((item, math.log(characters / item.duration_s)))
    for pairs in by_language.values():
        middle = median(rate for _, rate in pairs)
        spread = median(abs(rate - middle) for _, rate in pairs)
        if len(pairs) < _FEWEST_FOR_RATES or not spread:
            continue
        for item, rate in pairs:
            if 0.6745 * abs(rate - middle) / spread > config.max_text_rate_z:
                message = f"{math.exp(rate):.1f} characters per second, usual are {math.exp(middle):.1f}"
                yield Finding(utterance=item.id, check="text_rate", message=message)


def _same_text_and_length(items: Iterable[Utterance]) -> Iterator[Finding]:
    first_of: dict[tuple[str, str, float], str] = {}
    for item in items:
        if item.text and item.speaker:  # of unknown speakers, equal texts of equal length say nothing
            first = first_of.setdefault((item.speaker, item.text, item.duration_s), item.id)
            if first != item.id:
                yield Finding(utterance=item.id, check="same_text_and_length", message=f"like {first}")


def _report(
    items: Sequence[Utterance],
    findings: Iterable[Finding],
    quality: Mapping[str, "AudioQuality"],
    config: ValidationConfig,
) -> ValidationReport:
    order = {check: index for index, check in enumerate(CHECKS)}
    place = {item.id: index for index, item in enumerate(items)}
    ordered = sorted(findings, key=lambda finding: (order[finding.check], place[finding.utterance]))
    reasons: dict[str, list[str]] = {}
    for finding in ordered:
        if finding.severity == "error" or finding.check in config.also_reject:
            reasons.setdefault(finding.utterance, []).append(f"{finding.check}: {finding.message}")
    return ValidationReport(
        kept=tuple(item for item in items if item.id not in reasons),
        rejected=tuple(
            Rejection(item=item.id, reason="; ".join(reasons[item.id])) for item in items if item.id in reasons
        ),
        findings=tuple(ordered),
        quality=quality,
        duration_s=sum(item.duration_s for item in items),
    )


def _shortened(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:39] + "…")
