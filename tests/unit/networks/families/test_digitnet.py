"""The small network for digits: written out, its widths and its checks."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from striate.errors import InputError
from striate.networks.catalogue import build_network
from striate.networks.families.digitnet import DigitNet, DigitNetConfig


def test_written_out() -> None:
    network = build_network("digitnet", num_classes=3, in_channels=2, seed=0).eval()
    generator = torch.Generator().manual_seed(0)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.running_mean.normal_(generator=generator)
        norm.running_var.uniform_(0.5, 2, generator=generator)

    def normed(maps: Tensor, norm: nn.BatchNorm2d) -> Tensor:
        mean, var = norm.running_mean[:, None, None], norm.running_var[:, None, None]
        return ((maps - mean) / (var + 1e-5).sqrt()).clamp(min=0)  # a fresh norm has scale 1 and shift 0

    images = torch.randn(4, 2, 28, 28, generator=generator)
    maps = normed(F.conv2d(images, network.conv1.weight, stride=2), norms[0])
    maps = normed(F.conv2d(maps, network.conv2.weight), norms[1])
    maps = normed(F.max_pool2d(F.conv2d(maps, network.conv3.weight), 2), norms[2])
    maps = normed(F.conv2d(maps, network.conv4.weight), norms[3])
    assert maps.shape == (4, 64, 2, 2)
    torch.testing.assert_close(network(images), maps.flatten(1) @ network.head.weight.T + network.head.bias)


def test_widths_are_those_asked_for() -> None:
    network = DigitNet(DigitNetConfig(widths=(2, 3, 4, 5)))
    assert [tuple(param.shape) for param in network.parameters() if param.ndim == 4] == [
        (2, 1, 5, 5), (3, 2, 3, 3), (4, 3, 3, 3), (5, 4, 3, 3),
    ]  # fmt: skip


@pytest.mark.parametrize("widths", [(16, 16, 32), (16, 16, 32, 0), ()])
def test_impossible_widths_are_refused(widths: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="widths must be four numbers of at least 1 but are"):
        DigitNetConfig(widths=widths)


def test_other_sizes_are_refused() -> None:
    with pytest.raises(InputError, match="digitnet takes images of 28x28 pixels only but got 32x32"):
        build_network("digitnet")(torch.zeros(1, 1, 32, 32))
