"""What a detector gives for a batch, before anything is chosen. N images, P places, K classes."""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from torch import Tensor


class DenseBoxes(NamedTuple):
    """A box at every place. `logits` (N, P, K) are of independent classes; `boxes` (N, P, 4) are (x1, y1, x2, y2) as
    fractions of what the network sees. `places` (P, 4) are the places themselves: x, y, and how far the next one is
    across and down, as fractions.
    """

    logits: Tensor
    boxes: Tensor
    places: Tensor


class AnchorBoxes(NamedTuple):
    """A change of every anchor. `logits` (N, A, K + 1) are of one class, the first being the background; `deltas` (N,
    A, 4) are what `box_coding.decode` makes boxes of, with its usual weights; `anchors` (A, 4) are (x1, y1, x2, y2) as
    fractions of what the network sees.
    """

    logits: Tensor
    deltas: Tensor
    anchors: Tensor


class ProposalBoxes(NamedTuple):
    """Two stages: first whether there is anything, then what. `objectness` (N, A) are logits and `deltas` (N, A, 4)
    changes of `anchors` (A, 4). `proposals` (N, P, 4) are the best of these boxes, where `are_real` (N, P); `logits`
    (N, P, K + 1), the first class being the background, and `box_deltas` (N, P, K + 1, 4) say what is there (P is 0
    while training). Boxes are fractions of what the network sees. `classified(boxes (n, S, 4), images (n,))` gives the
    second stage's answer for other boxes of these images: (n, S, K + 1) and (n, S, K + 1, 4).
    """

    objectness: Tensor
    deltas: Tensor
    anchors: Tensor
    proposals: Tensor
    are_real: Tensor
    logits: Tensor
    box_deltas: Tensor
    classified: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


AnyBoxes: TypeAlias = DenseBoxes | AnchorBoxes | ProposalBoxes


def of_image(outputs: AnyBoxes, image: int) -> AnyBoxes:
    """What was given for one image of a batch, as a batch of its own."""
    own = slice(image, image + 1)
    if isinstance(outputs, DenseBoxes):
        return DenseBoxes(outputs.logits[own], outputs.boxes[own], outputs.places)
    if isinstance(outputs, AnchorBoxes):
        return AnchorBoxes(outputs.logits[own], outputs.deltas[own], outputs.anchors)
    whole = outputs.classified
    return ProposalBoxes(
        outputs.objectness[own],
        outputs.deltas[own],
        outputs.anchors,
        outputs.proposals[own],
        outputs.are_real[own],
        outputs.logits[own],
        outputs.box_deltas[own],
        lambda boxes, images: whole(boxes, images + image),
    )
