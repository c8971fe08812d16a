"""Windows of the front end equal its pass over the whole signal."""

import pytest
import torch

from harken.models.frontend import REACH, SUBSAMPLING, ConvolutionFrontEnd, output_frames, window_frames


@pytest.mark.parametrize("chunk", [1, 3, 8])
@pytest.mark.parametrize("frames", [1, 2, 4, 5, 31, 32, 33, 34, 35, 36, 77])
def test_windows_equal_the_whole(frames: int, chunk: int) -> None:
    torch.manual_seed(0)
    front_end = ConvolutionFrontEnd(dimensions=5, width=6)
    signal = torch.randn(1, frames, 5)
    with torch.no_grad():
        whole, lengths = front_end(signal, torch.tensor([frames]))
        # What lies beyond the signal must not count, so it is loud.
        padded = torch.cat([torch.full((1, REACH, 5), 50.0), signal, torch.full((1, 200, 5), 50.0)], dim=1)
        pieces = []
        for first in range(0, frames, SUBSAMPLING * chunk):
            window = padded[:, first : first + window_frames(chunk)]
            real = torch.tensor([min(frames - first, window_frames(chunk) - REACH)])
            pieces.append(front_end.window(window, real, torch.tensor([first // SUBSAMPLING])))
    joined = torch.cat(pieces, dim=1)[:, : int(lengths[0])]
    torch.testing.assert_close(joined, whole, atol=1e-5, rtol=0)


def test_a_window_holds_exactly_what_its_frames_read() -> None:
    assert (REACH, SUBSAMPLING) == (6, 4)
    assert window_frames(1) == 13
    assert window_frames(8) == 41
    assert output_frames(torch.tensor([13])).tolist() == [4]
