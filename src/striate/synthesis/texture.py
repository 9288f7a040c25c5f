"""Texture synthesis by Gram matrices (Gatys, Ecker & Bethge 2015, arXiv:1505.07376): a picture of any size with the
sample's statistics.
"""

from dataclasses import dataclass

import numpy as np
from torch import nn

from striate.synthesis.models import device_of, frozen_float32
from striate.synthesis.pictures import Synthesis, check_size, resize_pixels, to_images
from striate.synthesis.pixel_search import Method, search_pixels
from striate.synthesis.style import StyleConfig, StyleLoss
from striate.synthesis.style_layers import StyleLayers, choose_layers
from striate.synthesis.visualize import naming_small_pictures
from striate.synthesis.watching import UNWATCHED, Watch


@dataclass(frozen=True)
class TextureConfig:
    """`size` is (height, width) of the texture to make; one that is tileable goes on where it is laid beside itself."""

    size: tuple[int, int]
    num_steps: int = 300
    method: Method = "lbfgs"
    learning_rate: float | None = None
    total_variation: float = 0.0
    seed: int = 0
    is_tileable: bool = True

    def __post_init__(self) -> None:
        check_size(self.size)


def synthesize_texture(
    model: nn.Module,
    sample: np.ndarray,
    config: TextureConfig,
    *,
    layers: StyleLayers | None = None,
    init: np.ndarray | None = None,
    watch: Watch = UNWATCHED,
) -> Synthesis:
    """A texture (height, width, 3) uint8 like the sample (h, w, 3) uint8, from noise with the sample's colours, or from
    `init`.

    `model` takes images (1, 3, H, W) in [0, 1] of any size and comes back as it was.

    `sample` is at least as large as the network's smallest image; `layers` are those whose Gram matrices are matched,
    by default layers tried for the network, or else the first activation at each spatial size.
    """
    device = device_of(model)
    layers = layers or choose_layers(model, config.size)
    wanted = to_images(sample, device)
    style = StyleConfig(style_weight=1.0, total_variation=config.total_variation, num_steps=config.num_steps)
    with frozen_float32(model), naming_small_pictures(config.size):
        loss_of = StyleLoss(
            model, None, [wanted], [1.0], layers, style, border="circular" if config.is_tileable else "reflect"
        )
        if init is not None:
            start = to_images(resize_pixels(init, config.size), device)
        else:
            start = to_images(scattered(sample, config.size, config.seed), device)
        return search_pixels(
            start,
            loss_of,
            num_steps=config.num_steps,
            method=config.method,
            learning_rate=config.learning_rate,
            watch=watch,
        )


def scattered(sample: np.ndarray, size: tuple[int, int], seed: int) -> np.ndarray:
    """A picture whose every pixel is a pixel of the sample drawn at random: its colours in equal proportion, and no
    structure.
    """
    pixels = sample.reshape(-1, sample.shape[2])
    drawn = np.random.default_rng(seed).integers(0, len(pixels), size)
    return pixels[drawn]
