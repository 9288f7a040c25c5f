"""Receptive fields as lectures and papers print them.

"Araujo" is Araujo, Norris & Sim 2019, "Computing Receptive Fields of Convolutional Neural Networks"
(doi:10.23915/distill.00021), the table of the last feature maps of common networks.
"""

import pytest
import torch
import torchvision
from torch import nn

from striate.inspection.layers import describe_network
from striate.inspection.receptive_field.summary import ReceptiveField
from striate.networks.catalogue import build_network


def square(size: int, stride: float, offset: float) -> ReceptiveField:
    return ReceptiveField((size, size), (stride, stride), (offset, offset))


@pytest.mark.parametrize(("num_layers", "size"), [(2, 5), (3, 7)])
def test_small_filters_in_a_row_see_what_a_large_one_does(num_layers: int, size: int) -> None:
    """Stanford CS231n, lecture 9: two 3x3 see 5x5, three see 7x7."""
    network = nn.Sequential(*(nn.Conv2d(1, 1, 3) for _ in range(num_layers)))
    found = describe_network(network, (1, 9, 9)).layers[-1].receptive_field
    assert found is not None
    assert found.size == (size, size)


@pytest.mark.parametrize(
    ("name", "input_size", "layer", "expected", "source"),
    [
        ("alexnet", (3, 227, 227), "features.12", square(195, 32, 31.5), "Araujo: 195, stride 32"),
        ("vgg16", (3, 224, 224), "features.30", square(212, 32, 16), "Araujo: 212, stride 32"),
        ("inception_v3", (3, 299, 299), "Mixed_7c:cat.3", square(1311, 32, 37.5), "Araujo: 1311, stride 32"),
    ],
)
def test_torchvisions_networks(
    name: str, input_size: tuple[int, int, int], layer: str, expected: ReceptiveField, source: str
) -> None:
    options = {"init_weights": False} if name == "inception_v3" else {}
    with torch.device("meta"):
        network = torchvision.models.get_model(name, **options)
    found = {each.name: each.receptive_field for each in describe_network(network, input_size).layers}
    assert found[layer] == expected, source


@pytest.mark.parametrize(
    ("depths", "size", "own_size"), [((3, 4, 6, 3), 483, 427), ((3, 4, 23, 3), 1027, 971), ((3, 8, 36, 3), 1507, 1451)]
)
def test_deep_residual_networks(depths: tuple[int, ...], size: int, own_size: int) -> None:
    """Araujo's 483, 1027 and 1507 have the stride in the last block of a stage; in the first, as in the paper, there is
    less.
    """

    def stages(*, is_last: bool) -> nn.Module:
        layers: list[nn.Module] = [nn.Conv2d(1, 1, 7, 2, 3), nn.MaxPool2d(3, 2, 1)]
        for stage, depth in enumerate(depths):
            has_stride = stage < 3 if is_last else stage > 0
            strided = depth - 1 if is_last else 0
            layers += [nn.Conv2d(1, 1, 3, 2 if has_stride and i == strided else 1, 1) for i in range(depth)]
        return nn.Sequential(*layers)

    for is_last, expected in ((True, size), (False, own_size)):
        found = describe_network(stages(is_last=is_last), (1, 224, 224)).layers[-1].receptive_field
        assert found == square(expected, 32, 0.5)


def test_resnet50_of_the_catalogue() -> None:
    """427 at the last map, counted by hand: 11 + 3 * 8 + (8 + 3 * 16) + (16 + 5 * 32) + (32 + 2 * 64)."""
    layers = {
        each.name: each for each in describe_network(build_network("resnet50", device="meta"), (3, 224, 224)).layers
    }
    assert layers["layer4.2.relu3"].receptive_field == square(427, 32, 0.5)
    assert layers["fc"].receptive_field == square(224, 0, 112)


def test_mobilenet() -> None:
    """Araujo: 315 and stride 32 for MobileNet v1, whose 3x3 filters are a stem and 13 depthwise ones."""
    strides = [2, 1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1]
    network = nn.Sequential(*(nn.Conv2d(2, 2, 3, stride, 1, groups=2 if i else 1) for i, stride in enumerate(strides)))
    assert describe_network(network, (2, 224, 224)).layers[-1].receptive_field == square(315, 32, 0.5)
