"""Text between corpora and models: normalisation, units, languages of words, tokenizers."""

from harken.text.languages import LanguageIdentifier, LanguageIdentifierConfig, TextLanguage
from harken.text.normalize import Profile, find_profile, normalize, profile_identity, profile_names
from harken.text.segmentation import split_units
from harken.text.tidy import tidy_transcript
from harken.text.tokenize import (
    BpeTokenizer,
    CharTokenizer,
    TokenizerConfig,
    UnknownUnitError,
    WordTokenizer,
    load_tokenizer,
    train_tokenizer,
)

__all__ = [
    "BpeTokenizer",
    "CharTokenizer",
    "LanguageIdentifier",
    "LanguageIdentifierConfig",
    "Profile",
    "TextLanguage",
    "TokenizerConfig",
    "UnknownUnitError",
    "WordTokenizer",
    "find_profile",
    "load_tokenizer",
    "normalize",
    "profile_identity",
    "profile_names",
    "split_units",
    "tidy_transcript",
    "train_tokenizer",
]
