"""Train, save and load tokenizers. Kinds are plugins of the entry-point group `harken.tokenizers`."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

from harken.core import InputError, Tokenizer, load_plugin
from harken.text.bpe import BpeTokenizer
from harken.text.closed import CharTokenizer, WordTokenizer
from harken.text.vocabulary import CONFIG_FILE, TokenizerConfig, UnknownUnitError, read_json_object

__all__ = [
    "BpeTokenizer",
    "CharTokenizer",
    "TokenizerConfig",
    "UnknownUnitError",
    "WordTokenizer",
    "load_tokenizer",
    "train_tokenizer",
]

PLUGINS = "harken.tokenizers"


def train_tokenizer(config: TokenizerConfig, texts: Iterable[str]) -> Tokenizer:
    """A tokenizer of `config.kind` learned from normalised texts; the same texts give the same tokenizer.

    Raises InputError when the texts hold no word or the size does not fit them, MissingPart for an unknown kind.
    """
    kind = cast(Any, load_plugin(PLUGINS, config.kind))
    return cast(Tokenizer, kind.train(config, texts))


def load_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer that was saved in `folder`.

    Raises MissingPart when a file or the plugin for its kind is absent, InputError when a file is damaged.
    """
    path = Path(folder) / CONFIG_FILE
    kind = read_json_object(path).get("kind")
    if not isinstance(kind, str):
        raise InputError(f"{path} has no 'kind'.", hint="It was not written by Harken; save the tokenizer again.")
    return cast(Tokenizer, cast(Any, load_plugin(PLUGINS, kind)).load(Path(folder)))
