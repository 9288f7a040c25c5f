"""Features of a frozen base: what its layers give of every image, computed once for each of a few augmented views.

n images of a batch, N training images, V views. Epoch e takes view e modulo V. A part that is trained on these learns
what it would learn behind the frozen layers, were they given the same views: nothing in them changes.
"""

import dataclasses
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from striate.data.parallel import prefetch
from striate.data.preprocessing import Preprocessing
from striate.data.sampling import batch_slice, epoch_order
from striate.progress import Track, track_silently
from striate.tasks.task import Annotations, Targets, Task, each_tensor
from striate.training.frozen.trainable_tail import TrainableTail
from striate.training.loader import Loader, layout
from striate.training.randomness import generator_for
from striate.training.recipe import Recipe
from striate.training.step import Batch

BATCH_SIZE = 32
"""Images that go through the frozen layers at a time, whatever the batch of the rest: part of what decides the
features.
"""


@dataclass(frozen=True, eq=False)
class FeatureLoader:
    """A `BatchSource` of features: `views` holds V tensors (N, ...), `validation_features` one of as many rows as there
    are validation images. All else is as `images`, which they were made of, has it.
    """

    images: Loader
    views: tuple[Tensor, ...]
    validation_features: Tensor

    @property
    def task(self) -> Task:
        return self.images.task

    @property
    def annotations(self) -> Annotations:
        return self.images.annotations

    @property
    def preprocessing(self) -> Preprocessing:
        return self.images.preprocessing

    @property
    def labels(self) -> np.ndarray:
        return self.images.labels

    @property
    def train(self) -> np.ndarray:
        return self.images.train

    @property
    def validation(self) -> np.ndarray:
        return self.images.validation

    def digest(self) -> str:
        """That of the images: the features follow from them, the recipe and the weights."""
        return self.images.digest()

    def num_batches(self, recipe: Recipe, world_size: int = 1) -> int:
        """As many as the images have."""
        return self.images.num_batches(recipe, world_size)

    def plain_targets(self, indices: np.ndarray) -> Targets:
        """Those of the images."""
        return self.images.plain_targets(indices)

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
        """Features of the epoch's view, in the order in which the images would come."""
        view = self.views[epoch % len(self.views)]
        order = epoch_order(
            self.train, self.labels, seed=recipe.seed, epoch=epoch, use_balanced_sampling=recipe.use_balanced_sampling
        )
        for start, stop in self.images.bounds(recipe, world_size)[first_batch:]:
            share = batch_slice(stop - start, rank, world_size)
            batch = self._batch(view, self.train, order[start:stop][share.start : share.stop], device)
            yield dataclasses.replace(batch, share=share)

    def validation_batches(self, indices: np.ndarray, batch_size: int, device: torch.device) -> Iterator[Tensor]:
        """Features of these validation images, in order."""
        for start in range(0, len(indices), batch_size):
            part = indices[start : start + batch_size]
            yield self._batch(self.validation_features, self.validation, part, device).images

    def plain_batch(self, indices: np.ndarray, device: torch.device) -> Batch:
        """Features of these training images, of their first view, with their labels."""
        return self._batch(self.views[0], self.train, indices, device)

    def _batch(self, features: Tensor, own: np.ndarray, indices: np.ndarray, device: torch.device) -> Batch:
        """The rows of `features`, which are of the images `own` (sorted), for the images `indices`, as float32."""
        places = torch.from_numpy(np.searchsorted(own, indices)).to(features.device)
        targets = each_tensor(self.plain_targets(indices), lambda tensor: tensor.to(device))
        return Batch(features[places].to(device, torch.float32), targets)


def with_features(
    loader: Loader,
    recipe: Recipe,
    part: TrainableTail,
    device: torch.device,
    *,
    autocast_dtype: torch.dtype | None,
    track: Track = track_silently,
) -> FeatureLoader:
    """Every view of the training images, and the validation images as they are, sent through the frozen layers.

    These must be on `device`, where the features stay. They depend on the recipe, the layers and the images alone.
    """

    def place(features: Tensor) -> torch.memory_format:
        return layout(recipe) if features.ndim == 4 else torch.contiguous_format

    def features(images: Tensor) -> Tensor:
        with torch.no_grad(), torch.autocast(device.type, dtype=autocast_dtype, enabled=autocast_dtype is not None):
            found = part.features(images.to(device))
        return found.contiguous(memory_format=place(found))

    starts = range(0, len(loader.train), BATCH_SIZE)
    parts = [(view, start) for view in range(recipe.views) for start in starts]
    num_readers = loader.num_readers(recipe)
    thunks = (partial(view_images, loader, recipe, view, start) for view, start in parts)
    views: list[Tensor] = []
    with closing(prefetch(thunks, depth=num_readers + 1, num_workers=num_readers)) as batches:
        for (view, start), images in zip(parts, track(batches, "running the frozen layers", len(parts)), strict=True):
            rows = features(images)
            if view == len(views):  # its first images: only now are the features' sizes known
                shape = (len(loader.train), *rows.shape[1:])
                views.append(torch.empty(shape, dtype=rows.dtype, device=device, memory_format=place(rows)))
            views[view][start : start + len(rows)] = rows
    plain = loader.validation_batches(loader.validation, BATCH_SIZE, device)
    return FeatureLoader(loader, tuple(views), torch.cat([features(images) for images in plain]))


def view_images(loader: Loader, recipe: Recipe, view: int, start: int) -> Tensor:
    """The training images at the places `start` to `start` + BATCH_SIZE as this view has them: (n, C, H, W)."""
    generator = generator_for(recipe.seed, "view", view, start)
    return loader.random_images(recipe, loader.train[start : start + BATCH_SIZE], generator)
