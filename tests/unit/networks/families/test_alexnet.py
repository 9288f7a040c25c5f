"""What is peculiar to AlexNet: towers and its first weights."""

import torch
from torch import nn

from striate.layers.local_response_norm import local_response_norm
from striate.networks.catalogue import build_network


def test_response_norm_is_the_papers_formula() -> None:
    """Section 3.3, with k = 2, n = 5, alpha = 1e-4, beta = 0.75; maps beyond the first and last count as none."""
    maps = 30 * torch.randn(1, 7, 2, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = torch.empty_like(maps)
    for i in range(7):
        neighbours = maps[:, max(0, i - 2) : min(6, i + 2) + 1]
        expected[:, i] = maps[:, i] / (2 + 1e-4 * neighbours.square().sum(dim=1)) ** 0.75
    torch.testing.assert_close(local_response_norm()(maps), expected)


def test_towers_meet_only_in_the_third_convolution() -> None:
    """The second convolution's first half does not see the first's second half; the third sees all."""
    network = build_network("alexnet_two_towers", num_classes=2, device="meta")
    groups = [module.groups for module in network.modules() if isinstance(module, nn.Conv2d)]
    assert groups == [1, 2, 1, 2, 2]


def test_first_weights_of_2012() -> None:
    network = build_network("alexnet_two_towers", num_classes=2, seed=0)
    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert [layer.bias.unique().tolist() for layer in layers if layer.bias is not None] == [
        [0.0], [1.0], [0.0], [1.0], [1.0], [1.0], [1.0], [0.0]
    ]  # fmt: skip
    torch.testing.assert_close(layers[5].weight.std().item(), 0.01, rtol=0.01, atol=0)


def test_dropout_is_where_each_paper_has_it() -> None:
    """2012 drops what leaves the hidden layers; the one-tower form, in torchvision's layout, what enters them."""
    kinds = {
        name: [
            type(layer).__name__ for layer in build_network(name, device="meta").get_submodule("classifier").children()
        ]
        for name in ("alexnet", "alexnet_two_towers")
    }
    assert kinds["alexnet"] == ["Dropout", "Linear", "ReLU", "Dropout", "Linear", "ReLU", "Linear"]
    assert kinds["alexnet_two_towers"] == ["Linear", "ReLU", "Dropout", "Linear", "ReLU", "Dropout", "Linear"]
