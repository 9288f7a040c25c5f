"""What a layer still knows of a picture: another one, found from noise, with the same output there.

Mahendran & Vedaldi 2015, arXiv:1412.0035, in a Fourier parametrisation with Adam in place of pixels with momentum.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from striate.errors import InputError
from striate.synthesis.image_space import image_space
from striate.synthesis.models import Layers, device_of, frozen_float32, step_gradient
from striate.synthesis.pictures import to_images, to_pixels
from striate.synthesis.regularizers import total_variation
from striate.synthesis.visualize import naming_small_pictures
from striate.synthesis.watching import UNWATCHED, Watch


@dataclass(frozen=True)
class InvertConfig:
    """`total_variation` weighs that penalty against the relative squared error of the layer (equation 1)."""

    num_steps: int = 200
    learning_rate: float = 0.02
    total_variation: float = 0.3
    parametrization: str = "fourier"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.num_steps < 1 or not 0 < self.learning_rate < float("inf"):
            raise InputError(
                f"inversion needs at least 1 step and a learning rate above 0 but has {self.num_steps} and "
                f"{self.learning_rate:g}"
            )
        if not 0 <= self.total_variation < float("inf"):
            raise InputError(f"the weight of total variation must be at least 0 but is {self.total_variation:g}")


@dataclass(frozen=True, eq=False)
class Inversion:
    """Pixels (H, W, C) uint8, and how far the layer's output is from that of the original, relative to its norm.

    `error` is of the rounded picture; `losses` hold the penalty too.
    """

    pixels: np.ndarray
    error: float
    losses: tuple[float, ...]
    was_stopped: bool = False


def invert(
    model: nn.Module,
    pixels: np.ndarray,
    layer: str,
    config: InvertConfig | None = None,
    *,
    watch: Watch = UNWATCHED,
) -> Inversion:
    """Find a picture whose output at `layer` is that of pixels (H, W, C) uint8, knowing nothing else of it.

    `model` takes images (1, C, H, W) in [0, 1] and comes back as it was. Raises InputError for a layer that it lacks,
    or that gives zero everywhere.

    `pixels` is one image; `config` has the steps and how smooth the picture shall be.
    """
    config = config or InvertConfig()
    generator = torch.Generator(device_of(model)).manual_seed(config.seed)
    height, width, channels = pixels.shape
    space = image_space(config.parametrization, (height, width), channels, generator)
    optimizer = torch.optim.Adam(space.parameters, lr=config.learning_rate)
    layers = Layers(model, (layer,))
    losses: list[float] = []
    was_stopped = False
    with frozen_float32(model), naming_small_pictures((height, width)):
        with torch.no_grad():
            wanted = layers(to_images(pixels, device_of(model)))[layer].clone()
        scale = wanted.square().sum()
        if scale == 0:
            raise InputError(
                f"{layer} gives zero everywhere for this picture, so nothing can be inverted; name another layer"
            )
        for step in range(1, config.num_steps + 1):
            image = space.image()
            loss = (layers(image)[layer] - wanted).square().sum() / scale
            if config.total_variation:
                loss = loss + config.total_variation * total_variation(image)
            for parameter, gradient in zip(space.parameters, step_gradient(loss, space.parameters, step), strict=True):
                parameter.grad = gradient
            optimizer.step()
            losses.append(loss.item())
            watch.on_step(step, config.num_steps, losses[-1], lambda: to_pixels(space.image()))
            if watch.should_stop():
                was_stopped = step < config.num_steps
                break
        found = to_pixels(space.image())
        with torch.no_grad():
            reached = layers(to_images(found, device_of(model)))[layer]
        error = ((reached - wanted).square().sum() / scale).sqrt().item()
    return Inversion(found, error, tuple(losses), was_stopped)
