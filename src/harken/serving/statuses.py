"""HTTP statuses of errors that the HTTP room does not know."""

from collections.abc import Mapping

from harken.core import HarkenError
from harken.serving.decoding.errors import STATUSES as DECODING

STATUSES: Mapping[type[HarkenError], int] = DECODING
