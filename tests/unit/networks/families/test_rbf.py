"""The shallow network of radial basis functions: one unit by hand, unsure far away, centres where k-means puts them."""

import math

import pytest
import torch
from sklearn.cluster import KMeans

from attack_cases import digits
from striate.errors import InputError
from striate.networks.families.rbf import RBF, GaussianUnits, RBFConfig, place_centers


def test_a_unit_by_hand():
    units = GaussianUnits(2, 1)
    with torch.no_grad():
        units.weight.copy_(torch.tensor([[1.0, 0.0]]))
        units.log_widths.fill_(math.log(2.0))
    found = units(torch.tensor([[1.0, 0.0], [1.0, 2.0], [4.0, 4.0]]))
    expected = torch.tensor([[1.0], [math.exp(-4 / 8)], [math.exp(-25 / 8)]])
    torch.testing.assert_close(found, expected)


def test_far_from_every_centre_all_classes_are_equally_probable():
    network = RBF(RBFConfig(num_classes=4, image_size=(2, 2), num_centers=5))
    assert network(torch.full((1, 1, 2, 2), 1e3)).softmax(dim=1).tolist() == [[0.25] * 4]


def test_centres_are_as_good_as_those_of_scikit_learn():
    images = digits()[0][:400]
    network = RBF(RBFConfig(image_size=(8, 8), num_centers=20))
    place_centers(network, images)
    points = images.flatten(1)
    own = torch.cdist(points, network.units.weight.detach()).amin(dim=1).square().sum().item()
    other = KMeans(20, init="random", n_init=1, random_state=0).fit(points.numpy()).inertia_
    assert own < 1.1 * other
    distances = torch.cdist(network.units.weight[:1], network.units.weight).detach()[0].sort().values[1:3]
    expected = distances.square().mean().sqrt() / math.sqrt(2)
    assert network.units.log_widths[0].exp().item() == pytest.approx(expected.item(), rel=1e-3)


def test_fewer_images_than_centres():
    network = RBF(RBFConfig(image_size=(8, 8), num_centers=7))
    place_centers(network, digits()[0][:3])
    assert network.units.weight.isfinite().all()
    assert network.units.log_widths.isfinite().all()


def test_settings_that_mean_nothing():
    with pytest.raises(InputError, match="num_centers must be at least 1"):
        RBFConfig(num_centers=0)
    with pytest.raises(InputError, match="image_size must be"):
        RBFConfig(image_size=(0, 3))
