"""Train a network by a recipe, so that the run can be killed anywhere and go on exactly.

Nothing is remembered between updates that a checkpoint does not hold: order, augmentation and dropout are functions of
the seed and the place, and all else is in `TrainingState`. The loop itself is in session.py.
"""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from striate.errors import InputError, RunError
from striate.training.batches import BatchSource
from striate.training.checkpoints import has_checkpoints
from striate.training.checks import CheckResult, run_checks
from striate.training.distributed.fsdp import check_sharding, is_sharded, shard_weights
from striate.training.ema import MovingAverage
from striate.training.frozen.layer_groups import LayerGroup, layer_groups, restored_modes
from striate.training.interrupts import catching_stop_requests
from striate.training.metrics_log import MetricsLog
from striate.training.objective import objective_of
from striate.training.observer import Observer, SilentObserver
from striate.training.optimizers import build_optimizer
from striate.training.randomness import preserved_randomness
from striate.training.recipe import Recipe
from striate.training.session import OnBest, Session
from striate.training.state import TrainingResult, TrainingState, identify
from striate.training.validation import autocast_dtype


def ignore_best(weights: dict[str, Tensor], epoch: int, record: dict[str, Any]) -> None:
    """The OnBest of a caller who needs only the last weights."""


def train_network(
    network: nn.Module,
    recipe: Recipe,
    loader: BatchSource,
    run_dir: Path,
    *,
    fabric: Fabric,
    resume: bool = False,
    use_checks: bool = True,
    head: str | None = None,
    make_loader: Callable[[], BatchSource] | None = None,
    on_best: OnBest = ignore_best,
    observer: Observer | None = None,
    checkpoint_every_s: float = 60.0,
    use_sharding: bool = False,
) -> TrainingResult:
    """Train `network` in place by the recipe and keep `run_dir` so that the run can go on after anything.

    Writes run_dir/metrics.jsonl and run_dir/checkpoint/, the latter after every epoch (on a GPU at most every five
    seconds), every `checkpoint_every_s` seconds, at the end, and when Ctrl-C or SIGTERM asks to stop: the status is
    then "interrupted", otherwise "finished". With it `on_best` gets the best epoch so far (best_epoch.py). `head` names
    the layer that counts as head in transfer learning; the last one without it. `make_loader` is called once the
    weights that the session starts from are in place, and gives what it trains on instead of `loader`. `use_sharding`
    shares the weights out over the processes, see sharding.py, and leaves them so. The network ends on the device of
    `fabric`, which must have been launched; its modes and `requires_grad` and torch's random streams come back as they
    were. `resume` goes on from the newest checkpoint, or starts where there is none yet. Raises NonFiniteLoss, RunError
    when files cannot be written or do not fit, InputError for a recipe that cannot be run.
    """
    _check_request(recipe, fabric, run_dir, resume=resume)
    if use_sharding:
        check_sharding(recipe, fabric.world_size)
    own_observer = observer if observer is not None and fabric.is_global_zero else SilentObserver()
    with contextlib.ExitStack() as stack:
        stop = stack.enter_context(catching_stop_requests())
        stack.enter_context(preserved_randomness(fabric.device))
        stack.enter_context(restored_modes(network))
        stack.callback(own_observer.on_end)
        fabric.to_device(network)
        if recipe.use_channels_last and not use_sharding:  # fully_shard takes no other layout than the plain one
            network.to(memory_format=torch.channels_last)
        checks: tuple[CheckResult, ...] = ()
        if use_sharding:  # the checks run in the first process alone, which must then have the whole network
            if use_checks and fabric.is_global_zero and not has_checkpoints(run_dir / "checkpoint"):
                checks = run_checks(network, recipe, loader, device=fabric.device, head=head)
            fabric.barrier()
            shard_weights(network, fabric)
        groups = layer_groups(network, head=head)
        run = Session(
            recipe=recipe,
            loader=loader,
            run_dir=run_dir,
            fabric=fabric,
            groups=groups,
            state=_initial_state(network, recipe, groups, fabric),
            loss_fn=objective_of(recipe, loader, fabric.device),
            metrics=MetricsLog(run_dir / "metrics.jsonl"),
            identity=identify(recipe, loader, fabric),
            observer=own_observer,
            on_best=on_best,
            stop=stop,
            checkpoint_every_s=checkpoint_every_s,
        )
        stack.callback(run.state.optimizer.zero_grad)  # the network is given back without gradients
        has_begun = resume and run.resume()
        if make_loader is not None:
            run.loader = make_loader()
        if use_checks and not has_begun and fabric.is_global_zero:
            run.checks = checks or run_checks(network, recipe, run.loader, device=fabric.device, head=head)
            own_observer.on_checks(run.checks)
        fabric.barrier()
        return run.train()


def check_batch_size(recipe: Recipe, fabric: Fabric) -> None:
    """Raise InputError where a batch has no image for every process."""
    if recipe.batch_size < fabric.world_size:
        raise InputError(
            f"a batch of {recipe.batch_size} images is too small for {fabric.world_size} processes; use at least "
            f"{fabric.world_size}"
        )


def _check_request(recipe: Recipe, fabric: Fabric, run_dir: Path, *, resume: bool) -> None:
    if recipe.optimizer.name == "lbfgs" and (fabric.world_size > 1 or recipe.precision == "16-mixed"):
        raise InputError("lbfgs runs in one process and without 16-bit loss scaling; use adamw, or --precision float32")
    check_batch_size(recipe, fabric)
    if not resume and has_checkpoints(run_dir / "checkpoint"):
        raise RunError(f"{run_dir} holds a run already; resume it, or choose another folder")


def _initial_state(network: nn.Module, recipe: Recipe, groups: tuple[LayerGroup, ...], fabric: Fabric) -> TrainingState:
    optimizer = build_optimizer(
        recipe.optimizer,
        groups,
        layer_rate_factor=recipe.layer_rate_factor,
        use_fused=autocast_dtype(fabric) != torch.float16 and not is_sharded(network),
    )
    average = MovingAverage(network, recipe.ema_decay) if recipe.ema_decay > 0 else None
    return TrainingState(network, average, optimizer)
