"""Fractional max pooling: shrink by any factor, over regions drawn anew (Graham 2014, arXiv:1412.6071).

N images, C channels, H x W pixels in, h x w out. Torch's nn.FractionalMaxPool2d knows one of the paper's four forms,
and that with windows of one size: its regions are pseudo-random and neither as the paper's overlapping nor as its
disjoint ones.

Departures: factors of 2 and more are allowed, the steps then being k or k + 1. Disjoint regions end with the last
pixel, which the paper's borders, from 1 to H, leave out.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from striate.errors import InputError

Sequence = Literal["random", "pseudorandom"]
_GRAIN = 2**24
"""The pseudo-random shift is a multiple of one part in so many, so that its arithmetic is exact."""


class FractionalMaxPool2d(nn.Module):
    """Maps of H x W become floor(H / ratio) x floor(W / ratio), each pixel the maximum of its region.

    Regions are drawn from torch's global generator at every call, in evaluation too, as in the paper, which then
    averages the answers of several passes; one drawing serves the whole batch. `ratio` is at least 1; the paper's are
    between 1 and 2. `fractional_max_pool` says the rest.
    """

    def __init__(self, ratio: float, *, sequence: Sequence = "pseudorandom", is_overlapping: bool = True) -> None:
        super().__init__()
        if not ratio >= 1:
            raise InputError(f"ratio must be at least 1 but is {ratio}")
        self.ratio = ratio
        self.sequence: Sequence = sequence
        self.is_overlapping = is_overlapping

    def forward(self, maps: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, h, w)."""
        size = (int(maps.shape[-2] / self.ratio), int(maps.shape[-1] / self.ratio))
        pooled, _ = fractional_max_pool(maps, size, sequence=self.sequence, is_overlapping=self.is_overlapping)
        return pooled

    def extra_repr(self) -> str:
        return f"{self.ratio}, sequence={self.sequence!r}, is_overlapping={self.is_overlapping}"


def fractional_max_pool(
    maps: Tensor,
    size: tuple[int, int],
    *,
    sequence: Sequence = "pseudorandom",
    is_overlapping: bool = True,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """The maxima (N, C, h, w) of regions drawn for this call, h x w being `size`, and where they were.

    "random" steps are shuffled, "pseudorandom" ones are spread evenly from a random start; rows and columns have their
    own. Overlapping regions share the row and column on their border. `generator` lives on the CPU. The gradient of
    each maximum goes to its pixel, and adds up where regions overlap. Indices count the pixels of one map row by row,
    as `max_unpool` wants them. InputError where there are too few pixels for so many regions.
    """
    height, width = maps.shape[-2:]
    rows = _regions(draw_borders(height, size[0], sequence, is_overlapping, generator), is_overlapping)
    columns = _regions(draw_borders(width, size[1], sequence, is_overlapping, generator), is_overlapping)
    places = rows[:, None, :, None] * width + columns[None, :, None, :]  # (h, w, longest, longest)
    places = places.flatten(2).to(maps.device)
    pooled, chosen = maps.flatten(-2)[..., places].max(dim=-1)
    indices = places.expand(*pooled.shape, -1).gather(-1, chosen[..., None]).squeeze(-1)
    return pooled, indices


def draw_borders(
    size: int,
    num_regions: int,
    sequence: Sequence = "pseudorandom",
    is_overlapping: bool = True,
    generator: torch.Generator | None = None,
) -> list[int]:
    """The `num_regions` + 1 borders of the regions along one side, rising from 0 to `size`; to `size` - 1 if they
    overlap, as each then includes both of its borders.

    The steps are 1 and 2 for factors between 1 and 2 (section 2), k and k + 1 beyond.
    """
    total = size - 1 if is_overlapping else size
    if not 1 <= num_regions <= total:
        raise InputError(
            f"{size} pixels give between 1 and {total} {'overlapping' if is_overlapping else 'disjoint'} regions, "
            f"not {num_regions}"
        )
    if sequence == "random":
        step, num_longer = divmod(total, num_regions)
        order = torch.randperm(num_regions, generator=generator)
        steps = step + (order < num_longer).long()
        return [0, *steps.cumsum(0).tolist()]
    if sequence == "pseudorandom":
        shift = int(torch.randint(1, _GRAIN, (), generator=generator))
        # ceil(alpha * (i + u)) in whole numbers: alpha = total / num_regions, u = shift / _GRAIN
        ends = [-(-total * (i * _GRAIN + shift) // (num_regions * _GRAIN)) for i in range(num_regions + 1)]
        return [end - ends[0] for end in ends]
    raise InputError(f"sequence must be 'random' or 'pseudorandom' but is {sequence!r}")


def _regions(borders: list[int], is_overlapping: bool) -> Tensor:
    """The pixels of every region: (regions, longest), shorter ones naming their last pixel again."""
    starts = torch.tensor(borders[:-1])
    lasts = torch.tensor(borders[1:]) - (0 if is_overlapping else 1)
    longest = int((lasts - starts).max()) + 1
    return torch.minimum(starts[:, None] + torch.arange(longest), lasts[:, None])
