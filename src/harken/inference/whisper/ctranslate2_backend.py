"""Whisper's network in CTranslate2. No torch.

The library searches by itself, under the same rules as `rules` (its ApplyTimestampRules is OpenAI's).

Shapes: B windows, F feature frames, M mels, P positions of the encoder, D width.
"""

import json
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from harken.core import InputError, MissingPart
from harken.core.machine import usable_cores
from harken.inference.whisper.backend import Alignment, Generated, Search
from harken.inference.whisper.special import special_ids
from harken.inference.whisper.word_times import MEDIAN_WIDTH, token_positions
from harken.text.whisper_tokenizer import WhisperTokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class CTranslate2Encoded:
    """(B, P, D) in the library's storage, on its device."""

    storage: Any

    def __len__(self) -> int:
        return int(self.storage.shape[0])

    def take(self, rows: Sequence[int]) -> Self:
        if list(rows) == list(range(len(self))):
            return self
        library = load_library()
        on_cpu = self.storage if self.storage.device == "cpu" else self.storage.to_device(library.Device.cpu)
        return type(self)(storage=library.StorageView.from_array(np.asarray(on_cpu)[list(rows)]))


class CTranslate2Backend:
    """Answers `WhisperBackend` with a folder that `harken export` wrote.

    Several workers share the weights and the windows of a call: on a CPU two windows side by side are done much sooner
    than two at once, whose attention is larger than its cache.

    Draws at temperatures above 0 come from the library's own generator, one for each worker, which `seed` starts when
    the model is loaded and no call starts anew; `Search.seeds` is not read. The same calls in the same order give the
    same texts with one worker; which of several takes a window is left to chance.
    """

    def __init__(
        self,
        folder: Path,
        tokenizer: WhisperTokenizer,
        *,
        window_frames: int,
        longest_tokens: int,
        device: str = "auto",
        compute_type: str = "default",
        threads: int | None = None,
        seed: int = 0,
    ) -> None:
        """Raises MissingPart without the package, a device or a file, InputError for a type the device lacks."""
        library = load_library()
        library.set_random_seed(seed)
        name, _, index = device.partition(":")
        on_cpu = name == "cpu" or (name == "auto" and not library.get_cuda_device_count())
        self._workers, each = share_threads(threads or usable_cores()) if on_cpu else (1, threads or 0)
        self._pool = ThreadPoolExecutor(self._workers, thread_name_prefix="whisper")
        try:
            self._model = library.models.Whisper(
                str(folder),
                device=name,
                device_index=int(index or 0),
                compute_type=compute_type,
                inter_threads=self._workers,
                intra_threads=each,
            )
        except ValueError as err:
            raise InputError(f"CTranslate2 cannot load {folder} on {device}: {err}.", hint="Use cpu or auto.") from err
        except RuntimeError as err:
            raise MissingPart(f"CTranslate2 cannot load {folder}: {err}.", hint="Run harken export again.") from err
        self._window_frames, self._longest_tokens = window_frames, longest_tokens
        self._special = special_ids(tokenizer)
        self._suppressed = _suppressed(folder)
        self._vocab_rows = len(json.loads((folder / "vocabulary.json").read_text(encoding="utf-8")))

    @property
    def window_frames(self) -> int:
        return self._window_frames

    @property
    def dimensions(self) -> int:
        return int(self._model.n_mels)

    @property
    def longest_tokens(self) -> int:
        return self._longest_tokens

    @property
    def vocab_rows(self) -> int:
        return self._vocab_rows

    def encode(self, features_BFM: npt.NDArray[np.float32]) -> CTranslate2Encoded:
        if features_BFM.shape[1:] != (self.window_frames, self.dimensions):
            raise InputError(
                f"The features are {features_BFM.shape[1]} frames of {features_BFM.shape[2]}; this Whisper reads "
                f"{self.window_frames} frames of {self.dimensions}.",
                hint="Use the model folder's own feature settings.",
            )
        features_BMF = np.ascontiguousarray(features_BFM.transpose(0, 2, 1))
        view = load_library().StorageView.from_array
        if self._model.device != "cpu" or len(features_BMF) == 1:
            return CTranslate2Encoded(storage=self._model.encode(view(features_BMF)))
        encoded = self._pool.map(lambda row_MF: np.asarray(self._model.encode(view(row_MF[None]))), features_BMF)
        return CTranslate2Encoded(storage=view(np.concatenate(list(encoded))))

    def detect(self, encoded: CTranslate2Encoded) -> list[dict[str, float]]:
        return [
            {token[2:-2]: float(probability) for token, probability in row}
            for row in self._model.detect_language(encoded.storage)
        ]

    def generate(
        self, encoded: CTranslate2Encoded, prompts: Sequence[Sequence[int]], search: Search
    ) -> list[Generated]:
        """See `WhisperBackend`. The windows are shared out among the workers."""
        parts = [part.tolist() for part in np.array_split(np.arange(len(prompts)), min(self._workers, len(prompts)))]
        if len(parts) == 1:
            return self._generate(encoded, prompts, search)
        found = self._pool.map(
            lambda rows: self._generate(encoded.take(rows), [prompts[row] for row in rows], search), parts
        )
        return [generated for part in found for generated in part]

    def _generate(
        self, encoded: CTranslate2Encoded, prompts: Sequence[Sequence[int]], search: Search
    ) -> list[Generated]:
        length = len(prompts[0])
        drawn = search.temperature > 0
        beam_size = 1 if drawn else search.beam_size
        # With one sequence to choose from the penalty ranks nothing; without it the score is the sum itself.
        length_penalty = search.length_penalty if drawn or beam_size > 1 else 0.0
        results = self._model.generate(
            encoded.storage,
            [list(prompt) for prompt in prompts],
            beam_size=beam_size,
            num_hypotheses=search.best_of if drawn else 1,
            sampling_topk=0 if drawn else 1,
            sampling_temperature=search.temperature if drawn else 1.0,
            length_penalty=length_penalty,
            repetition_penalty=search.repetition_penalty,
            no_repeat_ngram_size=search.no_repeat_ngram,
            # The library makes at most half of max_length, and counts the prompt in it.
            max_length=max(2 * search.max_tokens, search.max_tokens + length - 1),
            suppress_tokens=sorted({*self._suppressed, *search.suppress}),
            suppress_blank=True,
            max_initial_timestamp_index=search.latest_first,
            return_scores=True,
            return_no_speech_prob=self._special.no_speech is not None,
        )
        return [
            Generated(
                ids=list(result.sequences_ids[0]),
                average_log_prob=_average(result, length_penalty),
                no_speech_prob=float(result.no_speech_prob) if self._special.no_speech is not None else 0.0,
            )
            for result in results
        ]

    def align(
        self, encoded: CTranslate2Encoded, prompt: Sequence[int], ids: Sequence[Sequence[int]], frames: Sequence[int]
    ) -> list[Alignment]:
        results = self._model.align(
            encoded.storage, list(prompt), [list(row) for row in ids], list(frames), median_filter_width=MEDIAN_WIDTH
        )
        found = []
        for row, count, result in zip(ids, frames, results, strict=True):
            positions = np.zeros(len(row) + 1, np.int64)
            if count >= 4:  # at one position all weights are alike, and the library divides by their spread
                positions = token_positions(np.array(result.alignments, np.int64), tokens=len(row))
            probabilities = np.array(result.text_token_probs, np.float32)
            found.append(Alignment(positions=positions, probabilities=probabilities))
        return found


def share_threads(threads: int) -> tuple[int, int]:
    """(workers, threads of each): two workers as soon as there are two threads, none with more than four threads.

    More than four threads on one window do little for it; the library's own default is four.
    """
    each = max(1, min(4, threads // 2))
    return max(1, threads // each), each


def load_library() -> Any:
    """The package ctranslate2. Raises MissingPart where it is not installed."""
    try:
        return import_module("ctranslate2")
    except ModuleNotFoundError as err:
        if err.name != "ctranslate2":
            raise
        raise MissingPart(
            "The engine ctranslate2 needs the package ctranslate2.", hint="pip install 'harken[ctranslate2]'"
        ) from err


def _average(result: Any, length_penalty: float) -> float:
    """Mean log probability of the tokens and the end, from the score, which is their sum over length ** penalty.

    The library's score of an empty text is no number; an empty text is no worse than its window, so it counts as sure.
    """
    length = len(result.sequences_ids[0])
    if length == 0 and length_penalty != 0:
        return 0.0
    total = float(result.scores[0]) * math.pow(length, length_penalty)
    return total / (length + 1)


def _suppressed(folder: Path) -> list[int]:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return [int(id_) for id_ in config.get("suppress_ids") or [] if int(id_) >= 0]
