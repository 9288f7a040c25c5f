"""Several ways over the same maps, side by side, as Inception modules have them (Szegedy et al. 2014,
arXiv:1409.4842).
"""

import torch
from torch import Tensor, nn


class Branches(nn.Module):
    """Every branch on the same maps, their outputs one after the other: (N, C, H, W) -> (N, sum of all C', H', W').

    The branches are named branch1, branch2 and so on, and must agree in H' and W'.
    """

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        for number, branch in enumerate(branches, start=1):
            self.add_module(f"branch{number}", branch)

    def forward(self, maps: Tensor) -> Tensor:
        """(N, C, H, W) -> the branches' maps in order, joined."""
        return torch.cat([branch(maps) for branch in self.children()], dim=1)
