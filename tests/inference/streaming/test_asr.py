"""The facade: files, rates, microphones, and which policy a model can follow."""

import sys
from collections.abc import Sequence
from math import inf, nan
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from tests.inference.streaming.conftest import Make, noise

from harken.audio.resample import resample
from harken.core import InputError, MissingPart, Transcript, Waveform
from harken.inference.streaming import EndpointConfig, Final, StreamingASR, StreamingConfig
from harken.inference.streaming.events import StreamEvent
from harken.inference.streaming.stream import StreamState


def text_of(events: list[StreamEvent]) -> str:
    assert isinstance(events[-1], Final)
    return events[-1].text


def test_a_folder_a_recognizer_and_a_model_in_memory_say_the_same(parts: Make, folder: Path, tmp_path: Path) -> None:
    made = parts()
    path = tmp_path / "noise.wav"
    soundfile.write(path, noise(2), 16_000, subtype="FLOAT")
    asrs = [StreamingASR(folder), StreamingASR(made.recognizer()), StreamingASR(made.model, made)]
    assert {asr.policy for asr in asrs} == {"cached"}
    found = [list(asr.stream_from_file(path)) for asr in asrs]
    assert text_of(found[0])
    assert found[0] == found[1] == found[2]
    for chunk_s in (0.001, 5.0):
        assert list(asrs[0].stream_from_file(path, chunk_s)) == found[0]


def test_auto_takes_the_policy_that_the_model_can_follow(parts: Make) -> None:
    assert StreamingASR(parts().recognizer()).policy == "cached"
    assert StreamingASR(parts(chunked=False).recognizer()).policy == "windowed"
    assert StreamingASR(parts(normalize="mean-scale").recognizer()).policy == "windowed"
    with pytest.raises(InputError, match="trained without chunks"):
        StreamingASR(parts(chunked=False).recognizer(), config=StreamingConfig(policy="cached"))
    with pytest.raises(InputError, match="normalised over each utterance"):
        StreamingASR(parts(normalize="mean-scale").recognizer(), config=StreamingConfig(policy="cached"))


def test_a_processor_is_given_where_it_is_needed(parts: Make, folder: Path) -> None:
    made = parts()
    with pytest.raises(InputError, match="does not tell its features"):
        StreamingASR(made.model)
    with pytest.raises(InputError, match="processor is not used"):
        StreamingASR(folder, made)


def test_chunks_of_other_sizes(parts: Make) -> None:
    made = parts()
    asr = StreamingASR(made.recognizer(), config=StreamingConfig(chunk_frames=2, left_chunks=3))
    assert asr.latency_s == pytest.approx(StreamingASR(made.recognizer()).latency_s - 0.08)
    with pytest.raises(ValueError, match="for policy cached only"):
        StreamingConfig(policy="windowed", left_chunks=0)


class Plain:
    """A recognizer of no known kind: `auto` is local-agreement."""

    sample_rate_hz = 16_000

    def transcribe(self, audio: str | Path | Waveform) -> Transcript:
        return Transcript(text="", duration_s=1.0)

    def transcribe_batch(self, waveforms: Sequence[Waveform]) -> list[Transcript]:
        return [self.transcribe(waveform) for waveform in waveforms]


def test_settings_that_do_nothing_with_the_policy_of_auto_are_refused(parts: Make) -> None:
    plain = parts(chunked=False).recognizer()
    for sized in (StreamingConfig(chunk_frames=8), StreamingConfig(left_chunks=8)):
        with pytest.raises(InputError, match="policy is auto, for this model windowed; chunk_frames and left_chunks"):
            StreamingASR(plain, config=sized)
    endpoint = EndpointConfig(silence_s=1.0)
    assert StreamingASR(plain, config=StreamingConfig(endpoint=endpoint)).policy == "windowed"
    with pytest.raises(InputError, match=r"for this model local-agreement; endpoint\.silence_s does nothing"):
        StreamingASR(Plain(), config=StreamingConfig(endpoint=endpoint))
    with pytest.raises(ValueError, match=r"policy is fixed; endpoint\.source does nothing"):
        StreamingASR(plain, vad=True, config=StreamingConfig(policy="fixed"))


def test_a_stream_that_is_stopped_tells_what_it_heard(parts: Make, tmp_path: Path) -> None:
    path, audio = tmp_path / "noise.wav", 0.5 * noise(3)  # within full scale, which a decoder clips to
    soundfile.write(path, audio, 16_000, subtype="FLOAT")
    asr, asked = StreamingASR(parts().recognizer()), 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > 20  # 20 chunks were heard

    events = list(asr.stream_from_file(path, stop=stop))
    state, expected = asr.step(asr.start(), audio[:16_000])
    assert events == [*expected, *asr.finish(state)[1]]
    assert text_of(events)
    assert asked == 21


def test_realtime_hears_no_faster_than_it_was_spoken(parts: Make, tmp_path: Path) -> None:
    path = tmp_path / "noise.wav"
    soundfile.write(path, noise(1), 16_000)
    now, slept = 100.0, []

    def clock() -> float:
        return now

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds + 0.01
        slept.append(seconds)

    list(StreamingASR(parts().recognizer()).stream_from_file(path, 0.25, True, clock=clock, sleep=sleep))
    np.testing.assert_allclose(slept, [0.25, 0.24, 0.24, 0.24], atol=1e-6)


def test_a_session_converts_the_rate(parts: Make) -> None:
    asr = StreamingASR(parts().recognizer())
    at_8k = resample(noise(2), from_hz=16_000, to_hz=8_000)
    session, events = asr.session(sample_rate_hz=8_000), []
    for piece in np.array_split(at_8k, 23):
        events += session.push(piece)
    events += session.finish()
    plain = asr.session()
    expected = [*plain.push(resample(at_8k, from_hz=8_000, to_hz=16_000)), *plain.finish()]
    assert text_of(events) == text_of(expected) != ""
    for call in (lambda: session.push(at_8k), session.finish):
        with pytest.raises(InputError, match="has ended"):
            call()
    for rate in (1_000, 0):
        with pytest.raises(InputError, match=f"has {rate} Hz"):
            asr.session(sample_rate_hz=rate)
    with pytest.raises(InputError, match="NaN"):
        asr.session(sample_rate_hz=8_000).push(np.full(9, np.nan, np.float32))


def test_a_file_that_is_not_audio(parts: Make, tmp_path: Path) -> None:
    asr = StreamingASR(parts().recognizer())
    (tmp_path / "x.wav").write_bytes(b"nothing")
    with pytest.raises(InputError):
        list(asr.stream_from_file(tmp_path / "x.wav"))
    for chunk_s in (0, nan, inf):
        with pytest.raises(InputError, match=f"chunk_s is {chunk_s}"):
            asr.stream_from_file(tmp_path / "x.wav", chunk_s)


class FakePortAudioError(Exception):
    pass


class FakeStream:
    """A microphone that hears noise; `blocks` are the sizes it was read in."""

    def __init__(self, samplerate: int, channels: int, dtype: str, blocksize: int) -> None:
        assert (samplerate, channels, dtype) == (16_000, 1, "float32")
        self.blocks: list[int] = []
        self.closed = False
        FakeStream.last = self  # type: ignore[attr-defined]
        self._audio = noise(5)

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def close(self) -> None:
        self.closed = True

    def read(self, samples: int) -> tuple[np.ndarray, bool]:
        begin = sum(self.blocks)
        self.blocks.append(samples)
        return self._audio[begin : begin + samples, None], False


def test_the_microphone_is_heard_for_a_while_and_closed(parts: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = SimpleNamespace(InputStream=FakeStream, PortAudioError=FakePortAudioError)
    monkeypatch.setitem(sys.modules, "sounddevice", fake)
    asr = StreamingASR(parts().recognizer())
    events = list(asr.stream_from_microphone(2.05))
    state, expected = asr.start(), []
    state, expected = asr.step(state, noise(5)[: int(2.05 * 16_000)])
    assert events == [*expected, *asr.finish(state)[1]]
    assert FakeStream.last.blocks == [800] * 41  # type: ignore[attr-defined]
    assert FakeStream.last.closed  # type: ignore[attr-defined]
    for duration_s in (0, nan, inf):
        with pytest.raises(InputError, match=f"duration is {duration_s} s"):
            asr.stream_from_microphone(duration_s)
    for chunk_s in (0, nan, inf):
        with pytest.raises(InputError, match=f"chunk_s is {chunk_s}"):
            asr.stream_from_microphone(1, chunk_s=chunk_s)


def test_a_microphone_that_is_stopped_is_closed_before_the_rest_is_computed(
    parts: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = SimpleNamespace(InputStream=FakeStream, PortAudioError=FakePortAudioError)
    monkeypatch.setitem(sys.modules, "sounddevice", fake)
    asr = StreamingASR(parts().recognizer())
    finish = asr.streamer.finish
    closed: list[bool] = []

    def watched(state: StreamState) -> tuple[StreamState, list[StreamEvent]]:
        closed.append(FakeStream.last.closed)  # type: ignore[attr-defined]
        return finish(state)

    monkeypatch.setattr(asr.streamer, "finish", watched)
    events = list(asr.stream_from_microphone(None, stop=lambda: len(FakeStream.last.blocks) == 20))  # type: ignore[attr-defined]
    state, expected = asr.step(asr.start(), noise(5)[:16_000])
    assert events == [*expected, *finish(state)[1]]
    assert closed == [True]


def test_what_is_missing_for_a_microphone_is_said(parts: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    asr = StreamingASR(parts().recognizer())

    def no_device(**_: object) -> None:
        raise FakePortAudioError("Error querying device -1")

    fake = SimpleNamespace(InputStream=no_device, PortAudioError=FakePortAudioError)
    monkeypatch.setitem(sys.modules, "sounddevice", fake)
    with pytest.raises(MissingPart, match="No microphone can be opened at 16000 Hz: Error querying device"):
        asr.stream_from_microphone(1)
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(MissingPart, match="needs the package sounddevice"):
        asr.stream_from_microphone(1)
