"""The share left out, the scale, the gradient, and that the seed decides."""

import torch
from torch import nn

from harken.models.dropout import FastDropout, use_fast_dropout


def test_dropout_leaves_out_its_share_and_scales_the_rest_to_the_same_mean() -> None:
    x = torch.ones(400_000, requires_grad=True)
    torch.manual_seed(3)
    y = FastDropout(0.1)(x)
    share = float((y == 0).float().mean())
    assert abs(share - 0.1) < 5 * (0.1 * 0.9 / len(x)) ** 0.5
    torch.testing.assert_close(y[y > 0], torch.full((int((y > 0).sum()),), 1 / 0.9), atol=0, rtol=2e-5)
    y.sum().backward()
    assert torch.equal(x.grad, y)  # the gradient is left out where the value was


def test_the_seed_decides_and_neighbours_are_independent() -> None:
    x, dropout = torch.ones(400_000), FastDropout(0.5)
    torch.manual_seed(3)
    first, second = dropout(x), dropout(x)
    torch.manual_seed(3)
    assert torch.equal(dropout(x), first)
    kept = (first > 0).float() - 0.5
    for other in (kept.roll(1), kept.roll(4), (second > 0).float() - 0.5):
        assert abs(float((kept * other).mean())) < 5 * 0.25 / len(x) ** 0.5


def test_nothing_happens_in_evaluation_and_other_modules_stay() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.3), nn.Sequential(nn.Dropout(0.2)))
    use_fast_dropout(model)
    assert [(type(m), m.p) for m in model.modules() if isinstance(m, nn.Dropout)] == [
        (FastDropout, 0.3),
        (FastDropout, 0.2),
    ]
    x = torch.randn(5, 3)
    assert torch.equal(model.eval()(x), model[0](x))
