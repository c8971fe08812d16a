"""Labels of CTC and of encoder-decoder models, against sequences written out by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harken.core import InputError, Utterance
from harken.testing.random_models import random_whisper, whisper_tokens
from harken.text.tokenize import WordTokenizer
from harken.text.vocabulary import BLANK
from harken.text.whisper_tokenizer import WhisperTokenizer
from harken.training.labels import CtcLabeller, Seq2SeqLabeller, Unlabelled
from harken.training.recipe import Seq2SeqConfig

pytest.importorskip("transformers", reason="needs the extra `train`")

IDS = whisper_tokens(["en", "uz", "ru"], times_s=2.0)
END, UZ, TRANSCRIBE, PLAIN = (IDS[f"<|{name}|>"] for name in ("endoftext", "uz", "transcribe", "notimestamps"))


def letters(text: str) -> list[int]:
    """Bytes of a vocabulary without merges; the space is written as one of them."""
    return [ord(letter) - 33 if letter != " " else 220 for letter in text]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> WhisperTokenizer:
    folder = tmp_path_factory.mktemp("whisper")
    random_whisper(folder, times_s=2.0)
    return WhisperTokenizer.load(folder)


def utterance(text: str = "ah", *, language: str | None = "uz", name: str = "u") -> Utterance:
    return Utterance(id=name, audio="/a.wav", duration_s=1.0, text=text, language=language)


def labeller(tokenizer: WhisperTokenizer, longest: int = 20, **fields: Any) -> Seq2SeqLabeller:
    return Seq2SeqLabeller(tokenizer, Seq2SeqConfig(**fields), longest_tokens=longest)


def test_a_sequence_without_its_start(tokenizer: WhisperTokenizer) -> None:
    made = labeller(tokenizer)
    assert made(utterance(), "ah") == [UZ, TRANSCRIBE, PLAIN, *letters("ah"), END]
    assert made.start == IDS["<|startoftranscript|>"]
    assert made.prompt(utterance()) == [made.start, UZ, TRANSCRIBE, PLAIN]


@pytest.mark.parametrize(
    ("config", "language", "token"),
    [
        ({}, "ru", "ru"),
        ({"language": "uz"}, "ru", "uz"),
        ({"language": "uz"}, None, "uz"),
        ({"languages": {"mixed": "uz"}}, "mixed", "uz"),
        ({"languages": {"mixed": "uz"}}, "ru", "ru"),
        ({}, "uz-Cyrl", "uz"),
    ],
)
def test_the_language_token(tokenizer: WhisperTokenizer, config: dict[str, Any], language: str, token: str) -> None:
    made = labeller(tokenizer, **config)
    assert made(utterance(language=language), "a")[0] == IDS[f"<|{token}|>"]


def test_languages_without_a_token_are_counted(tokenizer: WhisperTokenizer) -> None:
    items = [utterance(), utterance(language="mixed"), utterance(language="mixed"), utterance(language=None)]
    made = labeller(tokenizer)
    with pytest.raises(InputError, match=r"2 training utterances are in the language 'mixed'.*seq2seq.languages"):
        made.check_languages("training", items[:3])
    with pytest.raises(InputError, match="1 validation utterances name no language, and this model needs one"):
        made.check_languages("validation", items[3:])
    labeller(tokenizer, languages={"mixed": "ru"}).check_languages("training", items[:3])
    with pytest.raises(InputError, match="no token for the language 'tlh'"):
        labeller(tokenizer, language="tlh")


def test_what_the_decoder_cannot_take(tokenizer: WhisperTokenizer) -> None:
    made = labeller(tokenizer, longest=7)
    assert len(made(utterance(), "ah")) == 6
    with pytest.raises(Unlabelled) as found:
        made(utterance(), "ahh")
    assert (found.value.reason, found.value.detail) == ("more tokens than the decoder reads", "8 tokens, 7 are read")
    with pytest.raises(Unlabelled, match="8 tokens, 7 are read"):  # its times need one place more
        labeller(tokenizer, longest=7, timestamps_share=0.5)(utterance(), "ah")
    with pytest.raises(Unlabelled, match="text with a token of the model"):
        made(utterance(), "a<|endoftext|>")


def test_a_window_with_times_and_without(tokenizer: WhisperTokenizer) -> None:
    items, texts = [utterance(name="a"), utterance(name="b")], ["ah", "bo"]
    spans, chance = [(0.0, 0.51), (0.51, 1.3)], np.random.default_rng(0)
    plain = labeller(tokenizer).window(items, texts, spans, chance)
    assert plain == [UZ, TRANSCRIBE, PLAIN, *letters("ah bo"), END]
    timed = labeller(tokenizer, timestamps_share=1.0).window(items, texts, spans, chance)
    first, second = (IDS[f"<|{seconds}|>"] for seconds in ("0.00", "1.30"))
    between = [IDS["<|0.52|>"]] * 2  # 0.51 s is nearest to 0.52, as ties go to the even step
    assert timed == [UZ, TRANSCRIBE, first, *letters("ah"), *between, *letters("bo"), second, END]
    half = labeller(tokenizer, timestamps_share=0.5)
    share = np.mean([half.window(items, texts, spans, chance) == timed for _ in range(400)])
    assert 0.43 < share < 0.57


@pytest.mark.parametrize("timestamps_share", [0.0, 1.0])
def test_tokens_taken_are_the_room_a_window_needs(tokenizer: WhisperTokenizer, timestamps_share: float) -> None:
    made = labeller(tokenizer, timestamps_share=timestamps_share)
    items, texts = [utterance("ah"), utterance("bobo")], ["ah", "bobo"]
    prompt = len(made.prompt(items[0]))
    taken = [made.tokens_taken(made(item, text), prompt) for item, text in zip(items, texts, strict=True)]
    window = made.window(items, texts, [(0.0, 1.0), (1.0, 2.0)], np.random.default_rng(0))
    text = len(window) - len(made.tokenizer.prompt(language="uz", timestamps=timestamps_share > 0)[1:]) - 1
    assert sum(taken) == text + (timestamps_share == 0)  # the first has no space before it


def test_times_need_tokens(tmp_path: Path) -> None:
    random_whisper(tmp_path)
    with pytest.raises(InputError, match=r"seq2seq.timestamps_share is 0.1, but this model has no tokens of times"):
        labeller(WhisperTokenizer.load(tmp_path), timestamps_share=0.1)


def test_ctc_labels_have_to_fit_their_frames() -> None:
    made = CtcLabeller(WordTokenizer([BLANK, "ah", "bo"]), lambda _: 3)
    assert made(utterance(), "ah bo") == [1, 2]
    assert made(utterance(), "ah ah") == [1, 1]
    with pytest.raises(Unlabelled, match="more labels than frames: 5 frames needed for 3 labels, 3 there"):
        made(utterance(), "ah ah ah")
    with pytest.raises(Unlabelled, match="outside the vocabulary"):
        made(utterance(), "ku")
