"""An object cut out of its image, seeded by a saliency map (Simonyan et al. 2013, arXiv:1312.6034, section 3.2, with
OpenCV's GrabCut).
"""

import numpy as np

from striate.errors import InputError

_SURE_FOREGROUND, _SURE_BACKGROUND = 0.95, 0.30  # the paper's quantiles
_SMOOTHED = 40  # a saliency map is smoothed by a fortieth of the image: GrabCut wants regions


def cut_out(pixels: np.ndarray, plane: np.ndarray, *, num_rounds: int = 5) -> np.ndarray:
    """The object that a map (h, w) points at, as a mask (H, W) bool of the image (H, W, C) uint8.

    Pixels above the map's 95 % quantile are taken for the object and those below its 30 % quantile for the background;
    GrabCut (Rother et al. 2004) decides by colour about the rest. Raises InputError without OpenCV (pip install
    'striate[cutout]'), for images without three channels or one, and for a map that is the same everywhere.
    """
    try:
        import cv2
    except ImportError:
        raise InputError("cutting out needs OpenCV; pip install 'striate[cutout]'") from None
    if pixels.shape[2] not in (1, 3):
        raise InputError(f"only grey and RGB images can be cut out but this one has {pixels.shape[2]} channels")
    height, width = pixels.shape[:2]
    plane = cv2.resize(np.abs(np.asarray(plane, np.float32)), (width, height), interpolation=cv2.INTER_LINEAR)
    plane = cv2.GaussianBlur(plane, (0, 0), max(1.0, max(height, width) / _SMOOTHED))
    low, high = np.quantile(plane, (_SURE_BACKGROUND, _SURE_FOREGROUND))
    if not high > plane.min():
        raise InputError("the map is the same everywhere, so there is nothing to cut out")
    mask = np.full((height, width), cv2.GC_PR_BGD, np.uint8)
    mask[plane > (low + high) / 2] = cv2.GC_PR_FGD
    mask[plane <= low] = cv2.GC_BGD
    mask[plane >= high] = cv2.GC_FGD
    colour = np.ascontiguousarray(pixels if pixels.shape[2] == 3 else pixels.repeat(3, axis=2))[..., ::-1].copy()
    cv2.setRNGSeed(0)
    cv2.grabCut(colour, mask, (0, 0, 1, 1), np.zeros((1, 65)), np.zeros((1, 65)), num_rounds, cv2.GC_INIT_WITH_MASK)
    return np.asarray((mask == cv2.GC_FGD) | (mask == cv2.GC_PR_FGD))


def on_nothing(pixels: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The object alone, (H, W, 4) uint8 RGBA, transparent where the mask (H, W) is not."""
    colour = pixels if pixels.shape[2] == 3 else pixels[..., :1].repeat(3, axis=2)
    return np.concatenate([colour, 255 * mask[..., None].astype(np.uint8)], axis=2)
