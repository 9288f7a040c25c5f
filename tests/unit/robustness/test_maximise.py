"""Maxima of models: found where they are known, bounds kept, and on beams an adversarial example that the warnings
name.
"""

import pytest
import torch
from torch import nn

from striate.errors import InputError
from striate.robustness.beams import random_beams, stiffness
from striate.robustness.maximise import maximise_prediction, relative_distance


class Hill(nn.Module):
    """-(x - 0.3)^2 summed: the maximum lies at 0.3."""

    def forward(self, inputs):
        return -(inputs - 0.3).square().flatten(1).sum(dim=1)


def test_a_known_maximum_and_bounds():
    found = maximise_prediction(Hill(), torch.rand(4, 1, 3, 3), (0, 1), num_steps=400)
    torch.testing.assert_close(found.inputs, torch.full_like(found.inputs, 0.3), atol=0.01, rtol=0)
    held = maximise_prediction(Hill(), torch.rand(4, 1, 3, 3), (0.5, 1), num_steps=200)
    torch.testing.assert_close(held.inputs, torch.full_like(held.inputs, 0.5), atol=0.01, rtol=0)
    assert (found.predictions >= found.predictions_at_start).all()


def test_stiffness_by_hand():
    """A full square of side s: I / A = s^2 / 12. Two rows at the edges of four: (1.5^2 + 1/12) / 16."""
    assert stiffness(torch.ones(1, 1, 8, 8)).item() == pytest.approx(1 / 12)
    beam = torch.zeros(1, 1, 4, 4)
    beam[:, :, 0] = beam[:, :, 3] = 1
    assert stiffness(beam).item() == pytest.approx((1.5**2 + 1 / 12) / 16)
    with pytest.raises(InputError, match="no stiffness"):
        stiffness(torch.zeros(1, 1, 4, 4))


def surrogate(beams, seed):
    torch.manual_seed(seed)
    network = nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2), nn.ReLU(), nn.Conv2d(8, 8, 3, stride=2), nn.ReLU(), nn.Flatten(),
        nn.LazyLinear(32),
        nn.ReLU(), nn.Linear(32, 1),
    )  # fmt: skip
    network(beams[:2])
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    targets = 10 * stiffness(beams)
    for _ in range(12):
        for rows in torch.randperm(len(beams)).split(50):
            optimizer.zero_grad()
            nn.functional.mse_loss(network(beams[rows])[:, 0], targets[rows]).backward()
            optimizer.step()
    return network


def test_the_naive_optimum_of_a_beam_promises_what_is_not_there():
    """The guarded one promises less, keeps more of it, and is truly stiffer than any beam of the training set."""
    beams = random_beams(400, size=16)
    networks = [surrogate(beams, seed) for seed in range(3)]
    best = stiffness(beams).topk(4)
    start = beams[best.indices]
    naive = maximise_prediction(networks[0], start, (0, 1), data=beams, num_steps=100)
    promised, true = naive.predictions / 10, stiffness(naive.inputs)
    assert (promised > 1.15 * true).all()
    assert any("outside the training data" in line for line in naive.warnings)
    guarded = maximise_prediction(networks, start, (0, 1), data=beams, num_steps=100, caution=5.0, distance_weight=0.02)
    gap = (guarded.predictions / 10 - stiffness(guarded.inputs)).abs().mean()
    assert gap < 0.7 * (promised - true).abs().mean()
    assert (guarded.relative_distances < naive.relative_distances).all()
    assert stiffness(guarded.inputs).max() > 1.03 * best.values[0]


def test_distance_is_one_at_the_edge_of_the_data():
    data = torch.arange(10.0).view(10, 1)
    assert relative_distance(torch.tensor([[3.0], [10.0], [12.0]]), data).tolist() == [0.0, 1.0, 3.0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((Hill(), torch.rand(1, 2), (1, 0)), "low below high"),
        (([], torch.rand(1, 2), (0, 1)), "at least one network"),
        ((nn.Linear(2, 3), torch.rand(1, 2), (0, 1)), "expected one number for each input"),
    ],
)
def test_what_cannot_be_maximised(arguments, message):
    with pytest.raises(InputError, match=message):
        maximise_prediction(*arguments)
