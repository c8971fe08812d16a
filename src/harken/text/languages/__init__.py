"""Which language is each word? Trained on given text, so it works for any pair, also for two that share a script."""

from harken.text.languages.identifier import LanguageIdentifier, LanguageIdentifierConfig, TextLanguage
from harken.text.languages.labels import OTHER, has_letters, is_language, primary_language, words_by_language

__all__ = [
    "OTHER",
    "LanguageIdentifier",
    "LanguageIdentifierConfig",
    "TextLanguage",
    "has_letters",
    "is_language",
    "primary_language",
    "words_by_language",
]
