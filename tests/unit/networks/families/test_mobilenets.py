"""The three MobileNets: blocks on paper, widths, configurations and first weights."""

import pytest
import torch
from torch import nn

from striate.errors import InputError
from striate.layers.squeeze_excitation import SqueezeExcitation
from striate.networks.catalogue import build_network
from striate.networks.families import mobilenet_v2, mobilenet_v3
from striate.networks.families.mobilenet_v1 import MobileNetV1Config, scaled, separable
from striate.networks.families.mobilenet_v3 import HS, RE, Row, round_to_eight


def test_separable_convolution_on_paper() -> None:
    """Each map is summed over its 3x3 neighbours, then the sums are weighed: 9 * 1 and 9 * 2, 18 - 9 and 9 - 18."""
    layers = separable(2, 2, stride=2).eval()
    nn.init.ones_(layers[0][0].weight)
    with torch.no_grad():
        layers[1][0].weight.copy_(torch.tensor([[-1.0, 1.0], [1.0, -1.0]]).reshape(2, 2, 1, 1))
    maps = torch.tensor([1.0, 2.0]).reshape(1, 2, 1, 1).expand(1, 2, 5, 5)
    found = layers(maps)
    assert found.shape == (1, 2, 3, 3)
    torch.testing.assert_close(found[0, :, 1, 1], torch.tensor([9.0, 0.0]), rtol=1e-4, atol=0)


def test_separable_convolution_costs_what_section_3_1_says() -> None:
    """D_K^2 M + M N weights against D_K^2 M N, without norms."""
    weights = sum(module.weight.numel() for module in separable(32, 64, 1).modules() if isinstance(module, nn.Conv2d))
    assert weights == 9 * 32 + 32 * 64
    assert weights / (9 * 32 * 64) == pytest.approx(1 / 64 + 1 / 9)


def test_multipliers_of_the_paper_leave_whole_numbers() -> None:
    assert [scaled(32, multiplier) for multiplier in (1.0, 0.75, 0.5, 0.25)] == [32, 24, 16, 8]


@pytest.mark.parametrize("multiplier", [0.0, -1.0, 9.0, float("nan")])
def test_impossible_multipliers_are_refused(multiplier: float) -> None:
    with pytest.raises(InputError, match=f"width_multiplier must lie between 1/32 and 8 but is {multiplier}"):
        MobileNetV1Config(width_multiplier=multiplier)


def test_v2_block_is_linear_at_its_end_and_adds_what_came() -> None:
    block = mobilenet_v2.InvertedResidual(4, 4, stride=1, expansion=6).eval()
    assert [type(module) for module in block.modules() if not list(module.children())] == [
        nn.Conv2d, nn.BatchNorm2d, nn.ReLU6, nn.Conv2d, nn.BatchNorm2d, nn.ReLU6, nn.Conv2d, nn.BatchNorm2d,
    ]  # fmt: skip
    assert block.conv[1][0].groups == block.conv[1][0].out_channels == 24
    nn.init.zeros_(block.conv[2].weight)
    maps = torch.randn(2, 4, 3, 3)
    assert torch.equal(block(maps), maps)


@pytest.mark.parametrize(
    ("in_channels", "out_channels", "stride", "has_shortcut"), [(4, 4, 1, True), (4, 4, 2, False), (4, 8, 1, False)]
)
def test_shortcuts_where_both_shapes_are_the_same(
    in_channels: int, out_channels: int, stride: int, has_shortcut: bool
) -> None:
    second = mobilenet_v2.InvertedResidual(in_channels, out_channels, stride, expansion=2)
    third = mobilenet_v3.InvertedResidual(in_channels, Row(3, 16, out_channels, False, RE, stride))
    assert second.has_shortcut == third.has_shortcut == has_shortcut
    maps = torch.randn(2, in_channels, 5, 4)
    side = -(-5 // stride), -(-4 // stride)
    assert second(maps).shape == third(maps).shape == (2, out_channels, *side)


def test_without_expansion_there_is_no_first_convolution() -> None:
    assert len(mobilenet_v2.InvertedResidual(4, 4, 1, expansion=1).conv) == 3
    assert len(mobilenet_v3.InvertedResidual(16, Row(3, 16, 16, False, RE, 1)).block) == 2
    assert len(mobilenet_v3.InvertedResidual(16, Row(3, 16, 16, True, RE, 2)).block) == 3


def test_v3_block_weighs_its_maps_before_the_projection() -> None:
    block = mobilenet_v3.InvertedResidual(16, Row(5, 96, 24, True, HS, 2)).block
    assert [type(layer) for layer in block] == [nn.Sequential, nn.Sequential, SqueezeExcitation, nn.Sequential]
    assert block[1][0].kernel_size == (5, 5)
    assert isinstance(block[0][2], nn.Hardswish)
    assert block[2].fc1.out_channels == 24
    assert isinstance(block[2].scale_activation, nn.Hardsigmoid)
    assert len(block[3]) == 2
    norm = block[3][1]
    assert (norm.eps, norm.momentum) == (1e-3, 1e-2)


def test_rounding_to_eight() -> None:
    """Nearest, halves up, never below 8, and never a tenth less: 18 would become 16."""
    assert [round_to_eight(channels) for channels in (1, 4, 16, 18, 20, 24, 120 / 4, 672 / 4)] == [
        8, 8, 16, 24, 24, 24, 32, 168,
    ]  # fmt: skip


def test_cifar_form_shrinks_by_eight() -> None:
    network = build_network("mobilenet_v2_cifar", device="meta").eval()
    assert network.features(torch.empty(1, 3, 32, 32, device="meta")).shape == (1, 1280, 4, 4)


def test_first_weights() -> None:
    network = build_network("mobilenet_v1_x0_25", seed=0)
    weight = network.get_parameter("features.12.1.0.weight")  # 128 -> 256 maps, 1x1
    assert weight.std().item() == pytest.approx((2 / 256) ** 0.5, rel=0.03)
    assert network.classifier.weight.std().item() == pytest.approx(0.01, rel=0.03)
    assert not network.classifier.bias.any()
