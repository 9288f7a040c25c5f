"""Stochastic depth: leave a whole path out, image by image (Huang, Sun, Liu, Sedra & Weinberger 2016,
arXiv:1603.09382).
"""

from torch import Tensor
from torch.nn.modules.dropout import _DropoutNd


class DropPath(_DropoutNd):
    """In training each image loses the path with probability `p` and else keeps it, scaled by 1 / (1 - p); any shape.

    In evaluation nothing happens. Departure: the paper scales by 1 - p in evaluation instead, which is the same in
    expectation, and drops a path for the whole batch at once.
    """

    def __init__(self, p: float) -> None:
        super().__init__(p, inplace=False)

    def forward(self, maps: Tensor) -> Tensor:
        """(N, ...) -> (N, ...)."""
        if not self.training or self.p == 0:
            return maps
        shape = (len(maps), *[1] * (maps.ndim - 1))
        kept = maps.new_empty(shape).bernoulli_(1 - self.p)
        return maps * kept if self.p == 1 else maps * (kept / (1 - self.p))
