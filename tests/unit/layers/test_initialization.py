"""Deviations of first weights against torch.nn.init, and what each does in ten layers, against arithmetic."""

import itertools
import math

import pytest
import torch
from torch import nn

from striate.layers.initialization import activation_spread, he, small_random, xavier


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("scheme", "torchs"),
    [
        (xavier, nn.init.xavier_normal_),
        (he, lambda weight, generator: nn.init.kaiming_normal_(weight, nonlinearity="relu", generator=generator)),
        (small_random, lambda weight, generator: nn.init.normal_(weight, std=0.01, generator=generator)),
    ],
)
@pytest.mark.parametrize("shape", [(30, 50), (8, 3, 5, 5)])
def test_deviations_are_those_of_torch_number_by_number(scheme, torchs, shape):
    pixels = math.prod(shape[2:])
    std = scheme(shape[1] * pixels, shape[0] * pixels)
    ours = torch.empty(shape).normal_(0, std, generator=seeded())
    torch.testing.assert_close(ours, torchs(torch.empty(shape), generator=seeded()))


def test_small_random_weights_end_the_signal():
    """Near 0 tanh is a straight line: every layer multiplies the deviation by 0.01 * sqrt(500)."""
    spread = activation_spread(small_random, generator=seeded())
    assert [each.layer for each in spread] == list(range(1, 11))
    factors = [later.std / earlier.std for earlier, later in itertools.pairwise(spread[1:])]
    assert factors == pytest.approx([0.01 * math.sqrt(500)] * 8, rel=0.05)
    assert spread[-1].std < 1e-5
    assert spread[0].gradient_std < 1e-5


def test_xavier_keeps_tanh_alive():
    spread = activation_spread(xavier, generator=seeded())
    assert all(0.15 < each.std < 0.7 for each in spread)
    assert spread[0].gradient_std > 0.1


def test_xavier_halves_the_power_of_relu_and_he_keeps_it():
    """ReLU takes half of the mean square; He's weights give it back, forwards and backwards."""
    halved = activation_spread(xavier, activation=torch.relu, generator=seeded())
    kept = activation_spread(he, activation=torch.relu, generator=seeded())
    power = {name: [each.std**2 + each.mean**2 for each in spread] for name, spread in (("x", halved), ("h", kept))}
    assert power["h"] == pytest.approx([1] * 10, rel=0.25)
    assert power["x"] == pytest.approx([0.5**layer for layer in range(1, 11)], rel=0.25)
    assert kept[0].gradient_std == pytest.approx(1, rel=0.25)
    assert halved[0].gradient_std == pytest.approx(0.5**4.5, rel=0.25)
    assert all(each.mean > 0 for each in kept)


def test_large_weights_saturate_tanh():
    """With deviation 1 nearly every unit is at -1 or 1, and no gradient comes back."""
    spread = activation_spread(lambda _fan_in, _fan_out: 1.0, generator=seeded())
    assert spread[-1].std > 0.95
    assert abs(spread[-1].mean) < 0.02
    assert spread[0].gradient_std != pytest.approx(1, rel=0.5)


def test_a_single_layer_without_gradients_outside():
    with torch.no_grad():
        (only,) = activation_spread(he, depth=1, width=20, num_images=10, generator=seeded())
    assert only.gradient_std == pytest.approx(1, abs=0.3)
