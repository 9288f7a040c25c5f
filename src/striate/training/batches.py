"""What a run trains and validates on, whatever it is made of: images read and augmented anew, or features kept of a
frozen base.

n images of a batch.
"""

from collections.abc import Generator, Iterator
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from striate.data.preprocessing import Preprocessing
from striate.tasks.task import Annotations, Targets, Task
from striate.training.recipe import Recipe
from striate.training.step import Batch


class BatchSource(Protocol):
    """Batches in the order of an epoch. `train` and `validation` are indices of images; `labels` (N,) has the class of
    each.

    A batch depends on the recipe, the epoch and its place alone, so that a run can go on anywhere: `digest` tells
    whether two sources are the same. `loader.Loader` and `frozen.feature_cache.FeatureLoader` are the two there are.
    """

    @property
    def task(self) -> Task: ...

    @property
    def annotations(self) -> Annotations: ...

    @property
    def preprocessing(self) -> Preprocessing: ...

    @property
    def labels(self) -> np.ndarray: ...

    @property
    def train(self) -> np.ndarray: ...

    @property
    def validation(self) -> np.ndarray: ...

    def digest(self) -> str:
        """64 hexadecimal digits of the split, the annotations and how images are prepared."""
        ...

    def num_batches(self, recipe: Recipe, world_size: int = 1) -> int:
        """Number of batches in an epoch."""
        ...

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
        """The batches of `epoch` (from 0) from `first_batch` on, this process's share of each, ready on `device`."""
        ...

    def validation_batches(self, indices: np.ndarray, batch_size: int, device: torch.device) -> Iterator[Tensor]:
        """What the network gets of these validation images, in order, as in evaluation."""
        ...

    def plain_batch(self, indices: np.ndarray, device: torch.device) -> Batch:
        """These training images, nothing changed at random, with their targets, on `device`."""
        ...

    def plain_targets(self, indices: np.ndarray) -> Targets:
        """The targets of these images where nothing is changed at random, on the CPU."""
        ...
