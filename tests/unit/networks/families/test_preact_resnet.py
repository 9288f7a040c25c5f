"""Pre-activation residual networks: first and last activation, and the checks of their configurations."""

import pytest
import torch
from torch import nn

from striate.errors import InputError
from striate.networks.catalogue import CATALOGUE
from striate.networks.families.preact_resnet import CifarPreActResNetConfig, PreActResNetConfig, cifar_preact_resnet


def test_the_first_activation_is_the_stems_and_the_last_comes_after_the_last_sum() -> None:
    network = cifar_preact_resnet(CifarPreActResNetConfig(depths=(2, 1, 1), widths=(4, 8, 12)))
    assert isinstance(network.get_submodule("layer1.0.activation"), nn.Identity)
    assert isinstance(network.get_submodule("layer1.1.activation"), nn.Sequential)
    for module in (network.layer1, network.layer2, network.layer3):
        for unit in module:
            nn.init.zeros_(unit.residual.conv2.weight)
    # all residuals are zero: what comes out is the stem's maps, picked, padded and activated
    network.eval()
    network.fc.weight.data = torch.eye(12)
    network.fc.bias.data = torch.zeros(12)
    images = torch.randn(1, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        stem = network.relu1(network.bn1(network.conv1(images)))[:, :, ::4, ::4]
        features = network(images)[0]
    assert torch.equal(features[[0, 1, 2, 3, 8, 9, 10, 11]], torch.zeros(8))
    torch.testing.assert_close(features[4:8], stem.flatten(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("name", "depth"), [("preact_resnet110_cifar", 110), ("preact_resnet164_cifar", 164),
                                             ("preact_resnet1001_cifar", 1001), ("preact_resnet200", 200)])  # fmt: skip
def test_names_count_layers(name: str, depth: int) -> None:
    """Two or three convolutions a unit, the stem and the last layer."""
    config = CATALOGUE[name].config
    convs_a_unit = 2 if getattr(config, "unit", "bottleneck") == "padded" else 3
    assert convs_a_unit * sum(config.depths) + 2 == depth


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PreActResNetConfig(depths=(1, 2)), r"depths must be 4 numbers of at least 1 but are \(1, 2\)"),
        (lambda: CifarPreActResNetConfig(unit="wide"), "unit must be 'padded', 'basic' or 'bottleneck' but is 'wide'"),
        (lambda: CifarPreActResNetConfig(depths=(1,)), r"depths \(1,\) and widths \(16, 32, 64\) must pair up"),
        (lambda: CifarPreActResNetConfig(widths=(8, 4, 2)), r"widths must not fall but are \(8, 4, 2\)"),
        (
            lambda: CifarPreActResNetConfig(unit="bottleneck", widths=(8, 10, 12)),
            r"a quarter of the maps inside; \(8, 10, 12\) do not divide by 4",
        ),
    ],
)
def test_impossible_configurations_are_refused(make: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()  # type: ignore[operator]
