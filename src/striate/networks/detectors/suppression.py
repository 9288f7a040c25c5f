"""Non-maximum suppression with shapes that do not depend on the boxes, so that a program exported to any engine holds
it whole.

n images, M candidates of each, K classes.
"""

import torch
from torch import Tensor

NUM_CANDIDATES = 300
"""So many of the surest answers of an image are looked at."""
SOFT_SIGMA = 0.5
"""How quickly soft suppression lowers a score as the overlap grows; the paper's."""
NUM_ROUNDS = 24
"""More than any chain of boxes, each put down by the one before, was ever seen to be long."""


def suppress(
    boxes: Tensor, scores: Tensor, labels: Tensor, iou_threshold: float, *, num_rounds: int = NUM_ROUNDS
) -> Tensor:
    """Which boxes remain when each that overlaps a surer remaining one of its class by more than the threshold is put
    down: (n, M) bool.

    boxes (n, M, 4), scores (n, M) in falling order, labels (n, M). This is greedy suppression: a box that none of the
    remaining surer ones puts down remains. Repeated for all boxes at once it is settled after as many rounds as the
    longest chain has links (Cluster-NMS, Zheng et al. 2020, arXiv:2005.03572, proposition 1).
    """
    shared, union = _shared_and_union(boxes)
    overlap = (shared > iou_threshold * union) & (labels[:, :, None] == labels[:, None, :])
    order = torch.arange(boxes.shape[1], device=boxes.device)
    is_surer = order[None, :] < order[:, None]  # (M, M): column before row
    threats = (overlap & is_surer).to(boxes.dtype)  # (n, M, M)
    kept = torch.ones_like(scores)
    for _ in range(num_rounds):
        kept = (torch.matmul(threats, kept[..., None])[..., 0] < 0.5).to(boxes.dtype)
    return kept > 0.5


def soften(boxes: Tensor, scores: Tensor, labels: Tensor) -> Tensor:
    """Scores (n, M), each multiplied by exp(-IoU^2 / SOFT_SIGMA) for every surer box of its class, the surest by these
    very scores first: soft NMS (Bodla et al. 2017, arXiv:1704.04503, figure 2, the Gaussian form).

    boxes (n, M, 4), scores (n, M) in [0, 1], labels (n, M). Nothing is put down: objects that stand before one another
    remain, and so do boxes of one object that differ by much.
    """
    shared, union = _shared_and_union(boxes)
    alike = labels[:, :, None] == labels[:, None, :]
    ious = torch.where(alike & (union > 0), shared / union.clamp(min=torch.finfo(union.dtype).tiny), 0.0)
    decays = (-(ious**2) / SOFT_SIGMA).exp()  # (n, M, M)
    rows, current = torch.arange(len(boxes), device=boxes.device), scores.clone()
    is_waiting = torch.ones_like(scores, dtype=torch.bool)
    for _ in range(scores.shape[1]):
        surest = torch.where(is_waiting, current, -1.0).argmax(dim=1)
        is_waiting[rows, surest] = False
        current = torch.where(is_waiting, current * decays[rows, surest], current)
    return current


def _shared_and_union(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """What each two of boxes (n, M, 4) both cover, and what at least one does: (n, M, M) each."""
    upper = torch.maximum(boxes[:, :, None, :2], boxes[:, None, :, :2])
    lower = torch.minimum(boxes[:, :, None, 2:], boxes[:, None, :, 2:])
    sides = (lower - upper).clamp(min=0)
    shared = sides[..., 0] * sides[..., 1]
    own = (boxes[..., 2:] - boxes[..., :2]).clamp(min=0)
    areas = own[..., 0] * own[..., 1]
    return shared, areas[:, :, None] + areas[:, None, :] - shared
