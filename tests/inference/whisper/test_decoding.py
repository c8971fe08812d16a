"""Temperature fallback and guards on a backend that says what it is told to."""

from typing import Any

import numpy as np
import pytest

from harken.core import InputError
from harken.inference.whisper.backend import Generated, Search
from harken.inference.whisper.config import WhisperDecodingConfig
from harken.inference.whisper.decoding import DecodedWindow, WindowDecoder, WindowTask


def features(rows: int) -> np.ndarray:
    """Windows that carry their number."""
    return np.broadcast_to(np.arange(rows, dtype=np.float32)[:, None, None], (rows, 150, 80))


def decode(backend: Any, tokenizer: Any, tasks: list[WindowTask], **options: Any) -> list[DecodedWindow]:
    decoder = WindowDecoder(backend, tokenizer, WhisperDecodingConfig(**options))
    return decoder(backend.encode(features(len(tasks))), tasks)


def script(table: dict[float, tuple[str, float, float]], tokenizer: Any) -> Any:
    """Text, average log probability and no-speech probability at each temperature."""

    def answer(_row: np.ndarray, _prompt: list[int], search: Search) -> Generated:
        text, average, no_speech = table[search.temperature]
        return Generated(ids=tokenizer.encode(text), average_log_prob=average, no_speech_prob=no_speech)

    return answer


LOOP = "yes " * 40
ONE = [WindowTask(duration_s=1.5)]


@pytest.mark.parametrize(
    ("table", "text", "temperature"),
    [
        ({0.0: ("fine", -0.3, 0.0)}, "fine", 0.0),
        ({0.0: ("low", -1.1, 0.0), 0.2: ("better", -0.9, 0.0)}, "better", 0.2),
        ({0.0: (LOOP, -0.1, 0.0), 0.2: (LOOP, -0.1, 0.0), 0.4: ("out", -0.8, 0.0)}, "out", 0.4),
        # silent and unlikely: not tried again, and nothing is said
        ({0.0: ("thanks for watching", -1.5, 0.9)}, "", 0.0),
        # silent but sure: it is said
        ({0.0: ("psst", -0.5, 0.9)}, "psst", 0.0),
    ],
)
def test_fallback(whisper: Any, scripted: Any, table: dict[float, Any], text: str, temperature: float) -> None:
    backend = scripted(script(table, whisper.tokenizer))
    found = decode(backend, whisper.tokenizer, ONE)[0]
    assert whisper.tokenizer.decode(found.ids) == text
    assert found.temperature == temperature
    assert [search.temperature for _, search in backend.calls] == sorted(table)
    assert found.silent is (text == "")


def test_when_all_fail_the_likeliest_that_does_not_repeat_itself_counts(whisper: Any, scripted: Any) -> None:
    table = {t: (f"try {n}", -1.5 + 0.01 * n, 0.0) for n, t in enumerate((0.0, 0.2, 0.4, 0.6, 0.8, 1.0))}
    table[0.4] = ("best of bad", -1.05, 0.0)
    table[0.6] = (LOOP, -0.2, 0.0)
    found = decode(scripted(script(table, whisper.tokenizer)), whisper.tokenizer, ONE)[0]
    assert whisper.tokenizer.decode(found.ids) == "best of bad"
    assert found.temperature == 1.0


def test_when_all_repeat_themselves_the_loop_is_cut(whisper: Any, scripted: Any) -> None:
    tokenizer = whisper.tokenizer
    start, end = tokenizer.time_id(0.0), tokenizer.time_id(1.0)

    def answer(_row: np.ndarray, _prompt: list[int], _search: Search) -> Generated:
        ids = [start, *tokenizer.encode("well"), *tokenizer.encode(LOOP), end]
        return Generated(ids=ids, average_log_prob=-0.1, no_speech_prob=0.0)

    found = decode(
        scripted(answer),
        tokenizer,
        [WindowTask(duration_s=1.5, timestamps=True)],
        temperatures=(0.0, 0.5),
        max_repeats=3,
    )[0]
    assert tokenizer.decode(found.ids) == "wellyes yes yes"
    assert (found.ids[0], found.ids[-1]) == (start, end)


def test_only_windows_that_fail_are_decoded_again(whisper: Any, scripted: Any) -> None:
    def answer(row: np.ndarray, _prompt: list[int], search: Search) -> Generated:
        number = int(row[0, 0])
        average = -0.5 if search.temperature > 0.2 * number - 0.1 else -2.0
        text = f"window {number} at {search.temperature}"
        return Generated(ids=whisper.tokenizer.encode(text), average_log_prob=average, no_speech_prob=0.0)

    backend = scripted(answer)
    found = decode(backend, whisper.tokenizer, [WindowTask(duration_s=1.5, key=n) for n in range(4)])
    texts = [whisper.tokenizer.decode(item.ids) for item in found]
    assert texts == ["window 0 at 0.0", "window 1 at 0.2", "window 2 at 0.4", "window 3 at 0.6"]
    assert [len(prompts) for prompts, _ in backend.calls] == [4, 3, 2, 1]


def test_draws_depend_on_the_window_and_the_seed_alone(whisper: Any, scripted: Any) -> None:
    table = {0.0: ("low", -3.0, 0.0), 1.0: ("low", -3.0, 0.0)}

    def seeds(keys: list[int], **options: Any) -> list[int]:
        backend = scripted(script(table, whisper.tokenizer))
        tasks = [WindowTask(duration_s=1.5, key=key) for key in keys]
        decode(backend, whisper.tokenizer, tasks, temperatures=(0.0, 1.0), **options)
        return list(backend.calls[-1][1].seeds)

    assert seeds([5, 7]) == [*seeds([5]), *seeds([7])]
    assert seeds([5]) != seeds([7])
    assert seeds([5]) != seeds([5], seed=1)


def test_prompts(whisper: Any, scripted: Any) -> None:
    tokenizer = whisper.tokenizer
    backend = scripted(script({0.0: ("x", -0.1, 0.0)}, tokenizer))
    previous = tuple(tokenizer.encode("said before " * 20))
    tasks = [
        WindowTask(duration_s=1.5, language="ru"),
        WindowTask(duration_s=1.5),
        WindowTask(duration_s=1.5, language="en", previous=previous, timestamps=True),
    ]
    found = decode(backend, tokenizer, tasks, initial_prompt="Harken")
    assert [item.language for item in found] == ["ru", "uz", "en"]
    first = tokenizer.token_id("<|startofprev|>")
    initial = tokenizer.encode("Harken")
    prompts = [prompt for call, _ in backend.calls for prompt in call]
    assert prompts[0] == [first, *initial, *tokenizer.prompt(language="ru")]
    assert prompts[1] == [first, *initial, *tokenizer.prompt(language="uz")]
    room = 200 // 2 - 1 - len(initial)
    assert prompts[2] == [first, *initial, *previous[-room:], *tokenizer.prompt(language="en", timestamps=True)]
    assert [len(call) for call, _ in backend.calls] == [2, 1]
    assert [search.timestamps for _, search in backend.calls] == [False, True]


def test_special_tokens_are_no_text_and_times_only_where_wanted(whisper: Any, scripted: Any) -> None:
    tokenizer = whisper.tokenizer
    backend = scripted(script({0.0: ("x", -0.1, 0.0)}, tokenizer))
    decode(backend, tokenizer, [WindowTask(duration_s=1.5), WindowTask(duration_s=1.5, timestamps=True)])
    untimed, timed = (set(search.suppress) for _, search in backend.calls)
    names = ["<|startoftranscript|>", "<|en|>", "<|transcribe|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"]
    assert {tokenizer.token_id(name) for name in names} <= timed
    assert tokenizer.end not in untimed
    assert untimed - timed == {tokenizer.time_id(0.02 * n) for n in range(76)}


def test_short_audio_has_few_tokens_and_all_have_what_the_decoder_holds(whisper: Any, scripted: Any) -> None:
    backend = scripted(script({0.0: ("x", -0.1, 0.0)}, whisper.tokenizer))
    decode(backend, whisper.tokenizer, [WindowTask(duration_s=d) for d in (0.5, 1.2, 1.5, 9.0)])
    assert [(len(call), search.max_tokens) for call, search in backend.calls] == [(2, 64), (2, 100)]
    decode(backend, whisper.tokenizer, ONE, max_tokens=7)
    assert backend.calls[-1][1].max_tokens == 7


def test_the_alignment_has_a_place_for_the_end(whisper: Any, scripted: Any) -> None:
    backend = scripted(script({0.0: ("x", -0.1, 0.0)}, whisper.tokenizer))
    long, prompt = [WindowTask(duration_s=60.0)], 4
    for word_times, most in ((False, 200 - prompt), (True, 199 - prompt)):
        decode(backend, whisper.tokenizer, long, max_tokens=1_000, word_times=word_times)
        assert backend.calls[-1][1].max_tokens == most


def test_refusals(whisper: Any, scripted: Any) -> None:
    backend = scripted(script({0.0: ("x", -0.1, 0.0)}, whisper.tokenizer))
    with pytest.raises(InputError, match="no token for the language 'xx'"):
        decode(backend, whisper.tokenizer, ONE, language="xx")
    with pytest.raises(InputError, match=r"initial_prompt takes .* tokens; the model reads 99"):
        decode(backend, whisper.tokenizer, ONE, initial_prompt="word " * 40)
