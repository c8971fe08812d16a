"""Floor 1: contract tests, shipped so that plugins of other packages can run them."""

from harken.testing.importers import check_importer

__all__ = ["check_importer"]
