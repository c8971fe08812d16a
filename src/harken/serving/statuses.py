"""HTTP statuses of errors that the HTTP room does not know."""

from collections.abc import Mapping

from harken.core import HarkenError
from harken.serving.decoding.errors import STATUSES as DECODING
from harken.serving.errors import STATUSES as SERVING

STATUSES: Mapping[type[HarkenError], int] = {**DECODING, **SERVING}
