"""Network in Network: small perceptrons that slide, counts layer by layer, and a network written out."""

import torch
from torch import nn
from torch.nn import functional

from striate.inspection.counting import count_params
from striate.networks.catalogue import build_network
from striate.networks.families.nin import NIN, NINConfig, average_pool, max_pool, mlpconv


def test_mlpconv_is_a_perceptron_on_every_patch() -> None:
    layers = nn.Sequential(*mlpconv(2, (5, 4, 3), 3))
    maps = torch.randn(1, 2, 4, 5, generator=torch.Generator().manual_seed(0))
    patches = functional.unfold(maps, 3)[0].T  # (6, 18)
    for place in (0, 2, 4):
        patches = (patches @ layers[place].weight.flatten(1).T + layers[place].bias).clamp(min=0)
    torch.testing.assert_close(layers(maps), patches.T.reshape(1, 3, 2, 3))


def test_counts_layer_by_layer() -> None:
    """(inputs of a filter + 1) times filters."""
    by_layer = {
        name: [count_params(layer) for layer in build_network(name, device="meta").features if count_params(layer)]
        for name in ("nin_cifar", "nin_imagenet")
    }
    assert by_layer["nin_cifar"] == [
        76 * 192, 193 * 160, 161 * 96, 2401 * 192, 193 * 192, 193 * 192, 1729 * 192, 193 * 192, 193 * 10,
    ]  # fmt: skip
    assert by_layer["nin_imagenet"] == [
        364 * 96, 97 * 96, 97 * 96, 2401 * 256, 257 * 256, 257 * 256, 2305 * 384, 385 * 384, 385 * 384,
        3457 * 1024, 1025 * 1024, 1025 * 1000,
    ]  # fmt: skip


def test_first_weights_suit_relu_and_the_last_are_small() -> None:
    convs = [layer for layer in build_network("nin_cifar", seed=0).features if isinstance(layer, nn.Conv2d)]
    torch.testing.assert_close(convs[3].weight.std().item(), (2 / 2400) ** 0.5, rtol=0.01, atol=0)
    torch.testing.assert_close(convs[-1].weight.std().item(), 0.01, rtol=0.1, atol=0)
    assert not any(conv.bias.any() for conv in convs)


def test_pools_hang_over_the_border() -> None:
    maps = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert torch.equal(max_pool()(maps).flatten(), torch.tensor([10.0, 11.0, 14.0, 15.0]))
    assert torch.equal(average_pool()(maps).flatten(), torch.tensor([5.0, 6.5, 11.0, 12.5]))


def test_small_network_written_out() -> None:
    """The plan of the small network with few maps: logits are averages of rectified maps."""
    features = nn.Sequential(*mlpconv(3, (4, 4, 2), 5, padding=2), max_pool(), *mlpconv(2, (3, 3, 6), 3, padding=1))
    network = NIN(NINConfig(num_classes=6), features, (4, 4), "small").eval()
    maps = images = torch.randn(2, 3, 9, 7, generator=torch.Generator().manual_seed(0))
    for place, padding in ((0, 2), (2, 0), (4, 0), (7, 1), (9, 0), (11, 0)):
        if place == 7:
            maps = functional.max_pool2d(maps, 3, stride=2)
        maps = functional.conv2d(maps, features[place].weight, padding=padding).clamp(min=0)  # biases start at zero
    torch.testing.assert_close(network(images), maps.mean(dim=(2, 3)))
