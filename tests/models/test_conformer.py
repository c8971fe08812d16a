"""Settings of the chunked Conformer; chunks drawn in training; the fixed normalisation of its input."""

import pytest
import torch
from torch import Tensor

from harken.models.conformer import ConformerCtc, ConformerSettings, chunk_mask, drawn_chunks


def tiny(**settings: object) -> ConformerCtc:
    torch.manual_seed(0)
    return ConformerCtc(ConformerSettings(width=16, layers=1, heads=2, kernel=3, **settings), 5, 7)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dynamic_chunks": (2, 4)}, "with chunk_frames"),
        ({"chunk_frames": 4, "dynamic_chunks": (4, 2)}, "dynamic_chunks is 4, 2"),
        ({"chunk_frames": 4, "dynamic_chunks": (0, 2)}, "dynamic_chunks is 0, 2"),
        ({"chunk_frames": 4, "full_context": 0.5}, "together with dynamic_chunks"),
        ({"chunk_frames": 4, "dynamic_chunks": (1, 2), "full_context": 1.5}, "full_context is 1.5"),
        ({"input_scale": 0.0}, "input_scale is 0.0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ConformerSettings(**settings)  # type: ignore[arg-type]


def test_chunks_are_drawn_between_the_limits_by_torchs_generator() -> None:
    def draw(seed: int) -> tuple[int, int]:
        torch.manual_seed(seed)
        chunk, left = drawn_chunks(100, sizes=(3, 5), left_frames=10, full_context=0.0)
        assert left is not None
        return int(chunk), int(left)

    drawn = {draw(seed) for seed in range(50)}
    assert drawn == {(3, 4), (4, 3), (5, 2)}  # the left context is 10 frames in whole chunks
    assert [draw(seed) for seed in range(10)] == [draw(seed) for seed in range(10)]


def test_a_share_of_the_batches_attends_everywhere() -> None:
    torch.manual_seed(1)
    full = [int(drawn_chunks(100, sizes=(3, 5), left_frames=None, full_context=0.25)[0]) == 100 for _ in range(2000)]
    assert abs(sum(full) / 2000 - 0.25) < 0.03


def seen_by_first_frame(model: ConformerCtc, seed: int) -> int:
    """Last output frame whose features change the first frame's scores, in training."""
    features = torch.randn(1, 160, 5, generator=torch.Generator().manual_seed(9)).requires_grad_()

    def forward() -> Tensor:
        torch.manual_seed(seed)
        scores: Tensor = model(features, torch.tensor([160]))[0]
        return scores

    gradient = torch.autograd.grad(forward()[0, 0].sum(), features)[0]
    return int(gradient[0].abs().sum(1).nonzero().max()) // 4


def test_training_draws_and_evaluation_does_not() -> None:
    model = tiny(chunk_frames=4, dynamic_chunks=(2, 6), full_context=0.2)
    model.layers[0].convolution.batch_norm.momentum = 0.0  # type: ignore[union-attr, assignment]
    # The statistics of a training batch would connect all frames.
    model.layers[0].convolution.batch_norm.eval()  # type: ignore[union-attr, operator]
    reach = {seen_by_first_frame(model, seed) for seed in range(30)}
    assert {2, 3, 4, 5, 6} <= reach  # a chunk of n frames, and the front end's look ahead
    assert 39 in reach
    model.eval()
    assert {seen_by_first_frame(model, seed) for seed in range(10)} == {4}


def test_chunk_mask_takes_sizes_as_tensors() -> None:
    device = torch.device("cpu")
    by_number = chunk_mask(20, chunk_frames=3, left_chunks=2, device=device)
    by_tensor = chunk_mask(20, chunk_frames=torch.tensor(3), left_chunks=torch.tensor(2), device=device)
    assert torch.equal(by_number, by_tensor)


def test_the_inputs_normalisation_is_fixed() -> None:
    plain, normalising = tiny(), tiny(input_mean=-8.0, input_scale=0.25)
    features = torch.randn(2, 40, 5)
    frames = torch.tensor([40, 23])
    torch.testing.assert_close(normalising(features * 4 - 8, frames)[0], plain(features, frames)[0])
    assert tiny().normalized(features) is features  # without it nothing is computed: older weights give the same bits
