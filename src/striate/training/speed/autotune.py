"""Autotuning: the fastest way to compute a training step on this machine, measured on a few real steps.

A mode changes how fast the same arithmetic is done, and how it rounds; never what is computed. A mode whose loss
strays from plain float32's is not taken. The steps are made on copies: nothing of the run is touched.
"""

import copy
import math
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn

from striate.errors import NonFiniteLoss
from striate.progress import Log, Track, log_nothing, track_silently
from striate.training.batches import BatchSource
from striate.training.frozen.layer_groups import layer_groups, num_open_groups, open_groups
from striate.training.objective import objective_of
from striate.training.optimizers import build_optimizer, set_rates
from striate.training.randomness import preserved_randomness, seed_for
from striate.training.recipe import Precision, Recipe
from striate.training.schedules import rate_factor
from striate.training.speed.cuda_graphs import NUM_WARM_STEPS, AsynchronousSteps, can_run_asynchronously
from striate.training.step import Batch, train_step

LONG_RUN_S = 6.0
"""Shorter runs are not worth a measurement."""
BUDGET_SHARE, LEAST_BUDGET_S, BUDGET_S = 0.03, 0.6, 20.0
"""What the measurement may take of a run, and its bounds: on much less than a whole batch the ranking of
modes is another."""
NUM_ROUNDS, NUM_STEPS = 2, 3
"""Each mode is timed this often, at different times, for so many steps after one to warm up."""
LEAST_GAIN = 1.05
"""Another mode than the first must be so many times as fast: machines are noisy, and a run should not hang on that."""
LOSS_TOLERANCE = 0.02
"""Relative tolerance of the loss against float32; bfloat16 keeps three digits of every product."""
FEWEST_IMAGES = 8
"""In a batch of the measurement, where one has as many."""

MakeFabric = Callable[[Precision], Fabric]


@dataclass(frozen=True)
class Mode:
    """One way of computing a training step."""

    precision: Precision
    use_channels_last: bool
    num_threads: int
    use_cuda_graphs: bool = False

    def __str__(self) -> str:
        words = [{"32-true": "float32", "bf16-mixed": "bfloat16", "16-mixed": "float16"}[self.precision]]
        words += ["channels last"] * self.use_channels_last + ["CUDA graphs"] * self.use_cuda_graphs
        return ", ".join([*words, f"{self.num_threads} thread{'s' * (self.num_threads > 1)}"])

    def applied_to(self, recipe: Recipe) -> Recipe:
        """The recipe computed in this mode."""
        return replace(recipe, **asdict(self))


@dataclass(frozen=True)
class ModeTiming:
    """The timing of a mode. `images_per_s` is that of its best round, None where it failed; `reason` says why it cannot
    be taken, None where it can.
    """

    mode: Mode
    images_per_s: float | None
    reason: str | None = None

    def run_s(self, num_images: int) -> float:
        """Seconds for a run that shows so many images; infinite for a mode that cannot be taken."""
        if self.reason is not None or self.images_per_s is None:
            return float("inf")
        return num_images / self.images_per_s

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self.mode), **{key: value for key, value in asdict(self).items() if key != "mode"}}


@dataclass(frozen=True)
class _Steps:
    """Seconds of each of a few steps, and the losses before the first and the second of them."""

    step_s: float
    losses: tuple[float, ...]


def possible_modes(
    recipe: Recipe,
    device: torch.device,
    *,
    has_fast_bf16: bool,
    thread_counts: Iterable[int],
    forced: frozenset[str] = frozenset(),
) -> tuple[Mode, ...]:
    """The modes to try, the recipe's own first; fields in `forced` stay as they are.

    None where there is nothing to choose, or where everything is to be compiled, which takes longer than it could save.
    """
    if recipe.use_compile:
        return ()
    precisions: list[Precision] = [recipe.precision]
    if has_fast_bf16 and "precision" not in forced and recipe.optimizer.name != "lbfgs":
        precisions += [other for other in ("bf16-mixed", "32-true") if other != recipe.precision]
    layouts = [recipe.use_channels_last]
    if "use_channels_last" not in forced:
        layouts.append(not recipe.use_channels_last)
    threads = [recipe.num_threads]
    if device.type == "cpu" and "num_threads" not in forced:
        threads += [number for number in thread_counts if number != recipe.num_threads]
    trials = product(threads, precisions, layouts)
    modes = tuple(Mode(precision, layout, number, recipe.use_cuda_graphs) for number, precision, layout in trials)
    return modes if len(modes) > 1 else ()


def measure_modes(
    network: nn.Module,
    recipe: Recipe,
    loader: BatchSource,
    modes: tuple[Mode, ...],
    make_fabric: MakeFabric,
    *,
    head: str | None = None,
    log: Log = log_nothing,
    track: Track = track_silently,
) -> tuple[ModeTiming, ...]:
    """Measure how fast each mode trains `network` on the first batch of `loader`, in the order given; nothing where the
    run is short.

    The run's length is estimated in the first mode, on a few images and, where it seems long, on a whole batch, which
    takes less time an image. The network comes back as it was; one process.
    """
    if not modes:
        return ()
    trial = _Trial(network, recipe, loader, make_fabric, head)
    num_images = len(loader.train) * recipe.epochs
    image_s = trial.image_s(modes[0], FEWEST_IMAGES)
    if num_images * image_s > LONG_RUN_S and recipe.batch_size * image_s < LEAST_BUDGET_S:
        image_s = trial.image_s(modes[0], recipe.batch_size)
    if num_images * image_s < LONG_RUN_S:
        return ()
    budget_s = min(BUDGET_S, max(LEAST_BUDGET_S, BUDGET_SHARE * num_images * image_s))
    log(
        f"measuring which of {len(modes)} ways of computing is fastest on this machine, for about "
        f"{max(1, round(budget_s))} s of a run of {num_images * image_s:,.0f} s; --no-measure leaves it out"
    )
    batch_size = _batch_size(image_s, budget_s / (len(modes) * NUM_ROUNDS * (NUM_STEPS + 1)), recipe.batch_size)
    reference = trial.steps(Mode("32-true", False, modes[0].num_threads), batch_size, num_steps=1)
    turns = track(list(modes) * NUM_ROUNDS, "measuring ways of computing", len(modes) * NUM_ROUNDS)
    tried = [_attempt(trial, mode, batch_size, reference) for mode in turns]
    rounds = [tried[: len(modes)], tried[len(modes) :]]
    timings = [max(tries, key=lambda timing: timing.images_per_s or 0.0) for tries in zip(*rounds, strict=True)]
    return tuple(timings)


def choose_mode(timings: tuple[ModeTiming, ...], num_images: int) -> Mode:
    """The mode in which a run that shows `num_images` is over first; the first one unless another is clearly faster."""
    first, fastest = timings[0], min(timings, key=lambda timing: timing.run_s(num_images))
    return fastest.mode if fastest.run_s(num_images) * LEAST_GAIN < first.run_s(num_images) else first.mode


def trial_image_s(
    network: nn.Module,
    recipe: Recipe,
    loader: BatchSource,
    mode: Mode,
    make_fabric: MakeFabric,
    *,
    head: str | None = None,
) -> float:
    """Seconds an image of a training step in this mode: on up to eight images and, where that is quick, on a whole
    batch, which takes less time an image. On copies; each step after one to warm up.
    """
    trial = _Trial(network, recipe, loader, make_fabric, head)
    image_s = trial.image_s(mode, FEWEST_IMAGES)
    return image_s if recipe.batch_size * image_s > LEAST_BUDGET_S else trial.image_s(mode, recipe.batch_size)


class _Trial:
    """Makes steps of a run on copies of its network."""

    def __init__(
        self, network: nn.Module, recipe: Recipe, loader: BatchSource, make_fabric: MakeFabric, head: str | None
    ) -> None:
        self.network = network
        self.recipe = recipe
        self.loader = loader
        self.make_fabric = make_fabric
        self.head = head

    def image_s(self, mode: Mode, batch_size: int) -> float:
        """Seconds an image in a step on up to so many."""
        num_images = min(batch_size, self.recipe.batch_size, len(self.loader.train))
        return self.steps(mode, batch_size, num_steps=1).step_s / num_images

    def steps(self, mode: Mode, batch_size: int, *, num_steps: int) -> _Steps:
        """One step to warm up and then `num_steps`, on a batch of up to so many images; dropout is off, since masks
        depend on the layout.
        """
        fabric = self.make_fabric(mode.precision)
        threads = torch.get_num_threads()
        with preserved_randomness(fabric.device):
            try:
                torch.set_num_threads(mode.num_threads)
                return self._timed(mode, fabric, self._batch(batch_size, fabric.device), num_steps)
            finally:
                torch.set_num_threads(threads)

    def _batch(self, batch_size: int, device: torch.device) -> Batch:
        indices = self.loader.train[: min(batch_size, self.recipe.batch_size)]
        return self.loader.plain_batch(indices, device)

    def _timed(self, mode: Mode, fabric: Fabric, batch: Batch, num_steps: int) -> _Steps:
        recipe = self.recipe
        trainee = copy.deepcopy(self.network).to(fabric.device).train()
        if mode.use_channels_last:
            trainee.to(memory_format=torch.channels_last)
        groups = layer_groups(trainee, head=self.head)
        open_groups(trainee, groups, num_open_groups(recipe.freeze, 0, recipe.epochs, len(groups)))
        for module in trainee.modules():
            if isinstance(module, nn.modules.dropout._DropoutNd):
                module.eval()
        optimizer = build_optimizer(
            recipe.optimizer, groups, layer_rate_factor=recipe.layer_rate_factor, use_fused=mode.precision != "16-mixed"
        )
        model = fabric.setup_module(trainee, move_to_device=False)
        loss_fn = objective_of(recipe, self.loader, fabric.device)
        set_rates(optimizer, rate_factor(recipe.schedule, 0, max(1, recipe.epochs)))
        queue = None
        if can_run_asynchronously(optimizer, fabric):
            queue = AsynchronousSteps(
                model, loss_fn, optimizer, fabric, max_grad_norm=math.inf, use_graphs=mode.use_cuda_graphs
            )
        num_warm = 1 if queue is None or not mode.use_cuda_graphs else NUM_WARM_STEPS + 1
        times: list[float] = []
        losses: list[float] = []
        for step in range(num_warm + num_steps):
            seed = seed_for(recipe.seed, "modes", step)
            _wait_for(fabric.device)
            began_at = time.perf_counter()
            if queue is None:
                result = train_step(model, [batch], loss_fn, optimizer, fabric, seed=seed)
            else:
                queue.update([batch], seed=seed, place="")
                result = queue.done(wait=True)[0].result(model)
            _wait_for(fabric.device)
            times.append(time.perf_counter() - began_at)
            losses.append(result.loss_sum / result.weight)
        return _Steps(statistics.median(times[num_warm:]), tuple(losses[:2]))


def _attempt(trial: _Trial, mode: Mode, batch_size: int, reference: _Steps) -> ModeTiming:
    """One timing; a mode that fails or strays from the reference has its reason."""
    try:
        steps = trial.steps(mode, batch_size, num_steps=NUM_STEPS)
    except NonFiniteLoss as error:
        return ModeTiming(mode, None, reason=str(error))
    except Exception as error:  # a compiler or a kernel that is not there raises nearly anything
        lines = str(error).splitlines() or [""]
        return ModeTiming(mode, None, reason=f"{type(error).__name__}: {lines[0][:200]}")
    num_images = min(batch_size, trial.recipe.batch_size, len(trial.loader.train))
    return ModeTiming(mode, num_images / steps.step_s, _straying(steps, reference))


def _straying(steps: _Steps, reference: _Steps) -> str | None:
    """Why these losses are not the reference's; None where they are."""
    for own, right in zip(steps.losses, reference.losses, strict=True):
        if not abs(own - right) <= LOSS_TOLERANCE * max(abs(right), LOSS_TOLERANCE):
            return f"its loss is {own:.4g} where it should be {right:.4g}"
    return None


def _batch_size(image_s: float, step_s: float, largest: int) -> int:
    """As many images as a step of `step_s` seconds can take, within reason."""
    return max(min(FEWEST_IMAGES, largest), min(largest, int(step_s / max(image_s, 1e-9))))


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
