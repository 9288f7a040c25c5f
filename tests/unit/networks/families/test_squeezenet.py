"""SqueezeNet: Fire modules and their bypasses."""

import pytest
import torch
from torch import nn

from striate.errors import InputError
from striate.networks.catalogue import build_network
from striate.networks.families.squeezenet import BypassedFire, Fire, SqueezeNetConfig, complex_bypass, simple_bypass


def test_fire_on_paper() -> None:
    """One pixel, 2 and 3 in two maps: squeezed to 5, then 5 by 1x1 and -5, rectified to 0, by 3x3."""
    fire = Fire(2, 1, 1)
    for layer, weight in ((fire.squeeze, 1.0), (fire.expand1x1, 1.0), (fire.expand3x3, -1.0)):
        nn.init.constant_(layer.weight, weight)
        assert layer.bias is not None
        nn.init.zeros_(layer.bias)
    assert fire(torch.tensor([2.0, 3.0]).reshape(1, 2, 1, 1)).flatten().tolist() == [5.0, 0.0]


def test_bypass_adds_the_maps_and_nothing_rectifies_the_sum() -> None:
    block = simple_bypass(2, 1, 1)
    for param in block.parameters():
        nn.init.zeros_(param)
    maps = torch.tensor([-2.0, 3.0]).reshape(1, 2, 1, 1)
    assert torch.equal(block(maps), maps)


def test_complex_bypass_changes_the_number_of_maps() -> None:
    block = complex_bypass(2, 1, 2)
    assert isinstance(block.bypass, nn.Conv2d)
    assert block.bypass.weight.shape == (4, 2, 1, 1)
    assert block(torch.zeros(1, 2, 3, 3)).shape == (1, 4, 3, 3)


@pytest.mark.parametrize(
    ("name", "bypasses"),
    [
        ("squeezenet1_0", {}),
        ("squeezenet1_0_simple_bypass", dict.fromkeys((4, 7, 9, 12), "Identity")),
        (
            "squeezenet1_0_complex_bypass",
            dict.fromkeys((4, 7, 9, 12), "Identity") | dict.fromkeys((3, 5, 8, 10), "Conv2d"),
        ),
    ],
)
def test_bypasses_stand_where_figure_2_has_them(name: str, bypasses: dict[int, str]) -> None:
    """fire2 to fire9 are features 3, 4, 5, 7, 8, 9, 10 and 12; the bypasses of 3, 5, 7 and 9 need no weights."""
    features = build_network(name, device="meta").get_submodule("features")
    assert isinstance(features, nn.Sequential)
    blocks = {place: block for place, block in enumerate(features) if isinstance(block, BypassedFire)}
    assert {place: type(block.bypass).__name__ for place, block in blocks.items()} == bypasses


@pytest.mark.parametrize("name", ["squeezenet1_0_simple_bypass", "squeezenet1_0_complex_bypass"])
def test_sums_do_not_grow_from_module_to_module(name: str) -> None:
    """Drawn alike, the two paths make the last maps 12 times as large where four modules add, 117 times where eight
    do.
    """
    images = torch.randn(8, 3, 40, 40, generator=torch.Generator().manual_seed(1))
    sizes = []
    for each in ("squeezenet1_0", name):
        features = build_network(each, seed=0).eval().get_submodule("features")
        with torch.inference_mode():
            sizes.append(features(images).square().mean().sqrt().item())
    assert sizes[1] < 10 * sizes[0]


def test_impossible_dropout_is_refused() -> None:
    with pytest.raises(InputError, match=r"dropout must be at least 0 and below 1 but is 2\.0"):
        SqueezeNetConfig(dropout=2.0)
