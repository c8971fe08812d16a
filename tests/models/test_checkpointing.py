"""Gradient checkpointing changes what is kept in memory, and not one bit of losses, gradients and buffers."""

import copy
import pickle
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from harken.core import InputError
from harken.models.adapters import AdapterConfig, add_adapter, freeze_base
from harken.models.checkpointing import checkpoint_layers
from harken.models.conformer import ConformerCtc, ConformerSettings
from harken.models.family import AcousticModel, CtcModel, Seq2SeqModel
from harken.models.nemo.encoder import NemoConformerCtc
from harken.models.nemo.settings import NemoConformerSettings
from harken.models.recurrent import RecurrentCtc, RecurrentSettings
from harken.models.wav2vec2 import Wav2Vec2Settings
from harken.models.wav2vec2 import build as build_wav2vec2
from harken.models.whisper import WhisperSettings
from harken.models.whisper import build as build_whisper

DIMENSIONS, VOCAB, LAYERS = 20, 7, 4
DROPOUTS = {"hidden_dropout": 0.1, "attention_dropout": 0.1, "activation_dropout": 0.1, "feat_proj_dropout": 0.1}
SPEECH = {
    "hidden_size": 32, "num_hidden_layers": LAYERS, "num_attention_heads": 2, "intermediate_size": 64,
    "conv_dim": (16,) * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4, "layerdrop": 0.4,
    **DROPOUTS,
}  # fmt: skip
LARGE = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
WHISPER = {
    "model_type": "whisper", "vocab_size": 60, "num_mel_bins": DIMENSIONS, "d_model": 32, "encoder_layers": LAYERS,
    "decoder_layers": LAYERS, "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64, "max_source_positions": 50, "max_target_positions": 24, "dropout": 0.1,
    "attention_dropout": 0.1, "activation_dropout": 0.1, "pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 0,
    "decoder_start_token_id": 1, "suppress_tokens": None, "begin_suppress_tokens": None, "init_std": 0.2,
}  # fmt: skip


def conformer() -> AcousticModel:
    settings = ConformerSettings(width=32, layers=LAYERS, heads=2, kernel=5, dropout=0.1)
    return ConformerCtc(settings, DIMENSIONS, VOCAB)


def nemo(*, untie_biases: bool) -> AcousticModel:
    settings = NemoConformerSettings(
        width=32, layers=LAYERS, heads=2, kernel=5, subsampling_channels=4, untie_biases=untie_biases
    )
    return NemoConformerCtc(settings, DIMENSIONS, VOCAB)


def recurrent() -> AcousticModel:
    return RecurrentCtc(RecurrentSettings(width=32, layers=LAYERS, dropout=0.1), DIMENSIONS, VOCAB)


def speech(kind: str, **settings: object) -> AcousticModel:
    config = {"model_type": kind, **SPEECH, **settings}
    return build_wav2vec2(Wav2Vec2Settings(config=config, mask_time_prob=0.2), 1, VOCAB)


FAMILIES: dict[str, Callable[[], AcousticModel]] = {
    "conformer": conformer,
    "nemo": lambda: nemo(untie_biases=True),
    "nemo-shared-biases": lambda: nemo(untie_biases=False),
    "recurrent": recurrent,
    "wav2vec2": lambda: speech("wav2vec2"),
    "wav2vec2-large": lambda: speech("wav2vec2", **LARGE),
    "hubert": lambda: speech("hubert"),
    "hubert-large": lambda: speech("hubert", **LARGE),
    "wavlm": lambda: speech("wavlm"),
    "wavlm-large": lambda: speech("wavlm", **LARGE),
    "whisper": lambda: build_whisper(WhisperSettings(config=WHISPER), DIMENSIONS, 60),
}
LORA = AdapterConfig(name="uz", rank=4, dropout=0.1)
BOTTLENECK = AdapterConfig(name="uz", kind="bottleneck", adapter_dim=8, dropout=0.1)


def full(model: AcousticModel) -> None:
    """Train everything."""


def frozen_encoder(model: AcousticModel) -> None:
    if isinstance(model, Seq2SeqModel):
        model.freeze_encoder()  # type: ignore[operator]
    elif hasattr(model, "freeze_feature_encoder"):
        model.freeze_feature_encoder()
    else:
        model.get_submodule("front_end").requires_grad_(False)
        model.get_submodule("layers.0").requires_grad_(False)


def lora(model: AcousticModel) -> None:
    if isinstance(model, RecurrentCtc):
        add_adapter(model, AdapterConfig(name="uz", rank=4, targets=("output",)), seed=1)
    else:
        add_adapter(model, LORA, seed=1)
    freeze_base(model, keep=[model.head] if isinstance(model, CtcModel) else [])


def bottleneck(model: AcousticModel) -> None:
    add_adapter(model, BOTTLENECK, seed=1)
    freeze_base(model, keep=[])


WAYS = {way.__name__: way for way in (full, frozen_encoder, lora, bottleneck)}


def make(family: str, way: str = "full") -> AcousticModel:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = FAMILIES[family]()
    WAYS[way](model)
    return model.train()


def loss_of(model: AcousticModel, *, seconds: float = 0.5, precision: str = "fp32") -> Tensor:
    """A loss of all scores of two utterances, the second shorter."""
    torch.manual_seed(5)
    autocast = torch.autocast("cpu", dtype=torch.bfloat16) if precision == "bf16" else nullcontext()
    with autocast:
        if isinstance(model, Seq2SeqModel):
            features = torch.randn(2, model.window_frames, DIMENSIONS)
            scores = model(features, torch.tensor([0, 0]), torch.randint(60, (2, 12)))
        else:
            waveform = hasattr(model, "shortest_samples")
            frames = int(seconds * (16_000 if waveform else 100))
            features = torch.randn(2, frames, 1 if waveform else DIMENSIONS)
            scores, _ = model(features, torch.tensor([frames, frames * 3 // 4]))
    return scores.log_softmax(-1)[..., 1].sum()


def gradients(model: nn.Module) -> dict[str, Tensor]:
    return {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}


def assert_same_bits(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    differing = [name for name, tensor in one.items() if not torch.equal(tensor, other[name])]
    assert not differing


@pytest.mark.parametrize("way", list(WAYS))
@pytest.mark.parametrize("family", list(FAMILIES))
def test_the_same_bits(family: str, way: str) -> None:
    plain, checkpointed = make(family, way), make(family, way)
    checkpoint_layers(checkpointed)
    losses = []
    for model in (plain, checkpointed):
        for _ in range(2):  # gradients accumulate, running statistics move on
            loss = loss_of(model)
            loss.backward()  # type: ignore[no-untyped-call]
        losses.append((loss.item(), torch.randint(2**31, ()).item()))
    assert losses[0] == losses[1]  # and chance goes on from the same place
    assert len(gradients(plain)) > 1
    assert_same_bits(gradients(checkpointed), gradients(plain))
    assert_same_bits(checkpointed.state_dict(), plain.state_dict())


@pytest.mark.parametrize("family", ["conformer", "nemo", "recurrent", "wav2vec2", "whisper"])
def test_the_same_bits_in_half_precision(family: str) -> None:
    plain, checkpointed = make(family), make(family)
    checkpoint_layers(checkpointed)
    for model in (plain, checkpointed):
        loss_of(model, precision="bf16").backward()  # type: ignore[no-untyped-call]
    assert_same_bits(gradients(checkpointed), gradients(plain))


def kept_bytes(model: AcousticModel, seconds: float) -> int:
    """Bytes that the graph of a loss holds on to, besides the weights."""
    own = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    kept: dict[int, tuple[int, Tensor]] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes(), tensor.detach()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = loss_of(model, seconds=seconds)
    total = sum(size for size, _ in kept.values())
    assert loss.requires_grad
    return total


def peak_bytes(model: AcousticModel, seconds: float) -> int:
    """The most bytes that are allocated at once in a forward and backward pass, on top of what was there."""
    loss_of(model, seconds=seconds).backward()  # type: ignore[no-untyped-call]
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        loss_of(model, seconds=seconds).backward()  # type: ignore[no-untyped-call]
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]  # type: ignore[union-attr]
    return int(np.cumsum([event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]).max())


@pytest.mark.parametrize(
    ("family", "kept", "peak"),
    [
        ("conformer", 10.0, 2.0), ("nemo", 10.0, 2.0), ("recurrent", 5.0, 2.0), ("wav2vec2", 12.0, 1.5),
        ("hubert", 12.0, 1.5), ("wavlm", 12.0, 1.5), ("whisper", 6.0, 3.0),
    ],
)  # fmt: skip
def test_less_memory_is_kept_and_taken(family: str, kept: float, peak: float) -> None:
    way = "full" if family == "whisper" else "frozen_encoder"
    plain, checkpointed = make(family, way), make(family, way)
    checkpoint_layers(checkpointed)
    assert kept_bytes(plain, 4.0) / kept_bytes(checkpointed, 4.0) > kept
    assert peak_bytes(plain, 4.0) / peak_bytes(checkpointed, 4.0) > peak


def passes(model: AcousticModel) -> Counter[str]:
    """How often each layer was computed in a forward and a backward pass, by name."""
    counted: Counter[str] = Counter()
    for block in model.blocks:
        for number, layer in enumerate(model.get_submodule(block).children()):
            norm = next(module for module in layer.modules() if isinstance(module, nn.LayerNorm))
            norm.register_forward_pre_hook(lambda *_, name=f"{block}.{number}": counted.update([name]))
    loss_of(model).backward()  # type: ignore[no-untyped-call]
    return counted


def test_a_frozen_encoder_is_computed_once() -> None:
    model = make("whisper", "frozen_encoder")
    assert checkpoint_layers(model) == 2 * LAYERS
    counted = passes(model)
    assert {counted[f"model.encoder.layers.{number}"] for number in range(LAYERS)} == {1}
    assert {counted[f"model.decoder.layers.{number}"] for number in range(LAYERS)} == {2}


def test_what_lies_below_the_lowest_trained_layer_is_computed_once() -> None:
    model = make("conformer", "frozen_encoder")
    checkpoint_layers(model)
    counted = passes(model)
    assert [counted[f"layers.{number}"] for number in range(LAYERS)] == [1] + [2] * (LAYERS - 1)


def test_layers_that_are_dropped_are_not_computed_again() -> None:
    model = make("wav2vec2")
    checkpoint_layers(model)
    counted = passes(model)
    assert set(counted.values()) == {2}
    assert 0 < len(counted) < LAYERS  # layerdrop is 0.4


def test_nothing_is_computed_again_without_training() -> None:
    model = make("conformer").eval()
    expected = loss_of(model)
    checkpoint_layers(model)
    assert kept_bytes(model, 0.5) == kept_bytes(make("conformer").eval(), 0.5)
    assert torch.equal(loss_of(model), expected)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_have_weights_of_their_own(copied: Callable[[AcousticModel], AcousticModel]) -> None:
    model = make("conformer")
    checkpoint_layers(model)
    twin = copied(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    loss_of(twin).backward()  # type: ignore[no-untyped-call]
    assert_same_bits(gradients(twin), gradients(trained_once(make("conformer"))))
    assert not gradients(model)


def trained_once(model: AcousticModel) -> AcousticModel:
    loss_of(model).backward()  # type: ignore[no-untyped-call]
    return model


def test_a_second_pass_that_fails_leaves_the_buffers() -> None:
    model, plain = make("conformer"), make("conformer")
    checkpoint_layers(model)
    loss_of(plain)
    loss = loss_of(model)
    norm = model.get_submodule("layers.1.convolution.norm")
    norm.register_forward_hook(no_memory)
    with pytest.raises(torch.OutOfMemoryError):
        loss.backward()  # type: ignore[no-untyped-call]
    assert_same_bits(dict(model.named_buffers()), dict(plain.named_buffers()))


def no_memory(*_: object) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. (injected)")


class ForeignCtc(CtcModel):
    """A family of a plugin, which knows nothing of checkpointing."""


def test_a_family_without_blocks_is_refused() -> None:
    with pytest.raises(
        InputError, match=r"A ForeignCtc cannot compute its layers again.*gradient_checkpointing to false"
    ):
        checkpoint_layers(ForeignCtc())
