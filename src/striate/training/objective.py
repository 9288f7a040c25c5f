"""The loss of a run: its task's, with the recipe's settings."""

import torch

from striate.tasks.task import Objective
from striate.training.batches import BatchSource
from striate.training.recipe import Recipe


def objective_of(recipe: Recipe, loader: BatchSource, device: torch.device) -> Objective:
    """The recipe's loss on these data. Raises InputError where the task has none such."""
    return loader.task.objective(
        loader.annotations,
        loader.train,
        loss=recipe.loss,
        label_smoothing=recipe.label_smoothing,
        use_class_weights=recipe.use_class_weights,
        device=device,
    )
