"""The ONNX graphs give what PyTorch gives on the same weights, and the engine says what the torch engine says."""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

import harken
from harken.core import InputError, MissingPart, Waveform
from harken.export.clips import Clip
from harken.export.whisper_onnx import export_whisper_onnx
from harken.inference.config import EngineConfig
from harken.inference.engines import choose_engine
from harken.inference.onnx_engine import load_engine
from harken.inference.onnx_session import open_session
from harken.inference.whisper.backend import Search
from harken.inference.whisper.config import WhisperDecodingConfig
from harken.inference.whisper.onnx_backend import OnnxWhisperBackend
from harken.inference.whisper.onnx_decoder import DecoderRun
from harken.inference.whisper.special import never_text
from harken.testing import check_recognizer

pytest.importorskip("onnxscript", reason="needs the extra `export`")

ON_CPU = EngineConfig(device="cpu", threads=1)


@pytest.fixture(scope="module")
def exported(whisper: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "model"
    shutil.copytree(whisper.folder, folder, ignore=shutil.ignore_patterns("ctranslate2"))
    noise = np.random.default_rng(0).standard_normal(9_000).astype(np.float32) * 0.1
    list(export_whisper_onnx(folder, precisions=["fp32"], clips=[Clip(name="noise", waveform=noise)]))
    return folder


def open_backend(whisper: Any, folder: Path) -> OnnxWhisperBackend:
    encoder, decoder = (
        open_session(folder / "onnx" / name, device="cpu", threads=1) for name in ("encoder.onnx", "decoder.onnx")
    )
    return OnnxWhisperBackend(encoder, decoder, whisper.tokenizer)


@pytest.fixture(scope="module")
def backend(whisper: Any, exported: Path) -> OnnxWhisperBackend:
    return open_backend(whisper, exported)


@pytest.fixture(scope="module")
def sound() -> np.ndarray:
    return np.random.default_rng(3).standard_normal((5, 150, 80)).astype(np.float32)


def test_its_sizes_are_those_of_the_model(whisper: Any, backend: OnnxWhisperBackend) -> None:
    for name in ("window_frames", "dimensions", "longest_tokens", "vocab_rows"):
        assert getattr(backend, name) == getattr(whisper.backend, name)


@pytest.mark.parametrize("timestamps", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"beam_size": 3},
        {"beam_size": 5, "length_penalty": 0.6},
        {"beam_size": 3, "repetition_penalty": 1.4},
        {"no_repeat_ngram": 2},
        {"beam_size": 2, "max_tokens": 150},
        {"temperature": 0.7, "best_of": 3, "seeds": (1, 2, 3, 4, 5)},
    ],
)
def test_tokens_and_scores_are_those_of_torch(
    whisper: Any, backend: OnnxWhisperBackend, sound: np.ndarray, timestamps: bool, options: dict[str, Any]
) -> None:
    suppress = never_text(whisper.tokenizer, vocab_rows=backend.vocab_rows, timestamps=timestamps)
    values = {"max_tokens": 25, **options}
    search = Search(suppress=suppress, timestamps=timestamps, latest_first=20, **values)
    plain = whisper.tokenizer.prompt(language="ru", timestamps=timestamps)
    before = [whisper.tokenizer.token_id("<|startofprev|>"), *whisper.tokenizer.encode("said before")]
    for prompt in (plain, [*before, *plain]):
        rows = [one.generate(one.encode(sound), [prompt] * len(sound), search) for one in (whisper.backend, backend)]
        assert [row.ids for row in rows[1]] == [row.ids for row in rows[0]]
        assert all(row.ids for row in rows[0])
        for mine, theirs in zip(*rows, strict=True):
            assert theirs.average_log_prob == pytest.approx(mine.average_log_prob, abs=1e-5)
            assert theirs.no_speech_prob == pytest.approx(mine.no_speech_prob, rel=1e-3)
            assert mine.no_speech_prob > 0


def test_languages_are_those_of_torch(whisper: Any, backend: OnnxWhisperBackend, sound: np.ndarray) -> None:
    mine, theirs = (one.detect(one.encode(sound)) for one in (whisper.backend, backend))
    for a, b in zip(mine, theirs, strict=True):
        assert a == pytest.approx(b, abs=1e-5)
        assert set(a) == {"en", "uz", "ru"}


def test_alignment_is_that_of_torch(whisper: Any, backend: OnnxWhisperBackend, sound: np.ndarray) -> None:
    prompt = whisper.tokenizer.prompt(language="ru", timestamps=True)
    texts = [whisper.tokenizer.encode(text) for text in ("one two three", "a", "", "five six", "b")]
    frames = [150, 150, 90, 31, 3]
    mine, theirs = (one.align(one.encode(sound), prompt, texts, frames) for one in (whisper.backend, backend))
    for a, b, text in zip(mine, theirs, texts, strict=True):
        np.testing.assert_array_equal(a.positions, b.positions)
        np.testing.assert_allclose(a.probabilities, b.probabilities, rtol=1e-4)
        assert len(b.positions) == len(text) + 1
    assert np.ptp(mine[0].positions) > 5


def test_a_part_of_what_was_encoded(whisper: Any, backend: OnnxWhisperBackend, sound: np.ndarray) -> None:
    encoded = backend.encode(sound)
    part = encoded.take([3, 1])
    assert (len(encoded), len(part)) == (5, 2)
    prompt, search = whisper.tokenizer.prompt(language="en"), Search(max_tokens=8)
    rows = backend.generate(encoded, [prompt] * 5, search)
    assert [row.ids for row in backend.generate(part, [prompt] * 2, search)] == [rows[3].ids, rows[1].ids]


def test_rows_of_the_cache_follow_their_parents(backend: OnnxWhisperBackend, sound: np.ndarray) -> None:
    """After any change of rows the scores are those of each row's tokens read anew."""
    encoded = backend.encode(sound[:3])
    draw = np.random.default_rng(1)
    tokens = draw.integers(0, 256, (3, 4))
    run = DecoderRun(backend._decoder, backend.metadata, encoded)
    run(tokens[:, None], [3])
    histories, owners = [list(row) for row in tokens], [0, 1, 2]
    for parents, shape in (
        ([0, 0, 1, 1, 2, 2], (3, 2)),
        ([1, 0, 3, 2, 4, 4], (3, 2)),
        ([0, 1, 2, 3, 4, 5], (3, 2)),
        ([0, 1, 5], (3, 1)),  # two rows of the first window, one of the last
        ([2, 2], (1, 2)),
        ([1], (1, 1)),
    ):
        assert run.reorder(np.array(parents)) == shape
        added = draw.integers(0, 256, len(parents))
        histories = [[*histories[parent], token] for parent, token in zip(parents, added, strict=True)]
        owners = [owners[parent] for parent in parents]
        found = run(added.reshape(*shape, 1), [0]).reshape(len(parents), -1)
        for row, (history, owner) in enumerate(zip(histories, owners, strict=True)):
            alone = DecoderRun(backend._decoder, backend.metadata, encoded.take([owner]))
            expected = alone(np.array([[history]]), [len(history) - 1])[0, 0, 0]
            np.testing.assert_allclose(found[row], expected, atol=1e-4)


def test_scores_may_be_written_into(backend: OnnxWhisperBackend, sound: np.ndarray) -> None:
    scores = DecoderRun(backend._decoder, backend.metadata, backend.encode(sound[:1]))(np.array([[[1, 2]]]), [1])
    scores[...] = -np.inf
    assert np.isneginf(scores).all()


@pytest.mark.parametrize("options", [{}, {"word_times": True, "beam_size": 2}, {"timestamps": True, "beam_size": 1}])
def test_the_engine_says_what_torch_says(exported: Path, noises: list[Waveform], options: dict[str, Any]) -> None:
    decoding = WhisperDecodingConfig(temperatures=(0.0,), max_tokens=12, **options)
    config = replace(ON_CPU, whisper=decoding)
    mine, theirs = (
        harken.load(exported, engine=engine, config=config).transcribe_batch(noises) for engine in ("torch", "onnx")
    )
    assert [(t.text, t.language) for t in mine] == [(t.text, t.language) for t in theirs]
    assert any(t.text for t in mine)
    for a, b in zip(mine, theirs, strict=True):
        assert [(s.start_s, s.end_s) for s in a.segments] == [(s.start_s, s.end_s) for s in b.segments]
        assert [(w.text, w.start_s, w.end_s) for w in a.words] == [(w.text, w.start_s, w.end_s) for w in b.words]
        np.testing.assert_allclose([w.confidence for w in a.words], [w.confidence for w in b.words], rtol=1e-3)


def test_the_contract(exported: Path, noises: list[Waveform]) -> None:
    decoding = WhisperDecodingConfig(temperatures=(0.0,), max_tokens=12, word_times=True)
    check_recognizer(harken.load(exported, engine="onnx", config=replace(ON_CPU, whisper=decoding)), noises[:4])


def test_it_is_chosen_without_being_named(exported: Path) -> None:
    assert choose_engine(exported, ON_CPU) == "onnx"


def test_torch_is_never_loaded(exported: Path, tmp_path: Path, noises: list[Waveform]) -> None:
    np.save(tmp_path / "noise.npy", noises[0])
    code = (
        "import sys, numpy as np; from pathlib import Path; from harken.inference.onnx_engine import load_engine\n"
        f"print(bool(load_engine(Path({str(exported)!r})).transcribe(np.load({str(tmp_path / 'noise.npy')!r})).text))\n"
        "print([name for name in ('torch', 'transformers', 'onnx') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["True", "[]"]


def test_refusals(whisper: Any, backend: OnnxWhisperBackend, exported: Path, sound: np.ndarray) -> None:
    with pytest.raises(InputError, match="features are 100 frames of 80; this Whisper reads 150"):
        backend.encode(np.zeros((1, 100, 80), np.float32))
    encoded = backend.encode(sound[:2])
    with pytest.raises(InputError, match=r"prompts have \[1, 2\] tokens"):
        backend.generate(encoded, [[1], [1, 2]], Search(max_tokens=3))
    with pytest.raises(InputError, match=r"has 204 tokens; the model reads 200"):
        backend.align(encoded, [1, 2], [[3] * 200, [3]], [150, 150])
    with pytest.raises(InputError, match="'fp16', and a Whisper has no such ONNX export"):
        load_engine(exported, config=replace(ON_CPU, precision="fp16"))
    with pytest.raises(MissingPart, match=r"encoder\.int8\.onnx does not exist"):
        load_engine(exported, config=replace(ON_CPU, precision="int8"))
    with pytest.raises(InputError, match=r"beam_size is .*no CTC output"):
        load_engine(exported, config=replace(ON_CPU, ctc=replace(ON_CPU.ctc, beam_size=7)))


def test_graphs_that_do_not_fit(whisper: Any, exported: Path) -> None:
    import onnx

    encoder, decoder = exported / "onnx/encoder.onnx", exported / "onnx/decoder.onnx"
    model = onnx.load(str(decoder))
    session = open_session(encoder, device="cpu")

    def with_metadata(changes: dict[str, str]) -> onnxruntime.InferenceSession:
        props = {item.key: item.value for item in model.metadata_props}
        changed = onnx.ModelProto()
        changed.CopyFrom(model)
        onnx.helper.set_model_props(changed, {**props, **changes})
        return open_session(changed.SerializeToString(), device="cpu")

    with pytest.raises(InputError, match="different models"):
        OnnxWhisperBackend(session, with_metadata({"weights_sha256": '"ff"'}), whisper.tokenizer)
    with pytest.raises(InputError, match="lacks the metadata"):
        OnnxWhisperBackend(session, with_metadata({"heads": "two"}), whisper.tokenizer)
    few = with_metadata({"vocab_size": "100"})
    with pytest.raises(InputError, match="rows for 100"):
        OnnxWhisperBackend(few, few, whisper.tokenizer)
