"""Nearest neighbours of an image: in a layer's features, and in raw pixels beside them. N images, D features."""

import numpy as np

from striate.data.preprocessing import resample
from striate.errors import InputError

_PIXEL_SIDE = 32


def pixel_features(pixels: np.ndarray) -> np.ndarray:
    """An image (H, W, C) uint8 reduced to 32 x 32 pixels, as a vector float32 in [0, 1]."""
    return resample(pixels, (_PIXEL_SIDE, _PIXEL_SIDE), "bilinear").astype(np.float32).ravel() / 255


def nearest(features: np.ndarray, query: np.ndarray, top: int) -> tuple[np.ndarray, np.ndarray]:
    """The `top` rows of features (N, D) with the smallest Euclidean distance to a query (D,): places and distances,
    nearest first.
    """
    if features.ndim != 2 or query.shape != features.shape[1:]:
        raise InputError(f"expected features (N, {len(query)}) but got {features.shape}")
    distances = np.sqrt(np.maximum(((features - query) ** 2).sum(axis=1), 0))
    places = np.argsort(distances, kind="stable")[:top]
    return places, distances[places]
