"""Dreams: a picture changed so that layers or units respond more, from coarse to fine (Mordvintsev et al. 2015,
"Inceptionism").
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from striate.errors import InputError
from striate.synthesis.models import device_of, frozen_float32, step_gradient
from striate.synthesis.pictures import Synthesis, check_size, to_images, to_pixels
from striate.synthesis.targets import ClassTarget, Objective, Target
from striate.synthesis.visualize import naming_small_pictures
from striate.synthesis.watching import UNWATCHED, Watch


@dataclass(frozen=True)
class DreamConfig:
    """`num_octaves` sizes, each `octave_scale` times the one before, the last being the picture's own; `num_steps` at
    each.

    A step changes values in [0, 1] by `step_size` on average, seen through a shift of up to `jitter_px` that wraps
    around. Gradients are computed in tiles of about `tile_px`, which bounds the memory.
    """

    num_octaves: int = 5
    octave_scale: float = 1.35
    num_steps: int = 12
    step_size: float = 0.012
    jitter_px: int = 24
    tile_px: int = 512
    seed: int = 0

    def __post_init__(self) -> None:
        if self.num_octaves < 1 or self.num_steps < 1 or not 1 < self.octave_scale <= 4:
            raise InputError(
                "a dream needs 1 or more octaves and steps and an octave scale above 1 up to 4 but has "
                f"{self.num_octaves}, {self.num_steps} and {self.octave_scale:g}"
            )
        if not 0 < self.step_size <= 1 or self.jitter_px < 0 or self.tile_px < 32:
            raise InputError(
                f"step size must be above 0 up to 1, jitter at least 0 and tiles at least 32 pixels but they are "
                f"{self.step_size:g}, {self.jitter_px} and {self.tile_px}"
            )


def dream(
    model: nn.Module,
    pixels: np.ndarray,
    targets: Sequence[Target],
    config: DreamConfig | None = None,
    *,
    watch: Watch = UNWATCHED,
) -> Synthesis:
    """Pixels (H, W, C) uint8 -> the same picture dreaming of the targets, each with an equal say; losses are negative
    values.

    `model` takes images (1, C, h, w) in [0, 1] of any size, and comes back as it was. Raises InputError for a target
    that it lacks and where an octave is too small for it.

    `pixels` is the picture, of any size; `targets` name classes, units or layers; `config` has octaves and steps, and
    `watch` hears of each step and may stop.
    """
    config = config or DreamConfig()
    if not targets:
        raise InputError("a dream needs a layer or a unit to dream of; name one, such as --layer features.9")
    if len(targets) != len(set(targets)):
        raise InputError("a layer or unit was named twice; name each once")
    check_size(pixels.shape[:2])
    generator = torch.Generator(device_of(model)).manual_seed(config.seed)
    objectives = [Objective(model, target) for target in targets]
    original = to_images(pixels, device_of(model))
    detail = torch.zeros_like(original)
    losses: list[float] = []
    num_steps = config.num_octaves * config.num_steps
    for size in octave_sizes(pixels.shape[:2], config):
        base = _resize(original, size)
        image = (base + _resize(detail, size)).clamp(0, 1)
        with frozen_float32(model), naming_small_pictures(size):
            for _ in range(config.num_steps):
                image, loss = _deepen(image, objectives, config, generator, len(losses) + 1)
                losses.append(loss)
                detail = image - base
                watch.on_step(
                    len(losses),
                    num_steps,
                    loss,
                    lambda detail=detail: _with_detail(original, detail),  # type: ignore[misc]
                )
                if watch.should_stop():
                    was_stopped = len(losses) < num_steps
                    return Synthesis(_with_detail(original, detail), tuple(losses), was_stopped)
    return Synthesis(_with_detail(original, detail), tuple(losses))


def octave_sizes(size: tuple[int, ...], config: DreamConfig) -> list[tuple[int, int]]:
    """(height, width) of each octave, the smallest first and the picture's own last."""
    scales = [config.octave_scale**-octave for octave in reversed(range(config.num_octaves))]
    return [(max(1, round(size[0] * scale)), max(1, round(size[1] * scale))) for scale in scales]


def _deepen(
    image: Tensor, objectives: Sequence[Objective], config: DreamConfig, generator: torch.Generator, step: int
) -> tuple[Tensor, float]:
    """One step of ascent along gradients of mean size 1, and the loss before it."""
    draws = torch.rand(2, generator=generator, device=generator.device).tolist()
    shift = tuple(round((2 * draw - 1) * config.jitter_px) for draw in draws)
    shifted = image.roll(shift, dims=(2, 3))
    direction = torch.zeros_like(image)
    total = 0.0
    for objective in objectives:
        is_whole = isinstance(objective.target, ClassTarget) or getattr(objective.target, "place", None) is not None
        tile = max(image.shape[2:]) if is_whole else config.tile_px
        gradient, loss = _tiled_gradient(shifted, objective, tile, step)
        direction -= gradient / gradient.abs().mean().clamp(min=1e-12) / len(objectives)
        total += loss
    moved = shifted + config.step_size * direction
    return moved.roll(tuple(-each for each in shift), dims=(2, 3)).clamp(0, 1), total


def _tiled_gradient(image: Tensor, objective: Objective, tile_px: int, step: int) -> tuple[Tensor, float]:
    """The gradient of the negative objective, tile by tile, tiles of nearly equal sides; and the mean loss over
    tiles.
    """
    gradient = torch.zeros_like(image)
    losses = []
    rows, columns = (_cuts(side, tile_px) for side in image.shape[2:])
    for top, bottom in itertools.pairwise(rows):
        for left, right in itertools.pairwise(columns):
            tile = image[:, :, top:bottom, left:right].clone().requires_grad_()
            loss = -objective(tile)
            gradient[:, :, top:bottom, left:right] = step_gradient(loss, [tile], step)[0]
            losses.append(loss.item())
    return gradient, sum(losses) / len(losses)


def _cuts(side: int, tile_px: int) -> list[int]:
    """Where a side is cut: 0, ..., side."""
    count = max(1, -(-side // tile_px))
    return [round(side * place / count) for place in range(count + 1)]


def _resize(images: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(images.shape[2:]) == size:
        return images
    return F.interpolate(images, size=size, mode="bicubic", antialias=True, align_corners=False)


def _with_detail(original: Tensor, detail: Tensor) -> np.ndarray:
    return to_pixels(original + _resize(detail, (original.shape[2], original.shape[3])))
