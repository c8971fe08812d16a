"""Export to CTranslate2: what is written, what faster-whisper reads of it, and what a failed check leaves behind."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harken.core import InputError, RunFailed
from harken.core.files import sha256_file
from harken.export.clips import Clip
from harken.export.ctranslate2 import export_ctranslate2
from harken.export.parity import ParityLimits
from harken.inference.config import EngineConfig
from harken.inference.ctranslate2_engine import load_engine
from harken.inference.exported import CTRANSLATE2, check_fresh
from harken.inference.whisper.config import WhisperDecodingConfig
from harken.inference.whisper.special import never_text
from harken.models.folder import describe, load_model, save_model
from harken.models.pretrained_import import save_parts
from harken.models.whisper import load_whisper
from harken.testing.random_models import BYTE_UNITS, random_whisper, whisper_tokens

pytest.importorskip("ctranslate2")

LENIENT = ParityLimits()


def make_folder(root: Path, *, more: Sequence[str] = (), **options: Any) -> Path:
    """A model folder; with `more` special tokens in it, behind all others, it has no time tokens."""
    pretrained = root / "pretrained"
    pretrained.mkdir(parents=True)
    tokens = whisper_tokens(["en", "uz", "ru"])
    rows = len(BYTE_UNITS) + len(tokens)
    sizes = {"times_s": 0.0, "vocab_size": rows + len(more)} if more else {"times_s": 1.5}
    random_whisper(pretrained, **{"seed": 1, "init_std": 0.15, **sizes, **options})
    if more:
        added = {**tokens, **{name: rows + n for n, name in enumerate(more)}}
        (pretrained / "added_tokens.json").write_text(json.dumps(added), encoding="utf-8")
    parts = load_whisper(pretrained)
    save_parts(parts, root / "model", normalizer="basic")
    return root / "model"


@pytest.fixture(scope="module")
def clips() -> list[Clip]:
    draw = np.random.default_rng(2)
    made = [(0.1 * draw.standard_normal(n)).astype(np.float32) for n in (9_000, 23_000, 40_000, 3_000, 12_345)]
    return [Clip(name=f"noise {n}", waveform=waveform, text="noise") for n, waveform in enumerate(made)]


def test_the_folder_and_its_record(tmp_path: Path, clips: list[Clip]) -> None:
    generation = {"suppress_tokens": [3, 4], "begin_suppress_tokens": [5], "alignment_heads": [[0, 1], [1, 0]]}
    folder = make_folder(tmp_path, generation=generation)
    entry = export_ctranslate2(folder, precision="fp32", clips=clips)
    files = {path.name for path in (folder / CTRANSLATE2).iterdir()}
    assert files == {
        "config.json", "model.bin", "vocabulary.json", "tokenizer.json", "preprocessor_config.json", "export.json",
    }  # fmt: skip
    assert not list(folder.glob(".*"))
    record = check_fresh(folder, CTRANSLATE2)
    assert record.files == {"model.bin": entry}
    assert entry["sha256"] == sha256_file(folder / CTRANSLATE2 / "model.bin")
    assert (entry["precision"], entry["window_frames"], entry["longest_tokens"]) == ("fp32", 150, 200)
    parity = entry["parity"]
    assert (parity["clips"], parity["comparisons"], parity["texts_differing"], parity["cer"]) == (5, 9, 0, 0.0)
    assert 0 < parity["largest_difference"] < 1e-4
    assert parity["wer"] == parity["wer_original"] >= 1.0
    assert parity["audio_s"] == pytest.approx((9_000 + 23_000 + 24_000 + 3_000 + 12_345) / 16_000, abs=1e-3)
    config = json.loads((folder / CTRANSLATE2 / "config.json").read_text())
    assert config["alignment_heads"] == [[0, 1], [1, 0]]
    assert (config["suppress_ids"], config["suppress_ids_begin"]) == ([3, 4], [5])
    assert len(config["lang_ids"]) == 3


def test_a_failed_check_removes_the_new_and_keeps_the_old(tmp_path: Path, clips: list[Clip]) -> None:
    folder = make_folder(tmp_path)
    export_ctranslate2(folder, precision="fp32", clips=clips)
    before = {path.name: sha256_file(path) for path in (folder / CTRANSLATE2).iterdir()}
    with pytest.raises(RunFailed, match=r"ctranslate2 \(int8\) does not say what its original says: .*It was removed"):
        export_ctranslate2(folder, precision="int8", clips=clips, limits=ParityLimits(log_prob=1e-6))
    assert {path.name: sha256_file(path) for path in (folder / CTRANSLATE2).iterdir()} == before
    assert not list(folder.glob(".*"))


def test_other_precisions_are_smaller_and_stay_close(tmp_path: Path, clips: list[Clip]) -> None:
    folder = make_folder(tmp_path)
    sizes, differences = {}, {}
    for precision in ("fp32", "fp16", "int8"):
        entry = export_ctranslate2(folder, precision=precision, clips=clips, limits=LENIENT)
        sizes[precision] = (folder / CTRANSLATE2 / "model.bin").stat().st_size
        differences[precision] = entry["parity"]["largest_difference"]
    assert sizes["int8"] < sizes["fp16"] < sizes["fp32"]
    assert differences["fp32"] < differences["fp16"] < differences["int8"] < 2


def test_adapters_are_merged(tmp_path: Path, clips: list[Clip]) -> None:
    from harken.models.adapters import AdapterConfig, add_adapter, set_adapters

    folder = make_folder(tmp_path)
    plain = load_model(folder)
    model = plain.model
    add_adapter(model, AdapterConfig(name="own"), seed=1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "own" in name or "lora" in name.lower() or "delta" in name.lower():
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    set_adapters(model, ["own"])
    description = describe(
        model, family="whisper", settings=model.settings, features=plain.features, tokenizer=plain.tokenizer,
        normalizer="basic",
    )  # fmt: skip
    adapted = tmp_path / "adapted"
    save_model(adapted, model=model, description=description, tokenizer=plain.tokenizer)
    entry = export_ctranslate2(
        adapted, precision="fp32", clips=clips, limits=replace(LENIENT, texts=True, log_prob=0.01)
    )
    assert entry["parity"]["texts_differing"] == 0
    export_ctranslate2(folder, precision="fp32", clips=clips)
    decoding = WhisperDecodingConfig(temperatures=(0.0,), max_tokens=20, beam_size=1)
    texts = [
        load_engine(one, config=EngineConfig(whisper=decoding)).transcribe(clips[1].waveform).text
        for one in (folder, adapted)
    ]
    assert texts[0] != texts[1]


@pytest.mark.rival
def test_faster_whisper_reads_the_folder(tmp_path: Path, clips: list[Clip]) -> None:
    faster_whisper = pytest.importorskip("faster_whisper", reason="needs faster-whisper")
    folder = make_folder(tmp_path, more=["<|startoflm|>"], max_source_positions=1500, max_target_positions=448)
    export_ctranslate2(folder, precision="fp32", clips=clips[:2])
    rival = faster_whisper.WhisperModel(str(folder / CTRANSLATE2), device="cpu", cpu_threads=1)
    # It pads features where OpenAI's code pads audio, so a whole window of sound; its own list of symbols is left out.
    sound = (0.1 * np.random.default_rng(4).standard_normal(480_000)).astype(np.float32)
    decoding = WhisperDecodingConfig(language="uz", beam_size=2, temperatures=(0.0,), max_tokens=12)
    recognizer = load_engine(folder, config=EngineConfig(whisper=decoding))
    suppress = list(never_text(recognizer.tokenizer, vocab_rows=recognizer.backend.vocab_rows, timestamps=False))
    # Of max_new_tokens and the prompt of four together the library makes half.
    segments, _info = rival.transcribe(
        sound, suppress_tokens=suppress, language="uz", beam_size=2, temperature=0.0, without_timestamps=True,
        max_new_tokens=20, log_prob_threshold=None, no_speech_threshold=None, compression_ratio_threshold=None,
    )  # fmt: skip
    mine = recognizer.transcribe(sound)
    assert mine.text
    assert [" ".join(segment.text.split()) for segment in segments] == [segment.text for segment in mine.segments]


def test_refusals(tmp_path: Path, clips: list[Clip]) -> None:
    folder = make_folder(tmp_path)
    with pytest.raises(InputError, match=r"precision is 'int4'. Use one of fp32, fp16, int8"):
        export_ctranslate2(folder, precision="int4", clips=clips)
    with pytest.raises(InputError, match="no audio to check"):
        export_ctranslate2(folder, precision="fp32", clips=[])
    assert not (folder / CTRANSLATE2).exists()
