"""Wide, grouped, stochastic and recalibrated residual networks: what is theirs alone, and the checks of
configurations.
"""

import pytest
import torch
from torch import nn

from striate.errors import InputError
from striate.networks.catalogue import build_network
from striate.networks.families.resnext import ResNeXtConfig, grouped_bottleneck, resnext
from striate.networks.families.senet import SEBottleneck, SENetConfig, se_resnet
from striate.networks.families.stochastic_depth import (
    DroppedBlock,
    StochasticDepthConfig,
    average_shortcut,
    linear_drop_rates,
    stochastic_depth_resnet,
)
from striate.networks.families.wide_resnet import CifarWideResNet, CifarWideResNetConfig, WideResNetConfig, wide_resnet


def test_drop_rates_rise_linearly_to_the_last() -> None:
    assert linear_drop_rates(4, last_survival=0.5) == [0.125, 0.25, 0.375, 0.5]
    network = stochastic_depth_resnet(StochasticDepthConfig(depths=(1, 1, 2), last_survival=0.6))
    rates = [module.drop_path.p for module in network.modules() if isinstance(module, DroppedBlock)]
    assert rates == pytest.approx([0.1, 0.2, 0.3, 0.4])


def test_expected_number_of_blocks_is_that_of_the_paper() -> None:
    """Section 3: of 54 blocks about 40 are kept on average, (3 L - 1) / 4."""
    assert 54 - sum(linear_drop_rates(54, last_survival=0.5)) == pytest.approx((3 * 54 - 1) / 4)


def test_a_block_left_out_is_its_shortcut() -> None:
    block = DroppedBlock(2, 2, stride=1, downsample=None, drop_rate=1.0)
    maps = torch.tensor([-1.0, 2.0]).reshape(1, 2, 1, 1).expand(3, 2, 4, 4)
    assert torch.equal(block(maps), maps.clamp(min=0))


def test_average_shortcut_on_paper() -> None:
    """Windows over the border of 3x3 pixels average what they see."""
    assert average_shortcut(1, 1, 1) is None
    shortcut = average_shortcut(1, 3, 2)
    assert shortcut is not None
    averages = torch.tensor([[2.0, 3.5], [6.5, 8.0]])
    padded = shortcut(torch.arange(9.0).reshape(1, 1, 3, 3))
    assert torch.equal(padded, torch.stack([torch.zeros(2, 2), averages, torch.zeros(2, 2)])[None])


def test_wide_bottlenecks_are_wider_inside_only() -> None:
    with torch.device("meta"):
        network = wide_resnet(WideResNetConfig(depths=(1, 1, 1, 1), widen=3))
    assert [network.get_submodule(f"layer{i}.0.conv2").out_channels for i in (1, 2, 3, 4)] == [192, 384, 768, 1536]
    assert network.fc.in_features == 2048


def test_dropout_stands_between_the_convolutions_of_every_unit() -> None:
    network = CifarWideResNet(CifarWideResNetConfig(depth=16, widen=1, dropout=0.3))
    assert [module.p for module in network.modules() if isinstance(module, nn.Dropout)] == [0.3] * 6


def test_groups_double_in_width_from_stage_to_stage() -> None:
    make_block = grouped_bottleneck(ResNeXtConfig(cardinality=8, group_width=3))
    for out_channels, width in ((256, 24), (512, 48), (1024, 96)):
        block = make_block(256, out_channels, 1)
        assert block.conv2.weight.shape == (width, width // 8, 3, 3)


def test_large_resnext_needs_four_stages() -> None:
    with pytest.raises(InputError, match=r"depths must be 4 numbers of at least 1 but are \(1, 1, 1\)"):
        resnext(ResNeXtConfig(depths=(1, 1, 1)))


def test_closed_gates_leave_the_shortcut() -> None:
    block = SEBottleneck(*(nn.Conv2d(2, 2, 1) for _ in range(3)), downsample=None, reduction=2).eval()
    nn.init.zeros_(block.se.fc2.weight)
    nn.init.constant_(block.se.fc2.bias, -200.0)
    maps = torch.tensor([-1.0, 2.0]).reshape(1, 2, 1, 1)
    assert torch.equal(block(maps).flatten(), torch.tensor([0.0, 2.0]))


def test_gates_start_half_open_and_convolution_biases_at_zero() -> None:
    network = se_resnet(SENetConfig(num_classes=2, depths=(1, 1, 1, 1)))
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.bias is not None:
            assert not module.bias.any()


def test_projections_of_senet154_are_3x3_where_they_stride() -> None:
    network = build_network("senet154", device="meta")
    sizes = [network.get_submodule(f"layer{i}.0.downsample.0").kernel_size for i in (1, 2, 3, 4)]
    assert sizes == [(1, 1), (3, 3), (3, 3), (3, 3)]


@pytest.mark.parametrize(("name", "depth"), [("wrn_16_4_cifar", 16), ("wrn_28_10_cifar", 28), ("wrn_40_4_cifar", 40)])
def test_wide_resnets_are_named_by_all_their_convolutions(name: str, depth: int) -> None:
    network = build_network(name, device="meta")
    assert sum(isinstance(module, nn.Conv2d) for module in network.modules()) == depth


@pytest.mark.parametrize(
    ("name", "depth"), [("resnext29_8x64d_cifar", 29), ("se_resnext50_32x4d", 50), ("senet154", 154)]
)
def test_others_are_named_by_their_layers_without_projections_and_gates(name: str, depth: int) -> None:
    """SENet-154 has two more convolutions in its stem than ResNet-152."""
    network = build_network(name, device="meta")
    layers = [key for key, module in network.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert sum(".se." not in key and "downsample" not in key for key in layers) == depth


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: WideResNetConfig(widen=0), "widen must be a whole number of at least 1 but is 0"),
        (lambda: WideResNetConfig(depths=(1,)), r"depths must be 4 numbers of at least 1 but are \(1,\)"),
        (lambda: CifarWideResNetConfig(depth=20), "depth must be 6 N \\+ 4, such as 16, 28 or 40, but is 20"),
        (lambda: CifarWideResNetConfig(dropout=1.0), "dropout must be at least 0 and below 1 but is 1.0"),
        (lambda: ResNeXtConfig(depths=()), r"depths must be numbers of at least 1 but are \(\)"),
        (lambda: ResNeXtConfig(cardinality=0), "cardinality and group_width must be at least 1 but are 0 and 4"),
        (lambda: StochasticDepthConfig(depths=(1, 1)), r"depths must be 3 numbers of at least 1 but are \(1, 1\)"),
        (lambda: StochasticDepthConfig(last_survival=0), "last_survival must be over 0 and at most 1 but is 0"),
        (lambda: SENetConfig(depths=(0, 1, 1, 1)), r"depths must be 4 numbers of at least 1 but are \(0, 1, 1, 1\)"),
        (lambda: SENetConfig(reduction=257), "reduction must be from 1 to 256 but is 257"),
        (lambda: SENetConfig(dropout=-0.1), "dropout must be at least 0 and below 1 but is -0.1"),
    ],
)
def test_impossible_configurations_are_refused(make: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()  # type: ignore[operator]
