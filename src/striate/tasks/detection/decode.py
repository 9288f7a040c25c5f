"""From a detector's outputs to a fixed number of detections of each image. n images, P places, K classes, D
detections.
"""

import torch
from torch import Tensor

from striate.networks.detectors.box_coding import decode
from striate.networks.detectors.boxes import AnchorBoxes, AnyBoxes, ProposalBoxes
from striate.networks.detectors.suppression import NUM_CANDIDATES, soften, suppress
from striate.tasks.detection.values import HARD, NUM_DETECTIONS, SOFT, VALUES_EACH

DENSE_IOU, ANCHOR_IOU, PROPOSAL_IOU = 0.6, 0.45, 0.5
"""Two boxes of a class that overlap by more are one object's: of dense detectors, of SSD, and of Faster R-CNN."""


def detections(outputs: AnyBoxes, *, iou_threshold: float | None = None, nms: str = HARD) -> Tensor:
    """The surest boxes after suppression, best first, (n, D * 6) float32: x1, y1, x2, y2 as fractions of what the
    network sees, the score, and the class divided by K. Where there are fewer, zeros follow. `nms` is one of NMS.
    """
    all_scores, all_boxes = scores_and_boxes(outputs)
    num_classes = all_scores.shape[2]
    count = min(NUM_CANDIDATES, all_scores.shape[1] * num_classes)
    scores, chosen = all_scores.flatten(1).topk(count, dim=1)  # (n, M), of places and classes
    places, labels = torch.div(chosen, num_classes, rounding_mode="floor"), chosen % num_classes
    own = chosen if all_boxes.shape[1] == all_scores.shape[1] * num_classes else places
    candidates = all_boxes.gather(1, own[..., None].expand(-1, -1, 4))
    if nms == SOFT:
        remaining = soften(candidates, scores, labels)
    else:
        kept = suppress(candidates, scores, labels, iou_threshold or _threshold(outputs))
        remaining = torch.where(kept, scores, torch.zeros_like(scores))
    best, order = remaining.topk(min(NUM_DETECTIONS, count), dim=1)
    found = candidates.gather(1, order[..., None].expand(-1, -1, 4))
    classes = labels.gather(1, order).to(found.dtype) / num_classes
    values = torch.cat([found, best[..., None], classes[..., None]], dim=2) * (best > 0)[..., None].to(found.dtype)
    missing = NUM_DETECTIONS - values.shape[1]
    if missing > 0:
        values = torch.cat([values, values.new_zeros(len(values), missing, VALUES_EACH)], dim=1)
    return values.flatten(1)


def scores_and_boxes(outputs: AnyBoxes) -> tuple[Tensor, Tensor]:
    """Scores of the classes (n, P, K), and boxes cut at the borders of what the network sees, (n, P, 4), or one a class
    (n, P * K, 4).
    """
    if isinstance(outputs, ProposalBoxes):
        scores = outputs.logits.float().softmax(dim=2)[..., 1:] * outputs.are_real[..., None]
        boxes = decode(outputs.box_deltas[:, :, 1:].float(), outputs.proposals[:, :, None])
        return scores, boxes.clamp(0, 1).flatten(1, 2)
    if isinstance(outputs, AnchorBoxes):
        boxes = decode(outputs.deltas.float(), outputs.anchors)
        return outputs.logits.float().softmax(dim=2)[..., 1:], boxes.clamp(0, 1)
    return outputs.logits.float().sigmoid(), outputs.boxes.float().clamp(0, 1)


def _threshold(outputs: AnyBoxes) -> float:
    if isinstance(outputs, ProposalBoxes):
        return PROPOSAL_IOU
    return ANCHOR_IOU if isinstance(outputs, AnchorBoxes) else DENSE_IOU
