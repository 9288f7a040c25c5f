"""What a detector gives for a batch, before anything is chosen. N images, P places, K classes."""

from typing import NamedTuple

from torch import Tensor


class DenseBoxes(NamedTuple):
    """A box at every place. `logits` (N, P, K) are of independent classes; `boxes` (N, P, 4) are (x1, y1, x2, y2) as fractions of what
    the network sees. `places` (P, 4) are the places themselves: x, y, and how far the next one is across and down, as fractions.
    """

    logits: Tensor
    boxes: Tensor
    places: Tensor
