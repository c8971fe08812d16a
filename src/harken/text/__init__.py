"""Text between corpora and models: normalisation profiles and tokenizers."""

from harken.text.normalize import Profile, find_profile, normalize, profile_identity, profile_names
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
    "Profile",
    "TokenizerConfig",
    "UnknownUnitError",
    "WordTokenizer",
    "find_profile",
    "load_tokenizer",
    "normalize",
    "profile_identity",
    "profile_names",
    "train_tokenizer",
]
