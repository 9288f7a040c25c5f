"""Both ShuffleNets: units on paper, counts by hand and configurations."""

import pytest
import torch
from torch import nn

from striate.errors import InputError
from striate.networks.catalogue import CATALOGUE, build_network
from striate.networks.families import shufflenet_v2
from striate.networks.families.shufflenet import DEPTHS, ShuffleNetV1Config, ShuffleUnit, StridedShuffleUnit
from striate.networks.families.shufflenet_v2 import ShuffleNetV2Config


def test_unit_without_its_branch_rectifies_what_came() -> None:
    unit = ShuffleUnit(12, groups=3).eval()
    nn.init.zeros_(unit.branch[3][0].weight)
    maps = torch.randn(2, 12, 3, 4)
    assert torch.equal(unit(maps), maps.relu())


def test_strided_unit_puts_averages_first() -> None:
    unit = StridedShuffleUnit(6, 12, groups=3, first_groups=1).eval()
    found = unit(torch.ones(1, 6, 5, 4))
    assert found.shape == (1, 12, 3, 2)
    # windows around pixels 0, 2 and 4 by 0 and 2; padding counts as pixels of zero
    expected = torch.tensor([[4.0, 6.0], [6.0, 9.0], [4.0, 6.0]]) / 9
    torch.testing.assert_close(found[0, 5], expected)
    assert unit.branch[0][0].groups == 1
    assert unit.branch[3][0].groups == 3


def test_only_the_first_pointwise_convolution_of_stage_2_has_one_group() -> None:
    network = build_network("shufflenet_v1_g4", device="meta")
    pointwise = {
        name: module.groups
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1)
    }
    assert {name for name, groups in pointwise.items() if groups != 4} == {"stage2.0.branch.0.0"}


def count_by_hand(config: ShuffleNetV1Config) -> int:
    """Every convolution is followed by a norm, two numbers a map; only the last layer has biases."""
    stem = config.stem_channels
    count = 27 * stem + 2 * stem
    before = stem
    for number, (width, depth) in enumerate(zip(config.widths, DEPTHS, strict=True)):
        hidden = width // 4
        first_groups = 1 if number == 0 else config.groups
        for unit in range(depth):
            found, made = (before, width - before) if unit == 0 else (width, width)
            groups = first_groups if unit == 0 else config.groups
            count += found * hidden // groups + 2 * hidden + 9 * hidden + 2 * hidden
            count += hidden * made // config.groups + 2 * made
        before = width
    return count + (before + 1) * 1000


@pytest.mark.parametrize("name", [name for name in CATALOGUE if name.startswith("shufflenet_v1")])
def test_params_by_hand(name: str) -> None:
    assert count_by_hand(CATALOGUE[name].config) == CATALOGUE[name].num_params


def test_scaled_networks_scale_every_stage() -> None:
    widths = CATALOGUE["shufflenet_v1_g3"].config.widths
    for name, scale in (("x0_5", 0.5), ("x1_5", 1.5), ("x2_0", 2.0)):
        assert CATALOGUE[f"shufflenet_v1_g3_{name}"].config.widths == tuple(scale * width for width in widths)


def test_v2_unit_passes_one_half_and_deals_both_out_in_turn() -> None:
    unit = shufflenet_v2.ShuffleUnit(4).eval()
    maps = torch.randn(2, 4, 3, 3)
    found = unit(maps)
    assert torch.equal(found[:, 0::2], maps[:, :2])
    assert torch.equal(found[:, 1::2], unit.branch2(maps[:, 2:]))


def test_v2_strided_unit_shows_all_maps_to_both_branches() -> None:
    unit = shufflenet_v2.StridedShuffleUnit(3, 8).eval()
    maps = torch.randn(2, 3, 5, 4)
    found = unit(maps)
    assert found.shape == (2, 8, 3, 2)
    assert torch.equal(found[:, 0::2], unit.branch1(maps))
    assert torch.equal(found[:, 1::2], unit.branch2(maps))


def test_cifar_form_shrinks_by_eight() -> None:
    network = build_network("shufflenet_v2_cifar", device="meta").eval()
    maps = network.maxpool(network.conv1(torch.empty(1, 3, 32, 32, device="meta")))
    assert network.stage4(network.stage3(network.stage2(maps))).shape == (1, 464, 4, 4)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ShuffleNetV1Config(groups=0), "groups and stem_channels must be at least 1 but are 0 and 24"),
        (lambda: ShuffleNetV1Config(stem_channels=0), "groups and stem_channels must be at least 1 but are 3 and 0"),
        (
            lambda: ShuffleNetV1Config(widths=(240, 480)),
            r"three multiples of 4 \* groups, which is 12, but are \(240, ",
        ),
        (
            lambda: ShuffleNetV1Config(groups=7),
            r"three multiples of 4 \* groups, which is 28, but are \(240, 480, 960\)",
        ),
        (
            lambda: ShuffleNetV1Config(widths=(24, 48, 96)),
            "from 24 to 24 maps, a multiple of the 3 groups must be added",
        ),
        (lambda: ShuffleNetV1Config(stem_channels=25), "from 25 to 240 maps, a multiple of the 3 groups must be added"),
        (lambda: ShuffleNetV2Config(widths=(2, 3, 4)), r"three even numbers of at least 2 but are \(2, 3, 4\)"),
        (lambda: ShuffleNetV2Config(widths=(2, 4)), r"three even numbers of at least 2 but are \(2, 4\)"),
        (lambda: ShuffleNetV2Config(last_channels=0), "last_channels must be at least 1 but is 0"),
    ],
)
def test_impossible_configurations_are_refused(make: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()  # type: ignore[operator]
