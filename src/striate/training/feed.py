"""What a run is fed: packed images with their labels, cut into batches, changed at random, prepared for the network.

n images of a batch, C channels, K classes.
"""

import hashlib
import os
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from striate.data.augmentation import augment, mixup
from striate.data.feeding import batch_bounds, epoch_order, read_batch, read_random_crops, shard
from striate.data.packed import PackedImages
from striate.data.parallel import prefetch
from striate.data.preprocessing import Preprocessing
from striate.errors import InputError
from striate.evaluation.evaluate import plain_batches
from striate.training.randomness import generator_for
from striate.training.recipe import Recipe
from striate.training.step import Batch

MAX_READERS = 8
"""Threads that cut and resize random crops; reading whole images needs but one."""


@dataclass(frozen=True, eq=False)
class Feed:
    """The images of a run. `labels` (N,) int64 index `class_names`; `train` and `validation` are indices into the
    packed images.
    """

    packed: PackedImages
    labels: np.ndarray
    train: np.ndarray
    validation: np.ndarray
    preprocessing: Preprocessing
    class_names: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.labels) != len(self.packed):
            raise InputError(
                f"there are {len(self.packed)} packed images but {len(self.labels)} labels; give one label an image"
            )
        for name, indices in (("training", self.train), ("validation", self.validation)):
            if len(indices) == 0:
                raise InputError(f"there are no {name} images; give more images or another split")
        used = self.labels[np.concatenate([self.train, self.validation])]
        if used.min() < 0 or used.max() >= self.num_classes:
            raise InputError(
                f"labels must lie in [0, {self.num_classes - 1}], one number a class, but run from {used.min()} to {used.max()}"
            )

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    def digest(self) -> str:
        """SHA-256 of the split, the labels and how images are prepared: a run can go on only with the same ones."""
        parts = [repr((self.class_names, self.preprocessing)).encode()]
        parts += [np.ascontiguousarray(part, np.int64).tobytes() for part in (self.labels, self.train, self.validation)]
        return hashlib.sha256(b"|".join(parts)).hexdigest()

    def num_batches(self, recipe: Recipe, world_size: int = 1) -> int:
        """How many batches an epoch has."""
        return len(self.bounds(recipe, world_size))

    def train_batches(
        self,
        recipe: Recipe,
        epoch: int,
        device: torch.device,
        *,
        first_batch: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> Generator[Batch, None, None]:
        """The batches of `epoch` (from 0) from `first_batch` on, this process's share of each, ready on `device`.

        A batch depends on the recipe, the epoch, its place and the process alone. It is read ahead in the background;
        close the iterator to end that.
        """
        order = epoch_order(
            self.train, self.labels, seed=recipe.seed, epoch=epoch, use_balanced_sampling=recipe.use_balanced_sampling
        )
        thunks: list[Callable[[], Callable[[], Batch]]] = []
        for number, (start, stop) in enumerate(self.bounds(recipe, world_size)):
            if number >= first_batch:
                indices = shard(order[start:stop], rank, world_size)
                generator = generator_for(recipe.seed, "augmentation", epoch, number, rank)
                thunks.append(partial(self._load, recipe, indices, generator, device))
        num_readers = 1 if recipe.augmentation.crop_scale is None else min(MAX_READERS, os.cpu_count() or 1)
        for finish in prefetch(thunks, depth=num_readers + 1, num_workers=num_readers):
            yield finish()

    def validation_batches(self, indices: np.ndarray, batch_size: int, device: torch.device) -> Iterator[Tensor]:
        """These images as in evaluation, without labels: batches (n, C, H, W) on `device`, in order."""
        return plain_batches(self.packed, indices, self.preprocessing, batch_size, device)

    def plain_batch(self, indices: np.ndarray, device: torch.device) -> Batch:
        """These images as in evaluation, nothing changed at random, with their labels, on `device`."""
        pixels = read_batch(self.packed, indices, self.preprocessing.crop_size).to(device)
        return Batch(self.preprocessing.normalize(pixels), torch.from_numpy(self.labels[indices]).to(device))

    def bounds(self, recipe: Recipe, world_size: int) -> list[tuple[int, int]]:
        """(start, stop) of each batch of an epoch."""
        return batch_bounds(len(self.train), recipe.batch_size, smallest=2 * world_size)

    def _load(
        self, recipe: Recipe, indices: np.ndarray, generator: torch.Generator, device: torch.device
    ) -> Callable[[], Batch]:
        """All that can be done ahead, in another thread: the reading, and on the CPU the rest too. The result gives the
        batch.
        """
        pixels, labels = self._read(recipe, indices, generator, pin=device.type == "cuda")
        finish = partial(self._prepare, recipe, pixels, labels, generator, device)
        if device.type != "cpu":
            return finish
        batch = finish()
        return lambda: batch

    def _read(
        self, recipe: Recipe, indices: np.ndarray, generator: torch.Generator, *, pin: bool
    ) -> tuple[Tensor, Tensor]:
        """Pixels (n, C, H, W) uint8 and labels (n,) on the CPU; crops draw from the batch's generator."""
        size, scale = self.preprocessing.crop_size, recipe.augmentation.crop_scale
        if scale is None:
            pixels = read_batch(self.packed, indices, size)
        else:
            pixels = read_random_crops(self.packed, indices, size, scale, generator)
        labels = torch.from_numpy(self.labels[indices])
        return (pixels.pin_memory(), labels.pin_memory()) if pin else (pixels, labels)

    def random_images(self, recipe: Recipe, indices: np.ndarray, generator: torch.Generator) -> Tensor:
        """These images changed at random as in training, mixup aside, as the network gets them: (n, C, H, W) float32."""
        pixels, _ = self._read(recipe, indices, generator, pin=False)
        return self.preprocessing.normalize(augment(pixels, recipe.augmentation, generator))

    def _prepare(
        self, recipe: Recipe, pixels: Tensor, labels: Tensor, generator: torch.Generator, device: torch.device
    ) -> Batch:
        """Augmentation, mixup and the model's own preprocessing, computed on `device`."""
        images, targets = pixels.to(device, non_blocking=True), labels.to(device, non_blocking=True)
        images = augment(images, recipe.augmentation, generator)
        if recipe.augmentation.mixup > 0:
            shares = F.one_hot(targets, self.num_classes).to(torch.float32)
            images, targets = mixup(images, shares, recipe.augmentation.mixup, generator)
        return Batch(self.preprocessing.normalize(images), targets)
