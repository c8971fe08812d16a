"""A recognizer around a CTC model: batches by length, silence, audio of any length, decoding.

Shapes: B batch, F feature frames, M feature dimensions, T output frames, V vocab.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from itertools import chain, islice
from pathlib import Path

import numpy as np

from harken.audio.decode import DecodeLimits, stream_audio
from harken.audio.features import FeatureConfig, FeatureExtractor, check_waveform
from harken.core import InputError, Tokenizer, Transcript, Waveform
from harken.core.stopping import check_stop
from harken.core.units import samples_to_seconds, seconds_to_samples
from harken.inference.batches import batches_by_length
from harken.inference.config import FEATURES_WINDOW_S, SAMPLES_WINDOW_S, EngineConfig, refuse_seq2seq_settings
from harken.inference.ctc.config import make_ctc_decoder
from harken.inference.greedy import Token
from harken.inference.scoring import CtcDecoder, CtcScorer, LogProbs, pad_features
from harken.inference.transcripts import transcript_of
from harken.inference.windows import Grid, PieceDecoder, Window, silent_scores, windows_of


class CtcRecognizer:
    """A CTC model, its features and a decoder: answers `core.Recognizer` for audio of any length."""

    def __init__(
        self,
        scorer: CtcScorer,
        *,
        features: FeatureConfig,
        tokenizer: Tokenizer,
        subsampling: int,
        chunk_frames: int | None = None,
        decoder: CtcDecoder | None = None,
        config: EngineConfig | None = None,
        on_cpu: bool = True,
        parallel: int = 1,
        folder: Path | None = None,
        alone: bool = False,
    ) -> None:
        """`subsampling` are the feature frames (samples, for models that hear those) of each output frame,
        `chunk_frames` the output frames that the model attends as one chunk, None without chunks; `decoder` None is the
        one of `config.ctc`; `on_cpu` says where `scorer` computes, and `parallel` how many threads may call it at a
        time; `folder` is that of an exported model, whose stream a live recogniser runs. `alone` says that the
        scores of a waveform depend on what shares its pass, so that nothing does unless `config.batch_s` asks for it.

        Raises InputError for settings that would do nothing with a CTC model, and as `make_ctc_decoder` does.
        """
        self.config = config or EngineConfig()
        refuse_seq2seq_settings(self.config)
        self.scorer, self.tokenizer = scorer, tokenizer
        self.folder = folder
        self._subsampling, self._chunk_frames, self._on_cpu = subsampling, chunk_frames, on_cpu
        self.parallel, self._alone = parallel, alone
        self.at_once_s = 0.0 if alone and self.config.batch_s is None else self.config.at_once_s(on_cpu=on_cpu)
        self.decoder = decoder or make_ctc_decoder(self.config.ctc, tokenizer)
        self.extractor = FeatureExtractor(features)
        self.frame_s = subsampling * self.extractor.hop_s
        rate = self.sample_rate_hz
        hears_samples = features.kind == "waveform"
        window_s = self.config.window_s or (SAMPLES_WINDOW_S if hears_samples else FEATURES_WINDOW_S)
        # Activations at the rate of samples take hundreds of MiB, which long audio is not worth.
        one_by_one = hears_samples and on_cpu
        self._windows_at_once = 1 if one_by_one else max(1, int(self.at_once_s // window_s))
        self._parallel_windows = 1 if one_by_one else parallel
        self._grid = Grid.of(
            frame_samples=seconds_to_samples(self.frame_s, sample_rate_hz=rate),
            window_samples=seconds_to_samples(window_s, sample_rate_hz=rate),
            context_samples=seconds_to_samples(self.config.context_s, sample_rate_hz=rate),
            chunk_frames=chunk_frames,
        )
        self._window_samples = seconds_to_samples(window_s, sample_rate_hz=rate)

    def with_decoder(self, decoder: CtcDecoder) -> "CtcRecognizer":
        """The same network with another decoder."""
        return CtcRecognizer(
            self.scorer,
            features=self.extractor.config,
            tokenizer=self.tokenizer,
            subsampling=self._subsampling,
            chunk_frames=self._chunk_frames,
            decoder=decoder,
            config=self.config,
            on_cpu=self._on_cpu,
            parallel=self.parallel,
            folder=self.folder,
            alone=self._alone,
        )

    @property
    def sample_rate_hz(self) -> int:
        return self.extractor.config.sample_rate_hz

    @property
    def window_s(self) -> float:
        """Audio beyond it is read in windows, and not in a batch with others."""
        return samples_to_seconds(self._window_samples, sample_rate_hz=self.sample_rate_hz)

    def transcribe(self, audio: Waveform | str | Path) -> Transcript:
        """Transcript of a waveform (samples,) at `sample_rate_hz`, or of an audio file of any supported format.

        A long file is decoded and read window by window. Raises AudioDecodeError for a file that cannot be decoded or
        is longer than `longest_s`, InputError for a waveform that is.
        """
        if not isinstance(audio, str | Path):
            return self.transcribe_batch([audio])[0]
        limits = DecodeLimits(max_duration_s=self.config.longest_s)
        pieces = stream_audio(audio, sample_rate_hz=self.sample_rate_hz, limits=limits)
        head: list[Waveform] = []
        for piece in pieces:
            head.append(piece)
            if sum(map(len, head)) > self._window_samples:
                return self._transcribe_long(chain(head, pieces))
        return self.transcribe_batch([np.concatenate(head)])[0]

    def transcribe_batch(self, waveforms: Sequence[Waveform]) -> list[Transcript]:
        """Transcripts in the order given; batches are formed from waveforms of similar length."""
        for waveform in waveforms:
            self._check(waveform)
        transcripts: dict[int, Transcript] = {}
        short = [i for i, waveform in enumerate(waveforms) if len(waveform) <= self._window_samples]
        limit = seconds_to_samples(self.at_once_s, sample_rate_hz=self.sample_rate_hz)
        batches = [
            [short[place] for place in places]
            for places in batches_by_length([len(waveforms[i]) for i in short], limit=limit)
        ]
        found = self._scores_of_batches([[waveforms[i] for i in indices] for indices in batches])
        for indices, scores_of in zip(batches, found, strict=True):
            for index, scores in zip(indices, scores_of, strict=True):
                check_stop()
                transcripts[index] = self._transcript(self.decoder(scores), len(waveforms[index]))
        for index in set(range(len(waveforms))) - set(short):
            transcripts[index] = self._transcribe_long([waveforms[index]])
        return [transcripts[i] for i in range(len(waveforms))]

    def _check(self, waveform: Waveform) -> None:
        check_waveform(waveform)
        duration_s = samples_to_seconds(len(waveform), sample_rate_hz=self.sample_rate_hz)
        if duration_s > self.config.longest_s:
            raise InputError(
                f"Audio of {duration_s:.1f} s is longer than the {self.config.longest_s:g} s taken at once.",
                hint="Cut it into pieces, or raise longest_s.",
            )

    def _transcribe_long(self, pieces: Iterable[Waveform]) -> Transcript:
        samples = 0

        def counted() -> Iterator[Waveform]:
            nonlocal samples
            for piece in pieces:
                samples += len(piece)
                yield piece

        decoder, tokens = PieceDecoder(self.decoder), []
        windows = windows_of(counted(), self._grid)
        at_once = self._windows_at_once
        while some := list(islice(windows, at_once * self._parallel_windows)):
            check_stop()
            batches = [some[first : first + at_once] for first in range(0, len(some), at_once)]
            found = self._scores_of_batches([[window.samples for window in batch] for batch in batches])
            for window, scores in zip(some, chain.from_iterable(found), strict=True):
                tokens += decoder.push(_heard(window, scores))
        return self._transcript(tokens + decoder.finish(), samples)

    def _scores_of_batches(self, batches: Sequence[Sequence[Waveform]]) -> Iterator[list[LogProbs]]:
        """Scores of each batch in order, `parallel` batches at a time."""
        if self.parallel == 1 or len(batches) == 1:
            yield from map(self._scores, batches)
            return
        with ThreadPoolExecutor(self.parallel, thread_name_prefix="score") as pool:
            scored = [pool.submit(copy_context().run, self._scores, batch) for batch in batches]
            try:
                for future in scored:
                    yield future.result()
            finally:
                pool.shutdown(wait=False, cancel_futures=True)  # the first error is the last of the work

    def _scores(self, waveforms: Sequence[Waveform]) -> list[LogProbs]:
        """(T, V) of each waveform."""
        check_stop()
        features = [self.extractor(waveform) for waveform in waveforms]
        # Digital silence says nothing; normalised features of it would be an input no model was trained on.
        spoken = [i for i, item in enumerate(features) if len(item) and waveforms[i].any()]
        frame = self._grid.frame_samples
        found = [silent_scores(-(-len(waveform) // frame), self.tokenizer.vocab_size) for waveform in waveforms]
        if spoken:
            scores_BTV, lengths_B = self.scorer(*pad_features([features[i] for i in spoken]))
            for index, scores_TV, length in zip(spoken, scores_BTV, lengths_B.tolist(), strict=True):
                found[index] = scores_TV[:length]
        return found

    def _transcript(self, tokens: list[Token], samples: int) -> Transcript:
        duration_s = samples_to_seconds(samples, sample_rate_hz=self.sample_rate_hz)
        return transcript_of(tokens, self.tokenizer, frame_s=self.frame_s, duration_s=duration_s)


def _heard(window: Window, scores: LogProbs) -> LogProbs:
    """The scores of what a window is read for, its context left away."""
    end = len(scores) if window.frames is None else window.first + window.frames
    missing = end - len(scores)  # a front end that needs whole windows gives less at the edge of what it hears
    kept = scores[window.first : end]
    return kept if missing <= 0 else np.concatenate([kept, silent_scores(missing, scores.shape[1])])
