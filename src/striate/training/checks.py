"""Sanity checks before the first epoch, as an experienced person would make them: they cost seconds and save nights.

All of them work on copies; the network, its gradients and torch's random streams are not touched.
"""

import copy
import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from striate.errors import NonFiniteLoss
from striate.networks.auxiliary import WithAuxiliary
from striate.tasks.task import Objective, Targets, each_tensor
from striate.training.batches import BatchSource
from striate.training.frozen.layer_groups import layer_groups, num_open_groups, open_groups
from striate.training.frozen.trainable_tail import TrainableTail
from striate.training.optimizers import split_by_decay
from striate.training.randomness import preserved_randomness, seed_device, seed_for
from striate.training.recipe import Recipe
from striate.training.step import Batch

NUM_IMAGES = 64
NUM_HANDFUL = 8
PENALTY = 1e-3
"""The weight decay that the check of regularisation uses where the recipe has none."""
OVERFIT_RATES = (1e-3, 1e-4)
HEAD_RATES = (1e-2, 1e-1)
"""For a head alone, which has few weights and no layers below it that could blow up."""
OVERFIT_STEPS = 150
OVERFIT_LOSS = 0.1
STILL_AFTER, STILL_SHARE = 1 / 3, 0.005
"""When in a run it is asked whether it learns at all, and how near to guessing counts as guessing."""
BUDGET_S = 10.0
"""After this the handful has had its chance: on a slow machine it need only have come half of the way."""


@dataclass(frozen=True)
class CheckResult:
    """The result of one sanity check; `detail` is a line with the figures and, where it failed, what to look at."""

    name: str
    passed: bool
    detail: str


def run_checks(
    network: nn.Module, recipe: Recipe, loader: BatchSource, *, device: torch.device, head: str | None = None
) -> tuple[CheckResult, ...]:
    """First loss, effect of regularisation, reach of the gradients, overfitting a handful of images.

    `network` must be on `device`. A failed check is a warning. Raises NonFiniteLoss when the first loss or gradient
    is not finite.
    """
    with preserved_randomness(device):
        batch = loader.plain_batch(_pick(loader, min(NUM_IMAGES, loader.task.most_at_once)), device)
        trainee = copy.deepcopy(network)
        groups = layer_groups(trainee, head=head)
        open_groups(trainee, groups, num_open_groups(recipe.freeze, 0, recipe.epochs, len(groups)))
        seed_device(device, seed_for(recipe.seed, "checks"))
        answer = trainee(batch.images)
        objective = plain_objective(loader, recipe, device)
        loss = main_loss(objective, answer, batch.targets)
        if not loss.isfinite():
            raise NonFiniteLoss(
                f"the loss is {loss.item()} before any training; look at the weights the run starts from and at the "
                "preprocessing"
            )
        objective(answer, batch.targets).backward()
        guesses = loader.task.num_guesses
        first = () if guesses is None else (check_first_loss(loss.item(), guesses),)
        return (
            *first,
            check_regularization(trainee, loss.item(), recipe.optimizer.weight_decay),
            check_gradients(trainee),
            *_overfitting(network, recipe, loader, objective, device),
        )


def _overfitting(
    network: nn.Module, recipe: Recipe, loader: BatchSource, objective: Objective, device: torch.device
) -> tuple[CheckResult, ...]:
    """The check of a handful, where the task's loss can tell."""
    small_loss = loader.task.overfit_loss
    if small_loss is None:
        return ()
    return (
        check_overfitting(
            network,
            _handful(loader, device),
            objective,
            seed=recipe.seed,
            small_loss=small_loss,
            rates=HEAD_RATES if isinstance(network, TrainableTail) and recipe.freeze == "base" else OVERFIT_RATES,
        ),
    )


def plain_objective(loader: BatchSource, recipe: Recipe, device: torch.device) -> Objective:
    """The task's loss without smoothing and weights."""
    return loader.task.objective(
        loader.annotations, loader.train, loss=recipe.loss, label_smoothing=0.0, use_class_weights=False, device=device
    )


def main_loss(objective: Objective, outputs: Any, targets: Targets) -> Tensor:
    """The loss of the last head alone, in float32."""
    logits = outputs.logits if isinstance(outputs, WithAuxiliary) else outputs
    return objective(logits.float() if isinstance(logits, Tensor) else logits, targets)


def check_first_loss(loss: float, num_classes: int) -> CheckResult:
    """Before training every class should be about equally probable, so that the loss is near ln(classes), in nats."""
    expected = math.log(num_classes)
    detail = (
        f"the first loss is {loss:.2f}; guessing among {num_classes} classes gives ln({num_classes}) = {expected:.2f}"
    )
    if loss > 1.5 * expected + 0.5:
        detail += (
            ": the network starts out sure of wrong answers; look at the scale of the first weights and of the input"
        )
    elif loss < 0.75 * expected:
        detail += (
            ": the network knows the answers already; look for labels that leak into the images, or be glad of its "
            "weights"
        )
    else:
        return CheckResult("loss at start", True, detail)
    return CheckResult("loss at start", False, detail)


def standing_still(train_loss: float, num_classes: int, epoch: int, num_epochs: int) -> str | None:
    """A line when the mean loss is still that of guessing after a third of the run, two epochs at least; else None.

    By then a rate that rises first has reached its peak. `epoch` counts from 1.

    So it looks when the units before the last layer are all dead, or when the rate is far too low.
    """
    guessing = math.log(num_classes)
    if epoch != max(2, math.ceil(num_epochs * STILL_AFTER)) or abs(train_loss - guessing) > STILL_SHARE * guessing:
        return None
    return (
        f"after {epoch} epochs the loss is {train_loss:.4f}, still that of guessing, ln({num_classes}) = "
        f"{guessing:.4f}: the rate is probably too high, so that all units of a layer are dead, or far too low; scan "
        "for a good one with --find-rate"
    )


def check_regularization(network: nn.Module, loss: float, weight_decay: float) -> CheckResult:
    """Adding the penalty weight_decay / 2 x |weights|^2, the recipe's own, must raise the loss."""
    strength = weight_decay or PENALTY
    decayed, _ = split_by_decay(tuple(param for param in network.parameters() if param.requires_grad))
    penalty = 0.5 * strength * sum(float(param.detach().square().sum()) for param in decayed)
    own = "the" if weight_decay else "the recipe has none; a"
    detail = f"{own} weight decay of {strength:g} adds {penalty:.2g} to the loss of {loss:.2f}"
    if loss + penalty > loss:
        return CheckResult("regularisation", True, detail)
    return CheckResult("regularisation", False, f"{detail}: there are no weights that it reaches")


def check_gradients(network: nn.Module) -> CheckResult:
    """After a backward pass every parameter that requires a gradient has one that is not zero. NonFiniteLoss for NaN
    or infinity.
    """
    needing = [(name, param) for name, param in network.named_parameters() if param.requires_grad]
    broken = [name for name, param in needing if param.grad is not None and not param.grad.isfinite().all()]
    if broken:
        raise NonFiniteLoss(
            f"the gradient of {broken[0]} is not finite before any training; look at the weights the run starts from"
        )
    missed = [name for name, param in needing if param.grad is None or not param.grad.any()]
    if not missed:
        return CheckResult("gradients", True, f"gradients reach all {len(needing)} tensors of weights")
    names = ", ".join(missed[:3]) + (f" and {len(missed) - 3} more" if len(missed) > 3 else "")
    return CheckResult(
        "gradients", False, f"no gradient reaches {names}: unused layers, or units that are dead from the start"
    )


def check_overfitting(
    network: nn.Module,
    batch: Batch,
    objective: Objective,
    *,
    seed: int,
    small_loss: float = OVERFIT_LOSS,
    budget_s: float = BUDGET_S,
    rates: tuple[float, ...] = OVERFIT_RATES,
) -> CheckResult:
    """A copy of the network, without dropout and with nothing frozen, must be able to learn a handful of images by
    heart.
    """
    stop_at = time.monotonic() + budget_s
    for rate in rates:
        losses = _losses_learning(copy.deepcopy(network), batch, objective, rate, seed, stop_at, small_loss)
        num_images, last = len(batch.images), losses[-1]
        detail = f"{num_images} images: loss {losses[0]:.2f} -> {last:.2f} in {len(losses) - 1} steps"
        if last < small_loss:
            return CheckResult("overfitting a handful", True, detail)
        if time.monotonic() >= stop_at:
            passed = last < losses[0] / 2 or len(losses) < OVERFIT_STEPS // 10
            return CheckResult("overfitting a handful", passed, f"{detail}, all that {budget_s:g} s allowed")
    return CheckResult(
        "overfitting a handful",
        False,
        f"{detail}: the network cannot learn them; look at labels, preprocessing and layers",
    )


def _losses_learning(
    network: nn.Module,
    batch: Batch,
    objective: Objective,
    rate: float,
    seed: int,
    stop_at: float,
    small_loss: float,
) -> list[float]:
    """The loss before each of the steps, until it is small, the steps or the time are over, or it is not finite."""
    network.train().requires_grad_(True)
    for module in network.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.eval()
    optimizer = torch.optim.Adam(network.parameters(), lr=rate, foreach=True)
    seed_device(batch.images.device, seed)
    losses: list[float] = []
    while True:
        loss = main_loss(objective, network(batch.images), batch.targets)
        losses.append(loss.item())
        is_over = len(losses) > OVERFIT_STEPS or time.monotonic() >= stop_at
        if is_over or losses[-1] < small_loss or not math.isfinite(losses[-1]):
            return losses
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()


def _handful(loader: BatchSource, device: torch.device) -> Batch:
    """A few training images that differ: no network can give equal ones different labels."""
    batch = loader.plain_batch(_pick(loader, NUM_HANDFUL), device)
    _, first = np.unique(batch.images.flatten(1).float().cpu().numpy(), axis=0, return_index=True)
    chosen = torch.from_numpy(np.sort(first)).to(device)
    targets = each_tensor(batch.targets, lambda tensor: tensor[chosen])
    return Batch(batch.images[chosen], targets) if len(chosen) > 1 else batch


def _pick(loader: BatchSource, num_images: int) -> np.ndarray:
    """Training images in even distances, the classes taking turns."""
    by_class = [loader.train[loader.labels[loader.train] == label] for label in np.unique(loader.labels[loader.train])]
    per_class = -(-num_images // len(by_class))
    columns = [members[np.linspace(0, len(members) - 1, per_class).astype(int)] for members in by_class]
    _, first = np.unique(turns := np.stack(columns, axis=1).ravel(), return_index=True)
    return np.asarray(turns[np.sort(first)][:num_images])
