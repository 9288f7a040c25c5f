"""Where the pixels of an image go on their way to the network, so that boxes and points go with them.

All maps are affine and in pixels, (x, y), the whole image being (0, 0, W, H): `resize`, the cuts, random crop, flip,
shift and rotation, in the order in which `Preprocessing`, `striate.data.sampling` and `striate.data.augmentation` do
them. n images.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from striate.data.preprocessing import Preprocessing, center

if TYPE_CHECKING:
    from striate.data.augmentation import Changes


@dataclass(frozen=True, eq=False)
class Geometry:
    """How n images were moved, `packed_shapes` (n, 2) being their (height, width) in the pack; nothing is computed
    until it is asked.

    `crops` (n, 4) are random crops as (top, left, height, width) in packed pixels, None for the centre; `changes` those
    drawn for these images, None for none. `view_size` (height, width) is what the network sees, where that is not the
    preprocessing's crop.
    """

    preprocessing: Preprocessing
    packed_shapes: np.ndarray
    crops: np.ndarray | None = None
    changes: "Changes | None" = None
    view_size: tuple[int, int] | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of what the network sees."""
        return self.view_size or self.preprocessing.crop_size

    def matrices(self, original_shapes: np.ndarray) -> np.ndarray:
        """(n, 2, 3) float64: (x, y, 1) in the original images, of these (height, width) (n, 2), to (x, y) in what the
        network sees.
        """
        return _changed(self._cropped(packing_matrices(self.preprocessing, original_shapes)), self.changes, self.size)

    def _cropped(self, matrices: np.ndarray) -> np.ndarray:
        """From packed pixels to those of the crop."""
        height, width = self.size
        if self.crops is None:
            starts = [center(tuple(shape), self.size) for shape in self.packed_shapes.tolist()]
            lefts = np.array([columns.start for _, columns in starts], float)
            tops = np.array([rows.start for rows, _ in starts], float)
            return moved(matrices, -lefts, -tops)
        tops, lefts, heights, widths = self.crops.astype(float).T
        return scaled(moved(matrices, -lefts, -tops), width / widths, height / heights)


def packing_matrices(preprocessing: Preprocessing, shapes: np.ndarray) -> np.ndarray:
    """From original pixels of images of these (height, width) (n, 2) to those that `Preprocessing.resize_image` gives:
    (n, 2, 3).
    """
    matrices = np.tile(np.eye(2, 3), (len(shapes), 1, 1))
    for matrix, (height, width) in zip(matrices, np.asarray(shapes).tolist(), strict=True):
        resized = preprocessing.resized_size(height, width)
        kept = preprocessing.packed_size(height, width)
        matrix[0] = resized[1] / width, 0, -((resized[1] - kept[1]) // 2)
        matrix[1] = 0, resized[0] / height, -((resized[0] - kept[0]) // 2)
    return matrices


def viewing_matrices(preprocessing: Preprocessing, shapes: np.ndarray) -> np.ndarray:
    """From original pixels to those of `Preprocessing.to_pixels`, nothing changed at random: (n, 2, 3)."""
    packed = np.array([preprocessing.packed_size(*shape) for shape in np.asarray(shapes).tolist()]).reshape(-1, 2)
    return Geometry(preprocessing, packed).matrices(shapes)


def moved(matrices: np.ndarray, right: np.ndarray, down: np.ndarray) -> np.ndarray:
    """(n, 2, 3) followed by a shift (n,)."""
    result = matrices.copy()
    result[:, 0, 2] += right
    result[:, 1, 2] += down
    return result


def scaled(matrices: np.ndarray, across: np.ndarray, along: np.ndarray) -> np.ndarray:
    """(n, 2, 3) followed by a scaling of x and of y (n,)."""
    result: np.ndarray = matrices * np.stack([across, along], axis=1)[:, :, None]
    return result


def inverted(matrices: np.ndarray) -> np.ndarray:
    """The maps back: (n, 2, 3)."""
    linear = np.linalg.inv(matrices[:, :, :2])
    return np.concatenate([linear, -linear @ matrices[:, :, 2:]], axis=2)


def move_boxes(boxes_xyxy: np.ndarray, matrices: np.ndarray) -> np.ndarray:
    """Boxes (n, 4) moved by maps (n, 2, 3): the smallest upright boxes about their four moved corners, (n, 4)."""
    x1, y1, x2, y2 = np.asarray(boxes_xyxy, float).T
    corners = np.stack([np.stack([x, y], 1) for x, y in ((x1, y1), (x2, y1), (x1, y2), (x2, y2))], axis=1)  # (n, 4, 2)
    places = corners @ matrices[:, :, :2].transpose(0, 2, 1) + matrices[:, None, :, 2]
    return np.concatenate([places.min(axis=1), places.max(axis=1)], axis=1)


def clip_boxes(boxes_xyxy: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Boxes (n, 4) cut at the borders of images of these (height, width), (n, 2) or (2,)."""
    height, width = np.broadcast_to(np.asarray(sizes, float), (len(boxes_xyxy), 2)).T
    limits = np.stack([width, height, width, height], axis=1)
    result: np.ndarray = np.clip(boxes_xyxy, 0, limits)
    return result


def _changed(matrices: np.ndarray, changes: "Changes | None", size: tuple[int, int]) -> np.ndarray:
    """Followed by flip, shift and rotation as drawn."""
    if changes is None:
        return matrices
    height, width = size
    if changes.flipped is not None:
        signs = np.where(changes.flipped.cpu().numpy(), -1.0, 1.0)
        matrices = moved(
            scaled(matrices, signs, np.ones_like(signs)), np.where(signs < 0, float(width), 0.0), 0 * signs
        )
    if changes.down is not None and changes.right is not None:
        matrices = moved(matrices, changes.right.cpu().numpy(), changes.down.cpu().numpy())
    if changes.degrees is not None:
        angles = np.array([math.radians(each) for each in changes.degrees.tolist()])
        matrices = moved(matrices, np.full(len(angles), -width / 2), np.full(len(angles), -height / 2))
        cos, sin = np.cos(angles), np.sin(angles)
        turn = np.stack(
            [np.stack([cos, sin], 1), np.stack([-sin, cos], 1)], axis=1
        )  # counter-clockwise, y pointing down
        matrices = turn @ matrices
        matrices = moved(matrices, np.full(len(angles), width / 2), np.full(len(angles), height / 2))
    return matrices
