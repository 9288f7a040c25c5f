"""The values of a detector, (n, D * 6), read as detections: box, score and class of each. Nothing here imports
torch.
"""

from dataclasses import dataclass

import numpy as np

NUM_DETECTIONS = 100
"""So many of an image at most, as in COCO's figures."""
VALUES_EACH = 6
HARD, SOFT = "hard", "soft"
NMS = (HARD, SOFT)
"""Suppression puts down what overlaps a surer box of its class, or lowers its score by how much it does."""


@dataclass(frozen=True, eq=False)
class Found:
    """Detections of one image, best first: `boxes` (d, 4) as fractions of what the network sees, `scores` (d,),
    `labels` (d,) int64.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray

    def above(self, score: float) -> "Found":
        """Those of at least this score."""
        return self.of(self.scores >= score)

    def of(self, chosen: np.ndarray) -> "Found":
        """Some of them, by a mask or places."""
        return Found(self.boxes[chosen], self.scores[chosen], self.labels[chosen])


def read_values(values: np.ndarray, num_classes: int) -> list[Found]:
    """The detections of each of n images with a score above 0, of values (n, D * 6)."""
    result = []
    for row in np.asarray(values, np.float64).reshape(len(values), -1, VALUES_EACH):
        own = row[row[:, 4] > 0]
        labels = np.clip(np.rint(own[:, 5] * num_classes).astype(np.int64), 0, num_classes - 1)
        result.append(Found(own[:, :4], own[:, 4], labels))
    return result
