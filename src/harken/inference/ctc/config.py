"""Settings of CTC decoding, and the decoder they describe."""

import math
from dataclasses import dataclass, field
from pathlib import Path

from harken.core import Strict, Tokenizer
from harken.inference.ctc.beam import BeamDecoder, Pruning
from harken.inference.ctc.fusion import Fusion
from harken.inference.ctc.hotwords import HotwordMatcher, read_hotwords
from harken.inference.ctc.language_model import check_vocabulary, load_language_model
from harken.inference.ctc.units import unit_strings
from harken.inference.scoring import CtcDecoder, decode_greedily

BEAM_SIZE = 5
LM_WEIGHT = 0.5
WORD_BONUS = 1.5  # nats
UNKNOWN_LETTER = -2.0  # nats
HOTWORD_BOOST = 1.0  # nats a unit: letter, piece or word


@dataclass(frozen=True, slots=True, kw_only=True)
class CtcDecodingConfig(Strict):
    """How texts are found in a CTC model's scores.

    None stands for the default of that setting. `beam_size` 1 is greedy decoding, the default; with a language model or
    hotwords it is 5. `lm` is an ARPA or KenLM binary file, `hotwords` a file of phrases.
    """

    beam_size: int | None = None
    lm: str | None = None
    lm_weight: float | None = None  # of the language model's log probability, against the sound's 1
    word_bonus: float | None = None  # nats a word, against the preference of language models for few words
    unknown_letter: float | None = None  # nats a letter of words the language model does not know
    hotwords: str | None = None
    hotword_boost: float | None = None  # nats a unit (letter, piece or word), for hotwords without a boost of their own
    pruning: Pruning = field(default_factory=Pruning)

    def __post_init__(self) -> None:
        if self.beam_size is not None and self.beam_size < 1:
            raise ValueError(f"beam_size is {self.beam_size}; use 1 for greedy decoding, or more")
        for name, file in (
            ("lm_weight", "lm"),
            ("word_bonus", "lm"),
            ("unknown_letter", "lm"),
            ("hotword_boost", "hotwords"),
        ):
            value = getattr(self, name)
            if value is not None and getattr(self, file) is None:
                raise ValueError(f"{name} is {value}, which does nothing without {file}; use both or neither")
            if value is not None and not math.isfinite(value):
                raise ValueError(f"{name} is {value}; use a number")
        if self.lm_weight is not None and self.lm_weight <= 0:
            raise ValueError(f"lm_weight is {self.lm_weight}; use a weight above 0, or leave lm out")
        if self.hotword_boost is not None and self.hotword_boost <= 0:
            raise ValueError(f"hotword_boost is {self.hotword_boost}; use nats above 0, or leave hotwords out")
        if self.width == 1:
            for name in ("lm", "hotwords"):
                if getattr(self, name) is not None:
                    raise ValueError(f"beam_size is 1, and {name} does nothing in greedy decoding; use 2 or more")
            if self.pruning != Pruning():
                raise ValueError("pruning does nothing in greedy decoding; use a beam_size of 2 or more")

    @property
    def width(self) -> int:
        """Texts kept from frame to frame; 1 is greedy."""
        if self.beam_size is not None:
            return self.beam_size
        return 1 if self.lm is None and self.hotwords is None else BEAM_SIZE


def make_ctc_decoder(config: CtcDecodingConfig, tokenizer: Tokenizer) -> CtcDecoder:
    """The decoder that `config` describes, its files read once.

    Raises MissingPart for an absent file or package; InputError for a file that cannot be read, a language model of
    other texts than the tokenizer writes, and a hotword it cannot spell.
    """
    if config.width == 1:
        return decode_greedily
    return make_beam_decoder(config, tokenizer)


def make_beam_decoder(config: CtcDecodingConfig, tokenizer: Tokenizer) -> BeamDecoder:
    """As `make_ctc_decoder`, with the n best texts for any width."""
    strings = unit_strings(tokenizer)
    lm = matcher = fusion = None
    if config.lm is not None:
        lm = load_language_model(config.lm)
        check_vocabulary(lm, tokenizer)
    if config.hotwords is not None:
        hotwords = read_hotwords(Path(config.hotwords), tokenizer)
        boost = _given(config.hotword_boost, HOTWORD_BOOST)
        matcher = HotwordMatcher(hotwords, tokenizer, boost=boost, strings=strings)
    if lm is not None or matcher is not None:
        fusion = Fusion(
            strings,
            lm=lm,
            lm_weight=_given(config.lm_weight, LM_WEIGHT),
            word_bonus=_given(config.word_bonus, WORD_BONUS),
            unknown_letter=_given(config.unknown_letter, UNKNOWN_LETTER),
            hotwords=matcher,
        )
    return BeamDecoder(tokenizer, width=config.width, pruning=config.pruning, fusion=fusion)


def _given(value: float | None, default: float) -> float:
    return default if value is None else value
