"""`state, events = step(state, chunk)`: a policy behind checks, blocks and events."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from harken.audio.features import check_waveform
from harken.core import InputError, Waveform
from harken.core.units import samples_to_seconds, seconds_to_samples
from harken.inference.streaming.events import Committed, Endpoint, Final, Partial, StreamEvent
from harken.inference.streaming.policy import BLOCK_S, Policy, Progress


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StreamState:
    """What a stream carries; make it with `Streamer.start`.

    `line` is the committed text of the segment that is open, `lines` the text of the ones before, in few pieces of one
    line or more; `with_line` adds one.
    """

    policy: Any
    waiting: Waveform
    heard: int = 0
    tentative: str = ""
    line: str = ""
    lines: tuple[str, ...] = ()
    ended: bool = False


class Streamer:
    """A stream of audio to events. Holds no audio itself, so one may serve any number of streams, each with a state.

    What is told depends on the audio alone, never on the pieces that it arrives in.
    """

    def __init__(self, policy: Policy, *, sample_rate_hz: int, frame_s: float) -> None:
        """`frame_s` is the time that the frames of the policy's endpoints are counted in."""
        self.sample_rate_hz = sample_rate_hz
        self._policy, self._frame_s = policy, frame_s
        self._block = seconds_to_samples(BLOCK_S, sample_rate_hz=sample_rate_hz)

    def start(self) -> StreamState:
        """The state before the first sample."""
        return StreamState(policy=self._policy.start(), waiting=np.zeros(0, np.float32))

    def step(self, state: StreamState, chunk: Waveform) -> tuple[StreamState, list[StreamEvent]]:
        """The events after `chunk`, (samples,) float32 in [-1, 1] at `sample_rate_hz`, of any length.

        Raises InputError for another array, for NaN and infinity, and after the end.
        """
        check_waveform(chunk)
        _check_open(state)
        samples = np.concatenate([state.waiting, chunk])
        whole = len(samples) // self._block * self._block
        events: list[StreamEvent] = []
        for first in range(0, whole, self._block):
            state = replace(state, heard=state.heard + self._block)
            policy, progress = self._policy.step(state.policy, samples[first : first + self._block])
            state, more = self._tell(replace(state, policy=policy), progress)
            events += more
        return replace(state, waiting=samples[whole:].copy()), events

    def finish(self, state: StreamState) -> tuple[StreamState, list[StreamEvent]]:
        """The last events; `Final` is the last of them. The state takes no more audio."""
        _check_open(state)
        events: list[StreamEvent] = []
        if len(state.waiting):
            state = replace(state, heard=state.heard + len(state.waiting))
            policy, progress = self._policy.step(state.policy, state.waiting)
            state, events = self._tell(replace(state, policy=policy), progress)
        policy, progress = self._policy.finish(state.policy)
        state, more = self._tell(replace(state, policy=policy, waiting=state.waiting[:0]), progress)
        text = "\n".join(with_line(state.lines, state.line))
        at_s = samples_to_seconds(state.heard, sample_rate_hz=self.sample_rate_hz)
        return replace(state, ended=True), [*events, *more, Final(text=text, at_s=at_s)]

    def _tell(self, state: StreamState, progress: Progress) -> tuple[StreamState, list[StreamEvent]]:
        at_s = samples_to_seconds(state.heard, sample_rate_hz=self.sample_rate_hz)
        events: list[StreamEvent] = []
        line, lines, shown = state.line, state.lines, state.tentative
        for found in progress.found:
            if found.words:
                committed = Committed(words=found.words, at_s=at_s)
                line = f"{line} {committed.text}" if line else committed.text
                events.append(committed)
                shown = " ".join(shown.split()[len(found.words) :])  # whoever listens takes committed words out of it
            if found.rule is not None:
                lines, line = with_line(lines, line), ""
                events.append(Endpoint(rule=found.rule, silence_s=found.silence * self._frame_s, at_s=at_s))
        if progress.tentative != shown:
            events.append(Partial(text=progress.tentative, at_s=at_s))
        return replace(state, line=line, lines=lines, tentative=progress.tentative), events


def _check_open(state: StreamState) -> None:
    if state.ended:
        raise InputError("The stream has ended and takes no more audio.", hint="Start a new one.")


def with_line(lines: tuple[str, ...], line: str) -> tuple[str, ...]:
    """The pieces with a line more, if it has text; joined by newlines they are the whole text.

    A piece that is not twice as long as the next one is joined with it, so that n characters are in about log2(n)
    pieces and each has been copied about as often.
    """
    if not line:
        return lines
    *before, last = *lines, line
    while before and len(before[-1]) < 2 * len(last):
        last = f"{before.pop()}\n{last}"
    return (*before, last)
