"""Deletion and insertion curves: the probability of a class while pixels go, or come, in the order of a map (Petsiuk et
al. 2018, arXiv:1806.07421, section 3.3), and baselines that know nothing of the network.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from striate.errors import InputError
from striate.explanation.batches import check_images, num_at_once, run
from striate.explanation.scores import logits_of
from striate.networks.restore import frozen

_BLUR_PX, _BLUR_SIGMA = 11, 5.0  # the authors' own, at 224 pixels


@dataclass(frozen=True)
class Curves:
    """The probability of each image's class, (N, steps + 1), by the fraction of pixels deleted or inserted, 0 to 1
    evenly.
    """

    deletion: np.ndarray
    insertion: np.ndarray

    def areas(self) -> tuple[np.ndarray, np.ndarray]:
        """The area under each curve, (N,), in [0, 1]: small is good for deletion, large for insertion."""
        return _area(self.deletion), _area(self.insertion)


def _area(curves: np.ndarray) -> np.ndarray:
    return np.asarray(np.trapezoid(curves, dx=1 / (curves.shape[1] - 1), axis=1))


def mean_interval(values: np.ndarray) -> tuple[float, float, float]:
    """The mean and its 95 % interval, mean -/+ 1.96 standard errors."""
    error = values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else float("nan")
    return float(values.mean()), float(values.mean() - 1.96 * error), float(values.mean() + 1.96 * error)


def deletion_and_insertion(
    network: nn.Module,
    images: Tensor,
    planes: Tensor,
    classes: Tensor,
    *,
    num_steps: int = 16,
    batch_size: int | None = None,
) -> Curves:
    """Curves of images (N, C, H, W) by the order of `planes` (N, H, W), the largest first; ties by place.

    Deleted pixels become 0, the mean colour of normalised images; insertion begins with a blurred image. Probabilities
    are the softmax of logits. Raises InputError for maps of another size and fewer than two steps.
    """
    if planes.shape != (len(images), *images.shape[2:]) or num_steps < 2:
        raise InputError(
            f"expected maps {(len(images), *images.shape[2:])} and at least 2 steps but got {tuple(planes.shape)} and "
            f"{num_steps}"
        )
    images = check_images(network, images)
    blurred = blur(images)
    order = planes.flatten(1).argsort(dim=1, descending=True, stable=True)
    ranks = torch.empty_like(order).scatter_(
        1, order, torch.arange(order.shape[1], device=order.device).expand_as(order)
    )
    ranks = ranks.view(len(images), 1, *images.shape[2:]).to(images.device)
    num_pixels = order.shape[1]
    deleted, inserted = [], []
    for step in range(num_steps + 1):
        is_gone = ranks < round(step * num_pixels / num_steps)
        deleted.append(_probabilities(network, torch.where(is_gone, 0, images), classes, batch_size))
        inserted.append(_probabilities(network, torch.where(is_gone, images, blurred), classes, batch_size))
    return Curves(np.stack(deleted, axis=1), np.stack(inserted, axis=1))


def _probabilities(network: nn.Module, images: Tensor, classes: Tensor, batch_size: int | None) -> np.ndarray:
    found = []
    with frozen(network), torch.no_grad():
        size = num_at_once(images, batch_size)
        for some, labels in zip(images.split(size), classes.to(images.device).split(size), strict=True):
            logits = logits_of(run(network, some)).float()
            found.append(logits.softmax(dim=1).gather(1, labels[:, None])[:, 0])
    return torch.cat(found).cpu().numpy()


def blur(images: Tensor) -> Tensor:
    """Images (N, C, H, W) blurred by a Gaussian window of 11 pixels, standard deviation 5, smaller for small images."""
    scale = min(1.0, min(images.shape[2:]) / 224)
    radius = max(1, round(scale * (_BLUR_PX // 2)))
    places = torch.arange(-radius, radius + 1, dtype=images.dtype, device=images.device)
    kernel = (-(places**2) / (2 * max(0.5, scale * _BLUR_SIGMA) ** 2)).exp()
    kernel = (kernel / kernel.sum()).expand(images.shape[1], 1, -1)
    padded = F.pad(images, (radius,) * 4, mode="replicate")
    across = F.conv2d(padded, kernel[:, :, None], groups=images.shape[1])
    return F.conv2d(across, kernel[..., None], groups=images.shape[1])


def edge_map(images: Tensor) -> Tensor:
    """The strength of edges, by Sobel's filters summed over channels: images (N, C, H, W) -> (N, H, W). A baseline."""
    smooth, slope = torch.tensor([1.0, 2, 1]).to(images), torch.tensor([-1.0, 0, 1]).to(images)
    grey = F.pad(images.flatten(0, 1)[:, None], (1,) * 4, mode="replicate")
    down = F.conv2d(grey, torch.outer(slope, smooth)[None, None])
    across = F.conv2d(grey, torch.outer(smooth, slope)[None, None])
    return (down.square() + across.square()).sqrt().unflatten(0, images.shape[:2]).sum(dim=(1, 2))


def random_map(images: Tensor, *, seed: int = 0) -> Tensor:
    """Noise as a map, (N, H, W), drawn by the seed alone. A baseline."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand((len(images), *images.shape[2:]), generator=generator).to(images.device)


def summarise(method: str, curves: Sequence[Curves]) -> dict[str, Any]:
    """Areas over all images of several batches, with 95 % intervals, and the mean curves, as plain values."""
    areas = [np.concatenate(each) for each in zip(*(some.areas() for some in curves), strict=True)]
    deletion, insertion = (mean_interval(each) for each in areas)
    return {
        "method": method,
        "num_images": len(areas[0]),
        "deletion_area": deletion[0],
        "deletion_interval": list(deletion[1:]),
        "insertion_area": insertion[0],
        "insertion_interval": list(insertion[1:]),
        "deletion_curve": np.concatenate([some.deletion for some in curves]).mean(axis=0).tolist(),
        "insertion_curve": np.concatenate([some.insertion for some in curves]).mean(axis=0).tolist(),
    }
