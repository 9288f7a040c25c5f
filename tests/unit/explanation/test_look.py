"""Filters, activations, unit statistics, peaks and patches, neighbours, projection: against brute force and by hand."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from explanation_cases import OneReused, TwoModules
from striate.errors import InputError
from striate.explanation.activations import activation_maps, rectified_layers
from striate.explanation.filters import channel_tiles, filter_tiles, first_convolution, tile_picture
from striate.explanation.layers import default_layer
from striate.explanation.neighbors import nearest
from striate.explanation.projection import project
from striate.explanation.top_patches import Peak, PeakKeeper, cut_patch, field_of
from striate.explanation.unit_statistics import UnitCounter
from striate.inspection.layers import describe_network


class Hierarchy(nn.Module):
    """Convolution, pooling and a functional ReLU inside a block: a field of 3 + 1 + 2 * 2 = 8 pixels, moved by 2."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.block = TwoInOne()
        self.head = nn.Linear(5, 2)

    def forward(self, images):
        return self.head(self.block(F.max_pool2d(self.first(images).relu(), 2)).mean(dim=(2, 3)))


class TwoInOne(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 5, 3)

    def forward(self, maps):
        return F.relu(self.conv(maps))


def test_filters_as_tiles():
    network = TwoModules()
    assert first_convolution(network) == "first"
    network.first.weight.data[0] = 0
    network.first.weight.data[0, 2, 1, 0] = -7
    tiles = filter_tiles(network)
    assert tiles.shape == (8, 3, 3, 3)
    assert tiles[0, 1, 0].tolist() == [128, 128, 0]  # 0 is grey, the strongest weight black or white
    assert tiles[0, 0, 0].tolist() == [128, 128, 128]
    assert filter_tiles(network, "second").shape == (64, 3, 3, 3)
    picture = tile_picture(tiles, columns=3, tile_px=3, gap_px=1)
    assert picture.shape == (13, 13, 3)
    assert (picture[1:4, 1:4] == tiles[0]).all()
    assert (picture[5:8, 1:4] == tiles[3]).all()
    with pytest.raises(InputError, match="head is no convolution"):
        filter_tiles(network, "head")
    with pytest.raises(InputError, match="has no convolution"):
        first_convolution(nn.Sequential(nn.Linear(2, 2)))


def test_activation_maps_and_their_tiles():
    network, images = OneReused().train(), torch.randn(2, 3, 12, 12)
    maps = activation_maps(network, images, "one#2")
    torch.testing.assert_close(maps, network.second(network.first(images).mul(4).relu()).relu().detach())
    assert network.training
    tiles = channel_tiles(np.array([[[1.0, 3.0]], [[5.0, 5.0]]]))
    assert tiles[:, 0, :, 0].tolist() == [[0, 255], [0, 0]]
    described = describe_network(network, (3, 12, 12), measure_memory=False)
    assert rectified_layers(described) == ["one#1", "one#2"]
    described = describe_network(Hierarchy(), (3, 16, 16), measure_memory=False)
    assert rectified_layers(described) == [":relu", "block:relu"]


def test_unit_statistics_in_batches_equal_those_of_all_at_once():
    maps = torch.randn(7, 5, 3, 4) - 0.5
    maps[:, 2] = -maps[:, 2].abs()
    counter = UnitCounter("layer")
    for some in maps.split(3):
        counter.add(some)
    found = counter.result()
    assert (found.num_images, found.dead) == (7, [2])
    np.testing.assert_allclose(found.mean, maps.mean(dim=(0, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(found.std, maps.std(dim=(0, 2, 3), correction=0), rtol=1e-5)
    np.testing.assert_allclose(found.max, maps.amax(dim=(0, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(found.active_fraction, (maps.amax(dim=(2, 3)) > 0).float().mean(dim=0))


def test_peaks_in_batches_are_the_top_ones_by_brute_force():
    maps = torch.randn(23, 6, 4, 5)
    keeper = PeakKeeper(4)
    for some in maps.split(5):
        keeper.add(some)
    for unit in range(6):
        wanted = sorted(range(23), key=lambda i: -maps[i, unit].max().item())[:4]
        peaks = keeper.peaks(unit)
        assert [peak.image for peak in peaks] == wanted
        assert all(maps[peak.image, unit, peak.row, peak.column] == peak.value for peak in peaks)
    with pytest.raises(InputError, match="units 0 to 5"):
        keeper.peaks(6)


@pytest.mark.parametrize("layer", ["block", "block:relu", "block.conv"])
def test_a_patch_is_all_that_its_unit_sees(layer):
    """Changing pixels outside of the patch does not change the unit; changing any row or column at its edge may."""
    network = Hierarchy().double()
    field = field_of(describe_network(network, (3, 20, 20), measure_memory=False), layer)
    assert (field.size, field.stride) == ((8, 8), (2, 2))
    pixels = np.random.default_rng(0).integers(0, 256, (20, 20, 3), np.uint8)
    peak = Peak(0.0, 0, 3, 2)
    patch = cut_patch(pixels, field, peak)
    top, left = 2 * 3 - 1, 2 * 2 - 1  # the first unit begins one pixel before the border
    assert np.array_equal(patch, pixels[top : top + 8, left : left + 8])
    image = torch.randn(1, 3, 20, 20, dtype=torch.float64, requires_grad=True)
    maps = network.block.conv(F.avg_pool2d(network.first(image), 2))  # smooth, so that every pixel seen has a gradient
    (seen,) = torch.autograd.grad(maps[0, 0, 3, 2], image)
    rows, columns = (seen.abs().sum(dim=(0, 1)) > 0).nonzero().T
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (top, top + 7, left, left + 7)
    corner = cut_patch(pixels, field, Peak(0.0, 0, 0, 0))
    assert (corner[0] == 128).all()
    assert np.array_equal(corner[1:, 1:], pixels[:7, :7])


def test_default_layers_by_hand():
    assert default_layer(Hierarchy(), torch.zeros(1, 3, 16, 16)) == "block"
    assert default_layer(OneReused(), torch.zeros(1, 3, 16, 16)) == "one#2"
    with pytest.raises(InputError, match="no layer of Sequential has a map larger than 1 x 1"):
        default_layer(nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), torch.zeros(1, 3, 2, 2))


def test_nearest_and_projection():
    features = np.array([[0.0, 0], [3, 4], [1, 0], [0, 1]])
    places, distances = nearest(features, np.array([0.0, 0]), 3)
    assert places.tolist() == [0, 2, 3]
    assert distances.tolist() == [0, 1, 1]
    clusters = np.concatenate([np.random.default_rng(0).normal(k * 10, 1, (20, 6)) for k in range(3)])
    found = project(clusters)
    for kind in ("pca", "tsne"):
        assert found[kind].shape == (60, 2)
        assert found[kind].min() >= 0
        assert found[kind].max() <= 1
        middles = [found[kind][20 * k : 20 * k + 20].mean(axis=0) for k in range(3)]
        spread = max(np.ptp(found[kind][20 * k : 20 * k + 20], axis=0).max() for k in range(3))
        assert min(np.linalg.norm(middles[a] - middles[b]) for a, b in ((0, 1), (0, 2), (1, 2))) > spread / 2
    with pytest.raises(InputError, match="at least 3 images"):
        project(clusters[:2])
