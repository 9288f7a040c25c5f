"""Which places of a dense detector answer for which box, by how well they do already: the task-aligned assignment of
TOOD (Feng et al. 2021, arXiv:2108.07755, section 3.2). P places, G boxes of one image, K classes.

Departure: a box's loss is weighed by how well a place does beside the best of the same object, where the paper
multiplies that by the best overlap. At first nothing overlaps a small object by much, so that its boxes would count for
nearly nothing, and stay as they are.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import box_iou

from striate.networks.detectors.boxes import DenseBoxes

NUM_PLACES = 10
"""So many places, at most, answer for a box."""
SCORE_POWER, IOU_POWER = 0.5, 6.0
NEAR = 1.0
"""A place so many steps from a box's middle may answer for it although it lies outside, as all do of a box smaller than
a step.
"""


@dataclass(frozen=True, eq=False)
class Assigned:
    """`places` (A,) int64 and the box of each, `boxes` (A,) int64; `scores` (A,), what their score should be, in [0,
    1]; `weights` (A,), what the box of each counts, 1 at the place that does best. `are_counted` (P,) bool: all but
    those in ignored regions.
    """

    places: Tensor
    boxes: Tensor
    scores: Tensor
    weights: Tensor
    are_counted: Tensor


@torch.no_grad()
def assign(outputs: DenseBoxes, image: int, boxes: Tensor, labels: Tensor, ignored: Tensor) -> Assigned:
    """The assignment for one image of a batch: real boxes (G, 4) of classes (G,), and regions left out (R, 4)."""
    found, places = outputs.boxes[image].detach().float(), outputs.places
    are_counted = (
        ~_inside(places, ignored).any(dim=1) if len(ignored) else torch.ones_like(places[:, 0], dtype=torch.bool)
    )
    if len(boxes) == 0:
        none = torch.zeros(0, dtype=torch.int64, device=places.device)
        nothing = torch.zeros(0, device=places.device)
        return Assigned(none, none, nothing, nothing, are_counted)
    scores = outputs.logits[image].detach().float().sigmoid()[:, labels]  # (P, G)
    ious = box_iou(found, boxes)  # (P, G)
    may_answer = _inside(places, boxes)
    aligned = torch.where(may_answer, scores**SCORE_POWER * ious**IOU_POWER, -1.0)
    best, chosen = aligned.topk(min(NUM_PLACES, len(places)), dim=0)  # (k, G)
    owner = torch.arange(len(boxes), device=places.device).expand_as(chosen)
    is_real = best >= 0
    chosen, owner = chosen[is_real], owner[is_real]
    chosen, owner = _each_once(chosen, owner, ious)
    values, overlaps = aligned[chosen, owner], ious[chosen, owner]
    top_value = torch.zeros(len(boxes), device=places.device).scatter_reduce_(0, owner, values, "amax")
    top_iou = torch.zeros(len(boxes), device=places.device).scatter_reduce_(0, owner, overlaps, "amax")
    own_top = top_value[owner]
    weights = torch.where(
        own_top > 0, values / own_top.clamp(min=torch.finfo(values.dtype).tiny), torch.ones_like(values)
    )
    are_counted = are_counted.clone()
    are_counted[chosen] = True
    return Assigned(chosen, owner, (weights * top_iou[owner]).clamp(0, 1), weights, are_counted)


def _each_once(chosen: Tensor, owner: Tensor, ious: Tensor) -> tuple[Tensor, Tensor]:
    """A place that several boxes want goes to the one it overlaps most, of those that want it."""
    wants = torch.full_like(ious, -1.0)
    wants[chosen, owner] = ious[chosen, owner]
    best = wants.argmax(dim=1)
    taken = torch.zeros(len(ious), dtype=torch.bool, device=ious.device)
    taken[chosen] = True
    places = taken.nonzero().flatten()
    return places, best[places]


def _inside(places: Tensor, boxes: Tensor) -> Tensor:
    """(P, G) bool: whether a place lies in a box, or within NEAR steps of its middle."""
    x, y, across, down = (part[:, None] for part in places.unbind(1))
    is_within = (x > boxes[:, 0]) & (x < boxes[:, 2]) & (y > boxes[:, 1]) & (y < boxes[:, 3])
    middle_x, middle_y = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2
    is_near = ((x - middle_x).abs() <= NEAR * across) & ((y - middle_y).abs() <= NEAR * down)
    return is_within | is_near
