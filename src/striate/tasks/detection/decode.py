"""From a detector's outputs to a fixed number of detections of each image. n images, P places, K classes, D detections."""

import torch
from torch import Tensor

from striate.networks.detectors.boxes import DenseBoxes
from striate.tasks.detection.suppression import NUM_CANDIDATES, suppress
from striate.tasks.detection.values import NUM_DETECTIONS, VALUES_EACH

IOU_THRESHOLD = 0.6
"""Two boxes of a class that overlap by more are one object's."""


def detections(outputs: DenseBoxes, *, iou_threshold: float = IOU_THRESHOLD) -> Tensor:
    """The surest boxes after suppression, best first, (n, D * 6) float32: x1, y1, x2, y2 as fractions of what the network sees, the score,
    and the class divided by K. Where there are fewer, zeros follow.
    """
    logits, boxes = outputs.logits.float(), outputs.boxes.float().clamp(0, 1)
    num_classes = logits.shape[2]
    count = min(NUM_CANDIDATES, logits.shape[1] * num_classes)
    scores, chosen = logits.sigmoid().flatten(1).topk(count, dim=1)  # (n, M), of places and classes
    places, labels = torch.div(chosen, num_classes, rounding_mode="floor"), chosen % num_classes
    candidates = boxes.gather(1, places[..., None].expand(-1, -1, 4))
    kept = suppress(candidates, scores, labels, iou_threshold)
    remaining = torch.where(kept, scores, torch.zeros_like(scores))
    best, order = remaining.topk(min(NUM_DETECTIONS, count), dim=1)
    found = candidates.gather(1, order[..., None].expand(-1, -1, 4))
    classes = labels.gather(1, order).to(found.dtype) / num_classes
    values = torch.cat([found, best[..., None], classes[..., None]], dim=2) * (best > 0)[..., None].to(found.dtype)
    missing = NUM_DETECTIONS - values.shape[1]
    if missing > 0:
        values = torch.cat([values, values.new_zeros(len(values), missing, VALUES_EACH)], dim=1)
    return values.flatten(1)
