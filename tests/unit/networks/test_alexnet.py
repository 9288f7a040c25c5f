"""What is peculiar to AlexNet: towers and its first weights."""

import torch
from torch import nn

from striate.networks.catalogue import build_network


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
