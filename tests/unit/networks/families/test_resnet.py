"""Residual networks: blocks, shortcuts and the checks of their configurations."""

import pytest
import torch
from torch import nn

from striate.errors import InputError
from striate.layers.residual import PadShortcut
from striate.networks.families.resnet import BasicBlock, CifarResNetConfig, ResNetConfig, cifar_resnet


def test_block_without_weights_is_its_shortcut_rectified() -> None:
    block = BasicBlock(2, 2, stride=1, downsample=None).eval()
    nn.init.zeros_(block.conv2.weight)
    maps = torch.tensor([-1.0, 2.0]).reshape(1, 2, 1, 1)
    assert torch.equal(block(maps).flatten(), torch.tensor([0.0, 2.0]))


def test_cifar_stages_halve_and_widen() -> None:
    network = cifar_resnet(CifarResNetConfig(depths=(1, 2, 1), widths=(4, 8, 12))).eval()
    maps = network.relu(network.bn1(network.conv1(torch.zeros(1, 3, 32, 32))))
    shapes = []
    for number in (1, 2, 3):
        maps = network.get_submodule(f"layer{number}")(maps)
        shapes.append(tuple(maps.shape[1:]))
    assert shapes == [(4, 32, 32), (8, 16, 16), (12, 8, 8)]
    assert isinstance(network.get_submodule("layer2.0.downsample"), PadShortcut)
    assert network.get_submodule("layer1.0").downsample is None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ResNetConfig(block="wide"), "block must be 'basic', 'bottleneck' or 'bottleneck_v1' but is 'wide'"),
        (lambda: ResNetConfig(depths=(1, 2)), r"depths must be 4 numbers of at least 1 but are \(1, 2\)"),
        (lambda: CifarResNetConfig(shortcut="none"), "shortcut must be 'pad' or 'project' but is 'none'"),
        (lambda: CifarResNetConfig(depths=(1, 1)), r"depths \(1, 1\) and widths \(16, 32, 64\) must pair up"),
        (lambda: CifarResNetConfig(depths=(), widths=()), r"depths \(\) and widths \(\) must pair up"),
        (lambda: CifarResNetConfig(depths=(1, 1), widths=(8, 4)), r"widths must not fall but are \(8, 4\)"),
    ],
)
def test_impossible_configurations_are_refused(make: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()  # type: ignore[operator]
