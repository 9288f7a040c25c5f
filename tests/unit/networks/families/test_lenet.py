"""LeNets: what they compute, small enough to follow."""

import torch
from torch.nn import functional

from striate.networks.catalogue import build_network
from striate.networks.families.lenet import LeNet5, LeNetConfig


def test_lenet5_written_out() -> None:
    network = LeNet5(LeNetConfig()).eval()
    images = torch.randn(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    maps = functional.max_pool2d(functional.conv2d(images, network.conv1.weight, network.conv1.bias).relu(), 2)
    maps = functional.max_pool2d(functional.conv2d(maps, network.conv2.weight, network.conv2.bias).relu(), 2)
    features = maps.flatten(1) @ network.conv3.weight.flatten(1).T + network.conv3.bias  # a 5x5 filter on 5x5 maps
    hidden = (features.relu() @ network.fc1.weight.T + network.fc1.bias).relu()
    logits = hidden @ network.fc2.weight.T + network.fc2.bias
    torch.testing.assert_close(network(images), logits, rtol=1e-4, atol=1e-5)


def test_weights_are_drawn_for_relu() -> None:
    """Variance 2 / fan in, so the activations neither fade nor grow; biases zero."""
    network = build_network("lenet_300_100", seed=0)
    torch.testing.assert_close(network.get_parameter("fc1.weight").std().item(), (2 / 784) ** 0.5, rtol=0.02, atol=0)
    assert not network.get_parameter("fc1.bias").any()


def test_channels_of_a_colour_image_are_flattened_one_after_another() -> None:
    network = build_network("lenet_300_100", in_channels=3, seed=0).eval()
    images = torch.zeros(1, 3, 28, 28)
    images[0, 2, 1, 5] = 1.0
    expected = network.get_parameter("fc1.weight")[:, 2 * 784 + 28 + 5]
    torch.testing.assert_close(network.get_submodule("fc1")(images.flatten(1))[0], expected)
