"""Wav2Vec2, HuBERT and WavLM: equal to transformers, independent of their company, and saved in its form."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from harken.audio.features import FeatureConfig, FeatureExtractor
from harken.core import InputError, MissingPart, dump_settings, parse_settings
from harken.models.pretrained import load_pretrained
from harken.models.wav2vec2 import FAMILY, Wav2Vec2Ctc, Wav2Vec2Settings, load_wav2vec2
from harken.text.closed import CharTokenizer
from harken.text.hf_ctc_tokenizer import HfCtcTokenizer
from harken.text.vocabulary import BLANK
from harken.training.loss import ctc_losses

transformers = pytest.importorskip("transformers")

VOCABULARY = {"E": 0, "T": 1, "|": 2, "[UNK]": 3, "[PAD]": 4, "A": 5, "'": 6}
TINY = {
    "vocab_size": len(VOCABULARY), "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 48, "conv_dim": (16,) * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4,
    "pad_token_id": 4, "bos_token_id": None, "eos_token_id": None, "hidden_dropout": 0.0, "attention_dropout": 0.0,
    "activation_dropout": 0.0, "feat_proj_dropout": 0.0, "final_dropout": 0.0, "layerdrop": 0.0,
}  # fmt: skip
LARGE = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "base": ("Wav2Vec2", {}),
    "large": ("Wav2Vec2", LARGE),
    "hubert-base": ("Hubert", {}),
    "hubert-large": ("Hubert", LARGE),
    "wavlm-base": ("WavLM", {}),
    "wavlm-large": ("WavLM", LARGE),
}
TOKENIZER_CONFIG = {
    "tokenizer_class": "Wav2Vec2CTCTokenizer", "pad_token": "[PAD]", "unk_token": "[UNK]", "bos_token": None,
    "eos_token": None, "word_delimiter_token": "|",
}  # fmt: skip


def make_folder(folder: Path, kind: str, **changes: Any) -> Any:
    """A random pretrained folder as transformers writes it, and its model."""
    name, settings = KINDS[kind]
    torch.manual_seed(0)
    network = getattr(transformers, f"{name}ForCTC")(
        getattr(transformers, f"{name}Config")(**{**TINY, **settings, **changes})
    ).eval()
    with torch.no_grad():  # the scale and shift of a fresh norm hide what is done before it
        for parameter in network.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
        network.lm_head.weight.mul_(10)
    network.save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps(VOCABULARY))
    (folder / "tokenizer_config.json").write_text(json.dumps(TOKENIZER_CONFIG))
    (folder / "preprocessor_config.json").write_text(json.dumps({"do_normalize": True, "sampling_rate": 16_000}))
    return network


@pytest.fixture(params=list(KINDS))
def pretrained(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Any]:
    return tmp_path, make_folder(tmp_path, request.param)


def waveforms(*samples: int) -> tuple[Tensor, Tensor]:
    torch.manual_seed(3)
    features = torch.zeros(len(samples), max(samples), 1)
    for row, count in zip(features, samples, strict=True):
        row[:count] = torch.randn(count, 1)
    return features, torch.tensor(samples)


def load(folder: Path, **options: Any) -> tuple[Wav2Vec2Ctc, HfCtcTokenizer]:
    parts = load_wav2vec2(folder, **options)
    assert isinstance(parts.model, Wav2Vec2Ctc)
    assert isinstance(parts.tokenizer, HfCtcTokenizer)
    return parts.model, parts.tokenizer


def test_scores_are_those_of_transformers_for_the_utterance_alone(pretrained: tuple[Path, Any]) -> None:
    folder, network = pretrained
    model, tokenizer = load(folder)
    features, frames = waveforms(16_000, 9_037, 700)
    with torch.no_grad():
        scores, lengths = model(features, frames)
        for row, count in enumerate(frames.tolist()):
            expected = network(features[row : row + 1, :count, 0]).logits[0]
            assert lengths[row] == len(expected)
            got = scores[row, : lengths[row]]
            torch.testing.assert_close(got, expected[:, list(tokenizer.hub_ids)], atol=1e-5, rtol=1e-5)
    assert tokenizer.hub_ids == (4, 0, 1, 2, 3, 5, 6)


@pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask")  # transformers' WavLM
@pytest.mark.parametrize("kind", ["base", "large", "wavlm-large"])
def test_one_step_has_the_loss_and_the_gradients_of_transformers(tmp_path: Path, kind: str) -> None:
    network = make_folder(tmp_path, kind, ctc_loss_reduction="sum")
    model, tokenizer = load(tmp_path)
    # Base models let padding into transformers' own norm; batches of equal length are the same in both.
    features, frames = waveforms(16_000, 16_000) if kind == "base" else waveforms(16_000, 9_037)
    labels = [tokenizer.encode("tea at"), tokenizer.encode("a'")]
    padded = torch.zeros(2, 6, dtype=torch.long)
    theirs = torch.full((2, 6), -100)
    for row, ids in enumerate(labels):
        padded[row, : len(ids)] = torch.tensor(ids)
        theirs[row, : len(ids)] = torch.tensor([tokenizer.hub_ids[id_] for id_ in ids])
    mask = (torch.arange(features.shape[1])[None, :] < frames[:, None]).long()
    expected = network(features[:, :, 0], attention_mask=mask, labels=theirs).loss
    scores, lengths = model(features, frames)
    loss = ctc_losses(scores, lengths, padded, torch.tensor([len(ids) for ids in labels])).sum()
    torch.testing.assert_close(loss, expected, atol=0, rtol=1e-5)
    loss.backward()
    expected.backward()
    gradients = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
    ours = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert gradients.keys() == ours.keys()
    del gradients["lm_head.weight"], gradients["lm_head.bias"]  # their rows are in another order
    for name, gradient in gradients.items():
        scale = float(gradient.abs().max())
        torch.testing.assert_close(ours[name], gradient, atol=2e-4 * scale + 1e-7, rtol=0)


def test_padding_is_ignored_and_very_short_audio_stops_nothing(pretrained: tuple[Path, Any]) -> None:
    model, _ = load(pretrained[0])
    features, frames = waveforms(4_000, 399, 0, 401)
    other = features.clone()
    other[3, 401:] = 100.0
    with torch.no_grad():
        scores, lengths = model(features, frames)
        again, _ = model(other, frames)
        none, no_frames = model(features[:1, :100], torch.tensor([100]))
    assert lengths.tolist() == [12, 0, 0, 1] == model.output_frames(frames).tolist()
    assert torch.isfinite(scores).all()
    torch.testing.assert_close(scores[3, :1], again[3, :1], atol=1e-5, rtol=0)
    assert no_frames.tolist() == [0]
    assert torch.isfinite(none).all()
    assert (model.subsampling, model.shortest_samples) == (320, 400)


def save(folder: Path, model: Wav2Vec2Ctc, features: FeatureConfig, tokenizer: Any) -> None:
    from harken.models.folder import write_weights

    tokenizer.save(folder)
    model.write_hub_files(folder, features)
    write_weights(folder / "model.safetensors", model)


@pytest.mark.parametrize("new", [False, True])
def test_a_saved_folder_loads_with_transformers(pretrained: tuple[Path, Any], tmp_path: Path, new: bool) -> None:
    letters = CharTokenizer([BLANK, " ", *"abcd'"])
    parts = load_wav2vec2(pretrained[0], tokenizer=letters if new else None)
    out = tmp_path / "saved"
    out.mkdir()
    save(out, parts.model, parts.features, parts.tokenizer)  # type: ignore[arg-type]
    network, report = transformers.AutoModelForCTC.from_pretrained(out, output_loading_info=True)
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert network.config.pad_token_id == 0
    features, frames = waveforms(6_400)
    with torch.no_grad():
        torch.testing.assert_close(
            parts.model(features, frames)[0], network.eval()(features[:, :, 0]).logits, atol=1e-5, rtol=0
        )
    processor = transformers.AutoProcessor.from_pretrained(out)
    text = "add bad" if new else "at tea"
    assert processor.tokenizer(text).input_ids == parts.tokenizer.encode(text)
    assert len(processor.tokenizer) == parts.tokenizer.vocab_size
    ids = parts.tokenizer.encode(text)
    assert processor.tokenizer.decode(ids, group_tokens=False) == text
    sound = np.random.default_rng(0).normal(0.1, 0.3, 5_000).astype(np.float32)
    expected = processor(sound, sampling_rate=16_000, return_tensors="np").input_values[0]
    np.testing.assert_allclose(FeatureExtractor(parts.features)(sound)[:, 0], expected, atol=1e-5)


def test_our_own_folder_form_reads_the_weights_back(tmp_path: Path) -> None:
    from harken.models.folder import load_weights, write_weights

    make_folder(tmp_path, "base")
    parts = load_wav2vec2(tmp_path)
    settings = parse_settings(Wav2Vec2Settings, dump_settings(parts.settings), source="harken.json")
    assert settings == parts.settings
    again = FAMILY.build(settings, 1, parts.tokenizer.vocab_size).eval()
    write_weights(tmp_path / "ours.safetensors", parts.model)
    load_weights(tmp_path / "ours.safetensors", again)
    features, frames = waveforms(3_200, 2_000)
    with torch.no_grad():
        assert torch.equal(again(features, frames)[0], parts.model(features, frames)[0])  # type: ignore[operator]


def test_older_folders_with_pickled_weights_and_old_names(tmp_path: Path) -> None:
    network = make_folder(tmp_path, "base")
    names = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    tensors = dict(network.state_dict())
    for name in [name for name in tensors if "parametrizations" in name]:
        stem, _, last = name.partition("parametrizations")
        tensors[stem + names[f"parametrizations{last}"]] = tensors.pop(name)
    (tmp_path / "model.safetensors").unlink()
    torch.save(tensors, tmp_path / "pytorch_model.bin")
    model, tokenizer = load(tmp_path)
    features, frames = waveforms(3_200)
    with torch.no_grad():
        expected = network(features[:, :, 0]).logits[:, :, list(tokenizer.hub_ids)]
        torch.testing.assert_close(model(features, frames)[0], expected, atol=1e-5, rtol=0)


def test_a_new_vocabulary_has_a_head_drawn_from_the_seed(tmp_path: Path) -> None:
    network = make_folder(tmp_path, "large")
    letters = CharTokenizer([BLANK, " ", *"abcdefgh"])
    state = torch.get_rng_state()
    one, same, other = (load_wav2vec2(tmp_path, tokenizer=letters, seed=seed).model for seed in (1, 1, 2))
    assert torch.equal(state, torch.get_rng_state())
    assert one.lm_head.weight.shape == (10, 32)  # type: ignore[union-attr]
    assert torch.equal(one.lm_head.weight, same.lm_head.weight)  # type: ignore[union-attr, arg-type]
    assert not torch.equal(one.lm_head.weight, other.lm_head.weight)  # type: ignore[union-attr, arg-type]
    assert float(one.lm_head.weight.detach().std()) == pytest.approx(0.02, rel=0.2)  # type: ignore[union-attr, operator, arg-type]
    for name, tensor in network.wav2vec2.state_dict().items():
        assert torch.equal(tensor, one.state_dict()[f"wav2vec2.{name}"])


def test_a_folder_that_was_only_pretrained_takes_a_new_vocabulary(tmp_path: Path) -> None:
    torch.manual_seed(0)
    plain = {key: value for key, value in TINY.items() if key not in ("vocab_size", "pad_token_id")}
    config = transformers.Wav2Vec2Config(**plain, num_codevectors_per_group=4, codevector_dim=8, proj_codevector_dim=8)
    transformers.Wav2Vec2ForPreTraining(config).save_pretrained(tmp_path)
    with pytest.raises(MissingPart, match=r"no vocabulary .*Give a tokenizer trained on your texts"):
        load_wav2vec2(tmp_path)
    model = load_wav2vec2(tmp_path, tokenizer=CharTokenizer([BLANK, " ", "a"])).model
    assert model(*waveforms(1_000))[0].shape == (1, 2, 3)
    (tmp_path / "vocab.json").write_text(json.dumps({"<pad>": 0, "|": 1}))
    with pytest.raises(InputError, match=r"absent.*lm_head.*tokenizer of yours"):
        load_wav2vec2(tmp_path, config_changes={"vocab_size": 2})


def test_frozen_encoder_and_hidden_frames(tmp_path: Path) -> None:
    make_folder(tmp_path, "base")
    model, _ = load(tmp_path, freeze_feature_encoder=True, mask_time_prob=0.3)
    names = [name for name, parameter in model.named_parameters() if not parameter.requires_grad]
    assert names
    assert all(name.startswith("wav2vec2.feature_extractor.") for name in names)
    features, frames = waveforms(320 * 500, 320 * 250)
    hidden = torch.full((2, 500, 32), 7.0)
    torch.manual_seed(0)
    masked = (model._hide_frames(hidden, torch.tensor([500, 250])) != 7.0).any(-1)
    assert 0.15 < float(masked[0].float().mean()) < 0.45
    assert not masked[1, 260:].any()  # spans that start in a real frame may run into the padding
    quiet = model.eval()(features[:, :6_400], frames.clamp(max=6_400))[0]
    torch.testing.assert_close(quiet, model(features[:, :6_400], frames.clamp(max=6_400))[0])
    model.train()
    first = model(features[:, :6_400], frames.clamp(max=6_400))[0]
    assert not torch.equal(first, quiet)
    with pytest.raises(InputError, match="embedding for hidden frames"):
        load_wav2vec2(tmp_path, mask_time_prob=0.3, config_changes={"mask_time_prob": 0.0})
    with pytest.raises(ValueError, match=r"mask_time_prob is 1\.0"):
        Wav2Vec2Settings(mask_time_prob=1.0)


def test_features_follow_the_preprocessor(tmp_path: Path) -> None:
    make_folder(tmp_path, "base")
    assert load_pretrained(tmp_path).features == FeatureConfig(kind="waveform", dimensions=1, normalize="mean-scale")
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"do_normalize": False}))
    assert load_pretrained(tmp_path).features.normalize == "none"
    (tmp_path / "preprocessor_config.json").unlink()
    processor = {"feature_extractor": {"do_normalize": False, "sampling_rate": 8000}}
    (tmp_path / "processor_config.json").write_text(json.dumps(processor))
    features = load_pretrained(tmp_path).features
    assert (features.normalize, features.sample_rate_hz) == ("none", 8000)


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    make_folder(tmp_path, "base")
    with pytest.raises(InputError, match="add_adapter"):
        load_wav2vec2(tmp_path, config_changes={"add_adapter": True, "vocab_size": 7}, tokenizer=None)
    with pytest.raises(InputError, match="Did you mean 'layerdrop'"):
        load_wav2vec2(tmp_path, config_changes={"layer_drop": 0.0})
    with pytest.raises(InputError, match="80 dimensions"):
        FAMILY.build(Wav2Vec2Settings(), 80, 5)
    with pytest.raises(InputError, match="model_type 'bert'"):
        FAMILY.build(Wav2Vec2Settings(config={"model_type": "bert"}), 1, 5)
    (tmp_path / "vocab.json").write_text(json.dumps({**VOCABULARY, "Z": 7}))
    with pytest.raises(InputError, match=r"8 units, the model rows for 7: 'Z'"):
        load_wav2vec2(tmp_path)
