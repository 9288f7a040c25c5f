"""What an attack can be asked for: ranges of images and epsilon, each error one line."""

import math

import torch
from torch import Tensor

from striate.errors import InputError


def check_request(
    images: Tensor,
    labels: Tensor,
    epsilon: float,
    norm: str,
    num_steps: int,
    num_restarts: int,
    batch_size: int | None,
) -> None:
    """Raise InputError unless an attack can begin: float images (N, C, H, W) in [0, 1], as many labels, epsilon in the
    unit.
    """
    if images.ndim != 4 or not images.is_floating_point():
        raise InputError(
            f"images must be floats (N, C, H, W) in [0, 1] but are {images.dtype} {tuple(images.shape)}; divide uint8 "
            "pixels by 255"
        )
    if not len(images):
        raise InputError("there are no images to attack; give at least one")
    if images.dtype != torch.float32:
        raise InputError(f"images must be float32 but are {images.dtype}; 16-bit pixels cannot hold a small change")
    if len(labels) != len(images):
        raise InputError(f"expected one label for each of {len(images)} images but got {len(labels)}")
    check_range(images)
    check_epsilon(epsilon, norm, math.prod(images.shape[1:]))
    for name, number in (
        ("num_steps", num_steps),
        ("num_restarts", num_restarts),
        ("batch_size", 1 if batch_size is None else batch_size),
    ):
        if number < 1:
            raise InputError(f"{name} must be at least 1 but is {number}")


def check_range(images: Tensor) -> None:
    """Raise InputError unless every value lies in [0, 1]; NaN does not."""
    low, high = images.min().item(), images.max().item()
    if not (low >= 0 and high <= 1):
        raise InputError(
            f"images must lie in [0, 1] but run from {low:.3g} to {high:.3g}; "
            "if they are already normalised, give the pixels: the normalisation belongs into the model (striate's "
            "PixelModel)"
        )


def check_epsilon(epsilon: float, norm: str, num_values: int | None = None) -> None:
    """Raise InputError unless epsilon is a size that a change of pixels in [0, 1] can have; infinity asks for the
    smallest change.
    """
    if math.isnan(epsilon) or epsilon < 0:
        raise InputError(f"epsilon must not be negative but is {epsilon:g}")
    if math.isinf(epsilon):
        return
    if norm == "linf" and epsilon > 1:
        likely = f"; did you mean {epsilon:g}/255?" if epsilon <= 255 else ""
        raise InputError(f"epsilon must lie in [0, 1], pixels being 0 to 1, but is {epsilon:g}{likely}")
    if num_values is not None:
        largest = {"linf": 1.0, "l2": math.sqrt(num_values), "l1": float(num_values)}.get(norm, math.inf)
        if epsilon > largest:
            raise InputError(
                f"epsilon must lie in [0, {largest:.4g}], the largest {norm} change of such an image, but is "
                f"{epsilon:g}"
            )


def parse_fraction(text: str, name: str) -> float:
    """ "8/255" or "0.03" or "inf" as a number; InputError for anything else."""
    try:
        top, _, bottom = text.partition("/")
        return float(top) / float(bottom) if bottom else float(top)
    except (ValueError, ZeroDivisionError):
        raise InputError(f"{name} must be a number such as 0.03 or 8/255 but is {text!r}") from None
