"""Certificates of a linear classifier, whose true radius is known, and the bound against SciPy's."""

import pytest
import torch
from scipy.stats import binomtest
from torch import nn

from attack_cases import digit_network, held_out
from striate.errors import InputError
from striate.robustness.certificate import ABSTAINS, certify, lower_bound
from striate.robustness.pgd import pgd


@pytest.mark.parametrize(("hits", "trials"), [(1, 10), (99, 100), (100, 100), (700, 1000)])
def test_clopper_pearson(hits, trials):
    exact = binomtest(hits, trials, alternative="greater").proportion_ci(0.999, method="exact").low
    assert lower_bound(hits, trials, 0.001) == pytest.approx(exact, rel=1e-9)
    assert lower_bound(0, trials, 0.001) == 0


def half_plane():
    """Class 1 where the sum of the pixels is above 8 of 16: the distance to the boundary is |sum - 8| / 4."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    with torch.no_grad():
        network[1].weight.copy_(torch.stack([torch.zeros(16), torch.ones(16)]))
        network[1].bias.copy_(torch.tensor([0.0, -8.0]))
    return network


def test_radii_never_exceed_the_distance_to_the_boundary_and_come_near():
    images = torch.full((5, 1, 4, 4), 0.5) + torch.tensor([0.02, 0.05, 0.08, -0.05, 0.0]).view(5, 1, 1, 1)
    distances = (images.sum(dim=(1, 2, 3)) - 8).abs() / 4
    labels = torch.tensor([1, 1, 1, 0, 0])
    found = certify(half_plane(), images, labels, sigma=0.25, num_samples=4000)
    assert (found.radii <= distances + 1e-6).all()
    assert found.radii[1] > 0.8 * distances[1]
    assert found.classes[:4].tolist() == [1, 1, 1, 0]
    assert found.classes[4] == ABSTAINS  # on the boundary itself
    assert found.accuracy_at(0.1) == pytest.approx(0.6)


def test_no_attack_finds_what_is_certified_and_seeds_repeat():
    network, (images, labels) = digit_network(), held_out(8)
    found = certify(network, images, labels, sigma=0.3, num_samples=300)
    again = certify(network, images.flip(0), labels.flip(0), sigma=0.3, num_samples=300)
    assert torch.equal(found.radii, again.radii.flip(0))
    assert network.training
    assert found.to_json([0.1])["certified"][0]["accuracy"] == found.accuracy_at(0.1)
    assert pgd(network, images, labels, norm="l2", epsilon=1.0).robust_accuracy < 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sigma": 0.0}, "sigma must be above 0 but is 0"),
        ({"alpha": 1.0}, "alpha must lie between 0 and 1 but is 1"),
        ({"num_samples": 0}, "certify needs samples and guesses but was given 0 and 100"),
    ],
)
def test_what_cannot_be_certified(changes, message):
    with pytest.raises(InputError, match=message):
        certify(digit_network(), *held_out(2), **{"sigma": 0.25, **changes})
