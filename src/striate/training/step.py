"""One update of the weights. n images of a batch, C channels, K classes."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.optim import LBFGS, Optimizer

from striate.data.sampling import BatchSlice
from striate.errors import InputError, NonFiniteLoss
from striate.tasks.task import Objective, Targets
from striate.training.distributed.fsdp import InPrecision, whole
from striate.training.distributed.global_batch import GlobalBatch
from striate.training.randomness import seed_device
from striate.training.speed.cpu_dropout import QuickDropout


@dataclass(frozen=True)
class Batch:
    """Images (n, C, H, W) as the network wants them, and targets as the task has them: a tensor or several by name.

    `share` says which images of a batch these are where several processes have it together.
    """

    images: Tensor
    targets: Targets
    share: BatchSlice | None = None


@dataclass(frozen=True)
class StepResult:
    """Before the update, on this process's part: the summed loss by weight, that weight, the task's score summed over
    the images, and their number; the norm of all gradients.

    `was_skipped`: the gradients overflowed 16 bits, so the scale was lowered and the weights stayed.
    """

    loss_sum: float
    weight: float
    score_sum: float
    num_images: int
    grad_norm: float
    was_skipped: bool = False


def compiled(network: nn.Module, use_compile: bool) -> nn.Module:
    """The network as it is, or compiled; each size of batch is compiled for itself."""
    if not use_compile:
        return network
    return torch.compile(network, dynamic=False)  # type: ignore[return-value]


def train_step(
    model: nn.Module,
    batches: Sequence[Batch],
    loss_fn: Objective,
    optimizer: Optimizer,
    fabric: Fabric,
    *,
    seed: int,
    max_grad_norm: float = math.inf,
) -> StepResult:
    """One update of `model`, set up by `fabric`, with the gradient of the mean loss over all `batches` of all
    processes.

    The batches go through the network one at a time, so their number bounds the memory and not the result (batch norm
    aside). Batch norm and dropout work on the batches of all processes together. Dropout draws from streams seeded
    with `seed`, the same in every process. Raises NonFiniteLoss, with the weights as they were, when
    loss or gradient is NaN or infinite; an overflow that 16-bit loss scaling deals with by itself is no error.
    """
    results: list[StepResult] = []

    def evaluate() -> float:
        optimizer.zero_grad(set_to_none=True)
        seed_device(fabric.device, seed)  # L-BFGS comes here many times: the dropout masks must be the same each time
        figures = gradients(model, batches, loss_fn, optimizer, fabric, max_grad_norm)
        num_images = sum(len(batch.images) for batch in batches)
        results.append(read_figures(figures, num_images, model, scale=_scale(fabric)))
        return results[-1].loss_sum / results[-1].weight

    if isinstance(optimizer, LBFGS):
        with _restored_after_error(optimizer):
            optimizer.step(evaluate)
    else:
        evaluate()
        fabric.strategy.precision.optimizer_step(optimizer)
    return results[0]


def gradients(
    model: nn.Module,
    batches: Sequence[Batch],
    loss_fn: Objective,
    optimizer: Optimizer,
    fabric: Fabric,
    max_grad_norm: float,
) -> Tensor:
    """Leave the clipped gradient of the joint mean in every parameter's .grad, which must be None before.

    The result, (4,) on the device, has this process's loss summed by weight, summed score, the norm of all gradients,
    and the weight. The device is not waited for.
    """
    weights = [loss_fn.weight(batch.targets) for batch in batches]
    own_weight = sum(weights)
    total_weight = own_weight if fabric.world_size == 1 else _sum_over_processes(fabric, own_weight)
    losses: list[Tensor] = []
    score_sum = torch.zeros((), device=fabric.device)
    for number, (batch, weight) in enumerate(zip(batches, weights, strict=True), start=1):
        with _gradients_shared(fabric, model, is_last=number == len(batches)):
            with _quick_dropout(fabric, model), _as_one_batch(fabric, batch):
                answer = _forward(model, batch)
            loss = loss_fn(answer, batch.targets)
            # processes average their gradients, and each has only its share of the weight
            fabric.backward(loss * (fabric.world_size * weight / total_weight))
        losses.append(loss.detach() * weight)
        score_sum += loss_fn.score_sum(answer, batch.targets)
    fabric.strategy.precision.unscale_gradients(optimizer)
    params = [param for group in optimizer.param_groups for param in group["params"] if param.grad is not None]
    grad_norm = get_total_norm([param.grad for param in params if param.grad is not None], foreach=True)
    if math.isfinite(max_grad_norm):
        clip_grads_with_norm_(params, max_grad_norm, grad_norm, foreach=True)
    loss_sum = torch.stack(losses).sum()  # in the precision of the loss: a line search needs every digit
    if not isinstance(own_weight, Tensor):
        own_weight = torch.full_like(loss_sum, own_weight)  # made there, since a copy would be waited for
    return torch.stack([loss_sum, score_sum.to(loss_sum), whole(grad_norm).to(loss_sum), own_weight.to(loss_sum)])


def _forward(model: nn.Module, batch: Batch) -> Any:
    """The network's outputs; InputError where batch norm is left with a single value of each channel."""
    try:
        return model(batch.images)
    except ValueError as error:
        if not str(error).startswith("Expected more than 1 value per channel"):
            raise
        size = "x".join(map(str, batch.images.shape[-2:]))
        count = len(batch.images)
        raise InputError(
            f"batch norm needs more than one value of each channel, but a batch of {count} image{'s' * (count != 1)} "
            f"of {size} pixels leaves it one; take a --batch-size that leaves no single image over, larger images, or "
            "another network"
        ) from None


def read_figures(figures: Tensor, num_images: int, model: nn.Module, *, scale: float = 1.0) -> StepResult:
    """Read the figures that `gradients` measured; NonFiniteLoss unless `scale`, that of 16 bits, explains it."""
    loss_sum, score_sum, grad_norm, weight = figures.tolist()
    was_skipped = math.isfinite(loss_sum) and not math.isfinite(grad_norm) and scale > 1
    if not was_skipped:
        _check_finite(loss_sum / weight, grad_norm, model)
    return StepResult(loss_sum, weight, score_sum, num_images, grad_norm, was_skipped)


def _check_finite(loss: float, grad_norm: float, model: nn.Module) -> None:
    if not math.isfinite(loss):
        raise NonFiniteLoss(f"the loss is {loss}")
    if not math.isfinite(grad_norm):
        names = [name for name, p in model.named_parameters() if p.grad is not None and not p.grad.isfinite().all()]
        raise NonFiniteLoss(f"the gradient of {', '.join(names[:3]) or 'all weights together'} is {grad_norm}")


def _scale(fabric: Fabric) -> float:
    """The factor by which 16-bit precision scales the loss now; 1 where it does not."""
    scaler = getattr(fabric.strategy.precision, "scaler", None)
    return 1.0 if scaler is None else float(scaler.get_scale())


def _sum_over_processes(fabric: Fabric, value: Tensor | float) -> Tensor:
    total = fabric.all_reduce(
        torch.as_tensor(value, dtype=torch.float32, device=fabric.device).clone(), reduce_op="sum"
    )
    assert isinstance(total, Tensor)
    return total


def _gradients_shared(fabric: Fabric, model: nn.Module, *, is_last: bool) -> AbstractContextManager[object]:
    """Processes share their gradients once an update, in the last backward pass."""
    if fabric.world_size == 1 or is_last or isinstance(model, InPrecision):  # shared-out weights: at every pass
        return nullcontext()
    sharing_off: Callable[..., AbstractContextManager[object]] = fabric.no_backward_sync
    return sharing_off(model)


def _quick_dropout(fabric: Fabric, model: nn.Module) -> AbstractContextManager[object]:
    """Dropout's masks in a tenth of the time; compiled code draws its own."""
    return QuickDropout() if fabric.device.type == "cpu" and not _is_compiled(model) else nullcontext()


def _is_compiled(model: nn.Module) -> bool:
    return any(hasattr(each, "_orig_mod") for each in (model, *model.children()))


def _as_one_batch(fabric: Fabric, batch: Batch) -> AbstractContextManager[object]:
    """Batch norm and dropout see the whole batch of all processes."""
    if fabric.world_size == 1:
        return nullcontext()
    assert batch.share is not None, "several processes need to know which images of a batch are whose"
    return GlobalBatch(batch.share)


@contextmanager
def _restored_after_error(optimizer: Optimizer) -> Iterator[None]:
    """A line search tries weights before it keeps them: after NonFiniteLoss they are as they were before."""
    params = [param for group in optimizer.param_groups for param in group["params"]]
    before = [param.detach().clone() for param in params]
    try:
        yield
    except NonFiniteLoss:
        with torch.no_grad():
            for param, value in zip(params, before, strict=True):
                param.copy_(value)
        raise
