"""Whose kernels a model picks."""

import threading

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from harken.models.dropout import FastDropout
from harken.models.kernels import dry_run_for, is_dry_run, kernel_device


def test_a_tensors_own_device() -> None:
    assert kernel_device(torch.empty(1)) == "cpu"
    assert kernel_device(torch.empty(1, device="meta")) == "meta"
    assert not is_dry_run()


def test_another_device_is_tried_for() -> None:
    x = torch.empty(1)
    with dry_run_for("cuda"):
        assert (kernel_device(x), is_dry_run()) == ("cuda", True)
        with dry_run_for("cpu"):
            assert (kernel_device(x), is_dry_run()) == ("cpu", True)
        assert kernel_device(x) == "cuda"
    assert (kernel_device(x), is_dry_run()) == ("cpu", False)


def test_an_error_ends_it() -> None:
    with pytest.raises(KeyError), dry_run_for("cuda"):
        raise KeyError
    assert not is_dry_run()


def test_other_threads_are_not_concerned() -> None:
    seen: list[bool] = []
    with dry_run_for("cuda"):
        thread = threading.Thread(target=lambda: seen.append(is_dry_run()))
        thread.start()
        thread.join()
    assert seen == [False]


def test_dropout_is_that_of_the_device() -> None:
    dropout = FastDropout(0.1)
    with FakeTensorMode():
        x = torch.empty(100, requires_grad=True)
        with dry_run_for("cpu"):
            assert type(dropout(x).grad_fn).__name__ == "_DropoutBackward"
        with dry_run_for("cuda"):
            assert type(dropout(x).grad_fn).__name__ != "_DropoutBackward"


def test_no_numbers_are_drawn_in_a_dry_run() -> None:
    torch.manual_seed(1)
    expected = torch.randint(1000, (3,))
    torch.manual_seed(1)
    with FakeTensorMode(), dry_run_for("cpu"):
        FastDropout(0.1)(torch.empty(10, 3))
    assert torch.equal(torch.randint(1000, (3,)), expected)
