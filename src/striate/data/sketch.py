"""A few thousand bytes that tell, long after a training run, whether images are among those it was trained on.

The k smallest of the images' hashes (a k-minimum-values sketch, Bar-Yossef et al. 2002): of images whose hash is at
most the largest kept, the sketch knows for certain whether they were there; of a random set of images those are a fair
sample.
"""

import base64
import binascii
from dataclasses import dataclass
from typing import Any

import numpy as np

NUM_KEPT = 2048
"""Hashes in a sketch: up to so many training images all are known."""


@dataclass(frozen=True)
class Overlap:
    """Of `num_told` images about which a sketch can tell, `num_found` were training images."""

    num_found: int
    num_told: int


def make_sketch(hashes: np.ndarray) -> dict[str, Any]:
    """Plain values for a model file, from the images' hashes (N, 16) uint8; unreadable images (zeros) are left out."""
    keys = np.unique(_keys(hashes))
    kept = keys[:NUM_KEPT]
    return {
        "kind": "smallest hashes",
        "is_complete": len(keys) <= NUM_KEPT,
        "hashes": base64.b64encode(kept.astype(">u8").tobytes()).decode(),
    }


def overlap(sketch: Any, hashes: np.ndarray) -> Overlap:
    """How many of the images with these hashes were training images, as far as the sketch tells; a damaged one tells
    nothing.
    """
    try:
        known = np.frombuffer(base64.b64decode(sketch["hashes"], validate=True), dtype=">u8").astype(np.uint64)
        is_complete = sketch["is_complete"] is True
    except (TypeError, KeyError, ValueError, binascii.Error):
        return Overlap(0, 0)
    keys = _keys(hashes)
    if not is_complete:
        keys = keys[keys <= (known.max() if len(known) else 0)]
    return Overlap(int(np.isin(keys, known).sum()), len(keys))


def _keys(hashes: np.ndarray) -> np.ndarray:
    """The first eight bytes of each hash as a number, (N,) uint64, without those that are all zeros."""
    return np.ascontiguousarray(hashes[hashes.any(axis=1), :8]).view(">u8").ravel().astype(np.uint64)
