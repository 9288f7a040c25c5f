"""Tables 1 and 2 of the VGG paper (arXiv:1409.1556)."""

import pytest
from torch import nn

from striate.inspection.counting import count_params
from striate.networks.catalogue import build_network


@pytest.mark.parametrize(
    ("name", "num_weight_layers", "millions"),
    [
        ("vgg11", 11, 133), ("vgg11_lrn", 11, 133), ("vgg13", 13, 133),
        ("vgg16_c", 16, 134), ("vgg16", 16, 138), ("vgg19", 19, 144),
    ],
)  # fmt: skip
def test_weight_layers_and_millions_of_parameters(name: str, num_weight_layers: int, millions: int) -> None:
    network = build_network(name, device="meta")
    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert len(layers) == num_weight_layers
    assert round(count_params(network) / 1e6) == millions


def test_most_of_vgg16_is_dense() -> None:
    """One layer alone, from 7x7x512 to 4096, holds 102.8 of the 138 million."""
    network = build_network("vgg16", device="meta")
    assert count_params(network.get_submodule("classifier.0")) == (7 * 7 * 512 + 1) * 4096 == 102_764_544
    assert count_params(network.get_submodule("features")) == 14_714_688
