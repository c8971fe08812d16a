"""What checkpoints keep of a model of which a part is frozen."""

import pytest
import torch
from torch import nn

from harken.core import InputError
from harken.training.weights import frozen_fingerprint, load_trained_state, trained_state


def make() -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))
    model[0].requires_grad_(False)
    return model


def test_frozen_weights_are_left_out_and_buffers_kept() -> None:
    state = trained_state(make())
    assert set(state) == {
        "1.weight", "1.bias", "1.running_mean", "1.running_var", "1.num_batches_tracked", "2.weight", "2.bias",
    }  # fmt: skip
    whole = make()
    whole.requires_grad_(True)
    assert trained_state(whole).keys() == whole.state_dict().keys()


def test_loading_gives_the_same_model() -> None:
    one, other = make(), make()
    with torch.no_grad():
        one[2].weight += 1
        one[1].running_mean += 2
    load_trained_state(other, trained_state(one))
    torch.testing.assert_close(other.state_dict(), one.state_dict(), rtol=0, atol=0)


def test_other_tensors_are_named() -> None:
    state = trained_state(make())
    with pytest.raises(InputError, match=r"1 tensors differ, first '2.bias'"):
        load_trained_state(make(), {name: tensor for name, tensor in state.items() if name != "2.bias"})
    with pytest.raises(InputError, match=r"2 tensors differ, first '0.bias'"):
        load_trained_state(make(), make().state_dict())


def test_the_fingerprint_is_of_frozen_weights_alone() -> None:
    model = make()
    before = frozen_fingerprint(model)
    with torch.no_grad():
        model[2].weight += 1
    assert frozen_fingerprint(model) == before
    with torch.no_grad():
        model[0].bias[1] += 1e-7
    assert frozen_fingerprint(model) != before
    half = make().to(torch.bfloat16)
    assert frozen_fingerprint(half) != before
