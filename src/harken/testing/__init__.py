"""Floor 1: contract tests and random models, shipped so that plugins of other packages can use them."""

from harken.testing.importers import check_importer
from harken.testing.random_models import random_wav2vec2, random_whisper
from harken.testing.recognizers import check_recognizer

__all__ = ["check_importer", "check_recognizer", "random_wav2vec2", "random_whisper"]
