"""Balls small enough to do on paper: sizes, projections, steepest directions, random starts."""

import math

import pytest
import torch

from striate.errors import InputError
from striate.robustness.draws import image_keys
from striate.robustness.norms import L1, L1_NORM, L2_NORM, LINF, NORMS, find_norm


def image(*values):
    return torch.tensor(values, dtype=torch.float32).view(1, 1, 1, -1)


def test_sizes():
    changes = image(0.3, -0.4, 0.0)
    assert LINF.size(changes).item() == pytest.approx(0.4)
    assert L2_NORM.size(changes).item() == pytest.approx(0.5)
    assert L1_NORM.size(changes).item() == pytest.approx(0.7)


def test_projections_by_hand():
    origin = image(0.5, 0.5, 0.0)
    moved = image(0.9, 0.1, -0.3)
    torch.testing.assert_close(LINF.project(moved, origin, 0.2), image(0.7, 0.3, 0.0))
    length = math.sqrt(0.4**2 + 0.4**2 + 0.3**2)
    torch.testing.assert_close(
        L2_NORM.project(moved, origin, 0.2), image(0.5 + 0.08 / length, 0.5 - 0.08 / length, 0.0)
    )
    # the third value has no room below zero; of 0.4 and 0.4 each keeps 0.1
    torch.testing.assert_close(L1_NORM.project(moved, origin, 0.2), image(0.6, 0.4, 0.0))


def test_l1_projection_is_the_nearest_point():
    """Against a grid of all points of two values: none inside the ball and the range lies nearer."""
    origin, moved, epsilon = image(0.9, 0.3), image(1.3, 0.8), 0.4
    steps = torch.arange(1001) / 1000
    first, second = torch.meshgrid(steps, steps, indexing="ij")
    inside = (first - 0.9).abs() + (second - 0.3).abs() <= epsilon + 1e-6
    distances = (first - 1.3) ** 2 + (second - 0.8) ** 2
    nearest = distances[inside].min()
    found = L1_NORM.project(moved, origin, epsilon)
    assert L1_NORM.size(found - origin).item() <= epsilon + 1e-6
    assert ((found - moved) ** 2).sum() <= nearest + 1e-4


def test_steepest_directions():
    gradients = image(3.0, -4.0, 0.0)
    torch.testing.assert_close(LINF.steepest(gradients), image(1.0, -1.0, 0.0))
    torch.testing.assert_close(L2_NORM.steepest(gradients), image(0.6, -0.8, 0.0))
    torch.testing.assert_close(L1(sparsity=0.3).steepest(gradients), image(0.0, -1.0, 0.0))
    for norm in NORMS.values():
        assert norm.steepest(torch.zeros(2, 1, 3, 3)).abs().sum() == 0


@pytest.mark.parametrize("norm", NORMS.values(), ids=NORMS)
def test_starts_fill_the_ball_and_belong_to_the_image(norm):
    origins = torch.rand(40, 1, 4, 4)
    epsilon = {"linf": 0.1, "l2": 0.5, "l1": 1.0}[norm.name]
    keys = image_keys(origins, 3)
    starts = norm.start(origins, epsilon, keys)
    sizes = norm.size(starts - origins)
    assert starts.min() >= 0
    assert starts.max() <= 1
    assert sizes.max() <= epsilon * 1.00001
    assert sizes.max() > 0.5 * epsilon
    backwards = norm.start(origins.flip(0)[:7], epsilon, keys.flip(0)[:7])
    assert torch.equal(backwards, starts.flip(0)[:7])


def test_an_unknown_norm_is_named():
    with pytest.raises(InputError, match="norm must be one of linf, l2, l1 but is 'l3'"):
        find_norm("l3")
