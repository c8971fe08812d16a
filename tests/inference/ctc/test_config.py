"""Settings of CTC decoding: what is refused, and cases made so that language model and hotwords make the text right."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harken.core import InputError, MissingPart, dump_settings, parse_settings
from harken.inference.ctc.beam import BeamDecoder, Pruning
from harken.inference.ctc.config import CtcDecodingConfig, make_beam_decoder, make_ctc_decoder
from harken.inference.scoring import LogProbs, decode_greedily
from harken.text.ngram import NgramConfig, build_ngrams
from harken.text.ngram_arpa import write_arpa
from harken.text.tokenize import BpeTokenizer, CharTokenizer, TokenizerConfig

LETTERS = CharTokenizer(["<pad>", " ", *"abcdefghijklmnopqrstuvwxyz"])
TEXTS = ["they saw the sea", "the sea is wide", "we see the ships", "i see the sea"]


@pytest.fixture
def lm(tmp_path: Path) -> str:
    path = tmp_path / "lm.arpa"
    write_arpa(path, build_ngrams(TEXTS, NgramConfig(order=3)).tables)
    return str(path)


def heard(text: str, *, instead: dict[int, tuple[str, float]], sure: float = 0.98) -> LogProbs:
    """Scores that spell `text`, a blank after each letter; at some places another letter has some probability too."""
    frames = np.full((2 * len(text), LETTERS.vocab_size), 1e-4)
    for place, id_ in enumerate(LETTERS.encode(text)):
        frames[2 * place, id_] = sure
        frames[2 * place + 1, 0] = sure
        if place in instead:
            other, probability = instead[place]
            frames[2 * place, id_] = 1 - probability
            frames[2 * place, LETTERS.encode(other)[0]] = probability
    return np.log(frames / frames.sum(1, keepdims=True)).astype(np.float32)


def text_of(log_probs: LogProbs, **settings: Any) -> str:
    decode = make_ctc_decoder(CtcDecodingConfig(**settings), LETTERS)
    return LETTERS.decode([token.id for token in decode(log_probs)])


def test_a_language_model_makes_it_right(lm: str) -> None:
    """The sound says "i see the see", with less for the a of "sea"."""
    log_probs = heard("i see the see", instead={12: ("a", 0.3)})
    assert text_of(log_probs) == text_of(log_probs, beam_size=5) == "i see the see"
    assert text_of(log_probs, lm=lm) == "i see the sea"
    assert text_of(log_probs, lm=lm, lm_weight=0.01) == "i see the see"


def test_hotwords_make_it_right(tmp_path: Path, lm: str) -> None:
    """A name that no language model knows."""
    path = tmp_path / "names.txt"
    path.write_text("anja\n", encoding="utf-8")
    log_probs = heard("we see anya", instead={9: ("j", 0.1)})
    assert text_of(log_probs) == text_of(log_probs, lm=lm) == "we see anya"
    assert text_of(log_probs, hotwords=str(path)) == text_of(log_probs, hotwords=str(path), lm=lm) == "we see anja"
    assert text_of(log_probs, hotwords=str(path), hotword_boost=0.1) == "we see anya"
    path.write_text("anja\t0.1\n", encoding="utf-8")
    assert text_of(log_probs, hotwords=str(path)) == "we see anya"


def test_hotwords_of_pieces(tmp_path: Path) -> None:
    tokenizer = BpeTokenizer.train(TokenizerConfig(kind="bpe", size=26), [*TEXTS, "anja anya"])
    path = tmp_path / "names.txt"
    path.write_text("anja\n", encoding="utf-8")
    right, wrong = tokenizer.encode("we see anja"), tokenizer.encode("we see anya")
    frames = np.full((2 * len(wrong), tokenizer.vocab_size), 1e-5)
    for place, (id_, other) in enumerate(zip(wrong, right, strict=True)):
        frames[2 * place, id_] += 0.8
        frames[2 * place, other] += 0.2
        frames[2 * place + 1, 0] = 1.0
    log_probs = np.log(frames / frames.sum(1, keepdims=True)).astype(np.float32)
    plain = make_beam_decoder(CtcDecodingConfig(), tokenizer).n_best(log_probs, 1)
    boosted = make_beam_decoder(CtcDecodingConfig(hotwords=str(path)), tokenizer).n_best(log_probs, 1)
    assert (plain[0].text, boosted[0].text) == ("we see anya", "we see anja")
    assert boosted[0].score - boosted[0].log_prob == pytest.approx(3.0)  # ▁an j a


def test_which_decoder(lm: str) -> None:
    assert make_ctc_decoder(CtcDecodingConfig(), LETTERS) is decode_greedily
    assert make_ctc_decoder(CtcDecodingConfig(beam_size=1), LETTERS) is decode_greedily
    for config, width in (
        (CtcDecodingConfig(lm=lm), 5),
        (CtcDecodingConfig(lm=lm, beam_size=20), 20),
        (CtcDecodingConfig(beam_size=3), 3),
    ):
        assert config.width == width
        assert isinstance(make_ctc_decoder(config, LETTERS), BeamDecoder)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"beam_size": 0}, "beam_size is 0; use 1"),
        ({"lm_weight": 0.5}, "lm_weight is 0.5, which does nothing without lm"),
        ({"word_bonus": 1.0, "hotwords": "x"}, "word_bonus is 1.0, which does nothing without lm"),
        ({"unknown_letter": -1.0}, "unknown_letter is -1.0, which does nothing without lm"),
        ({"hotword_boost": 2.0, "lm": "x"}, "hotword_boost is 2.0, which does nothing without hotwords"),
        ({"lm": "x", "beam_size": 1}, "beam_size is 1, and lm does nothing"),
        ({"hotwords": "x", "beam_size": 1}, "beam_size is 1, and hotwords does nothing"),
        ({"pruning": Pruning(most_ids=3)}, "pruning does nothing in greedy decoding"),
        ({"lm": "x", "lm_weight": 0.0}, "lm_weight is 0.0; use a weight above 0"),
        ({"lm": "x", "word_bonus": float("nan")}, "word_bonus is nan; use a number"),
        ({"hotwords": "x", "hotword_boost": -1.0}, "hotword_boost is -1.0; use nats above 0"),
    ],
)
def test_settings_that_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CtcDecodingConfig(**settings)


def test_settings_as_text() -> None:
    config = parse_settings(CtcDecodingConfig, {"beam_size": 8, "pruning": {"margin": None}}, source="here")
    assert config == CtcDecodingConfig(beam_size=8, pruning=Pruning(margin=None))
    assert parse_settings(CtcDecodingConfig, dump_settings(config), source="here") == config
    with pytest.raises(InputError, match="here: beam is not a setting"):
        parse_settings(CtcDecodingConfig, {"beam": 8}, source="here")


def test_files_that_are_not_there_or_not_right(tmp_path: Path, lm: str) -> None:
    for name in ("lm", "hotwords"):
        with pytest.raises(MissingPart, match=r"none\.txt does not exist"):
            make_ctc_decoder(CtcDecodingConfig(**{name: str(tmp_path / "none.txt")}), LETTERS)
    with pytest.raises(InputError, match="of other texts than the recogniser writes"):
        make_ctc_decoder(CtcDecodingConfig(lm=lm), CharTokenizer(["<pad>", " ", *"абвг"]))
    path = tmp_path / "names.txt"
    path.write_text("Anja\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"names\.txt, line 1"):
        make_ctc_decoder(CtcDecodingConfig(hotwords=str(path)), LETTERS)
