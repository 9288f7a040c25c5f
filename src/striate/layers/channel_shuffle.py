"""Channel shuffle: let groups of maps exchange what they found (Zhang, Zhou, Lin & Sun 2017, arXiv:1707.01083).

N images, C channels, H x W pixels, G groups.
"""

from torch import Tensor, nn

from striate.errors import InputError


class ChannelShuffle(nn.Module):
    """Deal the maps out anew (section 3.1): maps 0, C/G, 2C/G, ... come first, then 1, C/G + 1, ...; same shape.

    What was G groups of C/G maps is C/G groups of G maps afterwards, one from each old group. G must divide C.
    """

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, maps: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        channels = maps.shape[1]
        if channels % self.groups:
            raise InputError(f"{channels} maps cannot be shuffled between {self.groups} groups; it must divide them")
        return maps.unflatten(1, (self.groups, channels // self.groups)).transpose(1, 2).flatten(1, 2)

    def extra_repr(self) -> str:
        """The settings shown in the module's repr."""
        return f"groups={self.groups}"
