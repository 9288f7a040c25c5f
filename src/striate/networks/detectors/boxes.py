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


class AnchorBoxes(NamedTuple):
    """A change of every anchor. `logits` (N, A, K + 1) are of one class, the first being the background; `deltas` (N, A, 4) are what
    `box_coding.decode` makes boxes of, with its usual weights; `anchors` (A, 4) are (x1, y1, x2, y2) as fractions of what the network sees.
    """

    logits: Tensor
    deltas: Tensor
    anchors: Tensor
