"""The audio of one export as its model hears it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harken.audio.features import FeatureConfig, FeatureExtractor
from harken.core import Features, MissingPart
from harken.export import clips as audio
from harken.models.description import ModelDescription


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """Clips (name, features, text) to check on, and features to calibrate with: none without a manifest."""

    items: list[tuple[str, Features, str | None]]
    duration_s: float
    calibration: list[Features]

    @classmethod
    def load(
        cls,
        description: ModelDescription,
        features: FeatureConfig,
        *,
        clips: int,
        manifest: Path | None,
        files: Sequence[Path],
    ) -> "Heard":
        """Audio of the manifest (up to twice `clips`, every other one for calibration), else of the files, else spoken.

        Raises as the functions of `harken.export.clips` do.
        """
        rate = features.sample_rate_hz
        found = audio.find_clips(manifest, files, clips=2 * clips, languages=description.languages, sample_rate_hz=rate)
        calibration = found[1::2] if manifest is not None else []
        checked = found[::2] if manifest is not None else found
        checked = audio.with_cuts(checked)
        extractor = FeatureExtractor(features)
        items = [(clip.name, extractor(clip.waveform), clip.text) for clip in checked]
        heard = [item for item in items if len(item[1])]
        if not heard:
            raise MissingPart("The audio to check on is too short for one frame.", hint="Give longer recordings.")
        return cls(
            items=heard,
            duration_s=audio.duration_s(checked, sample_rate_hz=rate),
            calibration=[item for item in (extractor(clip.waveform) for clip in calibration) if len(item)],
        )
