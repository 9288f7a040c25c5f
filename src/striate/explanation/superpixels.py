"""Superpixels: an image cut into compact parts of alike colour, after SLIC (Achanta et al. 2012, IEEE TPAMI 34)."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

_COMPACTNESS = 1.0
_LONGEST_PX = 64


def superpixels(image: Tensor, *, num_segments: int = 50) -> Tensor:
    """The segment of each pixel, numbered from 0: one image (C, H, W) -> (H, W) int64, about `num_segments` of them.

    k-means of colour (each channel by its own spread) and place (one spacing of the segments counts as much as one
    standard deviation of colour), started on an even grid, on the image reduced to 64 pixels. The same image gives the
    same segments.
    """
    from sklearn.cluster import KMeans  # a second to import, which other methods need not pay

    height, width = image.shape[1:]
    small = _reduced(image)
    rows, columns = small.shape[1:]
    num_rows = max(1, round((num_segments * rows / columns) ** 0.5))
    num_columns = max(1, round(num_segments / num_rows))
    num_rows, num_columns = min(num_rows, rows), min(num_columns, columns)
    spacing = (rows * columns / (num_rows * num_columns)) ** 0.5
    colours = (small / small.std(dim=(1, 2), keepdim=True).clamp(min=1e-6)).numpy()
    ys, xs = np.mgrid[:rows, :columns]
    features = np.concatenate([colours, _COMPACTNESS * np.stack([ys, xs]) / spacing]).reshape(len(colours) + 2, -1).T
    starts = [
        int((i + 0.5) * rows / num_rows) * columns + int((j + 0.5) * columns / num_columns)
        for i in range(num_rows)
        for j in range(num_columns)
    ]
    found = KMeans(len(starts), init=features[starts], n_init=1, max_iter=10).fit_predict(features)
    _, numbered = np.unique(found, return_inverse=True)
    grid = torch.from_numpy(numbered.reshape(1, 1, rows, columns)).float()
    return F.interpolate(grid, size=(height, width), mode="nearest")[0, 0].long()


def _reduced(image: Tensor) -> Tensor:
    """The image with its longer side at 64 pixels or less, on the CPU."""
    factor = _LONGEST_PX / max(image.shape[1:])
    image = image.detach().float().cpu()
    if factor >= 1:
        return image
    size = [max(1, round(side * factor)) for side in image.shape[1:]]
    return F.interpolate(image[None], size=size, mode="area")[0]
