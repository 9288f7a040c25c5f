"""Pictures that fool a network: the least visible change after which it answers with another class.

The norm of the change and its direction are found apart (Rony et al. 2018, arXiv:1811.09600, algorithm 1), and every
candidate is rounded to 8 bits before it counts.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from striate.errors import InputError
from striate.synthesis.answering import answer
from striate.synthesis.models import device_of, frozen_float32, logits_of, step_gradient
from striate.synthesis.pictures import to_images, to_pixels
from striate.synthesis.visualize import naming_small_pictures
from striate.synthesis.watching import UNWATCHED, Watch


@dataclass(frozen=True)
class FoolConfig:
    """The class must be answered with a probability of at least `confidence`.

    At each of `num_steps` the norm of the change shrinks or grows by the fraction `norm_step`.
    """

    confidence: float = 0.9
    num_steps: int = 100
    norm_step: float = 0.05

    def __post_init__(self) -> None:
        if not 0 < self.confidence < 1 or self.num_steps < 1 or not 0 < self.norm_step < 1:
            raise InputError(
                f"confidence and norm step must lie between 0 and 1 and steps be at least 1 but they are "
                f"{self.confidence:g}, {self.norm_step:g} and {self.num_steps}"
            )


@dataclass(frozen=True, eq=False)
class Fooled:
    """What came of it: pixels (H, W, C) uint8, the probability of the class, and whether that reached the confidence.

    `l2` is the root of the summed squares of the change and `largest` its largest value, both in units of 0..255;
    `losses` are cross-entropies in nats.
    """

    pixels: np.ndarray
    probability: float
    is_fooled: bool
    l2: float
    largest: int
    losses: tuple[float, ...]
    was_stopped: bool = False


def fool(
    model: nn.Module,
    pixels: np.ndarray,
    class_index: int,
    config: FoolConfig | None = None,
    *,
    watch: Watch = UNWATCHED,
) -> Fooled:
    """Change pixels (H, W, C) uint8 as little as it takes for `model` to answer `class_index`.

    `model` takes images (1, C, H, W) in [0, 1] and gives scores (1, K); it comes back as it was. Where the confidence
    is never reached, the closest attempt is given with `is_fooled` False. Raises InputError for a class that there is
    not.

    `pixels` is one image of the size the network takes; `config` has the confidence to reach and the steps.
    """
    config = config or FoolConfig()
    images = to_images(pixels, device_of(model))
    search = _Search(images, class_index, config)
    losses: list[float] = []
    was_stopped = False
    with frozen_float32(model), naming_small_pictures(pixels.shape[:2]):
        for step in range(1, config.num_steps + 1):
            losses.append(search.step(model, step))
            watch.on_step(step, config.num_steps, losses[-1], lambda: to_pixels(search.best))
            if watch.should_stop():
                was_stopped = step < config.num_steps
                break
    changed = to_pixels(search.best)
    difference = changed.astype(np.int64) - pixels
    probability = float(answer(model, changed)[class_index])
    return Fooled(
        changed,
        probability,
        probability >= config.confidence,
        math.sqrt(float((difference**2).sum())),
        int(np.abs(difference).max()),
        tuple(losses),
        was_stopped,
    )


class _Search:
    """The change so far, its allowed norm, and the best rounded picture: the least change that fools, else the most
    probable.
    """

    def __init__(self, images: Tensor, class_index: int, config: FoolConfig) -> None:
        self.images, self.class_index, self.config = images, class_index, config
        self.change = torch.zeros_like(images)
        self.norm = 1.0
        self.best = images
        self.best_key = (1, 0.0)  # 0 and the norm once it fools; 1 and minus the probability before

    def step(self, model: nn.Module, step: int) -> float:
        """Answer the present candidate, keep it if it is the best, and move on. Gives the cross-entropy in nats."""
        candidate = ((self.images + self.change) * 255).round().div(255).requires_grad_()
        logits = logits_of(model, candidate)
        if not 0 <= self.class_index < logits.shape[1]:
            raise InputError(
                f"class {self.class_index} was asked for but the network has classes 0 to {logits.shape[1] - 1}"
            )
        loss = F.cross_entropy(logits, torch.tensor([self.class_index], device=logits.device))
        (gradient,) = step_gradient(loss, [candidate], step)
        probability = math.exp(-loss.item())
        self._keep(candidate.detach(), probability)
        self._move(gradient, step, is_fooled=probability >= self.config.confidence)
        return loss.item()

    def _keep(self, candidate: Tensor, probability: float) -> None:
        norm = (candidate - self.images).norm().item()
        key = (0, norm) if probability >= self.config.confidence else (1, -probability)
        if key < self.best_key:
            self.best, self.best_key = candidate, key

    def _move(self, gradient: Tensor, step: int, *, is_fooled: bool) -> None:
        """Follow the gradient by a length that falls from the norm to a hundredth of it, then project on the allowed
        norm.
        """
        fraction = (step - 1) / self.config.num_steps
        length = (0.01 + 0.5 * 0.99 * (1 + math.cos(math.pi * fraction))) * max(1.0, self.norm / 5)
        moved = self.change - length * gradient / gradient.norm().clamp(min=1e-12)
        self.norm *= 1 - self.config.norm_step if is_fooled else 1 + self.config.norm_step
        moved = moved * (self.norm / moved.norm().clamp(min=1e-12))
        self.change = (self.images + moved).clamp(0, 1) - self.images
        self.norm = min(
            self.norm, max(self.change.norm().item(), 0.01)
        )  # a norm beyond the range would stop the search


def noise_pixels(size: tuple[int, int], channels: int, seed: int) -> np.ndarray:
    """Uniform noise (H, W, C) uint8, to fool from."""
    return np.random.default_rng(seed).integers(0, 256, (*size, channels), dtype=np.uint8)


def magnified_difference(before: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, int]:
    """The change between two pictures around mid-grey, multiplied by a whole number that makes its largest value
    visible.
    """
    difference = after.astype(np.int64) - before
    factor = max(1, 127 // max(1, int(np.abs(difference).max())))
    return np.clip(128 + factor * difference, 0, 255).astype(np.uint8), factor
