"""Floor 1: contract tests, shipped so that plugins of other packages can run them."""

from harken.testing.importers import check_importer
from harken.testing.recognizers import check_recognizer

__all__ = ["check_importer", "check_recognizer"]
