"""How much each unit (channel) of a layer is used over a data set, gathered batch by batch in constant memory."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class UnitStatistics:
    """Of each channel of a layer, (C',): mean and standard deviation over all images and places, the largest value, and
    the fraction of images in which it is above 0 anywhere. A unit is dead that is above 0 in none.
    """

    layer: str
    num_images: int
    mean: np.ndarray
    std: np.ndarray
    max: np.ndarray
    active_fraction: np.ndarray

    @property
    def dead(self) -> list[int]:
        """The channels that are never above 0."""
        return np.flatnonzero(self.max <= 0).tolist()

    def to_json(self) -> dict[str, Any]:
        """Plain values, one number a channel."""
        return {
            "layer": self.layer,
            "num_images": self.num_images,
            "num_units": len(self.mean),
            "dead": self.dead,
            "mean": self.mean.tolist(),
            "std": self.std.tolist(),
            "max": self.max.tolist(),
            "active_fraction": self.active_fraction.tolist(),
        }


class UnitCounter:
    """Gathers the statistics of one layer; batches are joined in float64 (Chan et al. 1979)."""

    def __init__(self, layer: str) -> None:
        self.layer = layer
        self.num_images = self.num_values = 0
        self.mean = self.spread = self.active = np.zeros(0)
        self.max = np.zeros(0)

    def add(self, maps: Tensor) -> None:
        """Count the maps (n, C', h, w) of some images."""
        count = len(maps) * maps.shape[2] * maps.shape[3]
        variance, middle = torch.var_mean(maps.float(), dim=(0, 2, 3), correction=0)
        peaks = maps.amax(dim=(2, 3))  # (n, C')
        mean, spread = middle.double().cpu().numpy(), count * variance.double().cpu().numpy()
        active, highest = (peaks > 0).sum(dim=0).cpu().numpy(), peaks.amax(dim=0).double().cpu().numpy()
        if not self.num_images:
            self.mean, self.spread, self.active, self.max = mean, spread, active, highest
        else:
            total, delta = self.num_values + count, mean - self.mean
            self.spread = self.spread + spread + delta**2 * self.num_values * count / total
            self.mean = self.mean + delta * count / total
            self.active, self.max = self.active + active, np.maximum(self.max, highest)
        self.num_images, self.num_values = self.num_images + len(maps), self.num_values + count

    def result(self) -> UnitStatistics:
        """The statistics of everything counted so far."""
        std = np.sqrt(self.spread / max(1, self.num_values))
        return UnitStatistics(
            self.layer, self.num_images, self.mean, std, self.max, self.active / max(1, self.num_images)
        )
