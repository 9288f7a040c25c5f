"""The patches of a data set that excite a unit most, cut out through its true receptive field (Zeiler & Fergus 2013;
scope G3).
"""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from striate.errors import InputError
from striate.inspection.layers import NetworkDescription
from striate.inspection.receptive_field.summary import ReceptiveField


@dataclass(frozen=True)
class Peak:
    """The highest value of a unit in one image, and its place (row, column) in the layer's map. `image` counts from
    0.
    """

    value: float
    image: int
    row: int
    column: int


class PeakKeeper:
    """Keeps the `top` highest peaks of every channel of a layer, one an image; of equal ones the earliest image and
    place.
    """

    def __init__(self, top: int) -> None:
        self.top = top
        self.num_images = 0
        self.values: np.ndarray = np.zeros((0, 0))
        self.places: np.ndarray = np.zeros((0, 0, 3), np.int64)  # image, row, column

    def add(self, maps: Tensor) -> None:
        """Take in the maps (n, C', h, w) of the next images."""
        num_images, num_units, _, width = maps.shape
        highest, where = maps.flatten(2).max(dim=2)  # (n, C')
        flat: np.ndarray = where.cpu().numpy().T
        images = np.broadcast_to(self.num_images + np.arange(num_images), flat.shape)
        values = highest.double().cpu().numpy().T
        places = np.stack([images, flat // width, flat % width], axis=2)
        if self.num_images:
            values = np.concatenate([self.values, values], axis=1)
            places = np.concatenate([self.places, places], axis=1)
        order = np.argsort(-values, axis=1, kind="stable")[:, : self.top]
        self.values = np.take_along_axis(values, order, axis=1)
        self.places = np.take_along_axis(places, order[..., None], axis=1)
        self.num_images += num_images
        if self.values.shape[0] != num_units:
            raise InputError("a layer must have as many channels for every image")

    def peaks(self, unit: int) -> list[Peak]:
        """The highest peaks of a channel, highest first."""
        if not 0 <= unit < len(self.values):
            raise InputError(f"unit {unit} was asked for but the layer has units 0 to {len(self.values) - 1}")
        return [Peak(float(v), *map(int, place)) for v, place in zip(self.values[unit], self.places[unit], strict=True)]


def field_of(description: NetworkDescription, layer: str) -> ReceptiveField:
    """The receptive field of a layer; of a module with others inside, that of what ran last in it. InputError where it
    is unknown.
    """
    plain = layer.partition("#")[0]
    rows = {row.name: row for row in description.layers}
    if plain in rows:
        field = rows[plain].receptive_field
    else:
        inside = [call.layer for call in description.calls if call.layer.startswith((f"{plain}.", f"{plain}:"))]
        field = rows[inside[-1]].receptive_field if inside else None
    if field is None or None in field.stride or None in field.offset:
        raise InputError(f"the receptive field of {layer} is unknown or uneven, so no patches can be cut out for it")
    return field


def cut_patch(pixels: np.ndarray, field: ReceptiveField, peak: Peak, *, fill: int = 128) -> np.ndarray:
    """The part of an image (H, W, C) uint8 that the unit at a peak's place sees, (h, w, C); grey where that lies beyond
    the border.

    Larger than the image it never is: a field that reaches beyond on both sides is cut to the image.
    """
    spans = []
    for axis, place in enumerate((peak.row, peak.column)):
        extent, size = pixels.shape[axis], max(1, int(field.size[axis]))
        centre = float(field.offset[axis] or 0) + float(field.stride[axis] or 0) * place
        low = round(centre - size / 2)
        if size >= extent:
            low, size = 0, extent
        spans.append((low, low + size))
    (top, bottom), (left, right) = spans
    patch = np.full((bottom - top, right - left, pixels.shape[2]), fill, np.uint8)
    rows, columns = slice(max(0, top), max(0, bottom)), slice(max(0, left), max(0, right))
    seen = pixels[rows, columns]
    upper, first = max(0, -top), max(0, -left)
    patch[upper : upper + seen.shape[0], first : first + seen.shape[1]] = seen
    return patch
