"""The class of every pixel, moved with the pixels. N images of the source, n of a batch, h x w what the network sees, K
classes.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from striate.data.dataset import Dataset
from striate.data.geometry import Geometry
from striate.data.mask_pack import PackedMasks, pack_masks
from striate.data.masks import IGNORED, nearest_places
from striate.data.preprocessing import Preprocessing, center
from striate.errors import DataError, InputError
from striate.progress import Log

if TYPE_CHECKING:
    from torch import Tensor

    from striate.data.augmentation import Changes


@dataclass(frozen=True, eq=False)
class MaskAnnotations:
    """`labels` (N,) int64 sort nothing and are all 0; `packed` are the masks in the size of the packed images.

    `outputs` (256,) uint8 are the network's classes for those of the source, IGNORED where it has none such.
    """

    labels: np.ndarray
    packed: PackedMasks
    outputs: np.ndarray

    def targets(self, indices: np.ndarray, geometry: Geometry) -> "Tensor":
        """(n, h, w) uint8: classes, and IGNORED where a pixel counts for nothing. Every pixel has the class of the
        nearest.
        """
        import torch

        size = geometry.size
        masks = np.empty((len(indices), *size), np.uint8)
        for place, index in enumerate(indices.tolist()):
            masks[place] = self.outputs[_part(self.packed.classes[index], geometry, place, size)]
        return _changed(torch.from_numpy(masks), geometry.changes)

    def num_pixels(self, indices: np.ndarray, num_classes: int) -> np.ndarray:
        """Pixels of each class in these images, (K,) int64."""
        counts = np.zeros(256, np.int64)
        for index in indices.tolist():
            counts += np.bincount(self.outputs[self.packed.classes[index]].reshape(-1), minlength=256)
        return counts[:num_classes]

    def image_counts(self, indices: np.ndarray, num_classes: int) -> np.ndarray:
        """How many of these images have a pixel of each class, (K,) int64."""
        counts = np.zeros(256, np.int64)
        for index in indices.tolist():
            held = np.bincount(self.packed.classes[index].reshape(-1), minlength=256) > 0
            counts[np.unique(self.outputs[held])] += 1
        return counts[:num_classes]

    def digest_parts(self) -> list[bytes]:
        """The masks, by the key of their pack, and what their classes are to the network."""
        return [self.packed.key.encode(), self.outputs.tobytes()]


def read_masks(
    dataset: Dataset, labels: np.ndarray, class_names: tuple[str, ...], preprocessing: Preprocessing, log: Log
) -> MaskAnnotations:
    """The masks of a source for a network with these classes, matched by name; decoded, or found where that was done
    before.

    Raises DataError for classes that the network does not know, InputError for preprocessing that does not show whole
    images.
    """
    assert dataset.masks is not None
    if preprocessing.resize != "fit":
        raise InputError(
            "segmentation needs images that are resized as a whole, by fit, but the preprocessing says "
            f"{preprocessing.resize}"
        )
    outputs = np.full(256, IGNORED, np.uint8)
    outputs[: len(dataset.class_names)] = _outputs(dataset, class_names)
    return MaskAnnotations(labels, pack_masks(dataset.masks, preprocessing.crop_size, log=log), outputs)


def _outputs(dataset: Dataset, class_names: tuple[str, ...]) -> list[int]:
    """The network's class for each of the source's: by name, or by number where it has only these."""
    place_of = {name: place for place, name in enumerate(class_names)}
    unknown = [name for name in dataset.class_names if name not in place_of]
    if unknown and all(name.isdecimal() and int(name) < len(class_names) for name in dataset.class_names):
        return [int(name) for name in dataset.class_names]  # which was said where the labels were matched
    if unknown:
        known = ", ".join(map(repr, class_names[:5])) + (", ..." if len(class_names) > 5 else "")
        raise DataError(
            f"{dataset.source} has the classes {', '.join(map(repr, unknown[:5]))}{', ...' * (len(unknown) > 5)}, "
            f"which the model does not know; it knows {known}; rename them in the source's list of classes"
        )
    return [place_of[name] for name in dataset.class_names]


def _part(mask: np.ndarray, geometry: Geometry, place: int, size: tuple[int, int]) -> np.ndarray:
    """The part of one mask that the network sees, resized to (height, width) = `size`."""
    if geometry.crops is None:
        return mask[center(mask.shape, size)]
    top, left, height, width = geometry.crops[place].tolist()
    return mask[top : top + height, left : left + width][nearest_places(height, size[0])][
        :, nearest_places(width, size[1])
    ]


def _changed(masks: "Tensor", changes: "Changes | None") -> "Tensor":
    """Flip, shift and rotation as drawn, in the order in which images are changed."""
    from striate.data import augmentation

    if changes is None:
        return masks
    planes = masks.unsqueeze(1)
    if changes.flipped is not None:
        planes = augmentation.flip(planes, changes.flipped)
    if changes.down is not None and changes.right is not None:
        planes = augmentation.shift(planes, changes.down, changes.right)
    if changes.degrees is not None:
        planes = augmentation.rotate(planes, changes.degrees, interpolation="nearest").to(masks.dtype)
    return planes.squeeze(1)
