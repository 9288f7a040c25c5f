"""Highway networks: the gate on paper, a plain recomputation, and the checks of their configurations."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from striate.errors import InputError
from striate.networks.families.highway import (
    Highway,
    HighwayCifar,
    HighwayCifarConfig,
    HighwayMnist,
    HighwayMnistConfig,
)


def test_gate_on_paper() -> None:
    """State max(0, 3 x), gate sigmoid(0 x - ln 3) = 1/4: a quarter is changed, the rest carried through."""
    layer = Highway(nn.Linear(1, 1), nn.Linear(1, 1), gate_bias=-math.log(3))
    nn.init.constant_(layer.state.weight, 3)
    nn.init.zeros_(layer.gate.weight)
    inputs = torch.tensor([[4.0], [-4.0]])
    torch.testing.assert_close(layer(inputs), torch.tensor([[0.25 * 12 + 0.75 * 4], [-3.0]]))


def test_gates_start_nearly_shut() -> None:
    network = HighwayCifar(HighwayCifarConfig())
    layers = [module for module in network.modules() if isinstance(module, Highway)]
    assert len(layers) == 14
    assert all((layer.gate.bias == -2).all() and not layer.state.bias.any() for layer in layers)
    maps = torch.rand(1, 32, 6, 6)
    assert F.cosine_similarity(layers[0](maps).flatten(), maps.flatten(), dim=0) > 0.9


def test_nineteen_layers() -> None:
    """Gates stand beside states: they deepen nothing."""
    layers = [
        name
        for name, module in HighwayCifar(HighwayCifarConfig()).named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear) and not name.endswith("gate")
    ]
    assert len(layers) == 19


def test_convolutional_network_is_what_the_paper_writes() -> None:
    """The same sums with functions only; equal but for rounding."""
    network = HighwayCifar(HighwayCifarConfig(in_channels=2, num_classes=3, widths=(3, 4, 5), depths=(1, 2, 1))).eval()
    params = dict(network.named_parameters())

    def conv(maps: torch.Tensor, name: str) -> torch.Tensor:
        weight = params[f"{name}.weight"]
        return F.conv2d(maps, weight, params[f"{name}.bias"], padding=weight.shape[-1] // 2)

    images = torch.randn(2, 2, 9, 8)
    maps = images
    for number, depth in enumerate((1, 2, 1), start=1):
        maps = conv(maps, f"stage{number}.0").clamp(min=0)
        for place in range(2, 2 + depth):
            transform = 1 / (1 + torch.exp(-conv(maps, f"stage{number}.{place}.gate")))
            state = conv(maps, f"stage{number}.{place}.state").clamp(min=0)
            maps = state * transform + maps * (1 - transform)
        if number < 3:
            maps = F.max_pool2d(maps, 2)
    features = conv(maps, "conv").clamp(min=0).mean(dim=(2, 3))
    torch.testing.assert_close(network(images), features @ params["fc.weight"].T + params["fc.bias"])


def test_perceptron_has_ten_layers_and_an_output() -> None:
    network = HighwayMnist(HighwayMnistConfig())
    assert len(network.highways) == 9
    assert network.fc1.out_features == network.fc2.in_features == 50


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: HighwayCifarConfig(depths=(1, 2)), r"three numbers each.*they are \(32, 80, 128\), \(1, 2\) and 100"),
        (lambda: HighwayCifarConfig(gate_bias=0.5), r"gate_bias must lie in \[-10, 0\), so that gates .* but is 0.5"),
        (lambda: HighwayMnistConfig(gate_bias=float("nan")), "but is nan"),
        (lambda: HighwayMnistConfig(num_layers=0), "num_layers and width must be at least 1 but are 0 and 50"),
    ],
)
def test_impossible_configurations_are_refused(make: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()  # type: ignore[operator]
