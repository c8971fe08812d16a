"""From encoded windows to tokens: prompts, temperature fallback and guards, the same for every backend.

Radford et al. 2022, section 4.5.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from harken.core import InputError
from harken.core.seeds import derive_seed
from harken.core.stopping import check_stop
from harken.inference.whisper.backend import Encoded, Generated, Search, WhisperBackend
from harken.inference.whisper.config import WhisperDecodingConfig
from harken.inference.whisper.guards import (
    compression_ratio,
    is_silence,
    is_too_repetitive,
    is_unlikely,
    trim_repeats,
)
from harken.inference.whisper.special import never_text
from harken.text.whisper_tokenizer import PREVIOUS, TIME_STEP_S, Task, WhisperTokenizer

TOKENS_PER_S = 50.0
"""Most tokens of a second of speech, as many as the encoder has positions in it: an end to endless repetition."""
LEAST_TOKENS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowTask:
    """What is known of a window before it is decoded.

    `previous` are tokens said before it; `key` tells its draws from those of other windows, and depends on the audio's
    place alone, so that a file gives the same text in any company.
    """

    duration_s: float
    language: str | None = None
    previous: tuple[int, ...] = ()
    timestamps: bool = False
    key: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodedWindow:
    """Tokens of a window, time tokens included, and how they came about. A `silent` one has no tokens."""

    ids: list[int]
    language: str | None
    temperature: float
    average_log_prob: float
    no_speech_prob: float
    compression_ratio: float
    silent: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attempt:
    generated: Generated
    temperature: float
    ratio: float


class WindowDecoder:
    """Decodes windows that were encoded together."""

    def __init__(
        self, backend: WhisperBackend[Any], tokenizer: WhisperTokenizer, config: WhisperDecodingConfig
    ) -> None:
        """Raises InputError for a language or task the tokenizer lacks, and for a prompt that fills the decoder."""
        self.backend, self.tokenizer, self.config = backend, tokenizer, config
        self.task: Task = config.task or "transcribe"
        if config.language is not None or not tokenizer.multilingual:
            tokenizer.prompt(language=config.language, task=self.task)
        if config.multilingual and not tokenizer.multilingual:
            raise InputError("This Whisper is for English only.", hint="Leave multilingual out.")
        self._initial = tokenizer.encode(config.initial_prompt) if config.initial_prompt else []
        self._room = backend.longest_tokens // 2 - 1  # tokens before <|startoftranscript|>, as OpenAI's code has it
        if len(self._initial) > self._room:
            raise InputError(
                f"initial_prompt takes {len(self._initial)} tokens; the model reads {self._room} before a text.",
                hint="Shorten it.",
            )
        self._suppress = {
            timestamps: never_text(tokenizer, vocab_rows=backend.vocab_rows, timestamps=timestamps)
            for timestamps in (False, True)
        }

    def __call__(self, encoded: Encoded, tasks: Sequence[WindowTask]) -> list[DecodedWindow]:
        """One result for each window."""
        languages = self._languages(encoded, tasks)
        prompts = [self._prompt(task, language) for task, language in zip(tasks, languages, strict=True)]
        attempts: list[list[_Attempt]] = [[] for _ in tasks]
        pending = list(range(len(tasks)))
        for temperature in self.config.temperatures:
            for rows in self._groups(pending, prompts, tasks):
                self._attempt(encoded, rows, prompts, tasks, temperature, attempts)
            pending = [row for row in pending if self._fails(attempts[row][-1])]
            if not pending:
                break
        return [
            self._result(found, language, failed=row in pending)
            for row, (found, language) in enumerate(zip(attempts, languages, strict=True))
        ]

    def _languages(self, encoded: Encoded, tasks: Sequence[WindowTask]) -> list[str | None]:
        """The language of each window: what the task says, else what the model thinks."""
        languages = [task.language for task in tasks]
        open_rows = [row for row, language in enumerate(languages) if language is None]
        if open_rows and self.tokenizer.multilingual:
            for row, found in zip(open_rows, self.backend.detect(encoded.take(open_rows)), strict=True):
                languages[row] = max(found, key=found.__getitem__)
        return languages

    def _prompt(self, task: WindowTask, language: str | None) -> list[int]:
        start = self.tokenizer.prompt(language=language, task=self.task, timestamps=task.timestamps)
        room = self._room - len(self._initial)
        before = [*self._initial, *(task.previous[-room:] if room > 0 else ())]
        return [self.tokenizer.token_id(PREVIOUS), *before, *start] if before else start

    def _most_tokens(self, prompt: Sequence[int], task: WindowTask) -> int:
        """Tokens a window may have. Rounded up to few sizes: those of one size are decoded together."""
        longest = self.backend.longest_tokens
        most = LEAST_TOKENS
        while most < TOKENS_PER_S * task.duration_s:
            most *= 2
        end = 1 if self.config.word_times else 0  # the alignment reads the end as well
        return max(1, min(most, self.config.max_tokens or longest // 2, longest - len(prompt) - end))

    def _groups(
        self, rows: Iterable[int], prompts: Sequence[Sequence[int]], tasks: Sequence[WindowTask]
    ) -> list[list[int]]:
        """Rows that one call can decode: alike in the length of their prompts, in their limit and in time tokens."""
        groups: dict[tuple[int, int, bool], list[int]] = {}
        for row in rows:
            key = (len(prompts[row]), self._most_tokens(prompts[row], tasks[row]), tasks[row].timestamps)
            groups.setdefault(key, []).append(row)
        return list(groups.values())

    def _attempt(
        self,
        encoded: Encoded,
        rows: Sequence[int],
        prompts: Sequence[Sequence[int]],
        tasks: Sequence[WindowTask],
        temperature: float,
        attempts: list[list[_Attempt]],
    ) -> None:
        check_stop()
        config = self.config
        search = Search(
            max_tokens=self._most_tokens(prompts[rows[0]], tasks[rows[0]]),
            beam_size=config.beam_size,
            temperature=temperature,
            best_of=config.best_of,
            length_penalty=config.length_penalty,
            repetition_penalty=config.repetition_penalty,
            no_repeat_ngram=config.no_repeat_ngram,
            suppress=self._suppress[tasks[rows[0]].timestamps],
            timestamps=tasks[rows[0]].timestamps,
            latest_first=round(config.max_initial_timestamp_s / TIME_STEP_S),
            seeds=tuple(derive_seed(config.seed, tasks[row].key, repr(temperature)) for row in rows),
        )
        found = self.backend.generate(encoded.take(rows), [prompts[row] for row in rows], search)
        for row, generated in zip(rows, found, strict=True):
            ratio = compression_ratio(self.tokenizer.decode(generated.ids))
            attempts[row].append(_Attempt(generated=generated, temperature=temperature, ratio=ratio))

    def _fails(self, attempt: _Attempt) -> bool:
        """Whether a text is to be tried again. Of silence it is not: there is nothing better to find."""
        generated = attempt.generated
        if is_silence(generated.no_speech_prob, generated.average_log_prob, self.config):
            return False
        return is_too_repetitive(attempt.ratio, self.config) or is_unlikely(generated.average_log_prob, self.config)

    def _result(self, attempts: Sequence[_Attempt], language: str | None, *, failed: bool) -> DecodedWindow:
        """The attempt that passed, else the likeliest of those that do not repeat themselves, else of all."""
        best = attempts[-1]
        if failed:
            varied = [attempt for attempt in attempts if not is_too_repetitive(attempt.ratio, self.config)]
            best = max(varied or attempts, key=lambda attempt: attempt.generated.average_log_prob)
        generated = best.generated
        silent = is_silence(generated.no_speech_prob, generated.average_log_prob, self.config)
        ids = [] if silent else generated.ids
        if is_too_repetitive(best.ratio, self.config):
            ids = self._without_loops(ids)
        return DecodedWindow(
            ids=ids,
            language=language,
            temperature=attempts[-1].temperature,
            average_log_prob=generated.average_log_prob,
            no_speech_prob=generated.no_speech_prob,
            compression_ratio=best.ratio,
            silent=silent,
        )

    def _without_loops(self, ids: Sequence[int]) -> list[int]:
        """The text between any two time tokens without its repetitions beyond `max_repeats`."""
        kept: list[int] = []
        run: list[int] = []
        for id_ in ids:
            if self.tokenizer.time_s(id_) is None:
                run.append(id_)
            else:
                kept += [*trim_repeats(run, self.config.max_repeats), id_]
                run = []
        return kept + trim_repeats(run, self.config.max_repeats)
