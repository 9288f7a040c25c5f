"""Defaults where every pixel is labelled: at what size images are seen, what training sees of them, and for how long.

The budget is one of pixels, so that a run of any data set takes about as long: docs/segmentation.md has what was tried.
"""

import dataclasses
import math

from striate.data.augmentation_settings import Augmentation
from striate.data.preprocessing import Preprocessing
from striate.recipes.choices import Choices
from striate.training.recipe import OptimizerConfig, Recipe, ScheduleConfig

MOST_PX = 512 * 512
"""Pixels of an image as evaluation sees it; larger images are made smaller."""
CROP_PX = 240 * 320
"""Pixels of what training sees at once, where images have more."""
SEEN_PX = 800_000_000
"""Pixels that training sees in all: about twenty minutes of two cores with SqueezeNet's features."""
FEWEST_EPOCHS, MOST_EPOCHS = 12, 120
ZOOM = (0.7, 1.4)
"""Objects in training are so many times as large as in evaluation, at least and at most."""
MULTIPLE = 16
"""Sides of training crops are multiples of it, so that maps of most strides divide them."""


def image_size_for(height: int, width: int, short_side: int | None, least: tuple[int, int]) -> tuple[int, int]:
    """(height, width) at which images of this typical size are seen: their own, or smaller by the limit, or of this
    short side, and not below what the network takes at `least`.
    """
    largest = math.sqrt(MOST_PX / (height * width))
    factor = min(1.0, largest) if short_side is None else short_side / min(height, width)
    factor = max(factor, least[0] / height, least[1] / width)
    return (height, width) if factor == 1 else (_rounded(height * factor), _rounded(width * factor))


def training_size(size: tuple[int, int], least: tuple[int, int]) -> tuple[int, int]:
    """(height, width) of what training sees of images of this size."""
    factor = max(math.sqrt(CROP_PX / (size[0] * size[1])), least[0] / size[0], least[1] / size[1])
    return size if factor >= 1 else (_rounded(size[0] * factor), _rounded(size[1] * factor))


def whole_image_preprocessing(
    preprocessing: Preprocessing, height: int, width: int, short_side: int | None, least: tuple[int, int]
) -> Preprocessing:
    """The same preprocessing for whole images of this typical (height, width), their aspect kept."""
    size = image_size_for(height, width, short_side, least)
    return dataclasses.replace(preprocessing, resize="fit", crop_size=size, resize_size=max(size), mean_image=None)


def pixel_recipe(
    recipe: Recipe, num_train: int, image_size: tuple[int, int], least: tuple[int, int], choices: Choices
) -> Recipe:
    """The recipe made one for labelled pixels: crops of images at varied scales, classes weighed by their pixels,
    AdamW.
    """
    size = image_size_for(*image_size, choices.image_size, least)
    crop = training_size(size, least)
    fraction = crop[0] * crop[1] / (size[0] * size[1])
    low, high = min(1.0, fraction / ZOOM[1] ** 2), min(1.0, fraction / ZOOM[0] ** 2)
    optimizer = recipe.optimizer
    if choices.optimizer is None:
        optimizer = OptimizerConfig("adamw", learning_rate=1e-3 if choices.weights else 3e-3, weight_decay=1e-2)
    return dataclasses.replace(
        recipe,
        epochs=min(MOST_EPOCHS, max(FEWEST_EPOCHS, round(SEEN_PX / (num_train * crop[0] * crop[1])))),
        batch_size=min(num_train, max(2, min(8, num_train // 4))),
        optimizer=optimizer,
        schedule=ScheduleConfig("one_cycle", rise=0.2),
        augmentation=Augmentation(
            crop_scale=(low, high), crop_size=crop, flip=True, brightness=0.2, contrast=0.2, saturation=0.2
        ),
        label_smoothing=0.0,
        use_class_weights=True,
        freeze=recipe.freeze if choices.freeze else "nothing",
        views=0,
        layer_rate_factor=1.0,
        use_channels_last=choices.optimizer != "lbfgs",
    )


def _rounded(side: float) -> int:
    return max(1, math.ceil(side / MULTIPLE - 0.5)) * MULTIPLE
