"""The locator: its box moves with the image, starts in the middle, and it stands where features are pooled."""

import pytest
import torch

from striate.errors import InputError
from striate.networks.catalogue import build_network, entry_for
from striate.networks.locators.locator import LocatorConfig
from striate.tasks.localization.head import MIDDLE, start_from_the_middle
from striate.tasks.localization.task import Localization


@pytest.fixture
def network():
    return build_network("locator:squeezenet1_1", num_classes=6, in_channels=3, seed=0).eval()


def test_outputs_are_the_weighted_mean_of_what_the_places_say(network):
    images = torch.rand(2, 3, 96, 128, generator=torch.Generator().manual_seed(0))
    outputs = network(images)
    maps = network.tower(network.maps(images))
    stride = network.taps[0].stride
    rows, columns = maps.shape[2:]
    expected = torch.zeros(2, 6)
    weights = network.weigh(maps).flatten(1).softmax(1).view(2, rows, columns)
    said = network.head(maps)
    for row in range(rows):
        for column in range(columns):
            x = (64 + stride * (column - (columns - 1) / 2)) / 128
            y = (48 + stride * (row - (rows - 1) / 2)) / 96
            at = said[:, :, row, column] + torch.tensor([0, 0, x - 0.5, y - 0.5, x - 0.5, y - 0.5])
            expected += weights[:, row, column, None] * at
    assert torch.allclose(outputs, expected, atol=1e-5)


def test_the_box_moves_with_what_is_seen(network):
    """A patch on black moved by two strides: the box moves by as much, where the places that see the patch have all the
    weight.
    """
    with torch.no_grad():
        network.head.weight.zero_()
        network.weigh.weight.mul_(0)
        patch = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(1))
        images = torch.zeros(2, 3, 256, 256)
        images[0, :, 112:144, 96:128] = patch
        images[1, :, 112:144, 128:160] = patch
        quiet = network.tower(network.maps(torch.zeros(1, 3, 256, 256)))
        difference = (network.tower(network.maps(images)) - quiet).abs().sum(1, keepdim=True)
        weights = (100 * difference / difference.amax(dim=(2, 3), keepdim=True)).flatten(1)
        network.weigh.forward = lambda maps: weights.view(2, 1, *maps.shape[2:])
        network.head.bias[-4:] = torch.tensor(MIDDLE)
        boxes = network(images)[:, -4:]
    shift = 32 / 256
    assert torch.allclose(boxes[1] - boxes[0], torch.tensor([shift, 0, shift, 0]), atol=2e-3)


def test_it_starts_in_the_middle(network):
    start_from_the_middle(network.head)
    box = network(torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(2)))[0, -4:]
    assert torch.allclose(box, torch.tensor(MIDDLE), atol=0.05)


def test_it_stands_on_networks_that_pool_and_nowhere_else():
    task = Localization(("a", "b"))
    assert task.network_name("squeezenet1_0") == "locator:squeezenet1_0"
    assert task.network_name("timm:resnet18") == "locator:timm:resnet18"
    assert task.network_name("locator:resnet18") == "locator:resnet18"
    assert [task.network_name(name) for name in ("lenet5", "digitnet")] == ["lenet5", "digitnet"]
    with pytest.raises(InputError, match="is a detector"):
        task.network_name("fcos:resnet18")
    assert entry_for("locator:resnet18").kind == "locator"


def test_settings_that_do_not_fit_are_named():
    with pytest.raises(InputError, match="at least 4 outputs"):
        LocatorConfig(num_classes=3)
    with pytest.raises(InputError, match="multiple of 8"):
        LocatorConfig(width=12)
