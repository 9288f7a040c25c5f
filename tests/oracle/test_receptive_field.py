"""Receptive fields against what really happens: a pixel that is not a number spoils every unit that sees it.

One image for each row, and for each column, of pixels with NaN in it goes through the network; 0 times NaN is NaN, so
neither weights nor maxima hide anything. Published sizes stand in tests/published.
"""

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from striate.inspection.layers import record
from striate.inspection.receptive_field.axis_field import tabulated
from striate.inspection.receptive_field.index_grid import size_of

SIDE = (80, 71)
CHANNELS = 4


class Apply(nn.Module):
    """A function as a layer."""

    def __init__(self, function, *parts: nn.Module) -> None:
        super().__init__()
        self.function = function
        self.parts = nn.ModuleList(parts)

    def forward(self, maps: Tensor) -> Tensor:
        return self.function(maps, *self.parts)


def seen(network: nn.Module, side: tuple[int, int], axis: int) -> tuple[np.ndarray, np.ndarray]:
    """First pixel that each unit of one image's output sees along an axis, and the one after the last, as it
    happens.
    """
    images = torch.zeros(side[axis], CHANNELS, *side)
    for place in range(side[axis]):
        images.select(0, place).select(axis + 1, place).fill_(torch.nan)
    with torch.no_grad():
        spoilt = network.eval()(images).isnan()
    places = torch.arange(side[axis]).view(-1, *[1] * (spoilt.ndim - 1))
    low = torch.where(spoilt, places, side[axis]).amin(0)
    high = torch.where(spoilt, places + 1, 0).amax(0)
    return low.numpy(), high.numpy()


def told(network: nn.Module, side: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The same along both axes as striate tells it, not cut off at the image."""
    recorder = record(nn.Sequential(network, nn.Identity()), (CHANNELS, *side))
    assert not [notice for notice in recorder.notices if not notice.startswith("macs ")]
    field = recorder.steps[-1].field
    assert field is not None
    found = []
    for terms in field.axes:
        atoms = tuple(atom for dim in field.dims[1:] for atom in dim)
        hidden = tuple(dict.fromkeys(atom for term in terms for atom in term.atoms if atom not in atoms))
        values = tabulated(terms, (*hidden, *atoms)).values
        found.append(values.reshape([-1, *(size_of(dim) for dim in field.dims[1:]), 2])[0])
    return -np.stack([each[..., 0] for each in found]), np.stack([each[..., 1] for each in found])


def compare(network: nn.Module, side: tuple[int, int] = SIDE, *, only_inside: bool = True) -> int:
    """Every unit whose field lies well inside the image sees what is told; gives how many there were."""
    told_low, told_high = told(network, side)
    low, high = (np.stack(each) for each in zip(*(seen(network, side, axis) for axis in (0, 1)), strict=True))
    sides = np.array(side).reshape([2, *[1] * (told_low.ndim - 1)])
    if only_inside:
        matters = ((told_low >= sides // 4) & (told_high <= sides - sides // 4) & (told_high > told_low)).all(axis=0)
    else:
        matters = (told_high > told_low).all(axis=0)
        told_low, told_high = np.maximum(told_low, 0), np.minimum(told_high, sides)
    assert np.array_equal(low[:, matters], told_low[:, matters])
    assert np.array_equal(high[:, matters], told_high[:, matters])
    return int(matters.sum())


def residual(maps: Tensor, conv: nn.Module, other: nn.Module) -> Tensor:
    return conv(maps) + other(maps)


def branches(maps: Tensor, first: nn.Module, second: nn.Module) -> Tensor:
    half = maps.shape[1] // 2
    return torch.cat([first(maps)[:, :half], second(maps)[:, half:]], dim=1)


def shuffled(maps: Tensor, conv: nn.Module) -> Tensor:
    """As in ShuffleNet: one half of the channels is looked at, then they are mixed."""
    kept, looked_at = maps.chunk(2, dim=1)
    maps = torch.cat([kept, conv(looked_at)], dim=1)
    images, channels, height, width = maps.shape
    return maps.view(images, 2, channels // 2, height, width).transpose(1, 2).reshape(maps.shape)


def same(radius: int, dilation: int = 1, channels: int = CHANNELS) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, 2 * radius - 1, padding="same", dilation=dilation)


small = st.integers(1, 3)
kernels = st.tuples(st.integers(1, 4), st.integers(1, 4))
LAYERS = st.one_of(
    st.builds(
        lambda kernel, stride, padding, dilation, groups: nn.Conv2d(
            CHANNELS, CHANNELS, kernel, stride, padding, dilation, groups
        ),
        kernels, st.tuples(small, small), st.integers(0, 2), st.integers(1, 2), st.sampled_from([1, 2, 4]),
    ),
    st.builds(
        lambda kernel, stride, dilation, padding: nn.ConvTranspose2d(
            CHANNELS, CHANNELS, kernel, stride, padding, dilation=dilation
        ),
        kernels, small, st.integers(1, 2), st.integers(0, 1),
    ),
    st.builds(lambda kernel, stride, rounds: nn.MaxPool2d(kernel, stride, kernel // 2, ceil_mode=rounds), small, small,
    st.booleans()),
    st.builds(lambda kernel, stride: nn.AvgPool2d(kernel, stride), kernels, small),
    st.builds(lambda first, second, dilation: Apply(residual, same(first), same(second, dilation)), small, small,
    small),
    st.builds(lambda first, second: Apply(branches, same(first), same(second)), small, small),
    st.builds(lambda kernel: Apply(shuffled, same(kernel, channels=CHANNELS // 2)), small),
    st.builds(lambda factor: nn.Upsample(scale_factor=factor), st.sampled_from([1.5, 2, 3])),
    st.builds(lambda factor: nn.Upsample(scale_factor=factor, mode="nearest-exact"), st.sampled_from([1.5, 2])),
    st.builds(lambda factor: nn.Upsample(scale_factor=factor, mode="bilinear"), st.sampled_from([1.5, 2])),
    st.builds(lambda start, step: Apply(lambda maps: maps[:, :, start::step, start:]), small, small),
    st.just(Apply(lambda maps: F.pad(maps, (1, 2, 0, 1)))),
    st.just(Apply(lambda maps: F.pad(maps[:, 1:], (0, 0, 0, 0, 1, 0)))),
    st.just(Apply(lambda maps: maps.permute(0, 2, 3, 1).softmax(dim=-1).permute(0, 3, 1, 2))),
    st.just(Apply(lambda maps: F.pixel_unshuffle(F.pixel_shuffle(maps, 2), 2))),
    st.just(nn.Sequential(nn.PixelShuffle(2), nn.Conv2d(1, CHANNELS, 3))),
    st.just(nn.Sequential(nn.Conv2d(CHANNELS, 2 * CHANNELS, 1), nn.GLU(dim=1), nn.BatchNorm2d(CHANNELS),
    nn.Hardswish())),
    st.just(Apply(lambda maps, conv: conv(maps.flip(2)).flip(2), nn.Conv2d(CHANNELS, CHANNELS, (2, 1)))),
    st.just(Apply(lambda maps, norm: norm(maps), nn.LocalResponseNorm(3))),
    st.just(nn.AdaptiveAvgPool2d((20, 17))),
)  # fmt: skip


@given(st.lists(LAYERS, min_size=1, max_size=5))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_random_stacks(layers: list[nn.Module]) -> None:
    network = nn.Sequential(*layers)
    try:
        with torch.no_grad():
            size = network(torch.zeros(1, CHANNELS, *SIDE)).shape[2:]
    except RuntimeError:
        assume(False)
    assume(min(size) > 0 and max(size) < 200)
    compare(network)


class Windows(nn.Module):
    """Attention within windows of 4x4, moved by `shift` round the border, as in Swin without its mask."""

    def __init__(self, shift: int) -> None:
        super().__init__()
        self.shift = shift
        self.mix = nn.Linear(CHANNELS, 3 * CHANNELS)

    def forward(self, maps: Tensor) -> Tensor:
        images, channels, height, width = maps.shape
        moved = maps.roll((-self.shift, -self.shift), dims=(2, 3)).permute(0, 2, 3, 1)
        tokens = moved.view(images, height // 4, 4, width // 4, 4, channels).transpose(2, 3).reshape(-1, 16, channels)
        queries, keys, values = self.mix(tokens).chunk(3, dim=-1)
        tokens = F.scaled_dot_product_attention(queries, keys, values)
        tokens = tokens.view(images, height // 4, width // 4, 4, 4, channels).transpose(2, 3)
        return (
            tokens.reshape(images, height, width, channels).permute(0, 3, 1, 2).roll((self.shift, self.shift), (2, 3))
        )


class Columns(nn.Module):
    """A convolution as a product with unfolded windows."""

    def forward(self, maps: Tensor) -> Tensor:
        columns = F.unfold(maps, (3, 5), dilation=(2, 1), stride=(2, 3))  # (N, C * 15, L)
        mixed = torch.ones(2, columns.shape[1]) @ columns
        height, width = (maps.shape[2] - 5) // 2 + 1, (maps.shape[3] - 5) // 3 + 1
        return mixed.view(-1, 2, height, width)


CASES = {
    "roll": Apply(lambda maps: maps.roll(3, dims=2)),
    "roll and convolve": Apply(lambda maps, conv: conv(maps.roll((3, -5), dims=(2, 3))), nn.Conv2d(4, 4, 3)),
    "windows": nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), Windows(0)),
    "windows of windows": nn.Sequential(Windows(0), nn.Conv2d(4, 4, 2, 2), Windows(0)),
    "moved windows": Windows(2),
    "unfolded": Columns(),
    "windows by unfold": Apply(lambda maps: maps.unfold(2, 4, 3).amax(-1)),
    "beside": Apply(lambda maps, conv: torch.cat([conv(maps), maps[:, :, :, 5:9]], dim=3), nn.Conv2d(4, 4, (1, 3))),
    "stacked": Apply(lambda maps, conv: torch.stack([maps, conv(maps)], 1)[:, 0], nn.Conv2d(4, 4, 3, padding=1)),
    "quadrants": Apply(lambda maps: torch.cat([maps[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)], 1)),
    "squeeze and excite": Apply(lambda maps: maps[:, :, 3:-3, 3:-2] * maps[:, :, 3:-3, 3:-2].mean((2, 3),
    keepdim=True)),
    "one axis pooled": Apply(lambda maps: maps * maps.mean(3, keepdim=True)),
    "group norm": nn.Sequential(nn.Conv2d(4, 4, 2, padding=3), nn.GroupNorm(2, 4)),
    "instance norm": nn.InstanceNorm2d(4),
    "layer norm of channels": Apply(lambda maps, norm: norm(maps.permute(0, 2, 3, 1)).permute(0, 3, 1, 2),
    nn.LayerNorm(4)),
    "flattened": nn.Sequential(nn.Conv2d(4, 2, 3, stride=3), nn.Flatten(), nn.Linear(2 * 10 * 13, 3)),
    "tokens": Apply(lambda maps, mix: mix(maps.flatten(2).transpose(1, 2)).transpose(1, 2).view(maps.shape),
    nn.Linear(4, 4)),
    "mixed tokens": Apply(lambda maps, mix: mix(maps.flatten(2)), nn.Linear(32 * 40, 5)),
    "a product of rows": Apply(lambda maps: maps @ maps[:, :, :32, :].transpose(2, 3).softmax(-1)),
    "a row": Apply(lambda maps, conv: conv(maps)[:, :, 7], nn.Conv2d(4, 4, 3)),
    "split": Apply(lambda maps: maps.split([5, 12, 15], dim=2)[1]),
    "adaptive maxima": nn.AdaptiveMaxPool2d((5, 9)),
    "one maximum": nn.AdaptiveMaxPool2d(1),
    "maxima and where": Apply(lambda maps: maps.max(dim=2)[0]),
    "to another size": Apply(lambda maps: F.interpolate(maps, size=(13, 50))),
    "bicubic": Apply(lambda maps: F.interpolate(maps, size=(50, 41), mode="bicubic")[:, :, 4:-4, 4:-4]),
    "repeated": Apply(lambda maps: maps.repeat(1, 1, 2, 1)),
    "repeated pixels": Apply(lambda maps: maps.repeat_interleave(2, dim=3)),
    "einsum over places": Apply(lambda maps: torch.einsum("nchw,ndhw->ncd", maps, maps)),
    "einsum over channels": Apply(lambda maps: torch.einsum("nchw,nchw->nhw", maps, maps)),
    "fft": Apply(lambda maps: torch.fft.fft(maps, dim=3).abs()),
    "in place": Apply(lambda maps, conv: conv(maps).add_(maps).relu_().mul_(2), nn.Conv2d(4, 4, 3, padding=1)),
    "depthwise of a mixture": nn.Sequential(Apply(branches, same(1), same(3)), nn.Conv2d(4, 8, 3, groups=4, padding=1)),
    "filters from the image": Apply(lambda maps: maps[:, :1] * maps.amax((2, 3)).sum(1).view(-1, 1, 1, 1)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_every_unit_sees_what_is_told(name: str) -> None:
    """All units, those at the border too: what is told, cut off at the image, is what happens."""
    assert compare(CASES[name], (32, 40), only_inside=name in ("windows", "windows of windows", "unfolded")) > 0
