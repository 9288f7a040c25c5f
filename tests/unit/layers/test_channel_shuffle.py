"""Channel shuffle on paper, and against PyTorch's."""

import pytest
import torch
from torch import nn

from striate.errors import InputError
from striate.layers.channel_shuffle import ChannelShuffle


def test_two_groups_of_three_on_paper() -> None:
    maps = torch.arange(6.0).reshape(1, 6, 1, 1)
    assert ChannelShuffle(2)(maps).flatten().tolist() == [0, 3, 1, 4, 2, 5]
    assert ChannelShuffle(3)(maps).flatten().tolist() == [0, 2, 4, 1, 3, 5]


def test_one_group_and_groups_of_one_change_nothing() -> None:
    maps = torch.randn(2, 4, 3, 2)
    assert torch.equal(ChannelShuffle(1)(maps), maps)
    assert torch.equal(ChannelShuffle(4)(maps), maps)


def test_the_other_shuffle_undoes_it() -> None:
    maps = torch.randn(2, 12, 3, 2)
    assert torch.equal(ChannelShuffle(4)(ChannelShuffle(3)(maps)), maps)


@pytest.mark.parametrize(("channels", "groups"), [(6, 2), (12, 3), (16, 8)])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_same_as_pytorchs(channels: int, groups: int, memory_format: torch.memory_format) -> None:
    maps = torch.randn(2, channels, 5, 4).contiguous(memory_format=memory_format)
    assert torch.equal(ChannelShuffle(groups)(maps), nn.ChannelShuffle(groups)(maps))


def test_maps_that_do_not_divide_are_refused() -> None:
    with pytest.raises(InputError, match="7 maps cannot be shuffled between 2 groups; it must divide them"):
        ChannelShuffle(2)(torch.zeros(1, 7, 1, 1))


def test_it_prints_its_groups() -> None:
    assert repr(ChannelShuffle(3)) == "ChannelShuffle(groups=3)"
