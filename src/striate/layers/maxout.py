"""Maxout: the largest of k linear pieces (Goodfellow, Warde-Farley, Mirza, Courville & Bengio 2013, arXiv:1302.4389).

N images, C units or maps, k pieces. A linear layer or convolution with k * C outputs comes first and `Maxout` after it:
pieces of one unit stand next to each other, as in the authors' pylearn2.
"""

from torch import Tensor, nn

from striate.errors import InputError


class Maxout(nn.Module):
    """The maximum over every k neighbouring channels (section 2, equation 2): (N, k * C, ...) -> (N, C, ...)."""

    def __init__(self, num_pieces: int) -> None:
        super().__init__()
        if num_pieces < 1:
            raise InputError(f"maxout needs at least one piece but num_pieces is {num_pieces}")
        self.num_pieces = num_pieces

    def forward(self, pieces: Tensor) -> Tensor:
        """(N, k * C, ...) -> (N, C, ...), the winner taking the gradient; InputError where channels do not divide."""
        if pieces.shape[1] % self.num_pieces:
            raise InputError(f"{pieces.shape[1]} channels cannot be {self.num_pieces} pieces a unit")
        return pieces.unflatten(1, (-1, self.num_pieces)).max(dim=2).values

    def extra_repr(self) -> str:
        """The number of pieces, shown when the network is printed."""
        return f"num_pieces={self.num_pieces}"
