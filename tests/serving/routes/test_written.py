"""`harken.serving.routes.written`: where answers are made."""

import asyncio
import threading

import pytest

from harken.core import Transcript
from harken.serving.contract import Transcription
from harken.serving.routes.written import SHORT_CHARACTERS, written


def made(result: Transcription, end: str, *, begin: str) -> tuple[str, int]:
    return begin + result.transcript.text[:2] + end, threading.get_ident()


@pytest.mark.parametrize(("characters", "is_here"), [(SHORT_CHARACTERS, True), (SHORT_CHARACTERS + 1, False)])
def test_long_texts_are_made_in_a_thread(characters: int, is_here: bool) -> None:
    result = Transcription(transcript=Transcript(text="a" * characters, duration_s=1.0), model="digits")
    text, thread = asyncio.run(written(made, result, ">", begin="<"))
    assert text == "<aa>"
    assert (thread == threading.get_ident()) is is_here
