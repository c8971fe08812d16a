"""Adapters: the base stays what it was, in values and in names; the files are peft's."""

import copy
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from harken.core import InputError, MissingPart, RunFailed, parse_settings
from harken.models.adapters import (
    AdapterConfig,
    adapter_names,
    add_adapter,
    base_state_dict,
    check_adapter_effect,
    freeze_base,
    freeze_modules,
    load_adapter,
    merge_adapter,
    remove_adapter,
    save_adapter,
    set_adapters,
    trainable_report,
    unfreeze,
)
from harken.models.conformer import ConformerCtc, ConformerSettings
from harken.models.family import CtcModel
from harken.models.folder import load_weights, write_weights
from harken.models.recurrent import RecurrentCtc, RecurrentSettings

DIMENSIONS, VOCAB, WIDTH = 20, 7, 16
LORA = AdapterConfig(name="uz", rank=4)
BOTTLENECK = AdapterConfig(name="uz", kind="bottleneck", adapter_dim=8)


def conformer() -> CtcModel:
    torch.manual_seed(0)
    return ConformerCtc(ConformerSettings(width=WIDTH, layers=2, heads=2, kernel=5), DIMENSIONS, VOCAB).eval()


def recurrent() -> CtcModel:
    torch.manual_seed(0)
    return RecurrentCtc(RecurrentSettings(width=WIDTH, layers=2), DIMENSIONS, VOCAB).eval()


CASES = {
    "conformer-lora": (conformer, LORA),
    "conformer-bottleneck": (conformer, BOTTLENECK),
    "recurrent-bottleneck": (recurrent, BOTTLENECK),
    # All that is recurrent is an LSTM, so the output is the one Linear layer.
    "recurrent-lora": (recurrent, AdapterConfig(name="uz", rank=4, targets=("output",))),
}
BATCH = (torch.randn(3, 60, DIMENSIONS, generator=torch.Generator().manual_seed(1)), torch.tensor([60, 41, 9]))


@pytest.fixture(params=list(CASES))
def case(request: pytest.FixtureRequest) -> tuple[CtcModel, AdapterConfig]:
    make, config = CASES[request.param]
    return make(), config


def scores(model: nn.Module) -> Tensor:
    with torch.no_grad():
        out: Tensor = model(*BATCH)[0]
    return out


def shake(model: nn.Module, name: str, *, seed: int = 5) -> None:
    """Weights an adapter could have after training."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for path, parameter in model.named_parameters():
            if f".adapter_{name}." in f".{path}":
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)


def snapshot(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return list(first) == list(second) and all(torch.equal(first[name], second[name]) for name in first)


def test_the_start_is_the_base_and_its_tensors_keep_their_names(case: tuple[CtcModel, AdapterConfig]) -> None:
    model, config = case
    before, out = snapshot(model), scores(model)
    names = add_adapter(model, config, seed=1)
    assert torch.equal(scores(model), out)
    assert same(base_state_dict(model), before)
    added = model.state_dict().keys() - before.keys()
    assert {name.partition(".adapter_uz.")[0] for name in added} == set(names)
    model.load_state_dict(before, strict=False)
    remove_adapter(model, "uz")
    assert same(snapshot(model), before)
    assert torch.equal(scores(model), out)
    assert not any(module._forward_hooks for module in model.modules())


def test_default_targets() -> None:
    model = conformer()
    lora = add_adapter(model, LORA, seed=1)
    parts = ("feed_forward_in.up", "feed_forward_in.down", "attention.project_in", "attention.project_out",
             "convolution.gate", "convolution.project_out", "feed_forward_out.up", "feed_forward_out.down")  # fmt: skip
    assert lora == [f"layers.{layer}.{part}" for layer in (0, 1) for part in parts]
    assert add_adapter(model, AdapterConfig(name="b", kind="bottleneck"), seed=1) == ["layers.0", "layers.1"]
    with pytest.raises(InputError, match=r"RecurrentCtc has no Linear layer in blocks .* there are: output\."):
        add_adapter(recurrent(), LORA, seed=1)


def test_targets_are_whole_names_endings_or_patterns() -> None:
    def named(*targets: str) -> list[str]:
        return add_adapter(conformer(), AdapterConfig(targets=targets), seed=1)

    assert named("project_in") == ["layers.0.attention.project_in", "layers.1.attention.project_in"]
    assert named("output", "layers.1.attention.*") == [
        "layers.1.attention.project_in", "layers.1.attention.project_out", "output"]  # fmt: skip
    with pytest.raises(InputError, match=r"No Linear layer is called 'q_proj'. There are: layers.0.feed_forward_in.up"):
        named("output", "q_proj")


def test_training_changes_the_adapter_alone(case: tuple[CtcModel, AdapterConfig]) -> None:
    model, config = case
    add_adapter(model, config, seed=1)
    freeze_base(model)
    model.train()
    before = snapshot(model)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.01)
    for _ in range(2):  # what lies before the zero matrix gets its first gradient at the second step
        optimizer.zero_grad()
        model(*BATCH)[0].square().mean().backward()
        optimizer.step()
    with_gradient = {name for name, p in model.named_parameters() if p.grad is not None}
    after = snapshot(model)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == with_gradient == {name for name in before if ".adapter_uz." in f".{name}"}


def test_frozen_running_statistics_stay_in_training_mode() -> None:
    model = conformer()
    add_adapter(model, LORA, seed=1)
    statistics = "layers.0.convolution.batch_norm.running_mean"
    frozen = scores(model)
    freeze_base(model)
    freeze_base(model)  # twice is once
    model.train()
    assert torch.equal(scores(model), frozen)
    assert not model.state_dict()[statistics].any()
    unfreeze(model)
    model.train()
    assert not torch.equal(scores(model), frozen)
    assert model.state_dict()[statistics].any()
    assert all(p.requires_grad for p in model.parameters())


def test_freeze_base_keeps_a_new_output_layer() -> None:
    model = conformer()
    add_adapter(model, LORA, seed=1)
    freeze_base(model, keep=["output"])
    trained = {name for name, p in model.named_parameters() if p.requires_grad and ".adapter_" not in name}
    assert trained == {"output.weight", "output.bias"}
    with pytest.raises(InputError, match="No module is called 'lm_head'"):
        freeze_base(model, keep=["lm_head"])
    with pytest.raises(InputError, match="Nothing is left to train"):
        freeze_base(conformer())


def test_freeze_modules_is_a_frozen_feature_encoder() -> None:
    model = conformer()
    add_adapter(model, LORA, seed=1)
    assert freeze_modules(model, ["front_end", "layers.0"]) == ["front_end", "layers.0"]
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert frozen == {
        name for name in base_state_dict(model)
        if name.startswith(("front_end.", "layers.0.")) and "running" not in name
    }  # fmt: skip
    model.train()
    scores(model)
    state = model.state_dict()
    assert not state["layers.0.convolution.batch_norm.running_mean"].any()
    assert state["layers.1.convolution.batch_norm.running_mean"].any()
    with pytest.raises(InputError, match="No module is called 'encoder'"):
        freeze_modules(model, ["encoder"])


def test_two_adapters_on_one_base() -> None:
    model = conformer()
    base = scores(model)
    add_adapter(model, LORA, seed=1)
    shake(model, "uz")
    uz = scores(model)
    add_adapter(model, AdapterConfig(name="ru", kind="bottleneck", adapter_dim=4), seed=1)
    assert torch.equal(scores(model), base)  # the new one alone is active, and starts at zero
    shake(model, "ru")
    ru = scores(model)
    assert sorted(adapter_names(model)) == ["ru", "uz"]
    set_adapters(model, ["uz"])
    assert torch.equal(scores(model), uz)
    set_adapters(model, ["ru"])
    assert torch.equal(scores(model), ru)
    set_adapters(model, ["uz", "ru"])
    both = scores(model)
    set_adapters(model, None)
    assert torch.equal(scores(model), base)
    assert len({tuple(out.flatten().tolist()) for out in (base, uz, ru, both)}) == 4
    set_adapters(model, ["ru"])
    freeze_base(model)
    assert {name for name, p in model.named_parameters() if p.requires_grad} == {
        name for name, _ in model.named_parameters() if ".adapter_ru." in name
    }
    with pytest.raises(InputError, match=r"no adapter called 'kk'. There are: "):
        set_adapters(model, ["uz", "kk"])
    assert adapter_names(model, active_only=True) == ["ru"]
    with pytest.raises(InputError, match="already has an adapter called 'uz'"):
        add_adapter(model, LORA, seed=1)


def test_merging_keeps_the_outputs_and_gives_the_original_names(tmp_path: Path) -> None:
    model = conformer()
    names = list(model.state_dict())
    add_adapter(model, LORA, seed=1)
    shake(model, "uz")
    before = scores(model)
    assert (before - scores(conformer())).abs().max() > 1e-2
    merge_adapter(model, "uz")
    torch.testing.assert_close(scores(model), before, atol=1e-5, rtol=0)
    assert list(model.state_dict()) == names
    assert adapter_names(model) == []
    write_weights(tmp_path / "model.safetensors", model)
    fresh = conformer()
    load_weights(tmp_path / "model.safetensors", fresh)
    assert torch.equal(scores(fresh), scores(model))


def test_what_cannot_be_merged() -> None:
    model = conformer()
    add_adapter(model, BOTTLENECK, seed=1)
    with pytest.raises(InputError, match="'uz' is a bottleneck, which cannot be merged"):
        merge_adapter(model, "uz")
    with pytest.raises(InputError, match="no adapter called 'xx'"):
        merge_adapter(model, "xx")
    tied = nn.ModuleDict({"embed": nn.Embedding(7, 4), "head": nn.Linear(4, 7, bias=False)})
    tied["head"].weight = tied["embed"].weight
    add_adapter(tied, AdapterConfig(targets=("head",)), seed=1)
    with pytest.raises(InputError, match="'head' is shared by embed, head"):
        merge_adapter(tied, "default")


def test_same_seed_same_bytes_and_the_global_generator_is_left_alone() -> None:
    def weights(seed: int, name: str = "uz") -> dict[str, Tensor]:
        model = conformer()
        torch.manual_seed(seed + 100)
        state = torch.get_rng_state()
        add_adapter(model, AdapterConfig(name=name), seed=seed)
        assert torch.equal(torch.get_rng_state(), state)
        return {key: tensor for key, tensor in snapshot(model).items() if ".adapter_" in key}

    assert same(weights(1), weights(1))
    first, second = weights(1), weights(2)
    down = "layers.0.attention.project_in.adapter_uz.down.weight"
    assert not torch.equal(first[down], second[down])
    assert not torch.equal(first[down], first[down.replace("layers.0", "layers.1")])
    assert 0.2 < first[down].abs().max() <= 0.25  # 1 / sqrt(16)


def test_a_checkpoint_with_adapters_loads_into_the_same_model(case: tuple[CtcModel, AdapterConfig]) -> None:
    model, config = case
    fresh = copy.deepcopy(model)
    add_adapter(model, config, seed=1)
    shake(model, "uz")
    add_adapter(fresh, config, seed=2)
    fresh.load_state_dict(model.state_dict())
    assert torch.equal(scores(fresh), scores(model))


def test_copies_and_pickles_keep_their_own_adapters(case: tuple[CtcModel, AdapterConfig]) -> None:
    model, config = case
    add_adapter(model, config, seed=1)
    shake(model, "uz")
    out = scores(model)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        set_adapters(twin, None)
        assert not torch.equal(scores(twin), out)
        assert torch.equal(scores(model), out)
        remove_adapter(twin, "uz")
        assert torch.equal(scores(model), out)


def test_save_and_load(case: tuple[CtcModel, AdapterConfig], tmp_path: Path) -> None:
    model, config = case
    fresh = copy.deepcopy(model)
    names = add_adapter(model, config, seed=1)
    shake(model, "uz")
    save_adapter(model, "uz", tmp_path / "a")
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    assert sorted(load_adapter(fresh, tmp_path / "a", "other")) == sorted(names)
    assert adapter_names(fresh, active_only=True) == ["other"]
    assert torch.equal(scores(fresh), scores(model))
    save_adapter(fresh, "other", tmp_path / "b")
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


class Wrapped(nn.Module):
    """A plain model peft can wrap: peft calls some hooks that our base classes do not have."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        for name, child in inner.named_children():
            self.add_module(name, child)
        self.run = type(inner).forward
        self.settings = getattr(inner, "settings", None)
        # Methods of the conformer.
        self._attention_mask, self.normalized = inner._attention_mask, inner.normalized  # type: ignore[assignment]

    def forward(self, *batch: Tensor) -> Any:
        return self.run(self, *batch)


def test_peft_reads_what_we_write(tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    ours = conformer()
    targets = ("layers.*.project_in", "attention.project_out")
    add_adapter(ours, AdapterConfig(name="uz", rank=3, alpha=5, dropout=0.1, targets=targets), seed=1)
    shake(ours, "uz")
    save_adapter(ours, "uz", tmp_path)
    theirs = peft.PeftModel.from_pretrained(Wrapped(conformer()), str(tmp_path)).eval()
    torch.testing.assert_close(scores(theirs), scores(ours), atol=1e-6, rtol=0)
    assert (scores(ours) - scores(conformer())).abs().max() > 1e-2
    merged = theirs.merge_and_unload()
    merge_adapter(ours, "uz")
    torch.testing.assert_close(scores(merged), scores(ours), atol=1e-6, rtol=0)


def test_peft_takes_an_ending_for_nothing_else(tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")

    def make() -> CtcModel:
        model = conformer()
        model.front_end.output = nn.Linear(2, 2)
        return model

    ours = conformer()
    add_adapter(ours, AdapterConfig(targets=("output",)), seed=1)
    ours.front_end.output = nn.Linear(2, 2)
    shake(ours, "default")
    save_adapter(ours, "default", tmp_path)
    assert json.loads((tmp_path / "adapter_config.json").read_text())["target_modules"] == "output"
    theirs = peft.PeftModel.from_pretrained(Wrapped(make()), str(tmp_path)).eval()
    assert [name for name, module in theirs.named_modules() if hasattr(module, "lora_A")] == ["base_model.model.output"]
    torch.testing.assert_close(scores(theirs), scores(ours), atol=1e-6, rtol=0)


def test_we_read_what_peft_writes(tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(r=4, lora_alpha=12, target_modules=["project_in", "up"], lora_dropout=0.1)
    theirs = peft.get_peft_model(Wrapped(conformer()), config).eval()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            if "lora_" in name:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    theirs.save_pretrained(str(tmp_path))
    ours = conformer()
    assert len(load_adapter(ours, tmp_path, "p")) == 6
    torch.testing.assert_close(scores(ours), scores(theirs), atol=1e-6, rtol=0)
    assert (scores(ours) - scores(conformer())).abs().max() > 1e-2


def edit(folder: Path, **changes: Any) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_folders_that_do_not_fit(tmp_path: Path) -> None:
    model = conformer()
    add_adapter(model, LORA, seed=1)
    save_adapter(model, "uz", tmp_path)
    before = snapshot(model)

    def refuse(kind: type[Exception], match: str, *, target: nn.Module = model, name: str = "ru") -> None:
        with pytest.raises(kind, match=match):
            load_adapter(target, tmp_path, name)

    refuse(InputError, "already has an adapter called 'uz'", name="uz")
    refuse(InputError, "use letters, digits", name="a.b")
    refuse(InputError, "'layers.0.attention.project_in' is not in this model", target=recurrent())
    wide = ConformerCtc(ConformerSettings(width=32, layers=2, heads=2, kernel=5), DIMENSIONS, VOCAB)
    refuse(InputError, r"down.weight of '.*' is \(4, 16\) there and \(4, 32\) here", target=wide)
    edit(tmp_path, use_dora=True, bias="all")
    refuse(InputError, "uses use_dora, bias")
    edit(tmp_path, use_dora=False, bias="none", r=5)
    refuse(InputError, r"is \(4, 16\) there and \(5, 16\) here")
    edit(tmp_path, r="many")
    refuse(InputError, "is damaged: ValueError")
    edit(tmp_path, r=4, peft_type="IA3")
    refuse(InputError, "is of kind 'IA3'")
    edit(tmp_path, peft_type="LORA")
    weights = tmp_path / "adapter_model.safetensors"
    tensors = load_file(weights)
    save_file({f"{name}x": tensor for name, tensor in tensors.items()}, weights)
    refuse(InputError, "a tensor this Harken does not know")
    save_file({name: tensor * float("nan") for name, tensor in tensors.items()}, weights)
    refuse(InputError, "not finite")
    weights.write_bytes(b"nonsense")
    refuse(InputError, "not readable as safetensors")
    weights.unlink()
    refuse(MissingPart, "adapter_model.safetensors does not exist")
    (tmp_path / "adapter_config.json").write_text("[]")
    refuse(InputError, "does not describe an adapter")
    (tmp_path / "adapter_config.json").write_text("{")
    refuse(InputError, "not valid JSON")
    (tmp_path / "adapter_config.json").unlink()
    refuse(MissingPart, "adapter_config.json does not exist")
    assert same(snapshot(model), before)


def test_the_effect_check_passes_and_leaves_no_trace(case: tuple[CtcModel, AdapterConfig]) -> None:
    model, config = case
    add_adapter(model, config, seed=1)
    set_adapters(model, None)
    model.train()
    model.front_end.eval()
    before, random_state = snapshot(model), torch.get_rng_state()
    modes = [module.training for module in model.modules()]

    def run() -> Tensor:
        torch.rand(1)
        return scores(model)

    assert check_adapter_effect(model, "uz", run) == check_adapter_effect(model, "uz", run) > 1e-3
    assert same(snapshot(model), before)
    assert [module.training for module in model.modules()] == modes
    assert adapter_names(model, active_only=True) == []
    assert torch.equal(torch.get_rng_state(), random_state)
    assert all(p.grad is None for p in model.parameters())
    shake(model, "uz")
    before = snapshot(model)
    assert check_adapter_effect(model, "uz", run) > 0  # of the trained weights as they are
    assert same(snapshot(model), before)


class Functional(nn.Module):
    """Reads a layer's weight instead of calling the layer, and multiplies another's output by zero."""

    def __init__(self) -> None:
        super().__init__()
        self.read, self.lost, self.used = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = nn.functional.linear(x, self.read.weight) + 0 * self.lost(x) + self.used(x)
        return out


def test_adapters_without_effect_are_found() -> None:
    def check(*targets: str, break_it: Callable[[nn.Module], Any] = lambda _: None) -> float:
        torch.manual_seed(0)
        model = Functional()
        add_adapter(model, AdapterConfig(name="silent", targets=targets), seed=1)
        break_it(model)
        return check_adapter_effect(model, "silent", lambda: model(torch.ones(1, 4)))

    assert check("used") > 0
    with pytest.raises(
        RunFailed, match=r"'silent' has no effect in 1 of 2 modules, which the model does not call: read"
    ):
        check("used", "read")
    with pytest.raises(RunFailed, match="'silent' has no effect: the output is the same"):
        check("lost")
    with pytest.raises(RunFailed, match="not finite"):
        check("used", break_it=lambda model: nn.init.constant_(model.used.weight, float("nan")))

    model = Functional()
    add_adapter(model, AdapterConfig(name="silent", targets=("used",)), seed=1)
    before = snapshot(model)

    def interrupted() -> Tensor:
        if model.used.adapter_silent.up.weight.any():
            raise KeyboardInterrupt
        return model(torch.ones(1, 4))  # type: ignore[no-any-return]

    with pytest.raises(KeyboardInterrupt):
        check_adapter_effect(model, "silent", interrupted)
    assert same(snapshot(model), before)


def test_torch_attention_hides_its_output_layer() -> None:
    model = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    with pytest.raises(
        InputError, match=r"No Linear layer is called 'self_attn.out_proj'. There are: linear1, linear2"
    ):
        add_adapter(model, AdapterConfig(targets=("self_attn.out_proj",)), seed=1)


@pytest.mark.parametrize("config", [LORA, BOTTLENECK])
def test_blocks_that_give_tuples_and_half_precision(config: AdapterConfig) -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.linear = nn.LayerNorm(8), nn.Linear(8, 8)

        def forward(self, x: Tensor) -> tuple[Tensor, str]:
            return self.linear(self.norm(x)), "weights"

    class Tower(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList([Block(), Block()])

        def forward(self, x: Tensor) -> Tensor:
            for block in self.layers:
                x, _ = block(x)
            return x

    model = Tower().to(torch.bfloat16)
    add_adapter(model, config, seed=1)
    assert {p.dtype for name, p in model.named_parameters() if ".adapter_" in name} == {torch.float32}
    x = torch.randn(2, 8, dtype=torch.bfloat16)
    assert model(x).dtype is torch.bfloat16
    assert check_adapter_effect(model, "uz", lambda: model(x)) > 0


def test_modules_a_bottleneck_cannot_follow() -> None:
    with pytest.raises(InputError, match=r"The output width of 'front_end' \(ConvolutionFrontEnd\) is not known"):
        add_adapter(conformer(), AdapterConfig(kind="bottleneck", targets=("front_end",)), seed=1)
    model = conformer()
    with pytest.raises(InputError, match=r"output width of 'front_end'"):
        add_adapter(model, AdapterConfig(kind="bottleneck", targets=("layers.0", "front_end")), seed=1)
    assert adapter_names(model) == []  # nothing half done
    with pytest.raises(InputError, match="No module is called 'convolutions'"):  # a list, which is not called
        add_adapter(model, AdapterConfig(kind="bottleneck", targets=("convolutions",)), seed=1)
    add_adapter(model, AdapterConfig(kind="bottleneck", targets=("attention.norm", "convolution.gate")), seed=1)
    shake(model, "default")
    scores(model)
    other = conformer()
    other.layers[0].attention.late_norm = nn.LayerNorm(WIDTH // 2)
    add_adapter(other, AdapterConfig(kind="bottleneck", targets=("layers.0.attention",)), seed=1)
    with pytest.raises(RunFailed, match="adapter of width 8 got an output of width 16"):
        scores(other)


TINY_SPEECH = {
    "vocab_size": 7, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48,
    "conv_dim": (16,) * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4, "pad_token_id": 0,
}  # fmt: skip
SAMPLES = (torch.randn(2, 4_000, 1, generator=torch.Generator().manual_seed(2)), torch.tensor([4_000, 2_500]))


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")  # peft asks for it
@pytest.mark.parametrize("kind", ["lora", "bottleneck"])
@pytest.mark.parametrize("name", ["Wav2Vec2", "Hubert", "WavLM"])
def test_transformers_models_in_our_wrappers(name: str, kind: Any, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    from harken.models.wav2vec2 import Wav2Vec2Ctc, Wav2Vec2Settings

    def make() -> Any:
        torch.manual_seed(0)
        return getattr(transformers, f"{name}ForCTC")(getattr(transformers, f"{name}Config")(**TINY_SPEECH)).eval()

    def run(model: nn.Module) -> Tensor:
        with torch.no_grad():
            out: Tensor = model(*SAMPLES)[0]
        return out

    model = Wav2Vec2Ctc(make(), Wav2Vec2Settings()).eval()
    names = add_adapter(model, AdapterConfig(name="uz", kind=kind), seed=1)
    # WavLM's attention reads the weights of its four projections; of it, the gate of the positions is called.
    assert len(names) == (2 if kind == "bottleneck" else 6 if name == "WavLM" else 12)
    assert check_adapter_effect(model, "uz", lambda: run(model)) > 0
    shake(model, "uz")
    save_adapter(model, "uz", tmp_path)
    if kind == "lora":
        peft = pytest.importorskip("peft")
        network = peft.PeftModel.from_pretrained(make(), str(tmp_path)).merge_and_unload()
        plain = Wav2Vec2Ctc(network.eval(), Wav2Vec2Settings()).eval()
        torch.testing.assert_close(run(plain), run(model), atol=1e-5, rtol=0)
        merge_adapter(model, "uz")
        assert list(model.state_dict()) == list(Wav2Vec2Ctc(make(), Wav2Vec2Settings()).state_dict())


@pytest.mark.parametrize("kind", ["lora", "bottleneck"])
def test_whisper(kind: Any) -> None:
    transformers = pytest.importorskip("transformers")
    from harken.models.whisper import WhisperSeq2Seq, WhisperSettings

    config = transformers.WhisperConfig(
        vocab_size=50, num_mel_bins=8, d_model=16, encoder_layers=1, decoder_layers=2, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32, max_source_positions=20,
        max_target_positions=10, pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1,
    )  # fmt: skip
    torch.manual_seed(0)
    model = WhisperSeq2Seq(transformers.WhisperForConditionalGeneration(config), WhisperSettings()).eval()
    batch = (torch.randn(2, 40, 8), torch.tensor([40, 40]), torch.tensor([[1, 5, 6], [1, 7, 8]]))
    never_trained = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert never_trained == {"model.encoder.embed_positions.weight"}
    with torch.no_grad():
        base = model(*batch)
        names = add_adapter(model, AdapterConfig(name="uz", kind=kind), seed=1)
        assert len(names) == (3 if kind == "bottleneck" else 6 + 2 * 10)
        assert torch.equal(model(*batch), base)
        assert check_adapter_effect(model, "uz", lambda: model(*batch)) > 0
    freeze_base(model)
    model(*batch).square().mean().backward()
    assert all((p.grad is not None) == (".adapter_uz." in name) for name, p in model.named_parameters())
    unfreeze(model)
    assert {name for name, p in model.named_parameters() if not p.requires_grad} == never_trained


def test_report_counts() -> None:
    model = conformer()
    base = sum(p.numel() for p in model.parameters())
    add_adapter(model, AdapterConfig(name="uz", rank=4, targets=("project_in",)), seed=1)
    add_adapter(model, AdapterConfig(name="ru", kind="bottleneck", adapter_dim=8), seed=1)
    freeze_base(model)
    report = trainable_report(model)
    lora = 2 * 4 * (WIDTH + 3 * WIDTH)
    bottleneck = 2 * (2 * WIDTH + WIDTH * 8 + 8 + 8 * WIDTH + WIDTH)
    assert report.adapters == {"uz": lora, "ru": bottleneck}
    assert (report.trainable, report.total) == (bottleneck, base + lora + bottleneck)
    assert str(report) == f"{bottleneck:,} of {report.total:,} weights are trained ({bottleneck / report.total:.2%})"


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"rank": 0}, "rank is 0"),
        ({"alpha": 0}, "alpha is 0"),
        ({"alpha": float("nan")}, "alpha is nan"),
        ({"dropout": 1}, "dropout is 1"),
        ({"kind": "bottleneck", "adapter_dim": 0}, "adapter_dim is 0"),
        ({"kind": "bottleneck", "rank": 4}, "rank does nothing for kind 'bottleneck'"),
        ({"adapter_dim": 64}, "adapter_dim does nothing for kind 'lora'"),
        ({"name": "a.b"}, "name is 'a.b'"),
        ({"targets": [""]}, "empty name"),
        ({"kind": "prefix"}, "kind"),
        ({"rnak": 4}, "did you mean 'rank'"),
    ],
)
def test_settings_are_checked_at_the_door(settings: dict[str, Any], match: str) -> None:
    with pytest.raises(InputError, match=match):
        parse_settings(AdapterConfig, settings, source="recipe.yaml")
