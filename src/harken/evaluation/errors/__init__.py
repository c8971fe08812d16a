"""What goes wrong, where, and for whom: the analysis of a scored test set."""

from harken.evaluation.errors.analysis import ErrorAnalysis, ErrorAnalysisConfig, analyze_errors
from harken.evaluation.errors.frequent import frequent_errors
from harken.evaluation.errors.hallucinations import HallucinationConfig, hallucinations
from harken.evaluation.errors.hardest import export_hardest, hardest
from harken.evaluation.errors.keywords import Keyword, keyword_recall, load_keywords
from harken.evaluation.errors.phonemes import phoneme_confusions
from harken.evaluation.errors.slices import SliceConfig, slice_groups, speaker_distribution
from harken.evaluation.errors.vocabulary import vocabulary_accuracy

__all__ = [
    "ErrorAnalysis",
    "ErrorAnalysisConfig",
    "HallucinationConfig",
    "Keyword",
    "SliceConfig",
    "analyze_errors",
    "export_hardest",
    "frequent_errors",
    "hallucinations",
    "hardest",
    "keyword_recall",
    "load_keywords",
    "phoneme_confusions",
    "slice_groups",
    "speaker_distribution",
    "vocabulary_accuracy",
]
