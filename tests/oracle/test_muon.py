"""Muon against PyTorch's own, which takes matrices only and computes in bfloat16 everywhere."""

import copy

import pytest
import torch
from torch import nn

from striate.training.muon import Muon

RATE, DECAY, MOMENTUM = 0.05, 0.2, 0.9


def draw(shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(8, 24), (24, 8), (16, 16)])
@pytest.mark.parametrize("num_iterations", [3, 5])
def test_ten_steps_on_a_matrix(shape, num_iterations):
    ours = nn.Parameter(draw(shape, 0))
    theirs = copy.deepcopy(ours)
    groups = [{"params": [ours], "weight_decay": DECAY, "is_orthogonal": True}]
    own = Muon(groups, lr=RATE, momentum=MOMENTUM, num_iterations=num_iterations)
    pytorchs = torch.optim.Muon(
        [theirs], lr=RATE, weight_decay=DECAY, momentum=MOMENTUM, ns_steps=num_iterations, adjust_lr_fn="original"
    )
    for step in range(1, 11):
        for param, optimizer in ((ours, own), (theirs, pytorchs)):
            param.grad = draw(shape, step)
            optimizer.step()
    # each of ten updates has entries of up to RATE, rounded to eight bits at every product of the iteration
    torch.testing.assert_close(ours, theirs, rtol=0, atol=10 * RATE * 2**-7)
    assert (ours - draw(shape, 0)).abs().max() > 0.2
