"""Does the import of .nemo files agree with NeMo itself? Builds small random models with NeMo and compares.

NeMo is not among Harken's dependencies. In an environment of its own:

    python -m venv nemo-venv
    nemo-venv/bin/pip install "nemo_toolkit[asr]==3.0.0"
    PYTHONPATH=src nemo-venv/bin/python -m tools.check_nemo [FILE.nemo ...]
    PYTHONPATH=src nemo-venv/bin/python -m tools.check_nemo --record

With files it compares those instead of random models. Exits with 1 where features, scores or ids differ. `--record`
writes tests/models/nemo/golden.json: what NeMo and sentencepiece give for the files the tests make.
"""

import base64
import copy
import importlib.util
import json
import logging
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

TOLERANCE = 1e-4
TEXTS = [
    "zero one two three four five six seven eight nine",
    "the quick brown fox jumps over the lazy dog",
    "qattiq shamol esdi va daraxtlar egildi",
    "сегодня хорошая погода и мы идём гулять",
    "आज मौसम अच्छा है और हम घूमने जा रहे हैं",
    "Ｆｕｌｌ ｗｉｄｔｈ ﬁne №5",
]
CHARACTERS = [" ", *"abcdefghijklmnopqrstuvwxyz'"]
PREPROCESSOR = {
    "_target_": "nemo.collections.asr.modules.AudioToMelSpectrogramPreprocessor",
    "sample_rate": 16000, "normalize": "per_feature", "window_size": 0.025, "window_stride": 0.01, "window": "hann",
    "features": 80, "n_fft": 512, "log": True, "frame_splicing": 1, "dither": 1e-5, "pad_to": 16, "pad_value": 0.0,
}  # fmt: skip
ENCODER = {
    "_target_": "nemo.collections.asr.modules.ConformerEncoder",
    "feat_in": 80, "feat_out": -1, "n_layers": 3, "d_model": 64, "subsampling": "striding", "subsampling_factor": 4,
    "subsampling_conv_channels": -1, "ff_expansion_factor": 4, "self_attention_model": "rel_pos", "n_heads": 4,
    "att_context_size": [-1, -1], "xscaling": True, "untie_biases": True, "pos_emb_max_len": 5000,
    "conv_kernel_size": 31, "conv_norm_type": "batch_norm", "dropout": 0.1, "dropout_emb": 0.0, "dropout_att": 0.1,
}  # fmt: skip
FAST = {"subsampling": "dw_striding", "subsampling_factor": 8, "subsampling_conv_channels": 32, "conv_kernel_size": 9}
VARIANTS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "conformer-char": ("char", {}, {}),
    "conformer-bpe": ("bpe", {}, {}),
    "conformer-unigram-layer-norm": ("unigram", {"conv_norm_type": "layer_norm", "xscaling": False}, {}),
    "conformer-tied-biases": ("char", {"untie_biases": False, "conv_context_size": [15, 15]}, {}),
    "fastconformer-bpe": ("bpe", FAST, {"pad_to": 0}),
    "fastconformer-no-bias": ("unigram", FAST | {"use_bias": False, "dropout_pre_encoder": 0.2}, {"features": 128}),
    "striding-8": ("char", {"subsampling_factor": 8, "subsampling_conv_channels": 16}, {"window_size": 0.02}),
    "hybrid": ("bpe", FAST, {}),
}


def main(arguments: list[str]) -> int:
    if importlib.util.find_spec("nemo") is None:
        print(__doc__)
        return 3
    warnings.filterwarnings("ignore")
    from nemo.utils import logging as nemo_logging

    nemo_logging.setLevel(logging.ERROR)
    torch.set_num_threads(1)
    if arguments == ["--record"]:
        record()
        return 0
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(name) for name in arguments] or [build(name, Path(folder)) for name in VARIANTS]
        results = [compare(path) for path in paths]  # every one of them, also after a failure
    return 0 if all(results) else 1


def compare(path: Path) -> bool:
    """Print and judge the largest differences in features and log probabilities, and the ids of texts."""
    from nemo.collections.asr.models import ASRModel

    from harken.models.nemo.importer import import_nemo

    theirs = ASRModel.restore_from(str(path), map_location="cpu").eval()
    ours = import_nemo(path)
    features, scores = differences(theirs, ours, speech(ours.features.sample_rate_hz))
    texts = text_differences(theirs, ours)
    fine = features <= TOLERANCE and scores <= TOLERANCE and not texts
    print(f"{path.stem:32} features {features:.1e}  log probabilities {scores:.1e}  texts {len(texts)} different"
          f"  {'ok' if fine else 'DIFFERENT'}")  # fmt: skip
    for line in texts:
        print("   ", line)
    return fine


def differences(theirs: Any, ours: Any, waveforms: list[np.ndarray]) -> tuple[float, float]:
    """Largest absolute differences over real frames; NeMo sees the waveforms as one batch, we one at a time and as a
    batch."""
    from harken.audio.features import FeatureExtractor

    lengths = torch.tensor([len(waveform) for waveform in waveforms])
    audio = torch.zeros(len(waveforms), int(lengths.max()))
    for row, waveform in zip(audio, waveforms, strict=True):
        row[: len(waveform)] = torch.from_numpy(waveform)
    extract = FeatureExtractor(ours.features)
    with torch.no_grad():
        their_features, their_frames = theirs.preprocessor(input_signal=audio, length=lengths)
        encoded, encoded_lengths = theirs.encoder(audio_signal=their_features, length=their_frames)
        head = theirs.ctc_decoder if hasattr(theirs, "ctc_decoder") else theirs.decoder
        their_scores = head(encoder_output=encoded)
        ours_alone = [torch.from_numpy(extract(waveform)) for waveform in waveforms]
        together = torch.nn.utils.rnn.pad_sequence(ours_alone, batch_first=True, padding_value=3.0)
        frames = torch.tensor([len(features) for features in ours_alone])
        batch_scores, batch_lengths = ours.model(together, frames)
        assert batch_lengths.tolist() == encoded_lengths.tolist(), (batch_lengths, encoded_lengths)
        assert ours.model.output_frames(frames).tolist() == encoded_lengths.tolist()
        assert frames.tolist() == their_frames.tolist(), (frames, their_frames)
        feature_gap = score_gap = 0.0
        for i, features in enumerate(ours_alone):
            alone, _ = ours.model(features[None], frames[i : i + 1])
            count = int(encoded_lengths[i])
            feature_gap = max(feature_gap, gap(features, their_features[i].T[: len(features)]))
            for scores in (alone[0, :count], batch_scores[i, :count]):
                blank_last = torch.cat([scores[:, 1:], scores[:, :1]], dim=1).log_softmax(-1)
                score_gap = max(score_gap, gap(blank_last, their_scores[i, :count]))
    return feature_gap, score_gap


def gap(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).abs().max())


def text_differences(theirs: Any, ours: Any) -> list[str]:
    """Texts whose ids, or whose text from ids, differ. A text we refuse has an unknown unit there as well."""
    from harken.core import InputError

    wrong = []
    for text in [*TEXTS, *" ".join(TEXTS).split(), "zeroone", "aaaaaaa"]:
        if hasattr(theirs, "tokenizer"):
            expected = theirs.tokenizer.text_to_ids(text)
            unknown = theirs.tokenizer.tokenizer.unk_id() in expected
        else:
            expected = [CHARACTERS.index(letter) for letter in text if letter in CHARACTERS]
            unknown = any(letter not in CHARACTERS for letter in text)
        try:
            ids = [id_ - 1 for id_ in ours.tokenizer.encode(text)]
        except InputError as err:
            if not unknown:
                wrong.append(f"{text!r}: {err}")
            continue
        back = ours.tokenizer.decode([id_ + 1 for id_ in ids])
        if hasattr(theirs, "tokenizer") and back != " ".join(theirs.tokenizer.ids_to_text(expected).split()):
            wrong.append(f"{text!r}: decoded as {back!r}")
        if unknown or ids != list(expected):
            wrong.append(f"{text!r}: {ids} and {list(expected)}")
    return wrong


def speech(sample_rate_hz: int) -> list[np.ndarray]:
    """Three signals of harmonics with changing pitch and loudness, in noise: no length a multiple of any step."""
    generator = np.random.default_rng(7)
    signals = []
    for seconds in (2.137, 1.0, 0.4411):
        time_s = np.arange(int(seconds * sample_rate_hz)) / sample_rate_hz
        phase = 2 * np.pi * np.cumsum(120 + 40 * np.sin(2 * np.pi * 1.5 * time_s)) / sample_rate_hz
        tone = sum(np.sin(k * phase) / k for k in range(1, 20)) * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * time_s))
        signals.append((0.1 * tone + 0.01 * generator.standard_normal(len(time_s))).astype(np.float32))
    return signals


def build(name: str, folder: Path) -> Path:
    """A .nemo file of a small model with random weights, statistics of the batch normalisation included."""
    from nemo.collections.asr import models
    from omegaconf import DictConfig

    torch.manual_seed(len(name))
    kind, encoder, preprocessor = VARIANTS[name]
    config: dict[str, Any] = {
        "sample_rate": 16000,
        "preprocessor": PREPROCESSOR | preprocessor,
        "encoder": ENCODER | encoder | {"feat_in": preprocessor.get("features", 80)},
        "decoder": decoder(),
    }
    if kind == "char":
        config["labels"] = CHARACTERS
        config["decoder"] |= {"num_classes": len(CHARACTERS), "vocabulary": CHARACTERS}
        model: Any = models.EncDecCTCModel(cfg=DictConfig(config))
    else:
        config["tokenizer"] = {"dir": str(train_tokenizer(kind, folder / f"{name}-tokenizer")), "type": "bpe"}
        if name == "hybrid":
            model = models.EncDecHybridRNNTCTCBPEModel(cfg=DictConfig(hybrid(config)))
        else:
            model = models.EncDecCTCModelBPE(cfg=DictConfig(config))
    with torch.no_grad():
        for key, tensor in model.state_dict().items():
            if key.startswith("preprocessor.") or not tensor.is_floating_point():
                continue
            spread = 0.1 * torch.randn_like(tensor)
            tensor.copy_(tensor + spread.abs() if key.endswith("running_var") else tensor + spread)
    path = folder / f"{name}.nemo"
    model.save_to(str(path))
    return path


def decoder() -> dict[str, Any]:
    return {"_target_": "nemo.collections.asr.modules.ConvASRDecoder", "feat_in": 64, "num_classes": -1,
            "vocabulary": []}  # fmt: skip


def hybrid(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration of a transducer with a CTC head beside it."""
    config = copy.deepcopy(config)
    config["aux_ctc"] = {"ctc_loss_weight": 0.3, "use_cer": False, "decoding": {"strategy": "greedy"},
                         "decoder": decoder()}  # fmt: skip
    config["model_defaults"] = {"enc_hidden": 64, "pred_hidden": 32, "joint_hidden": 32}
    config["decoder"] = {
        "_target_": "nemo.collections.asr.modules.RNNTDecoder", "normalization_mode": None,
        "random_state_sampling": False,
        "blank_as_pad": True, "prednet": {"pred_hidden": 32, "pred_rnn_layers": 1, "t_max": None, "dropout": 0.0},
    }  # fmt: skip
    config["joint"] = {
        "_target_": "nemo.collections.asr.modules.RNNTJoint", "log_softmax": None, "preserve_memory": False,
        "fuse_loss_wer": False, "jointnet": {"joint_hidden": 32, "activation": "relu", "dropout": 0.0},
    }  # fmt: skip
    config["decoding"] = {"strategy": "greedy_batch", "greedy": {"max_symbols": 10}}
    config["loss"] = {"loss_name": "default"}
    return config


def train_tokenizer(kind: str, folder: Path) -> Path:
    """A SentencePiece model of 90 pieces with NeMo's usual settings, in the layout NeMo reads."""
    import sentencepiece

    folder.mkdir()
    (folder / "text.txt").write_text("\n".join(TEXTS * 4), encoding="utf-8")
    sentencepiece.SentencePieceTrainer.Train(
        input=str(folder / "text.txt"), model_prefix=str(folder / "tokenizer"), model_type=kind,
        vocab_size=150 if kind == "bpe" else 130,
        character_coverage=1.0, bos_id=-1, eos_id=-1, minloglevel=2, hard_vocab_limit=False,
    )  # fmt: skip
    pieces = [line.split("\t")[0] for line in (folder / "tokenizer.vocab").read_text(encoding="utf-8").splitlines()]
    (folder / "vocab.txt").write_text("\n".join(pieces), encoding="utf-8")
    return folder


def record() -> None:
    """Write golden.json. Its tokenizers are trained here; the models are written by the tests' own writer."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "models" / "nemo"))
    import synthetic_nemo as fixtures

    golden: dict[str, Any] = {"tokenizers": {}, "scores": {}}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kind in ("unigram", "bpe"):
            golden["tokenizers"][kind] = record_tokenizer(kind, folder / kind, fixtures.TOKENIZER_TEXTS)
        for model in fixtures.MODELS:
            path = fixtures.write_model(folder, model, golden["tokenizers"])
            golden["scores"][model] = record_scores(path, fixtures.waveforms())
    fixtures.GOLDEN.write_text(json.dumps(golden, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def record_scores(path: Path, waveforms: list[np.ndarray]) -> list[list[list[float]]]:
    """NeMo's log probabilities (frames, vocab) of each waveform, run as one batch; the blank last."""
    from nemo.collections.asr.models import ASRModel

    model = ASRModel.restore_from(str(path), map_location="cpu").eval()
    lengths = torch.tensor([len(waveform) for waveform in waveforms])
    audio = torch.nn.utils.rnn.pad_sequence([torch.from_numpy(w) for w in waveforms], batch_first=True)
    with torch.no_grad():
        scores, counts, _ = model(input_signal=audio, input_signal_length=lengths)
    return [
        [[round(value, 6) for value in frame] for frame in row[:count].tolist()]
        for row, count in zip(scores, counts.tolist(), strict=True)
    ]


def record_tokenizer(kind: str, folder: Path, texts: list[str]) -> dict[str, Any]:
    """A small model with a normalisation table of its own (NeMo's usual one has 240 kB) and the ids of texts."""
    import sentencepiece

    folder.mkdir()
    (folder / "text.txt").write_text("\n".join(texts * 4), encoding="utf-8")
    rules = {"ё": "е", "ﬁ": "fi", "№": "no", "…": " "}
    table = "".join("\t".join(" ".join(f"{ord(c):X}" for c in text) for text in pair) + "\n" for pair in rules.items())
    (folder / "rules.tsv").write_text(table, encoding="utf-8")
    sentencepiece.SentencePieceTrainer.Train(
        input=str(folder / "text.txt"), model_prefix=str(folder / "tokenizer"), model_type=kind, vocab_size=60,
        character_coverage=1.0, bos_id=-1, eos_id=-1, minloglevel=2, hard_vocab_limit=False,
        normalization_rule_tsv=str(folder / "rules.tsv"), user_defined_symbols=["uh"],
    )  # fmt: skip
    data = (folder / "tokenizer.model").read_bytes()
    processor = sentencepiece.SentencePieceProcessor(model_proto=data)
    words = [*texts, *" ".join(texts).split(), "ﬁve…nine", "№ ё", "uhuh uhone", "zerozero", "seveneleven"]
    return {
        "model": base64.b64encode(data).decode(),
        "pieces": [processor.id_to_piece(id_) for id_ in range(len(processor))],
        "ids": {text: processor.encode(text) for text in words},
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
