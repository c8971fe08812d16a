"""Byte-pair encoding over characters, trained and run by the `tokenizers` library.

Words begin with ▁ (metaspace), so pieces never span two words. Algorithm: Sennrich, Haddow and Birch, "Neural Machine
Translation of Rare Words with Subword Units", ACL 2016.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Self

from harken.core import InputError, MissingPart
from harken.core.files import write_text
from harken.text.vocabulary import BLANK, TokenizerConfig, UnknownUnitError, check_ids, clean_text, write_config

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Backend

DEFAULT_SIZE = 500
WORD_START = "\u2581"
TOKENIZER_FILE = "tokenizer.json"


class BpeTokenizer:
    """Pieces of words, learned from text; a piece that begins a word starts with ▁."""

    def __init__(self, backend: "Backend") -> None:
        """`backend` is a `tokenizers.Tokenizer` whose unit 0 is the blank."""
        units = sorted((id_, unit) for unit, id_ in backend.get_vocab().items())
        if [id_ for id_, _ in units] != list(range(len(units))) or not units or units[0][1] != BLANK:
            raise InputError(f"The BPE vocabulary does not number its units from 0, which has to be {BLANK!r}.")
        self.units = tuple(unit for _, unit in units)
        self._backend = backend
        self._characters = {unit for unit in self.units if len(unit) == 1} - {WORD_START}

    @classmethod
    def train(cls, config: TokenizerConfig, texts: Iterable[str]) -> Self:
        """At most `config.size` pieces (500 where it is None); fewer when the words of `texts` are used up.

        Raises InputError for texts without a word, and for a size that cannot hold every character.
        """
        from tokenizers import trainers

        cleaned = [text for text in map(clean_text, texts) if text]
        if not cleaned:
            raise InputError("There is no text to train a BPE tokenizer on.")
        alphabet = set().union(*cleaned) - {" "} | {WORD_START}
        size = DEFAULT_SIZE if config.size is None else config.size
        if size < len(alphabet):
            raise InputError(
                f"size is {size}, and the texts hold {len(alphabet)} different characters (word start included).",
                hint=f"Use a size of at least {len(alphabet)}, or kind char.",
            )
        backend = _empty_backend()
        trainer = trainers.BpeTrainer(vocab_size=size + 1, special_tokens=[BLANK], show_progress=False)
        with _one_thread():
            backend.train_from_iterator(cleaned, trainer)
        return cls(backend)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The tokenizer saved in `folder`."""
        from tokenizers import Tokenizer

        path = folder / TOKENIZER_FILE
        if not path.is_file():
            raise MissingPart(f"{path} does not exist.", hint="A BPE tokenizer is kept in that file.")
        try:
            backend = Tokenizer.from_file(str(path))
        except Exception as err:  # noqa: BLE001  the library raises bare Exception for every fault of a file
            raise InputError(f"{path} is not a tokenizer file: {err}.", hint="Save the tokenizer again.") from err
        return cls(backend)

    @property
    def vocab_size(self) -> int:
        return len(self.units)

    def encode(self, text: str) -> list[int]:
        text = clean_text(text)
        for character in text:  # the library leaves unknown characters out without a word
            if character not in self._characters and character != " ":
                raise UnknownUnitError(character, text)
        if BLANK in text:  # the library would take it for the blank itself
            raise UnknownUnitError(BLANK, text)
        return list(self._backend.encode(text, add_special_tokens=False).ids)

    def decode(self, ids: Sequence[int]) -> str:
        return " ".join(word for word, _, _ in self.word_pieces(ids))

    def word_pieces(self, ids: Sequence[int]) -> list[tuple[str, int, int]]:
        check_ids(ids, self.vocab_size)
        starts = [place for place, id_ in enumerate(ids) if place == 0 or self.units[id_].startswith(WORD_START)]
        words = []
        for first, end in pairwise([*starts, len(ids)]):
            word = "".join(self.units[id_] for id_ in ids[first:end]).removeprefix(WORD_START)
            if word:
                words.append((word, first, end))
        return words

    def save(self, folder: Path) -> None:
        write_text(folder / TOKENIZER_FILE, self._backend.to_str(pretty=True) + "\n")
        write_config(folder, kind="bpe", tokenizer_class="PreTrainedTokenizerFast")


def _empty_backend() -> "Backend":
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

    backend = Tokenizer(models.BPE())
    backend.normalizer = normalizers.NFC()
    backend.pre_tokenizer = pre_tokenizers.Metaspace(replacement=WORD_START, prepend_scheme="always")
    backend.decoder = decoders.Metaspace(replacement=WORD_START, prepend_scheme="always")
    return backend


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep the library's thread pool unused: once used, every later fork of a loader worker prints a warning."""
    name = "TOKENIZERS_PARALLELISM"
    before = os.environ.get(name)
    os.environ[name] = "false"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
