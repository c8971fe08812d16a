"""What is wrong with an upload, where HTTP answers it with another status than its family's."""

from collections.abc import Mapping

from harken.audio.limits import AudioDecodeError, AudioLimitError
from harken.core import HarkenError


class DamagedAudio(AudioDecodeError):
    """Audio of a known kind that is empty, cut off, or holds what is no sound."""


class AudioTooShort(DamagedAudio):
    """Less than can be heard."""


class WrongHeader(AudioLimitError):
    """A header that claims a rate or a number of channels that no recording has."""


class DecodingFailed(DamagedAudio):
    """Audio that takes the decoder too long or too much memory, or that makes it crash."""


STATUSES: Mapping[type[HarkenError], int] = {DamagedAudio: 400, WrongHeader: 400}
"""HTTP statuses that differ from those of the parents."""
