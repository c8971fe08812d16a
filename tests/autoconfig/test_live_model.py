"""Models in memory as the planner sees them: weights are counted on the models themselves."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from harken.autoconfig.live_model import planned_from, whole_modules
from harken.core import InputError
from harken.models.adapters import AdapterConfig, add_adapter, freeze_base
from harken.models.manager import ModelManager
from harken.models.pretrained import load_pretrained
from harken.testing.random_models import random_wav2vec2, random_whisper

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # peft asks


@pytest.fixture
def wav2vec2(tmp_path: Path) -> Any:
    return random_wav2vec2(tmp_path / "wav2vec2", letters="abcdefgh")


@pytest.fixture
def whisper(tmp_path: Path) -> Any:
    return random_whisper(tmp_path / "whisper")


def counts(model: nn.Module) -> tuple[int, int]:
    """Weights, and those that are trained, without the layers that peft keeps beside the ones it trains."""
    weights = {name: p for name, p in model.named_parameters() if "original_module" not in name}
    return sum(p.numel() for p in weights.values()), sum(p.numel() for p in weights.values() if p.requires_grad)


def test_a_model_of_transformers_is_counted_weight_for_weight(wav2vec2: Any, whisper: Any) -> None:
    for model, family in ((wav2vec2, "wav2vec2-ctc"), (whisper, "whisper")):
        planned = planned_from(model)
        assert planned.profile.family == family
        assert planned.profile.way == "full"
        assert planned.profile.output_units == model.config.vocab_size
        assert (planned.profile.parameters, planned.profile.trained) == counts(model)
    assert planned.profile.window_s == 1.5


def test_what_is_frozen_is_frozen_in_the_plan(wav2vec2: Any, whisper: Any) -> None:
    wav2vec2.freeze_feature_encoder()
    wav2vec2.wav2vec2.encoder.layers[0].requires_grad_(False)
    planned = planned_from(wav2vec2)
    assert planned.profile.way == "frozen-encoder"
    assert planned.parts.freeze == ("wav2vec2.encoder.layers.0", "wav2vec2.feature_extractor")
    assert (planned.profile.parameters, planned.profile.trained) == counts(wav2vec2)
    whisper.model.encoder.requires_grad_(False)
    planned = planned_from(whisper)
    assert planned.parts.freeze == ("model.encoder",)
    assert (planned.profile.parameters, planned.profile.trained) == counts(whisper)


def test_single_frozen_weights_count_as_trained(wav2vec2: Any) -> None:
    wav2vec2.lm_head.bias.requires_grad_(False)
    planned = planned_from(wav2vec2)
    assert planned.parts.freeze == ()
    assert planned.profile.trained == planned.profile.parameters


def test_peft_is_an_adapter_with_its_targets(wav2vec2: Any) -> None:
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(
        r=4, lora_alpha=12, lora_dropout=0.1, target_modules=["q_proj", "v_proj"], modules_to_save=["lm_head"]
    )
    model = peft.get_peft_model(wav2vec2, config)
    planned = planned_from(model)
    adapter = planned.parts.adapter
    assert adapter is not None
    assert (adapter.rank, adapter.alpha, adapter.dropout) == (4, 12.0, 0.1)
    assert sorted(adapter.targets) == sorted(
        f"wav2vec2.encoder.layers.{layer}.attention.{name}" for layer in (0, 1) for name in ("q_proj", "v_proj")
    )
    assert planned.parts.keep == ("lm_head",)
    assert planned.profile.way == "lora"
    assert (planned.profile.parameters, planned.profile.trained) == counts(model)


def test_an_adapter_added_to_the_model_itself_is_the_same(whisper: Any) -> None:
    peft = pytest.importorskip("peft")
    whisper.add_adapter(peft.LoraConfig(r=2, target_modules=["q_proj"]))
    planned = planned_from(whisper)
    assert planned.profile.way == "lora"
    assert (planned.profile.parameters, planned.profile.trained) == counts(whisper)


@pytest.mark.parametrize(
    ("settings", "named"), [({"use_dora": True}, "use_dora=True"), ({"bias": "all"}, "bias='all'")]
)
def test_kinds_of_lora_without_a_counterpart_are_refused(wav2vec2: Any, settings: dict[str, Any], named: str) -> None:
    peft = pytest.importorskip("peft")
    model = peft.get_peft_model(wav2vec2, peft.LoraConfig(target_modules=["q_proj"], **settings))
    with pytest.raises(InputError, match=named):
        planned_from(model)


def test_other_adapters_are_refused(wav2vec2: Any) -> None:
    peft = pytest.importorskip("peft")
    model = peft.get_peft_model(wav2vec2, peft.IA3Config(target_modules=["k_proj"], feedforward_modules=[]))
    with pytest.raises(InputError, match="IA3"):
        planned_from(model)


def test_what_harken_loads_is_planned_for_with_its_adapter(wav2vec2: Any, tmp_path: Path) -> None:
    parts = load_pretrained(tmp_path / "wav2vec2")
    assert planned_from(parts).profile.sha256 == planned_from(parts.model).profile.sha256
    assert planned_from(parts).profile.parameters == counts(parts.model)[0]
    add_adapter(parts.model, AdapterConfig(rank=2, targets=("q_proj",)), seed=0)
    freeze_base(parts.model, keep=["lm_head"])
    planned = planned_from(parts)
    assert (planned.profile.parameters, planned.profile.trained) == counts(parts.model)


def test_a_bottleneck_is_refused(wav2vec2: Any, tmp_path: Path) -> None:
    model = load_pretrained(tmp_path / "wav2vec2").model
    add_adapter(model, AdapterConfig(kind="bottleneck", adapter_dim=8), seed=0)
    with pytest.raises(InputError, match="bottleneck"):
        planned_from(model)


def test_other_objects_are_refused(wav2vec2: Any) -> None:
    class Elsewhere(nn.Module):
        config = type("Config", (), {"model_type": "bert"})()

    with pytest.raises(InputError, match=r"Elsewhere \(model_type bert\)"):
        planned_from(Elsewhere())
    with pytest.raises(InputError, match="Linear is no model"):
        planned_from(nn.Linear(1, 1))
    with pytest.raises(InputError, match="Wav2Vec2Model"):
        planned_from(wav2vec2.wav2vec2)
    with pytest.raises(InputError, match="ModelManager"):
        planned_from(ModelManager())
    wav2vec2.is_quantized = True
    with pytest.raises(InputError, match="quantised"):
        planned_from(wav2vec2)


def test_a_model_of_which_nothing_is_trained_is_refused(wav2vec2: Any) -> None:
    wav2vec2.requires_grad_(False)
    with pytest.raises(InputError, match="Nothing of the model is trained"):
        planned_from(wav2vec2)


def test_the_largest_whole_modules() -> None:
    flags = {"a.b.w": True, "a.b.v": True, "a.c.w": False, "d.e.w": True, "d.w": True, "top": True}
    assert whole_modules(flags) == ["a.b", "d"]
    assert whole_modules(dict.fromkeys(flags, False)) == []


def test_the_model_itself_is_left_alone(wav2vec2: Any) -> None:
    before = {name: tensor.clone() for name, tensor in wav2vec2.state_dict().items()}
    planned_from(wav2vec2)
    assert wav2vec2.state_dict().keys() == before.keys()
    assert all(torch.equal(tensor, before[name]) for name, tensor in wav2vec2.state_dict().items())
