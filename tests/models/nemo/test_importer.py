"""Whole .nemo files: the same scores as NeMo's, and what is said about files that cannot be imported."""

import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor

from harken.audio.features import FeatureExtractor
from harken.core import InputError
from harken.models.description import read_description
from harken.models.family import family_names
from harken.models.folder import load_model
from harken.models.nemo.encoder import NemoConformerCtc
from harken.models.nemo.importer import NemoCheckpoint, convert_nemo, import_nemo
from harken.models.nemo.settings import NemoConformerSettings
from harken.models.nemo.tokenizer import SentencePieceTokenizer
from harken.text.tokenize import CharTokenizer

Write = Callable[..., Path]
Config, State, Files = dict[str, Any], dict[str, Tensor], dict[str, bytes]


def scores_like_nemo(checkpoint: NemoCheckpoint, signals: list[np.ndarray]) -> list[Tensor]:
    """Log probabilities (frames, vocab) of each signal run alone, the blank last."""
    extract = FeatureExtractor(checkpoint.features)
    out = []
    for signal in signals:
        features = torch.from_numpy(extract(signal))
        with torch.no_grad():
            scores, lengths = checkpoint.model(features[None], torch.tensor([len(features)]))
        real = scores[0, : int(lengths)]
        out.append(torch.cat([real[:, 1:], real[:, :1]], dim=1).log_softmax(-1))
    return out


@pytest.mark.parametrize("model", ["conformer", "fastconformer"])
@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_scores_are_those_nemo_gives_for_the_same_file(
    nemo_file: Write, golden: dict[str, Any], signals: list[np.ndarray], model: str, mode: str
) -> None:
    got = scores_like_nemo(import_nemo(nemo_file(model, mode=mode)), signals)
    for ours, theirs in zip(got, golden["scores"][model], strict=True):
        assert ours.shape == torch.Size(np.shape(theirs))
        assert float((ours - torch.tensor(theirs)).abs().max()) < 1e-4
    spread = torch.tensor(golden["scores"][model][0])
    assert float(spread.std(dim=0).max()) > 0.05  # scores that move over time, or the comparison would say little


def test_character_model(nemo_file: Write) -> None:
    found = import_nemo(nemo_file(name="stt_hi_conformer_ctc_small.nemo"))
    assert isinstance(found.tokenizer, CharTokenizer)
    assert found.tokenizer.encode("one zone") == [4, 3, 2, 1, 5, 4, 3, 2]
    assert found.languages == ["hi"]
    assert (found.class_name, found.version) == ("EncDecCTCModel", "3.0.0")
    assert (found.features.kind, found.features.normalize, found.features.dither) == ("nemo", "per-feature", 0.0)
    assert found.settings == NemoConformerSettings(
        width=8, layers=2, heads=2, kernel=5, expansion=2, subsampling_channels=8, dropout_attention=0.1
    )
    assert not found.model.training
    assert all(weight.requires_grad for weight in found.model.parameters())
    assert found.model.subsampling == 4


def test_piece_model(nemo_file: Write) -> None:
    found = import_nemo(nemo_file("fastconformer"))
    assert isinstance(found.tokenizer, SentencePieceTokenizer)
    assert found.languages == []
    assert found.model.subsampling == 8
    assert found.settings.use_bias is False
    assert found.settings.convolution_norm == "layer_norm"
    assert found.model.shared_biases is not None


def test_the_ctc_half_of_a_hybrid_model(nemo_file: Write, signals: list[np.ndarray], golden: dict[str, Any]) -> None:
    def make_hybrid(config: Config, state: State, files: Files) -> None:
        config["target"] = "nemo.collections.asr.models.hybrid_rnnt_ctc_models.EncDecHybridRNNTCTCModel"
        config["aux_ctc"] = {"ctc_loss_weight": 0.3, "decoder": config["decoder"]}
        config["decoder"] = {"_target_": "nemo.collections.asr.modules.RNNTDecoder"}
        state["decoder.prediction.embed.weight"] = torch.zeros(3, 3)
        state["joint.pred.weight"] = torch.zeros(3, 3)

    found = import_nemo(nemo_file(change=make_hybrid, head="ctc_decoder"))
    got = scores_like_nemo(found, signals)[0]
    assert float((got - torch.tensor(golden["scores"]["conformer"][0])).abs().max()) < 1e-4


def test_a_tokenizer_named_by_the_path_it_had_in_training(nemo_file: Write) -> None:
    def rename(config: Config, state: State, files: Files) -> None:
        config["tokenizer"]["model_path"] = "/home/somebody/tokens/ab12_tokenizer.model"

    assert import_nemo(nemo_file("fastconformer", change=rename)).tokenizer.vocab_size == 41


def test_half_precision_weights_become_float32(nemo_file: Write) -> None:
    def halve(config: Config, state: State, files: Files) -> None:
        state.update({name: value.half() for name, value in state.items() if value.is_floating_point()})

    assert {p.dtype for p in import_nemo(nemo_file(change=halve)).model.parameters()} == {torch.float32}


def refuse(*path: str, value: Any) -> Callable[[Config, State, Files], None]:
    def change(config: Config, state: State, files: Files) -> None:
        for key in path[:-1]:
            config = config[key]
        config[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (refuse("target", value="a.b.EncDecRNNTBPEModel"), "is a EncDecRNNTBPEModel; the import knows CTC models"),
        (refuse("target", value="a.b.EncDecMultiTaskModel"), "EncDecMultiTaskModel"),
        (refuse("encoder", "_target_", value="a.ConvASREncoder"), "its encoder is a ConvASREncoder"),
        (refuse("encoder", "self_attention_model", value="rel_pos_local_attn"), "is 'rel_pos_local_attn'"),
        (refuse("encoder", "self_attention_model", value="abs_pos"), "encoder.self_attention_model is 'abs_pos'"),
        (refuse("encoder", "att_context_size", value=[70, 13]), r"encoder.att_context_size is \[70, 13\]"),
        (refuse("encoder", "causal_downsampling", value=True), "encoder.causal_downsampling is True"),
        (refuse("encoder", "conv_context_size", value="causal"), "encoder.conv_context_size is 'causal'"),
        (refuse("encoder", "reduction", value="pooling"), "encoder.reduction is 'pooling'"),
        (refuse("encoder", "subsampling", value="vggnet"), "subsampling.*vggnet"),
        (refuse("encoder", "subsampling_factor", value=3), "subsampling_factor is 3"),
        (refuse("encoder", "d_model", value=None), "width"),
        (refuse("encoder", "conv_norm_type", value="group_norm4"), "group_norm4"),
        (refuse("encoder", "n_layers", value=3), "2 layers where encoder.n_layers is 3"),
        (refuse("encoder", "n_layers", value=60_000), "2 layers where encoder.n_layers is 60000"),
        (refuse("encoder", "d_model", value=65_536), "where the configuration means"),
        (refuse("encoder", "d_model", value=10**9), "width is 1000000000; use 1 to 65536"),
        (refuse("preprocessor", "features", value=10**9), "where the configuration means"),
        (refuse("preprocessor", "window_size", value="long"), "window_size is 'long', not a number"),
        (refuse("sample_rate", value=None), "preprocessor.sample_rate is None, not a number"),
        (refuse("decoder", "vocabulary", value=5), "decoder.vocabulary is 5, not a list"),
        (refuse("encoder", "d_model", value=12), "where the configuration means"),
        (refuse("encoder", value=[]), "encoder"),
        (refuse("preprocessor", "_target_", value="a.AudioToMFCCPreprocessor"), "AudioToMFCCPreprocessor"),
        (refuse("preprocessor", "normalize", value="all_features"), "preprocessor.normalize is 'all_features'"),
        (refuse("preprocessor", "n_fft", value=1024), "preprocessor.n_fft is 1024"),
        (refuse("preprocessor", "log_zero_guard_value", value=1e-5), "log_zero_guard_value"),
        (refuse("preprocessor", "highfreq", value=4000), "its mel filters are not those"),
        (refuse("preprocessor", "sample_rate", value="${nowhere.rate}"), "refers to nowhere.rate"),
        (refuse("decoder", "_target_", value="a.b.LSTMDecoder"), "decoder._target_ is 'LSTMDecoder'"),
        (refuse("decoder", "vocabulary", value=[" ", "e", "n", "o"]), "where the configuration means"),
        (refuse("decoder", "vocabulary", value=["e", "n", "o", "z", "zz"]), "not a character vocabulary"),
        (refuse("tokenizer", value={"type": "agg", "langs": {}}), "several tokenizers"),
        (refuse("tokenizer", value={"type": "wpe"}), "'wpe'"),
        (refuse("tokenizer", value={"type": "bpe", "model_path": "nemo:gone.model"}), "has no 'gone.model'"),
        (refuse("tokenizer", value={"type": "bpe"}), "tokenizer.model_path is None"),
    ],
)
def test_what_is_not_computed_as_nemo_does_is_refused_by_name(
    nemo_file: Write, change: Callable[..., None], words: str
) -> None:
    with pytest.raises(InputError, match=words) as caught:
        import_nemo(nemo_file(change=change))
    assert "conformer.nemo" in str(caught.value)


def test_weights_that_do_not_fit(nemo_file: Write) -> None:
    def lose(config: Config, state: State, files: Files) -> None:
        del state["encoder.layers.1.self_attn.linear_pos.weight"]

    def adapter(config: Config, state: State, files: Files) -> None:
        state["encoder.layers.0.adapter_layer.a.module.0.weight"] = torch.zeros(2)

    def untie(config: Config, state: State, files: Files) -> None:
        state["encoder.layers.1.self_attn.pos_bias_v"] += 1

    with pytest.raises(
        InputError, match=r"no tensor for 1 of \d+ weights, first 'layers.1.attention.positions.weight'"
    ):
        import_nemo(nemo_file(change=lose))
    with pytest.raises(
        InputError, match=r"1 tensors of parts the import does not know, first 'encoder\.layers\.0\.adapter"
    ):
        import_nemo(nemo_file(change=adapter))
    with pytest.raises(InputError, match=r"the layers differ in self_attn\.pos_bias_v"):
        import_nemo(nemo_file("fastconformer", change=untie))


def test_a_tokenizer_that_does_not_fit(nemo_file: Write) -> None:
    def shorten(config: Config, state: State, files: Files) -> None:
        config["decoder"]["vocabulary"] = config["decoder"]["vocabulary"][:-1]

    def damage(config: Config, state: State, files: Files) -> None:
        files["ab12_tokenizer.model"] = files["ab12_tokenizer.model"][:-3]

    with pytest.raises(InputError, match="the tokenizer has 40 units, the output layer 39"):
        import_nemo(nemo_file("fastconformer", change=shorten))
    with pytest.raises(InputError, match="is not a SentencePiece model"):
        import_nemo(nemo_file("fastconformer", change=damage))


def test_files_that_are_no_models(tmp_path: Path, nemo_file: Write) -> None:
    (tmp_path / "text.nemo").write_text("not a tar")
    (tmp_path / "empty.nemo").touch()
    whole = nemo_file().read_bytes()
    (tmp_path / "cut.nemo").write_bytes(whole[: len(whole) // 2])
    with tarfile.open(tmp_path / "other.nemo", "w") as tar:
        tar.addfile(tarfile.TarInfo("readme"))
    for name, words in [
        ("absent.nemo", "does not exist"),
        (".", "is a folder"),
        ("text.nemo", "not a readable .nemo archive"),
        ("empty.nemo", "not a readable .nemo archive"),
        ("cut.nemo", "not a readable .nemo archive|does not hold plain tensors"),
        ("other.nemo", "has no model_config.yaml"),
    ]:
        with pytest.raises(InputError, match=words):
            import_nemo(tmp_path / name)


class Hostile:
    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("this must never be printed",)


def test_code_in_the_weights_does_not_run(nemo_file: Write, capsys: pytest.CaptureFixture[str]) -> None:
    def poison(config: Config, state: Any, files: Files) -> None:
        state["encoder.pre_encode.out.weight"] = Hostile()

    with pytest.raises(InputError, match="does not hold plain tensors"):
        import_nemo(nemo_file(change=poison))
    assert capsys.readouterr().out == ""


def test_names_in_the_archive_lead_nowhere(tmp_path: Path, nemo_file: Write) -> None:
    path = nemo_file()
    with tarfile.open(path, "a") as tar:
        for name in ("../outside.txt", str(tmp_path.parent / "absolute.txt")):
            info = tarfile.TarInfo(name)
            info.size = 4
            tar.addfile(info, io.BytesIO(b"evil"))
        link = tarfile.TarInfo("model_weights.ckpt")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    before = set(tmp_path.parent.rglob("*"))
    import_nemo(path)
    assert set(tmp_path.parent.rglob("*")) == before
    assert not Path("/tmp/harken-outside.txt").exists()


def test_an_archive_that_swells_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.nemo"
    with tarfile.open(path, "w:gz") as tar:
        info = tarfile.TarInfo("model_weights.ckpt")
        info.size = 40 * 2**20
        tar.addfile(info, io.BytesIO(bytes(info.size)))
    with pytest.raises(InputError, match="says it has 41,943,040 bytes, more than"):
        import_nemo(path)


def test_configuration_that_is_no_mapping(tmp_path: Path, nemo_file: Write) -> None:
    for text, words in [(b"- 1\n", "holds list, not a mapping"), (b"a: [", "not valid YAML"), (b"\xff", "not valid")]:
        path = tmp_path / "odd.nemo"
        with tarfile.open(path, "w") as tar:
            for name, data in {"model_config.yaml": text, "model_weights.ckpt": b""}.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        with pytest.raises(InputError, match=words):
            import_nemo(path)
    assert yaml.safe_load("a: 1") == {"a": 1}


@pytest.mark.parametrize("model", ["conformer", "fastconformer"])
def test_a_model_folder_gives_the_same_scores(
    tmp_path: Path, nemo_file: Write, signals: list[np.ndarray], model: str
) -> None:
    if "nemo-conformer-ctc" not in family_names():
        pytest.skip("the family is registered with the package; install it again")
    path = nemo_file(model)
    convert_nemo(path, tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    features = torch.from_numpy(FeatureExtractor(loaded.features)(signals[0]))[None]
    frames = torch.tensor([features.shape[1]])
    with torch.no_grad():
        assert torch.equal(loaded.model(features, frames)[0], import_nemo(path).model(features, frames)[0])
    assert isinstance(loaded.model, NemoConformerCtc)
    assert loaded.tokenizer.encode("one") == import_nemo(path).tokenizer.encode("one")


def test_the_folder_says_where_it_came_from(tmp_path: Path, nemo_file: Write) -> None:
    convert_nemo(nemo_file(), tmp_path / "model", normalizer="basic")
    description = read_description(tmp_path / "model")
    assert description.family == "nemo-conformer-ctc"
    assert description.normalizer == "basic"
    assert description.vocab_size == 6
    assert description.provenance["imported_from"] == "conformer.nemo"
    assert description.provenance["nemo_class"] == "EncDecCTCModel"
