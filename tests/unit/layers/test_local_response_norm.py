"""The paper's formula term by term, and how torch's differs."""

import pytest
import torch
from torch import nn

from striate.errors import InputError
from striate.layers.local_response_norm import local_response_norm


def by_the_paper(maps, size, alpha, beta, k):
    normed = torch.empty_like(maps)
    num_maps = maps.shape[1]
    for i in range(num_maps):
        low, high = max(0, i - size // 2), min(num_maps - 1, i + size // 2)
        normed[:, i] = maps[:, i] / (k + alpha * maps[:, low : high + 1].square().sum(1)) ** beta
    return normed


@pytest.mark.parametrize("size", [1, 3, 5])
def test_it_is_the_papers_sum(size):
    maps = 30 * torch.randn(2, 7, 3, 2, generator=torch.Generator().manual_seed(0))
    expected = by_the_paper(maps, size, 1e-4, 0.75, 2.0)
    torch.testing.assert_close(local_response_norm(size)(maps), expected)


def test_torch_divides_alpha_by_the_number_of_maps():
    """One map of 100: 100 / (2 + 1e-4 * 100 ** 2) ** 0.75 in the paper, and alpha / 5 in torch."""
    maps = torch.full((1, 1, 1, 1), 100.0)
    assert local_response_norm()(maps).item() == pytest.approx(100 / 3**0.75)
    assert nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2.0)(maps).item() == pytest.approx(100 / 2.2**0.75)


def test_even_sizes_are_refused():
    with pytest.raises(InputError, match="size must be an odd number of maps, as many to either side, but is 4"):
        local_response_norm(4)
