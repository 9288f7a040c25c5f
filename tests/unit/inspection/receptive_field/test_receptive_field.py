"""Receptive fields on paper, and what is said where there is none."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from striate.inspection.layers import LayerDescription, describe_network
from striate.inspection.receptive_field.intervals import BLIND, Interval, Taps
from striate.inspection.receptive_field.summary import ReceptiveField


def last(*layers: nn.Module, input_size: tuple[int, int, int] = (2, 40, 40)) -> ReceptiveField | None:
    return describe_network(nn.Sequential(*layers), input_size).layers[-1].receptive_field


def conv(kernel_size: int | tuple[int, int], stride: int = 1, padding: int = 0, dilation: int = 1) -> nn.Conv2d:
    return nn.Conv2d(2, 2, kernel_size, stride, padding, dilation)


@pytest.mark.parametrize(
    ("layers", "size", "stride", "offset"),
    [
        ([conv(1)], 1, 1, 0.5),
        ([conv(3)], 3, 1, 1.5),
        ([conv(3), conv(3)], 5, 1, 2.5),
        ([conv(3), conv(3), conv(3)], 7, 1, 3.5),
        ([conv(3, padding=1)], 3, 1, 0.5),  # the first unit looks over the border: its centre is the first pixel's
        ([conv(2)], 2, 1, 1),
        ([conv(3, stride=2), conv(3)], 7, 2, 3.5),
        ([conv(7, 2, 3), nn.MaxPool2d(3, 2, 1)], 11, 4, 0.5),
        ([conv(3, dilation=2)], 5, 1, 2.5),
        ([conv(3, 2, dilation=3), nn.AvgPool2d(2)], 9, 4, 4.5),
        ([nn.ConvTranspose2d(2, 2, 3, 2)], 2, 0.5, 0),  # even units see two pixels, the first one over the border
        ([nn.ConvTranspose2d(2, 2, 2, 2)], 1, 0.5, 0.5),
        ([nn.ConvTranspose2d(2, 2, 2, 2), conv(2, 2)], 1, 1, 0.5),
        ([nn.Upsample(scale_factor=2), conv(3, padding=1)], 2, 0.5, 0),
        ([nn.PixelUnshuffle(2), nn.Conv2d(8, 2, 1)], 2, 2, 1),
        ([nn.PixelUnshuffle(2), nn.PixelShuffle(2)], 1, 1, 0.5),
        ([nn.ZeroPad2d(2), conv(3)], 3, 1, -0.5),
        ([nn.GELU(), nn.BatchNorm2d(2), nn.Dropout()], 1, 1, 0.5),
        ([nn.AdaptiveAvgPool2d(10)], 4, 4, 2),
        ([conv(3, padding=1), nn.AdaptiveAvgPool2d(1)], 40, 0, 20),
        ([conv(3), nn.Flatten(), nn.Linear(2 * 38 * 38, 3)], 40, 0, 20),
        ([conv(3, stride=3), nn.AdaptiveMaxPool2d(1)], 39, 0, 19.5),  # the last row is never looked at
        ([nn.GroupNorm(1, 2)], 40, 0, 20),
    ],
)
def test_on_paper(layers: list[nn.Module], size: int, stride: float, offset: float) -> None:
    assert last(*layers) == ReceptiveField((size, size), (stride, stride), (offset, offset))


def test_height_and_width_are_apart() -> None:
    network = conv((1, 7)), nn.MaxPool2d((3, 1), (3, 1))
    assert last(*network) == ReceptiveField((3, 7), (3, 1), (1.5, 3.5))
    assert last(nn.AdaptiveAvgPool2d((1, 40))) == ReceptiveField((40, 1), (0, 1), (20, 0.5))


class Calls(nn.Module):
    """A function as a network."""

    def __init__(self, function: object) -> None:
        super().__init__()
        self.function = function
        self.conv, self.wide = conv(3, padding=1), conv(7, padding=3)

    def forward(self, images: Tensor) -> Tensor:
        return self.function(self, images)


def rows(function: object) -> tuple[dict[str, LayerDescription], tuple[str, ...]]:
    description = describe_network(Calls(function), (2, 12, 12))
    return {layer.name: layer for layer in description.layers}, description.notices


def test_branches_count_together() -> None:
    found, _ = rows(lambda net, images: torch.cat([net.conv(images) + images, net.wide(images)], 1))
    assert [(name, row.receptive_field.size) for name, row in found.items() if row.receptive_field] == [
        ("conv", (3, 3)), (":add", (3, 3)), ("wide", (7, 7)), (":cat", (7, 7)),
    ]  # fmt: skip


def test_channels_that_are_kept_apart_stay_apart() -> None:
    """Two branches put together and taken apart again."""
    found, _ = rows(lambda net, images: F.relu(torch.cat([net.conv(images), net.wide(images)], 1).chunk(2, 1)[0]))
    assert found[":relu"].receptive_field == ReceptiveField((3, 3), (1, 1), (0.5, 0.5))


def test_what_does_not_stand_in_a_row_has_a_size_only() -> None:
    found, notices = rows(lambda net, images: net.conv(images.roll(2, 3)))
    assert found[":roll"].receptive_field == ReceptiveField((1, 1), (1, None), (0.5, None))
    assert found["conv"].receptive_field == ReceptiveField((3, 12), (1, None), (0.5, None))
    assert notices == ()


def test_what_does_not_depend_on_the_image_sees_nothing() -> None:
    found, _ = rows(lambda net, images: net.conv(torch.ones_like(images)))
    assert found["conv"].receptive_field == ReceptiveField((0, 0), (0, 0), (None, None))


def test_an_unknown_operator_ends_what_is_known() -> None:
    grid = torch.zeros(1, 12, 12, 2, device="meta")
    found, notices = rows(lambda net, images: net.wide(F.grid_sample(net.conv(images), grid, align_corners=False)))
    assert found["conv"].receptive_field is not None
    assert found[":grid_sampler_2d"].receptive_field is None
    assert found["wide"].receptive_field is None
    assert found["wide"].inputs == (":grid_sampler_2d",)
    unknown = "receptive fields are unknown from (network) on: the operator aten.grid_sampler_2d is not known"
    assert unknown in notices


def test_after_the_whole_image_the_unknown_does_not_matter() -> None:
    found, notices = rows(lambda _, images: images.mean((2, 3)).cumsum(1))
    assert found[":cumsum"].receptive_field == ReceptiveField((12, 12), (0, 0), (6, 6))
    assert notices == ()


def write_into_a_part(net: Calls, images: Tensor) -> Tensor:
    maps = net.conv(images)
    maps[:, :, 2:4] = net.wide(images)[:, :, 4:6]
    return F.relu(maps)


def test_writing_into_a_part_is_not_followed() -> None:
    found, notices = rows(write_into_a_part)
    assert found[":relu"].receptive_field is None
    assert notices == ("receptive fields are unknown from (network) on: a part of a tensor was written to",)


def test_a_tensor_from_elsewhere_is_not_followed() -> None:
    found, notices = rows(lambda net, images: net.conv(torch.from_numpy(images.detach().numpy() + 1)))
    assert (found["conv"].macs, found["conv"].receptive_field) == (12 * 12 * 36, None)
    assert notices[0] == (
        "receptive fields are unknown from (network) on: a tensor there was not made by PyTorch's operators"
    )
    assert notices[1].startswith("Calls cannot run on shapes alone (")


def test_a_line_of_units() -> None:
    """Two units a period: the even ones see two pixels, the odd ones one."""
    line = Interval((0, 1), (2, 2), 2)
    assert [line.see(unit) for unit in (-1, 0, 1, 2, 3)] == [(-1, 0), (0, 2), (1, 2), (2, 4), (3, 4)]
    assert line.every(2) == Interval((0,), (2,), 2)
    assert line.through(Taps(((0, 1),), 1)) == Interval((0, 1), (2, 4), 2)
    assert line.through(Taps(((),), 1)).see(5) == BLIND
    assert Interval((0,), (1,), 1).joined(line) == line
    assert Interval((0,), (1,), 2).joined(line) is None
