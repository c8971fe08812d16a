"""tokens.txt: the units of a CTC model, one a line with its id, as sherpa-onnx, icefall and WeNet read them.

The blank is <blk>, and ▁ (U+2581) stands where a word begins, whatever the tokenizer's own mark for that is.
"""

from pathlib import Path

from harken.core import Tokenizer
from harken.core.files import write_text
from harken.export.metadata import units_of
from harken.text.closed import SPACE, WordTokenizer
from harken.text.hf_ctc_tokenizer import HfCtcTokenizer

TOKENS = "tokens.txt"
BLANK, WORD_START = "<blk>", "\u2581"


def token_lines(tokenizer: Tokenizer) -> list[str]:
    """Lines of tokens.txt, by id. Raises InputError for a tokenizer that does not list its units."""
    delimiter = tokenizer.delimiter if isinstance(tokenizer, HfCtcTokenizer) else SPACE
    prefix = WORD_START if isinstance(tokenizer, WordTokenizer) else ""
    names = [WORD_START if unit == delimiter else prefix + unit for unit in units_of(tokenizer)[1:]]
    return [f"{name} {id_}" for id_, name in enumerate([BLANK, *names])]


def write_tokens(path: Path, tokenizer: Tokenizer) -> None:
    """Write tokens.txt."""
    write_text(path, "".join(f"{line}\n" for line in token_lines(tokenizer)))
