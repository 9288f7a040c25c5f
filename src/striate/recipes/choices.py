"""The user's explicit settings. Every None leaves the choice to striate, which makes it in `defaults.py` and prints
it.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

from striate.errors import InputError
from striate.networks.catalogue import split_reference
from striate.networks.composite import PARTS
from striate.training.recipe import Recipe, check_whole

FREEZE_WORDS = {"all": "nothing", "head": "base", "last-third": "lower"}
"""What is trained, in the words of the command line, and what a recipe calls the rest that stays as it is."""
PRECISION_WORDS = {"float32": "32-true", "bfloat16": "bf16-mixed", "float16": "16-mixed"}
"""Arithmetic in the words of all commands, and in those of a recipe."""


@dataclass(frozen=True)
class Choices:
    """Explicit wishes for a run; the fields mean what their namesakes in Recipe and its parts mean.

    `freeze`: also by what is trained, "all", "head", "last-third" or "gradual"; `precision`: also "float32", "bfloat16"
    or "float16". `image_size`: height and width in pixels that the network sees. `subtract`: "channel_mean", one number
    a channel (the default), or "mean_image", one a pixel. `encoder`: NAME or NAME:WEIGHTS, the network on whose
    features `network` is built. `stream`: decode images when they are needed, and keep none decoded. `group_by`: a
    column, "folder" or a pattern that names groups of images of which no split may have a part. `num_folds`, `fold`:
    the run is one fold of a cross-validation, see recipes.folds.
    """

    task: str | None = None
    loss: str | None = None
    network: str | None = None
    encoder: str | None = None
    weights: str | None = None
    image_size: int | None = None
    subtract: str | None = None
    epochs: int | None = None
    batch_size: int | None = None
    optimizer: str | None = None
    learning_rate: float | None = None
    momentum: float | None = None
    weight_decay: float | None = None
    schedule: str | None = None
    warmup: float | None = None
    label_smoothing: float | None = None
    use_class_weights: bool | None = None
    use_balanced_sampling: bool | None = None
    max_grad_norm: float | None = None
    accumulate_steps: int | None = None
    ema_decay: float | None = None
    precision: str | None = None
    use_channels_last: bool | None = None
    use_compile: bool | None = None
    use_cuda_graphs: bool | None = None
    num_threads: int | None = None
    freeze: str | None = None
    views: int | None = None
    adversarial: str | None = None
    adversarial_epsilon: float | None = None
    attack_steps: int | None = None
    stream: bool = False
    layer_rate_factor: float | None = None
    output: str | None = None
    seed: int | None = None
    validation_fraction: float | None = None
    test_fraction: float | None = None
    group_by: str | None = None
    num_folds: int | None = None
    fold: int | None = None
    crop_scale: tuple[float, float] | None = None
    flip: bool | None = None
    shift_px: int | None = None
    rotation_degrees: float | None = None
    brightness: float | None = None
    contrast: float | None = None
    saturation: float | None = None
    hue: float | None = None
    pca_color: float | None = None
    cutout_px: int | None = None
    mixup: float | None = None

    def __post_init__(self) -> None:
        for name, words in (("freeze", FREEZE_WORDS), ("precision", PRECISION_WORDS)):
            own = getattr(self, name)
            object.__setattr__(self, name, words.get(own, own) if isinstance(own, str) else own)
        if self.seed is not None:
            check_whole("seed", self.seed, 0)
        if self.batch_size is not None:
            check_whole("batch_size", self.batch_size, 1)
        if self.subtract not in (None, "channel_mean", "mean_image"):
            raise InputError(f"subtract must be channel_mean or mean_image but is {self.subtract!r}")

    def with_encoder_named(self) -> "Choices":
        """The same choices with the encoder in `network` (PART:BASE) and `weights`. InputError where these say
        something else.
        """
        if self.encoder is None:
            return self
        base, weights = split_reference(self.encoder)
        if self.weights is not None and weights:
            raise InputError(f"both the encoder and weights name weights, {weights} and {self.weights}; name them once")
        part = self.network or "unet"
        if part not in PARTS:
            raise InputError(f"{part} is built on no encoder; use one of {', '.join(PARTS)}, or leave --encoder out")
        return dataclasses.replace(self, encoder=None, network=f"{part}:{base}", weights=weights or self.weights)

    def applied_to(self, recipe: Recipe) -> Recipe:
        """The recipe with every explicit wish in place of the default."""
        wishes = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        wishes = {name: request for name, request in wishes.items() if request is not None}
        parts: dict[str, Any] = {
            "optimizer": dataclasses.replace(recipe.optimizer, **_named(recipe.optimizer, wishes, name=self.optimizer)),
            "schedule": dataclasses.replace(recipe.schedule, **_named(recipe.schedule, wishes, name=self.schedule)),
            "augmentation": dataclasses.replace(recipe.augmentation, **_named(recipe.augmentation, wishes)),
        }
        return dataclasses.replace(recipe, **{**_named(recipe, wishes), **parts})


def _named(part: Any, wishes: dict[str, Any], *, name: str | None = None) -> dict[str, Any]:
    """The wishes that are fields of `part`; its own `name` where one is wished for."""
    fields = {field.name for field in dataclasses.fields(part)}
    named = {key: request for key, request in wishes.items() if key in fields}
    return named if name is None else {**named, "name": name}
