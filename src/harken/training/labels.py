"""What a model learns to say for an utterance: the labels of its text, and why it has none."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import numpy as np

from harken.core import InputError, Tokenizer, Utterance
from harken.data.rows import Span
from harken.text.tokenize import UnknownUnitError
from harken.text.whisper_tokenizer import START, WhisperTokenizer
from harken.training.loss import frames_needed
from harken.training.recipe import Seq2SeqConfig


class Unlabelled(Exception):  # noqa: N818 - a finding about one utterance, not a failure
    """An utterance has no labels. `reason` is one of a few phrases, `detail` says more."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


class Labeller(Protocol):
    """Labels of an utterance and its normalised text."""

    def __call__(self, utterance: Utterance, text: str) -> list[int]:
        """The labels. Raises Unlabelled where there are none that the model could learn."""
        ...


class CtcLabeller:
    """The ids of the text, where the audio has frames enough for them."""

    def __init__(self, tokenizer: Tokenizer, fewest_frames: Callable[[Utterance], int]) -> None:
        """`fewest_frames` gives the output frames an utterance has after the fastest speed perturbation."""
        self.tokenizer, self.fewest_frames = tokenizer, fewest_frames

    def __call__(self, utterance: Utterance, text: str) -> list[int]:
        try:
            ids = self.tokenizer.encode(text)
        except UnknownUnitError as err:
            raise Unlabelled("outside the vocabulary", err.message) from err
        needed, frames = frames_needed(ids), self.fewest_frames(utterance)
        if needed > frames:
            detail = f"{needed} frames needed for {len(ids)} labels, {frames} there"
            raise Unlabelled("more labels than frames", detail)
        return ids


class Seq2SeqLabeller:
    """The sequence after the start token: language, task, the text, perhaps its times, and the end."""

    def __init__(self, tokenizer: WhisperTokenizer, config: Seq2SeqConfig, *, longest_tokens: int) -> None:
        """`longest_tokens` counts the start token. Raises InputError for a language or times the model has no token of.

        A tokenizer for English only needs no language.
        """
        self.tokenizer, self.config, self.longest_tokens = tokenizer, config, longest_tokens
        self.start = tokenizer.token_id(START)
        if config.timestamps_share > 0 and not tokenizer.has_times:
            raise InputError(
                f"seq2seq.timestamps_share is {config.timestamps_share}, but this model has no tokens of times.",
                hint="Leave it out.",
            )
        settings = {"language": config.language} | {f"languages.{tag}": name for tag, name in config.languages.items()}
        for setting, language in settings.items():
            if language is not None:
                self._check(setting, language)

    def _check(self, setting: str, language: str) -> None:
        try:
            self.tokenizer.prompt(language=language, task=self.config.task)
        except InputError as err:
            raise InputError(f"seq2seq.{setting} is {language!r}: {err.message}", hint=err.hint) from err

    def language(self, utterance: Utterance) -> str | None:
        """The language whose token stands before the utterance's text; None for a model of English only."""
        if not self.tokenizer.multilingual:
            return None
        tag = utterance.language or ""
        return self.config.language or self.config.languages.get(tag, tag)

    def check_languages(self, name: str, utterances: Iterable[Utterance]) -> None:
        """Raise InputError when utterances of the set `name` have a language without a token, and count them."""
        for language, count in Counter(map(self.language, utterances)).items():
            try:
                self.tokenizer.prompt(language=language, task=self.config.task)
            except InputError as err:
                problem = (
                    f"are in the language {language!r}, which this model has no token for"
                    if language
                    else "name no language, and this model needs one"
                )
                raise InputError(
                    f"{count} {name} utterances {problem}.",
                    hint=f"Set seq2seq.language for all of them, or name a token in seq2seq.languages. {err.hint}",
                ) from err

    def prompt(self, utterance: Utterance) -> list[int]:
        """The tokens before the text, the start among them, where no times are wanted."""
        return self.tokenizer.prompt(language=self.language(utterance), task=self.config.task)

    def __call__(self, utterance: Utterance, text: str) -> list[int]:
        ids = [*self.prompt(utterance), *self.text_ids(text), self.tokenizer.end]
        length = len(ids) + (self.config.timestamps_share > 0)  # two times take the place of one token
        if length > self.longest_tokens:
            detail = f"{length} tokens, {self.longest_tokens} are read"
            raise Unlabelled("more tokens than the decoder reads", detail)
        return ids[1:]

    def text_ids(self, text: str) -> list[int]:
        """The ids of a text alone. Raises Unlabelled for one that holds a token of the model."""
        try:
            return self.tokenizer.encode(text)
        except InputError as err:
            raise Unlabelled("text with a token of the model", err.message) from err

    def window(
        self,
        utterances: Sequence[Utterance],
        texts: Sequence[str],
        spans: Sequence[Span],
        generator: np.random.Generator,
    ) -> list[int]:
        """The sequence after the start token of a window that holds `utterances` at `spans`, all of one language.

        With times in `timestamps_share` of all windows, by chance.
        """
        language, task = self.language(utterances[0]), self.config.task
        if generator.random() < self.config.timestamps_share:
            segments = [(start_s, end_s, text) for (start_s, end_s), text in zip(spans, texts, strict=True)]
            return self.tokenizer.window_labels(segments, language=language, task=task)[1:]
        prompt = self.tokenizer.prompt(language=language, task=task)
        return [*prompt[1:], *self.tokenizer.encode_all(texts), self.tokenizer.end]

    def tokens_taken(self, labels: Sequence[int], prompt_tokens: int) -> int:
        """Most tokens an utterance with these labels takes of a window's room.

        Those of its text, and its two times, or else a space before it.
        """
        return len(labels) - prompt_tokens + (2 if self.config.timestamps_share > 0 else 1)
