"""Whether an exported Whisper writes what its original writes: texts, and the probability of every token of them.

Shapes: F feature frames, M mels, T tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from harken.audio.features import FeatureExtractor
from harken.core import Features, InputError
from harken.evaluation.scoring.metrics import score
from harken.export.clips import Clip
from harken.export.parity import Parity
from harken.inference.whisper.backend import Search, WhisperBackend
from harken.inference.whisper.special import never_text
from harken.models.folder import LoadedModel
from harken.text.whisper_tokenizer import Task, WhisperTokenizer

BATCH = 4  # clips decoded together, besides each alone
_LEAST_PROBABILITY = 1e-10


@dataclass(frozen=True, slots=True, kw_only=True)
class WhisperClip:
    """Features (window, M) of a clip, how many of their frames are sound, and what is said in it, if known."""

    features: Features
    frames: int
    text: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WhisperReference:
    """What the original writes for a clip alone: its greedy tokens `ids` after `prompt`, with their probabilities."""

    clip: WhisperClip
    prompt: list[int]
    ids: list[int]
    probabilities_T: npt.NDArray[np.float32]


def whisper_references(
    original: WhisperBackend[Any],
    tokenizer: WhisperTokenizer,
    clips: Sequence[WhisperClip],
    *,
    language: str | None,
    task: Task,
) -> list[WhisperReference]:
    """Clips as the original writes them; without `language` in the one it hears."""
    found = []
    for clip in clips:
        encoded = original.encode(clip.features[None])
        spoken = language
        if spoken is None and tokenizer.multilingual:
            chances = original.detect(encoded)[0]
            spoken = max(chances, key=chances.__getitem__)
        prompt = tokenizer.prompt(language=spoken, task=task)
        ids = original.generate(encoded, [prompt], _greedy(original, tokenizer, prompt))[0].ids
        probabilities = _probabilities(original, encoded, prompt, ids, clip.frames)
        found.append(WhisperReference(clip=clip, prompt=prompt, ids=ids, probabilities_T=probabilities))
    return found


def measure_whisper_parity(
    exported: WhisperBackend[Any],
    tokenizer: WhisperTokenizer,
    references: Sequence[WhisperReference],
    *,
    audio_s: float,
    normalizer: str,
) -> Parity:
    """Compare an export with its original on every clip alone and in a batch with others.

    `largest_difference` is that of the log probabilities of the original's tokens under teacher forcing.
    """
    largest, texts, places = 0.0, [], []
    for group in _groups(len(references)):
        encoded = exported.encode(np.stack([references[place].clip.features for place in group]))
        prompts = [references[place].prompt for place in group]
        written = exported.generate(encoded, prompts, _greedy(exported, tokenizer, prompts[0]))
        for place, generated in zip(group, written, strict=True):
            texts.append(tokenizer.decode(generated.ids))
            places.append(place)
        if len(group) == 1:
            reference = references[group[0]]
            chances = _probabilities(exported, encoded, reference.prompt, reference.ids, reference.clip.frames)
            largest = max(largest, _largest(chances, reference.probabilities_T))
    originals = [tokenizer.decode(references[place].ids) for place in places]
    known = [n for n, place in enumerate(places) if references[place].clip.text is not None]
    spoken = [references[places[n]].clip.text or "" for n in known]
    cer = score(originals, texts, normalizer="none").cer
    return Parity(
        clips=len(references),
        audio_s=round(audio_s, 3),
        comparisons=len(places),
        largest_difference=largest,
        texts_differing=sum(text != original for text, original in zip(texts, originals, strict=True)),
        cer=cer if cer is not None else float(any(texts)),
        wer=score(spoken, [texts[n] for n in known], normalizer=normalizer).wer if known else None,
        wer_original=score(spoken, [originals[n] for n in known], normalizer=normalizer).wer if known else None,
    )


def _groups(clips: int) -> list[list[int]]:
    alone = [[place] for place in range(clips)]
    together = [list(range(first, min(first + BATCH, clips))) for first in range(0, clips, BATCH)]
    return alone + [group for group in together if len(group) > 1]


def _greedy(backend: WhisperBackend[Any], tokenizer: WhisperTokenizer, prompt: Sequence[int]) -> Search:
    longest = backend.longest_tokens
    return Search(
        max_tokens=max(1, min(longest // 2, longest - len(prompt))),
        suppress=never_text(tokenizer, vocab_rows=backend.vocab_rows, timestamps=False),
    )


def _probabilities(
    backend: WhisperBackend[Any], encoded: Any, prompt: Sequence[int], ids: Sequence[int], frames: int
) -> npt.NDArray[np.float32]:
    """(T,) of each token after the ones before it. The prompt's last, <|notimestamps|>, is the alignment's own."""
    return backend.align(encoded, prompt[:-1], [ids], [frames])[0].probabilities if ids else np.zeros(0, np.float32)


def _largest(found_T: npt.NDArray[np.float32], expected_T: npt.NDArray[np.float32]) -> float:
    logs = [np.log(np.maximum(values, _LEAST_PROBABILITY)) for values in (found_T, expected_T)]
    return float(np.abs(logs[0] - logs[1]).max(initial=0.0))


def heard_by_whisper(
    loaded: LoadedModel, window_frames: int, clips: Sequence[Clip]
) -> tuple[list[Clip], list[WhisperClip]]:
    """Clips cut to the window, and what the model hears of them. Raises InputError where there is nothing."""
    extractor, rate = FeatureExtractor(loaded.features), loaded.features.sample_rate_hz
    longest = round(window_frames * extractor.hop_s * rate)
    cut = [Clip(name=clip.name, waveform=clip.waveform[:longest], text=clip.text) for clip in clips]
    cut = [clip for clip in cut if len(clip.waveform)]
    if not cut:
        raise InputError("There is no audio to check the export on.", hint="Give clips.")
    return cut, [
        WhisperClip(
            features=extractor(clip.waveform), frames=int(len(clip.waveform) / (extractor.hop_s * rate)), text=clip.text
        )
        for clip in cut
    ]
