"""A file's text, then the same file as if it were spoken now: python transcribe.py FILE.wav

HARKEN_URL is the server (http://127.0.0.1:8000 without it), HARKEN_API_KEY the key if it asks for one.
"""

import os
import sys
import wave
from collections.abc import Iterator

from harken.client import Committed, Endpoint, HarkenClient
from harken.core import HarkenError


def pieces(path: str) -> Iterator[bytes]:
    """The 16-bit samples of a WAV file, a tenth of a second at a time."""
    with wave.open(path) as audio:
        while piece := audio.readframes(audio.getframerate() // 10):
            yield piece


def main(path: str) -> None:
    """Print the text and its words, then what a stream of the same audio commits."""
    url = os.environ.get("HARKEN_URL", "http://127.0.0.1:8000")
    with HarkenClient(url, api_key=os.environ.get("HARKEN_API_KEY") or None) as client:
        result = client.transcribe(path, word_times=True)
        print(result.text)
        for word in result.words:
            print(f"{word.start_s:6.2f} {word.end_s:6.2f} {word.text}")

        with wave.open(path) as audio:
            rate_hz, channels = audio.getframerate(), audio.getnchannels()
        for event in client.stream(pieces(path), sample_rate_hz=rate_hz, channels=channels, realtime=True):
            if isinstance(event, Committed):
                print(event.text, end=" ", flush=True)
            elif isinstance(event, Endpoint):
                print()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python transcribe.py FILE.wav")
    try:
        main(sys.argv[1])
    except HarkenError as error:
        sys.exit(f"error: {error}")
    except wave.Error as error:
        sys.exit(f"error: only a WAV file can be streamed here ({error}).")
