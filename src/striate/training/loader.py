"""The training data loader: images with targets, in batches, augmented and normalised for the network.

n images of a batch, C channels, K classes.
"""

import dataclasses
import hashlib
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from torch import Tensor

from striate.data.augmentation import (
    Changes,
    apply_changes,
    are_large,
    augment,
    changed_one_by_one,
    draw_changes,
    draw_mix,
    mix_pairs,
)
from striate.data.geometry import Geometry
from striate.data.packed import PreparedImages
from striate.data.parallel import compute_alone, num_processors, prefetch
from striate.data.preprocessing import Preprocessing
from striate.data.resident import ResidentImages, place_on, room_on
from striate.data.sampling import (
    ASPECT_CHANGE,
    CROP_ASPECT,
    BatchSlice,
    batch_bounds,
    batch_slice,
    each_crop,
    epoch_order,
    random_crop_boxes,
    read_batch,
    read_crops,
    read_random_crops,
    stream_order,
    takes_turns,
)
from striate.data.to_device import send
from striate.errors import InputError
from striate.evaluation.evaluate_network import plain_batches, plain_targets
from striate.tasks.task import Annotations, Targets, Task, each_tensor
from striate.training.randomness import generator_for, seed_for
from striate.training.recipe import Recipe
from striate.training.step import Batch

MAX_READERS = 8


@dataclass(frozen=True, eq=False)
class Draws:
    """The random choices of a whole batch of N images, from which each process takes those of its own.

    `boxes` (N, 4) are its crops, `shares` (N,) and `partners` (N,) its mixup; None where there is none.
    """

    boxes: np.ndarray | None
    changes: Changes
    shares: Tensor | None
    partners: Tensor | None


@dataclass(frozen=True, eq=False)
class Loader:
    """The images of a run, what the source says of them, and the task. `train` and `validation` are indices into the
    packed images. Up to `max_readers` threads cut and resize random crops; reading whole images needs but one.
    """

    packed: PreparedImages
    annotations: Annotations
    train: np.ndarray
    validation: np.ndarray
    preprocessing: Preprocessing
    task: Task
    max_readers: int = field(default=MAX_READERS, kw_only=True)
    _resident: dict[torch.device, ResidentImages | None] = field(default_factory=dict, init=False, repr=False)

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
                f"labels must lie in [0, {self.num_classes - 1}], one number a class, but run from {used.min()} to "
                f"{used.max()}"
            )

    @property
    def labels(self) -> np.ndarray:
        """(N,) int64: the class of each image."""
        return self.annotations.labels

    @property
    def class_names(self) -> tuple[str, ...]:
        """Those of the task."""
        return self.task.class_names

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    def digest(self) -> str:
        """SHA-256 of the split, the labels and how images are prepared: a run can go on only with the same ones."""
        parts = [repr((self.class_names, self.preprocessing)).encode()]
        parts += [np.ascontiguousarray(part, np.int64).tobytes() for part in (self.labels, self.train, self.validation)]
        parts += self.annotations.digest_parts()
        return hashlib.sha256(b"|".join(parts)).hexdigest()

    def num_batches(self, recipe: Recipe, world_size: int = 1) -> int:
        """Number of batches in an epoch."""
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

        A batch depends on the recipe, the epoch and its place alone: the processes together see what one alone would,
        bit for bit. Every process draws for the whole batch and reads its own images and, for mixup, their partners.
        Batches are read ahead in the background; close the iterator to end that. On a GPU, images of one size that take
        no more than a quarter of its free memory lie there from the first batch on.
        """
        order = self._order(recipe, epoch)
        if device not in self._resident and recipe.augmentation.crop_scale is None:
            self._resident[device] = place_on(self.packed, device, room_on(device))
        bounds = self.bounds(recipe, world_size)

        def thunks() -> Iterator[Callable[[], Callable[[], Batch]]]:
            for number in range(first_batch, len(bounds)):
                start, stop = bounds[number]
                share = batch_slice(stop - start, rank, world_size)
                generator = generator_for(recipe.seed, "augmentation", epoch, number, 0)
                yield partial(self._load, recipe, order[start:stop], epoch, share, generator, device)

        num_readers = self.num_readers(recipe)
        begin = compute_alone if num_readers > 1 else None
        for finish in prefetch(thunks(), depth=num_readers + 1, num_workers=num_readers, initializer=begin):
            yield finish()

    def num_readers(self, recipe: Recipe) -> int:
        """Number of prefetching threads: more than one where images are decoded or randomly cropped."""
        is_work = recipe.augmentation.crop_scale is not None or self.packed.num_readers > 1
        return min(self.max_readers, num_processors()) if is_work else 1

    def _has_free_processor(self, recipe: Recipe) -> bool:
        """Whether images are changed and prepared beside the network's own work. Where that takes every processor,
        doing both at once only makes their threads wait for each other: LeNet-5 trained at three quarters of its speed.
        """
        return self.num_readers(recipe) > 1 or torch.get_num_threads() < num_processors()

    def validation_batches(self, indices: np.ndarray, batch_size: int, device: torch.device) -> Iterator[Tensor]:
        """These images as in evaluation, without labels: batches (n, C, H, W) on `device`, in order."""
        resident = self._resident.get(device)
        if resident is None:
            yield from plain_batches(self.packed, indices, self.preprocessing, batch_size, device)
            return
        for start in range(0, len(indices), batch_size):
            pixels = resident.batch(indices[start : start + batch_size], self.preprocessing.crop_size)
            yield self.preprocessing.normalize(pixels)

    def plain_targets(self, indices: np.ndarray) -> Targets:
        """The targets of these images as in evaluation, on the CPU."""
        return plain_targets(self.annotations, self.packed, self.preprocessing, indices)

    def plain_batch(self, indices: np.ndarray, device: torch.device) -> Batch:
        """These images as in evaluation, nothing changed at random, with their targets, on `device`."""
        pixels = read_batch(self.packed, indices, self.preprocessing.crop_size).to(device)
        return Batch(self.preprocessing.normalize(pixels), _sent(self.plain_targets(indices), device))

    def _targets(self, recipe: Recipe, indices: np.ndarray, draws: Draws, places: Tensor | slice) -> Targets:
        """The targets of the images `indices`, which are at `places` of a batch, moved as these are; on the CPU."""
        crops = None if draws.boxes is None else draws.boxes[places if isinstance(places, slice) else places.numpy()]
        changes = draws.changes.of(places)
        geometry = Geometry(self.preprocessing, self.packed.shapes[indices], crops, changes, self.size(recipe))
        return self.annotations.targets(indices, geometry)

    def size(self, recipe: Recipe) -> tuple[int, int]:
        """(height, width) of what the network sees in training."""
        return recipe.augmentation.crop_size or self.preprocessing.crop_size

    def bounds(self, recipe: Recipe, world_size: int) -> list[tuple[int, int]]:
        """(start, stop) of each batch of an epoch."""
        return batch_bounds(len(self.train), recipe.batch_size, smallest=max(2, world_size))

    def _order(self, recipe: Recipe, epoch: int) -> np.ndarray:
        """The training images in the order of this epoch."""
        regions = self.packed.regions
        if recipe.stream_images and regions is not None and not recipe.use_balanced_sampling:
            return stream_order(self.train, regions, seed=recipe.seed, epoch=epoch, num_together=recipe.stream_images)
        return epoch_order(
            self.train, self.labels, seed=recipe.seed, epoch=epoch, use_balanced_sampling=recipe.use_balanced_sampling
        )

    def _load(
        self,
        recipe: Recipe,
        indices: np.ndarray,
        epoch: int,
        share: BatchSlice,
        generator: torch.Generator,
        device: torch.device,
    ) -> Callable[[], Batch]:
        """All that is done ahead, in another thread: the reading, and the rest too where another device does it or a
        processor is free for it. The result gives the batch: of the images `indices`, those that are the process's
        share.
        """
        draws = self._draw(recipe, indices, epoch, generator)
        is_large = are_large((self.packed.channels, *self.size(recipe)), device)
        if draws.boxes is not None and draws.partners is None and is_large:
            crops = self._crops_one_by_one(recipe, indices, draws, share)
            return lambda: crops
        own = torch.arange(share.start, share.stop)
        needed = own if draws.partners is None else torch.cat([own, draws.partners[own]]).unique()
        own_indices, resident = indices[needed.numpy()], self._resident.get(device)
        targets = self._targets(recipe, own_indices, draws, needed)
        pixels: Callable[[], Tensor]
        if resident is None or draws.boxes is not None:
            read = self._read(recipe, own_indices, draws.boxes, needed)
            pixels = partial(send, read, device)
        else:
            pixels = partial(resident.batch, own_indices, self.preprocessing.crop_size)
        finish = partial(self._prepare, recipe, pixels, targets, draws, needed, share, device)
        if device.type == "cpu" and not self._has_free_processor(recipe):
            return finish
        batch = finish()
        return lambda: batch

    def _draw(self, recipe: Recipe, indices: np.ndarray, epoch: int, generator: torch.Generator) -> Draws:
        """Every random choice for the images of a batch; mirror images take turns from epoch to epoch."""
        size, augmentation = self.size(recipe), recipe.augmentation
        boxes = None
        if augmentation.crop_scale is not None:
            aspect = CROP_ASPECT
            if augmentation.crop_size is not None:
                aspect = (size[1] / size[0] / ASPECT_CHANGE, size[1] / size[0] * ASPECT_CHANGE)
            shapes = self.packed.shapes[indices]
            boxes = random_crop_boxes(shapes, augmentation.crop_scale, generator, aspect=aspect)
        changes = draw_changes((len(indices), self.preprocessing.channels, *size), augmentation, generator)
        if augmentation.flip:
            mirrored = takes_turns(indices, seed=seed_for(recipe.seed, "mirror"), epoch=epoch)
            changes = dataclasses.replace(changes, flipped=torch.from_numpy(mirrored))
        shares = partners = None
        if augmentation.mixup > 0:
            shares, partners = draw_mix(len(indices), augmentation.mixup, generator)
        return Draws(boxes, changes, shares, partners)

    def _read(self, recipe: Recipe, indices: np.ndarray, boxes: np.ndarray | None, places: Tensor) -> Tensor:
        """Pixels (n, C, H, W) uint8 on the CPU; of `boxes`, those at `places` are the images' crops."""
        size = self.size(recipe)
        if boxes is None:
            return read_batch(self.packed, indices, size)
        return read_crops(self.packed, indices, size, boxes[places.numpy()], layout(recipe))

    def _crops_one_by_one(self, recipe: Recipe, indices: np.ndarray, draws: Draws, share: BatchSlice) -> Batch:
        """The batch of random crops that `_read` and `_prepare` give, to rounding, in half the time: each is ready
        before it leaves the processor's cache.
        """
        assert draws.boxes is not None
        own = slice(share.start, share.stop)
        crops = each_crop(self.packed, indices[own], self.size(recipe), draws.boxes[own])
        shape = (share.stop - share.start, self.packed.channels, *self.size(recipe))
        images = torch.empty(shape, dtype=torch.float32, memory_format=layout(recipe))
        with torch.inference_mode():  # `images`, made before it, are none of its own and may be trained on
            changed = changed_one_by_one(crops, draws.changes.of(own), recipe.augmentation)
            self.preprocessing.normalize_one_by_one(changed, images)
        return Batch(images, self._targets(recipe, indices[own], draws, own), share)

    def random_images(self, recipe: Recipe, indices: np.ndarray, generator: torch.Generator) -> Tensor:
        """These images changed at random as in training, mixup aside, as the network gets them: (n, C, H, W)
        float32.
        """
        size, scale = self.size(recipe), recipe.augmentation.crop_scale
        if scale is None:
            pixels = read_batch(self.packed, indices, size)
        else:
            pixels = read_random_crops(self.packed, indices, size, scale, generator, memory_format=layout(recipe))
        return self.preprocessing.normalize(augment(pixels, recipe.augmentation, generator))

    def _prepare(
        self,
        recipe: Recipe,
        pixels: Callable[[], Tensor],
        targets: Targets,
        draws: Draws,
        places: Tensor,
        share: BatchSlice,
        device: torch.device,
    ) -> Batch:
        """Augmentation, mixup and the model's own preprocessing, computed on `device`, where `pixels` brings the
        images: those at `places` (sorted) of the batch.
        """
        images, targets = pixels(), _sent(targets, device)
        images = apply_changes(images, draws.changes.of(places), recipe.augmentation)
        if draws.shares is not None and draws.partners is not None:
            own = torch.arange(share.start, share.stop)
            rows, others = (send(torch.searchsorted(places, part), device) for part in (own, draws.partners[own]))
            shares = send(draws.shares[own], device)
            images = mix_pairs(images[rows], images[others], shares)
            targets = self.task.mix(targets, rows, others, shares)
        return Batch(self.preprocessing.normalize(images), targets, share)


def _sent(targets: Targets, device: torch.device) -> Targets:
    return each_tensor(targets, partial(send, device=device))


def layout(recipe: Recipe) -> torch.memory_format:
    """Memory format of the network's input."""
    return torch.channels_last if recipe.use_channels_last else torch.contiguous_format
