"""Branches side by side."""

import torch
from torch import nn

from striate.layers.branches import Branches


def test_branches_are_joined_in_order() -> None:
    maps = torch.tensor([[1.0, -2.0]]).reshape(1, 1, 1, 2)
    branches = Branches(nn.ReLU(), nn.Identity(), nn.Flatten(start_dim=2, end_dim=2))
    assert torch.equal(branches(maps), torch.tensor([[1.0, 0.0], [1.0, -2.0], [1.0, -2.0]]).reshape(1, 3, 1, 2))
    assert [name for name, _ in branches.named_children()] == ["branch1", "branch2", "branch3"]


def test_one_branch_is_itself() -> None:
    maps = torch.ones(1, 2, 1, 1)
    assert torch.equal(Branches(nn.Identity())(maps), maps)
