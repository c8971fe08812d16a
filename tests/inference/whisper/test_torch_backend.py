"""The torch backend against transformers, and against the model's own greedy decoding."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch

from harken.core import InputError
from harken.inference.whisper.backend import Search
from harken.inference.whisper.special import never_text
from harken.inference.whisper.torch_backend import TorchWhisperBackend
from harken.inference.whisper.word_times import align_tokens

transformers = pytest.importorskip("transformers")


def sounds(whisper: Any, batch: int) -> np.ndarray:
    frames, mels = whisper.backend.window_frames, whisper.backend.dimensions
    return np.random.default_rng(3).standard_normal((batch, frames, mels)).astype(np.float32)


def ids_of(whisper: Any, sound: np.ndarray, prompt: list[int], search: Search) -> list[list[int]]:
    backend = whisper.backend
    return [found.ids for found in backend.generate(backend.encode(sound), [prompt] * len(sound), search)]


def theirs(whisper: Any, sound: np.ndarray, **options: Any) -> list[list[int]]:
    found = whisper.network.generate(
        torch.from_numpy(sound).transpose(1, 2), language="uz", task="transcribe", return_timestamps=False, **options
    ).tolist()
    prompt, end = whisper.tokenizer.prompt(language="uz"), whisper.tokenizer.end
    rows = [row[len(prompt) :] if row[: len(prompt)] == prompt else row for row in found]
    return [row[: row.index(end)] if end in row else row for row in rows]


def test_greedy_is_that_of_the_model_and_of_transformers(untimed: Any) -> None:
    sound, prompt = sounds(untimed, 4), untimed.tokenizer.prompt(language="uz")
    mine = ids_of(untimed, sound, prompt, Search(max_tokens=40))
    encoded = untimed.model.encode(torch.from_numpy(sound))
    assert mine == untimed.model.generate(encoded, prompts=[prompt] * 4, max_tokens=[40] * 4)
    assert mine == theirs(untimed, sound, max_new_tokens=40)
    assert len({tuple(row) for row in mine}) > 1


def test_greedy_with_times_is_that_of_transformers(whisper: Any) -> None:
    sound, prompt = sounds(whisper, 6), whisper.tokenizer.prompt(language="uz", timestamps=True)
    mine = ids_of(whisper, sound, prompt, Search(max_tokens=30, timestamps=True, latest_first=10**6))
    expected = []
    for row in sound:  # one by one: of a batch transformers gives windows cut at their times
        found = whisper.network.generate(
            torch.from_numpy(row[None]).transpose(1, 2), language="uz", task="transcribe", return_timestamps=True,
            max_new_tokens=30, return_dict_in_generate=True, force_unique_generate_call=True,
        )  # fmt: skip
        ids = found.sequences[0].tolist()[len(prompt) :]
        expected.append(ids[: ids.index(whisper.tokenizer.end)] if whisper.tokenizer.end in ids else ids)
    assert mine == expected
    first = whisper.tokenizer.time_id(0.0)
    assert all(row[0] >= first for row in mine)


@pytest.mark.parametrize("beams", [2, 3, 5])
def test_beam_search_is_that_of_transformers(untimed: Any, beams: int) -> None:
    """Both stop at as many finished hypotheses as there are beams, and rank by the sum."""
    sound, prompt = sounds(untimed, 8), untimed.tokenizer.prompt(language="uz")
    for longest in (3, 12, 30):
        search = Search(max_tokens=longest, beam_size=beams, length_penalty=0.0)
        options: dict[str, Any] = {"num_beams": beams, "length_penalty": 0.0, "early_stopping": True}
        expected = theirs(untimed, sound, max_new_tokens=longest, **options)
        assert ids_of(untimed, sound, prompt, search) == expected
    assert expected != ids_of(untimed, sound, prompt, Search(max_tokens=30))


def test_average_log_prob_is_that_of_teacher_forcing(whisper: Any) -> None:
    sound, prompt = sounds(whisper, 3), whisper.tokenizer.prompt(language="uz")
    backend = whisper.backend
    suppress = never_text(whisper.tokenizer, vocab_rows=backend.vocab_rows, timestamps=False)
    for beams in (1, 4):
        search = Search(max_tokens=15, beam_size=beams, suppress=suppress)
        found = backend.generate(backend.encode(sound), [prompt] * 3, search)
        for row, generated in zip(sound, found, strict=True):
            ended = [whisper.tokenizer.end] if len(generated.ids) < 15 else []
            ids = [*prompt, *generated.ids, *ended]
            with torch.no_grad():
                encoded = whisper.model.encode(torch.from_numpy(row[None]))
                scores = whisper.model.score_tokens(encoded, torch.tensor([ids]))[0]
            scores[:, list(suppress)] = -torch.inf
            logs = scores.log_softmax(-1)
            total = sum(float(logs[len(prompt) + n - 1, id_]) for n, id_ in enumerate(ids[len(prompt) :]))
            assert generated.average_log_prob == pytest.approx(total / (len(generated.ids) + 1), abs=1e-4)


def test_no_speech_probability_is_that_after_the_start_token(whisper: Any) -> None:
    sound, tokenizer = sounds(whisper, 2), whisper.tokenizer
    plain = tokenizer.prompt(language="uz")
    longer = [tokenizer.token_id("<|startofprev|>"), *tokenizer.encode("ab"), *plain]
    for prompt in (plain, longer):
        at = prompt.index(tokenizer.token_id("<|startoftranscript|>"))
        with torch.no_grad():
            encoded = whisper.model.encode(torch.from_numpy(sound))
            scores = whisper.model.score_tokens(encoded, torch.tensor([prompt] * 2))[:, at].softmax(-1)
        expected = scores[:, tokenizer.token_id("<|nospeech|>")].tolist()
        backend = whisper.backend
        found = backend.generate(backend.encode(sound), [prompt] * 2, Search(max_tokens=2))
        assert [g.no_speech_prob for g in found] == pytest.approx(expected, rel=1e-4)


def test_language_probabilities_are_those_after_the_start_token(whisper: Any) -> None:
    sound = sounds(whisper, 3)
    backend = whisper.backend
    found = backend.detect(backend.encode(sound))
    ids = whisper.network.detect_language(input_features=torch.from_numpy(sound).transpose(1, 2)).tolist()
    for row, id_ in zip(found, ids, strict=True):
        assert sum(row.values()) == pytest.approx(1.0)
        assert whisper.tokenizer.languages[max(row, key=row.__getitem__)] == id_


def test_alignment_is_made_of_the_cross_attention_of_transformers(whisper: Any) -> None:
    sound, tokenizer = sounds(whisper, 2), whisper.tokenizer
    prompt = tokenizer.prompt(language="uz", timestamps=True)
    texts, frames = [tokenizer.encode("one two"), tokenizer.encode("three")], [150, 96]
    backend = whisper.backend
    found = backend.align(backend.encode(sound), prompt, texts, frames)
    eager = transformers.WhisperForConditionalGeneration.from_pretrained(
        whisper.folder, attn_implementation="eager"
    ).eval()
    for row, text, count, alignment in zip(sound, texts, frames, found, strict=True):
        ids = [*prompt, tokenizer.token_id("<|notimestamps|>"), *text, tokenizer.end]
        with torch.no_grad():
            output = eager(
                input_features=torch.from_numpy(row[None]).transpose(1, 2), decoder_input_ids=torch.tensor([ids]),
                output_attentions=True,
            )  # fmt: skip
        # Without alignment_heads in generation_config.json: all heads of the upper half, which is layer 1 of 2.
        weights = output.cross_attentions[1][0, :, :, : count // 2].log().numpy()
        expected = align_tokens(weights, first=len(prompt), tokens=len(text))
        np.testing.assert_array_equal(alignment.positions, expected)
        chances = output.logits[0, :, : tokenizer.end].softmax(-1)
        wanted = [float(chances[len(prompt) + n, id_]) for n, id_ in enumerate(text)]
        np.testing.assert_allclose(alignment.probabilities, wanted, rtol=1e-4)


def test_threads_that_align_at_once_do_not_hear_each_other(whisper: Any) -> None:
    sound, backend = sounds(whisper, 2), whisper.backend
    prompt = whisper.tokenizer.prompt(language="uz", timestamps=True)
    texts = [whisper.tokenizer.encode("one two"), whisper.tokenizer.encode("three")]
    encoded = backend.encode(sound)
    (alone,) = backend.align(encoded.take([0]), prompt, texts[:1], [150])

    def align(turn: int) -> bool:
        rows = [0] if turn % 2 else [0, 1]
        found = backend.align(encoded.take(rows), prompt, texts[: len(rows)], [150, 96][: len(rows)])
        return np.array_equal(found[0].positions, alone.positions)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(align, range(60)))


def test_a_part_of_what_was_encoded(whisper: Any) -> None:
    sound, prompt = sounds(whisper, 3), whisper.tokenizer.prompt(language="en")
    backend = whisper.backend
    encoded = backend.encode(sound)
    part = encoded.take([2, 0])
    assert (len(encoded), len(part)) == (3, 2)
    search = Search(max_tokens=9, beam_size=2)
    rows = [backend.generate(encoded, [prompt] * 3, search)[n].ids for n in (2, 0)]
    assert [g.ids for g in backend.generate(part, [prompt] * 2, search)] == rows


def test_refusals(whisper: Any) -> None:
    backend = TorchWhisperBackend(whisper.model, whisper.tokenizer)
    with pytest.raises(InputError, match="features are 100 frames of 80; this Whisper reads 150"):
        backend.encode(np.zeros((1, 100, 80), np.float32))
    encoded = backend.encode(sounds(whisper, 2))
    with pytest.raises(InputError, match=r"prompts have \[1, 2\] tokens"):
        backend.generate(encoded, [[257], [257, 258]], Search(max_tokens=1))
