"""Does a run repeat itself here? The same few steps from the same start, twice, compared bit for bit."""

import contextlib
from dataclasses import asdict, dataclass
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from striate.progress import Track, track_silently
from striate.training.batches import BatchSource
from striate.training.objective import objective_of
from striate.training.randomness import preserved_randomness, seed_for
from striate.training.recipe import Recipe
from striate.training.step import compiled, train_step
from striate.training.trial import copy_to_train, endless_batches

NUM_STEPS = 10


@dataclass(frozen=True)
class Repeatability:
    """Whether all weights and statistics are equal bit for bit after each of `num_steps` steps; else the first step
    (from 1) and tensor that are not, and the largest difference at the end. `reasons` say why, as far as it was found.
    """

    num_steps: int
    is_equal: bool
    step: int | None = None
    tensor: str | None = None
    max_difference: float = 0.0
    reasons: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def verify_steps(
    network: nn.Module,
    recipe: Recipe,
    loader: BatchSource,
    *,
    fabric: Fabric,
    head: str | None = None,
    num_steps: int = NUM_STEPS,
    track: Track = track_silently,
) -> Repeatability:
    """Train copies of `network` twice for `num_steps` steps of the recipe, augmentation and dropout included.

    Where they differ the steps are tried with one thread on a CPU, and with deterministic operators on a GPU, to say
    which of them is the reason. Runs in one process; nothing but the result is left behind. Raises NonFiniteLoss.
    """
    fabric.to_device(network)

    def steps(title: str) -> list[dict[str, Tensor]]:
        return _states(network, recipe, loader, fabric, head, num_steps, track, title)

    first, second = steps("training ten steps"), steps("and once more")
    for step, (own, other) in enumerate(zip(first, second, strict=True), start=1):
        unequal = [name for name in own if not _same_bits(own[name], other[name])]
        if unequal:
            pairs = [(first[-1][name], second[-1][name]) for name in first[-1]]
            largest = max(float((a.double() - b.double()).abs().max()) if a.numel() else 0.0 for a, b in pairs)
            return Repeatability(num_steps, False, step, unequal[0], largest, _reasons(steps, fabric.device))
    return Repeatability(num_steps, True)


def _states(
    network: nn.Module,
    recipe: Recipe,
    loader: BatchSource,
    fabric: Fabric,
    head: str | None,
    num_steps: int,
    track: Track,
    title: str,
) -> list[dict[str, Tensor]]:
    """All weights and statistics of a copy of the network after each step."""
    with preserved_randomness(fabric.device):
        trainee, optimizer = copy_to_train(network, recipe, head=head)
        model = compiled(fabric.setup_module(trainee, move_to_device=False), recipe.use_compile)
        loss_fn = objective_of(recipe, loader, fabric.device)
        found = []
        with contextlib.closing(endless_batches(loader, recipe, fabric)) as batches:
            for step in track(range(num_steps), title, num_steps):
                seed = seed_for(recipe.seed, "verify", step)
                train_step(model, [next(batches)], loss_fn, optimizer, fabric, seed=seed)
                found.append({name: value.detach().cpu().clone() for name, value in trainee.state_dict().items()})
    return found


def _same_bits(first: Tensor, second: Tensor) -> bool:
    """Also where both are NaN, or zeros of different signs."""
    return torch.equal(first.contiguous().view(-1).view(torch.uint8), second.contiguous().view(-1).view(torch.uint8))


def _reasons(steps: Any, device: torch.device) -> tuple[str, ...]:
    """What makes the steps differ: tried, not guessed."""
    if device.type == "cpu":
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            first, second = steps("with one thread"), steps("and once more")
        finally:
            torch.set_num_threads(before)
        is_equal = all(_same_bits(first[-1][name], second[-1][name]) for name in first[-1])
        what = "sums of several threads come in any order: with --threads 1 the steps are equal"
        return (what,) if is_equal else ("with one thread they differ too: an operator or the network draws at random",)
    was_on = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        first, second = steps("with deterministic operators"), steps("and once more")
    except RuntimeError as error:
        return (str(error).splitlines()[0],)
    finally:
        torch.use_deterministic_algorithms(was_on)
    is_equal = all(_same_bits(first[-1][name], second[-1][name]) for name in first[-1])
    return (
        ("PyTorch's faster operators: with torch.use_deterministic_algorithms the steps are equal",) if is_equal else ()
    )
