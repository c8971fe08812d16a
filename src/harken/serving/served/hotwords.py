"""Hotwords of a request, for CTC models: a beam decoder of their own around the model's network and language model."""

import threading
from collections.abc import Sequence

from harken.core import InputError
from harken.inference.ctc.beam import BeamDecoder
from harken.inference.ctc.config import BEAM_SIZE, HOTWORD_BOOST, LM_WEIGHT, UNKNOWN_LETTER, WORD_BONUS
from harken.inference.ctc.fusion import Fusion
from harken.inference.ctc.hotwords import Hotword, HotwordMatcher
from harken.inference.ctc.language_model import NgramModel, load_language_model
from harken.inference.ctc.units import unit_strings
from harken.inference.ctc_recognizer import CtcRecognizer

MOST_HOTWORDS, LONGEST_HOTWORD = 500, 100


def check_hotwords(hotwords: Sequence[str]) -> None:
    """Raises InputError for more, longer or emptier ones than a request may have."""
    if len(hotwords) > MOST_HOTWORDS:
        raise InputError(f"hotwords has {len(hotwords)} phrases.", hint=f"Use {MOST_HOTWORDS} at most.")
    for hotword in hotwords:
        if not hotword.strip() or len(hotword) > LONGEST_HOTWORD:
            raise InputError(
                f"hotwords has a phrase of {len(hotword)} characters: {hotword[:20]!r}.",
                hint=f"Use 1 to {LONGEST_HOTWORD}.",
            )


class HotwordDecoders:
    """Makes recognizers for hotwords; the language model of the settings is read once. Any thread may call it."""

    def __init__(self, recognizer: CtcRecognizer) -> None:
        self._recognizer = recognizer
        self._lm: NgramModel | None = None
        self._lock = threading.Lock()

    def recognizer(self, hotwords: Sequence[str]) -> CtcRecognizer:
        """The model with these hotwords in the place of those of its settings.

        Raises InputError for one the model cannot write.
        """
        config, tokenizer = self._recognizer.config.ctc, self._recognizer.tokenizer
        strings = unit_strings(tokenizer)
        boost = HOTWORD_BOOST if config.hotword_boost is None else config.hotword_boost
        phrases = [Hotword(text=text) for text in dict.fromkeys(text.strip() for text in hotwords)]
        fusion = Fusion(
            strings,
            lm=self._language_model(),
            lm_weight=LM_WEIGHT if config.lm_weight is None else config.lm_weight,
            word_bonus=WORD_BONUS if config.word_bonus is None else config.word_bonus,
            unknown_letter=UNKNOWN_LETTER if config.unknown_letter is None else config.unknown_letter,
            hotwords=HotwordMatcher(phrases, tokenizer, boost=boost, strings=strings),
        )
        width = config.width if config.width > 1 else BEAM_SIZE
        return self._recognizer.with_decoder(BeamDecoder(tokenizer, width=width, pruning=config.pruning, fusion=fusion))

    def _language_model(self) -> NgramModel | None:
        path = self._recognizer.config.ctc.lm
        with self._lock:
            if path is not None and self._lm is None:
                self._lm = load_language_model(path)
            return self._lm
