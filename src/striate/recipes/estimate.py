"""How long a run will take on this machine, said before it starts: from what was measured, or else from a few
images.
"""

import time
from functools import partial

import torch

from striate.networks.restore import evaluating
from striate.recipes.devices import make_fabric, threads
from striate.recipes.mode_choice import ModeChoice
from striate.recipes.prepare import Prepared
from striate.training.distributed.launch import Rank
from striate.training.loader import Loader
from striate.training.randomness import preserved_randomness
from striate.training.speed.autotune import FEWEST_IMAGES, Mode, trial_image_s

FORWARD_PART = 1 / 3
"""Of the work of a training step: the backward pass takes two thirds."""


def estimate_s(prepared: Prepared, loader: Loader, mode: ModeChoice | None, device: torch.device) -> float:
    """Seconds that training and validation will take, sanity checks and report aside; within a factor of two or so.

    Where nothing was measured, two steps on up to eight images are made on a copy. The network stays as it is.
    """
    recipe = prepared.recipe
    num_train, num_validation = len(loader.train), len(loader.validation)
    if recipe.views > 0:
        return (recipe.views * num_train + num_validation) * _forward_s(prepared, loader, device)
    image_s = None if mode is None else mode.image_s
    if image_s is None:
        own = Mode(recipe.precision, recipe.use_channels_last, recipe.num_threads, recipe.use_cuda_graphs)
        make = partial(make_fabric, device, place=Rank())
        image_s = trial_image_s(prepared.network, recipe, loader, own, make, head=prepared.entry.head)
    return recipe.epochs * (num_train + FORWARD_PART * num_validation) * image_s


def _forward_s(prepared: Prepared, loader: Loader, device: torch.device) -> float:
    """Seconds an image of a forward pass, which is all that frozen layers cost."""
    batch = loader.plain_batch(loader.train[:FEWEST_IMAGES], device)
    network = prepared.network.to(device)
    with (
        threads(prepared.recipe.num_threads),
        preserved_randomness(device),
        evaluating(network),
        torch.inference_mode(),
    ):
        network(batch.images)
        began_at = time.perf_counter()
        float(network(batch.images).float().sum())
        return (time.perf_counter() - began_at) / len(batch.images)


def in_words(seconds: float) -> str:
    """A span as one says it before it has passed: "some seconds", "about 40 s", "about 6 min", "about 2.5 h"."""
    if seconds < 10:
        return "some seconds"
    if seconds < 90:
        return f"about {round(seconds, -1):.0f} s"
    if seconds < 90 * 60:
        return f"about {seconds / 60:.0f} min"
    if seconds < 36 * 3600:
        return f"about {seconds / 3600:.1f} h"
    return f"about {seconds / 86400:.1f} days"
