"""Non-maximum suppression with shapes that do not depend on the boxes, so that a program exported to any engine holds
it whole.

n images, M candidates of each, K classes.
"""

import torch
from torch import Tensor

NUM_CANDIDATES = 300
"""So many of the surest answers of an image are looked at."""
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
    upper = torch.maximum(boxes[:, :, None, :2], boxes[:, None, :, :2])
    lower = torch.minimum(boxes[:, :, None, 2:], boxes[:, None, :, 2:])
    sides = (lower - upper).clamp(min=0)
    shared = sides[..., 0] * sides[..., 1]
    own = (boxes[..., 2:] - boxes[..., :2]).clamp(min=0)
    areas = own[..., 0] * own[..., 1]
    union = areas[:, :, None] + areas[:, None, :] - shared
    overlap = (shared > iou_threshold * union) & (labels[:, :, None] == labels[:, None, :])
    order = torch.arange(boxes.shape[1], device=boxes.device)
    is_surer = order[None, :] < order[:, None]  # (M, M): column before row
    threats = (overlap & is_surer).to(boxes.dtype)  # (n, M, M)
    kept = torch.ones_like(scores)
    for _ in range(num_rounds):
        kept = (torch.matmul(threats, kept[..., None])[..., 0] < 0.5).to(boxes.dtype)
    return kept > 0.5
