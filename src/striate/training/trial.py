"""Steps on a copy of a network, of which nothing stays: what a scan of rates and a repetition are made of."""

import copy
from collections.abc import Generator
from itertools import count

from lightning_fabric import Fabric
from torch import nn
from torch.optim import Optimizer

from striate.training.batches import BatchSource
from striate.training.frozen.layer_groups import layer_groups, num_open_groups, open_groups
from striate.training.optimizers import build_optimizer
from striate.training.recipe import Recipe
from striate.training.step import Batch


def copy_to_train(network: nn.Module, recipe: Recipe, *, head: str | None) -> tuple[nn.Module, Optimizer]:
    """A copy of the network, what the recipe's first epoch trains open, and the recipe's optimiser of its weights."""
    trainee = copy.deepcopy(network)
    groups = layer_groups(trainee, head=head)
    open_groups(trainee, groups, num_open_groups(recipe.freeze, 0, recipe.epochs, len(groups)))
    optimizer = build_optimizer(recipe.optimizer, groups, layer_rate_factor=recipe.layer_rate_factor, use_fused=False)
    return trainee, optimizer


def endless_batches(loader: BatchSource, recipe: Recipe, fabric: Fabric) -> Generator[Batch, None, None]:
    """Training batches, epoch after epoch."""
    for epoch in count():
        yield from loader.train_batches(recipe, epoch, fabric.device)
