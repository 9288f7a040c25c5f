"""One session of a run: the loop itself, from where the run stands until it is finished, stopped or killed."""

import contextlib
import platform
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from striate.errors import InputError, NonFiniteLoss
from striate.tasks.task import Objective
from striate.training.adversarial import MOST_VALIDATED, Adversary, TradesLoss, overfits_to_one_step
from striate.training.batches import BatchSource
from striate.training.best_epoch import FALLING, BestEpoch, is_better
from striate.training.checkpoints import load_newest_checkpoint, save_checkpoint
from striate.training.checks import CheckResult, standing_still
from striate.training.distributed.collectives import check_same, raise_on_all_ranks
from striate.training.distributed.fsdp import InPrecision, all_whole, is_sharded
from striate.training.frozen.layer_groups import LayerGroup, num_open_groups, open_groups
from striate.training.interrupts import StopRequest
from striate.training.metrics_log import MetricsLog
from striate.training.observer import Observer, RunStart, StepInfo
from striate.training.optimizers import set_rates, start_momentum
from striate.training.randomness import seed_for
from striate.training.recipe import Recipe
from striate.training.schedules import rate_factor
from striate.training.speed.cuda_graphs import AsynchronousSteps, can_run_asynchronously
from striate.training.state import EpochSums, TrainingResult, TrainingState, restore, to_checkpoint
from striate.training.step import Batch, StepResult, compiled, train_step
from striate.training.validation import SMALLEST_BATCH, autocast_dtype, validate
from striate.units import percent

T = TypeVar("T")

OnBest = Callable[[dict[str, Tensor], int, dict[str, Any]], None]
"""Gets the weights (its own to read, not to keep), the epoch from 1, and its line of metrics.jsonl."""

SHOW_EVERY_S = 0.1
LEAST_SAVE_S = 5.0
"""After an epoch on a GPU nothing is written where something was so short a time ago: it may make several in a second.
"""


class Stopped(Exception):
    """The user has asked to stop."""


@dataclass
class Session:
    """One session of a run."""

    recipe: Recipe
    loader: BatchSource
    run_dir: Path
    fabric: Fabric
    groups: tuple[LayerGroup, ...]
    state: TrainingState
    loss_fn: Objective
    metrics: MetricsLog
    identity: dict[str, Any]
    observer: Observer
    on_best: OnBest
    stop: StopRequest
    checkpoint_every_s: float
    checks: tuple[CheckResult, ...] = ()
    model: nn.Module | None = None
    queue: AsynchronousSteps | None = None
    num_open: int = 0
    elapsed_before_s: float = 0.0
    steps_before: int = 0
    last_grad_norm: float = 0.0
    started_at: float = field(default_factory=time.monotonic)
    saved_at: float = field(default_factory=time.monotonic)
    unwritten_best: tuple[dict[str, Tensor], int, dict[str, Any]] | None = None
    shown_at: float = 0.0

    def resume(self) -> bool:
        """Go to where the newest checkpoint left off; False where there is none."""
        with raise_on_all_ranks(self.fabric):
            checkpoint = load_newest_checkpoint(self.checkpoint_dir, log=self.observer.on_notice)
        check_same(self.fabric, {"checkpoint": checkpoint and checkpoint.step}, f"{platform.node()}, {self.run_dir}")
        if checkpoint is None:
            self.observer.on_notice("the run has no checkpoint yet: starting it from the beginning")
            return False
        with raise_on_all_ranks(self.fabric):
            restore(self.state, checkpoint, self.identity, self.fabric, log=self.observer.on_notice)
        self.elapsed_before_s, self.steps_before = self.state.progress.elapsed_s, self.state.progress.step
        self._set_rates(max(0, self.steps_before - 1))  # as the last update left them
        return True

    def train(self) -> TrainingResult:
        """Every epoch that is still to be done."""
        progress = self.state.progress
        if self.fabric.is_global_zero and not self.metrics.start(progress.metrics_position):
            self.observer.on_notice(f"lines of {self.metrics.path} are lost; the run itself goes on")
        self.observer.on_start(self._describe_start())
        self.started_at = self.saved_at = time.monotonic()
        while progress.epoch < self.recipe.epochs:
            try:
                self._open_layers()
                self._train_epoch()
                self._finish_epoch()
            except Stopped:
                self._save()
                return self._result("interrupted")
            except NonFiniteLoss:
                self._write_best()
                raise
        return self._result("finished")

    @property
    def checkpoint_dir(self) -> Path:
        return self.run_dir / "checkpoint"

    @property
    def steps_per_epoch(self) -> int:
        return -(-self.num_batches // self.recipe.accumulate_steps)

    @property
    def num_steps(self) -> int:
        return self.steps_per_epoch * self.recipe.epochs

    @cached_property
    def num_batches(self) -> int:
        return self.loader.num_batches(self.recipe, self.fabric.world_size)

    def _open_layers(self) -> None:
        """Freeze and open layers as this epoch wants it; several processes must agree anew on what they share."""
        epoch = self.state.progress.epoch
        num_open = num_open_groups(self.recipe.freeze, epoch, self.recipe.epochs, len(self.groups))
        open_groups(self.state.network, self.groups, num_open)
        start_momentum(self.state.optimizer)
        if self.model is None or (num_open != self.num_open and self.fabric.world_size > 1):
            self.model = None  # lets go of the old gradient hooks before new ones are made
            network = self.state.network
            if is_sharded(network):
                self.model = InPrecision(network, self.fabric)
            else:
                code = compiled(network, self.recipe.use_compile)
                self.model = self.fabric.setup_module(code, move_to_device=False)
        if (
            self.adversary is None
            and can_run_asynchronously(self.state.optimizer, self.fabric)
            and (self.queue is None or num_open != self.num_open)
        ):
            self.queue = AsynchronousSteps(
                self.model,
                self.loss_fn,
                self.state.optimizer,
                self.fabric,
                max_grad_norm=self.recipe.max_grad_norm,
                use_graphs=self.recipe.use_cuda_graphs,
                log=self.observer.on_notice,
            )
        self.num_open = num_open

    def _train_epoch(self) -> None:
        """The updates of this epoch that are still to be made. Raises Stopped between two of them."""
        progress, recipe = self.state.progress, self.recipe
        batches = self.loader.train_batches(
            recipe,
            progress.epoch,
            self.fabric.device,
            first_batch=progress.batch,
            rank=self.fabric.global_rank,
            world_size=self.fabric.world_size,
        )
        began_at = time.monotonic()
        with contextlib.closing(batches):
            for parts in _in_parts(batches, recipe.accumulate_steps):
                self._update(parts)
                now = time.monotonic()
                progress.sums.training_s += now - began_at
                began_at = now
                if now - self.shown_at >= SHOW_EVERY_S:
                    self._show(now)
                if self._is_due(now):
                    self._save()
                    began_at = time.monotonic()
        self._read_queue(wait=True)
        progress.sums.training_s += time.monotonic() - began_at

    def _update(self, parts: list[Batch]) -> None:
        """One update on one or more batches."""
        progress = self.state.progress
        self._set_rates(progress.step)
        assert self.model is not None
        seed = seed_for(self.recipe.seed, "layers", progress.step, 0)
        place = f"epoch {progress.epoch + 1}, batch {progress.batch + 1}, learning rate {self._learning_rate():g}"
        if self.queue is not None:
            self.queue.update(parts, seed=seed, place=place)
        elif self.adversary is None:
            self._step(parts, seed, place)
        elif self.adversary.method == "free":
            self.adversary.free_updates(parts, lambda attacked, number: self._step(attacked, seed + number, place))
        else:
            self._step(self.adversary.attacked(self.state.network, parts, seed), seed, place)
        progress.step += 1
        progress.batch += len(parts)
        if self.state.average is not None:
            self.state.average.update(self.state.network, progress.step)
        self._read_queue()

    def _step(self, parts: list[Batch], seed: int, place: str) -> None:
        """One update that is waited for, and counted."""
        assert self.model is not None
        loss_fn = TradesLoss(self.loss_fn) if self.recipe.adversarial == "trades" else self.loss_fn
        limit = self.recipe.max_grad_norm
        try:
            result = train_step(
                self.model, parts, loss_fn, self.state.optimizer, self.fabric, seed=seed, max_grad_norm=limit
            )
        except NonFiniteLoss as error:
            raise NonFiniteLoss(self._explain(error, place, parts)) from None
        self._count(result)

    @cached_property
    def adversary(self) -> Adversary | None:
        """What attacks every batch, where the recipe asks for adversarial training."""
        recipe = self.recipe
        if recipe.adversarial == "none":
            return None
        if not self.loader.task.has_probabilities:
            raise InputError(
                f"adversarial training is for classes, not for {self.loader.task.name}; leave --adversarial out"
            )
        return Adversary.for_run(
            recipe.adversarial,
            recipe.adversarial_epsilon,
            recipe.attack_steps,
            self.loader.preprocessing,
            self.fabric.device,
            autocast_dtype(self.fabric),
        )

    def _read_queue(self, *, wait: bool = False) -> None:
        """Count the updates that a device has made in the meantime, or with `wait` all of them."""
        if self.queue is None:
            return
        assert self.model is not None
        for update in self.queue.done(wait=wait):
            try:
                self._count(update.result(self.model))
            except NonFiniteLoss as error:
                raise NonFiniteLoss(self._explain(error, update.place, [])) from None

    def _count(self, result: StepResult) -> None:
        self.state.progress.sums.add(result)
        self.last_grad_norm = result.grad_norm

    def _finish_epoch(self) -> None:
        """Validate, write the line of metrics, keep the best, save. Raises Stopped before any of it is written."""
        progress = self.state.progress
        network = self.state.evaluated_network
        try:
            found = validate(network, self.loader, self.fabric, batch_size=self.recipe.batch_size, track=self._stopping)
        except NonFiniteLoss as error:
            raise NonFiniteLoss(f"{error} (validation after epoch {progress.epoch + 1})") from None
        sums = progress.sums.over_all_processes(self.fabric)
        progress.elapsed_s = self._elapsed_s()
        record: dict[str, Any] = {
            "kind": "epoch",
            "epoch": progress.epoch + 1,
            "step": progress.step,
            "train_loss": sums.loss_sum / sums.weight,
            f"train_{self.loader.task.train_score_name or self.loader.task.score_name}": sums.score_sum
            / sums.num_images,
            "validation_loss": found.loss,
            **{f"validation_{name}": value for name, value in found.summary().items()},
            "learning_rate": self._learning_rate(),
            "images_per_s": sums.num_images / max(sums.training_s, 1e-9),
            "elapsed_s": progress.elapsed_s,
        }
        robust = self._robust_accuracy(network)
        if robust is not None:
            record["validation_robust_accuracy"], record["validation_single_step_accuracy"] = robust
        if self.recipe.schedule.name == "plateau":
            progress.plateau.observe(found.loss, self.recipe.schedule)
        score = found.score if robust is None else robust[0]  # the weights that withstand most, where that is trained
        top_before = progress.top_score
        record["is_kept"] = is_best = is_better(
            progress.best,
            score,
            found.loss,
            top_score=progress.top_score,
            num_images=len(self.loader.validation) if robust is None else self._num_robust_images,
            schedule=self.recipe.schedule.name,
        )
        progress.top_score = max(progress.top_score, score)
        progress.epoch, progress.batch, progress.sums = progress.epoch + 1, 0, EpochSums()
        if is_best:
            progress.best = BestEpoch(progress.epoch, score, found.loss)
        weights = all_whole(network.state_dict()) if is_best else {}
        if self.fabric.is_global_zero:
            if is_best:
                self.unwritten_best = ({name: value.clone() for name, value in weights.items()}, progress.epoch, record)
            self.metrics.append(record)
            progress.metrics_position = self.metrics.position
        is_last = progress.epoch == self.recipe.epochs
        if is_last or self.fabric.world_size > 1 or time.monotonic() - self.saved_at >= self._least_save_s():
            self._save()
        self.observer.on_epoch(record)
        guesses = self.loader.task.num_guesses
        if guesses and (notice := standing_still(record["train_loss"], guesses, progress.epoch, self.recipe.epochs)):
            self.observer.on_notice(notice)
        if robust is not None and overfits_to_one_step(*robust, top_before, len(self.loader.task.class_names)):
            self.observer.on_notice(
                f"after epoch {progress.epoch} a single step leaves {percent(robust[1], 1)} of the validation images "
                f"and ten steps only {percent(robust[0], 1)}, after {percent(top_before, 1)} before: catastrophic "
                "overfitting; use --adversarial pgd, or a smaller --epsilon. The weights kept are those of before"
            )

    @property
    def _num_robust_images(self) -> int:
        return min(MOST_VALIDATED, len(self.loader.validation))

    def _robust_accuracy(self, network: nn.Module) -> tuple[float, float] | None:
        """Accuracy of the first validation images after ten steps and after one; every process computes them all,
        alike.
        """
        if self.adversary is None:
            return None
        indices = self.loader.validation[: self._num_robust_images]
        counts = np.zeros(2, dtype=np.int64)
        for start in range(0, len(indices), SMALLEST_BATCH):
            batch = self.loader.plain_batch(indices[start : start + SMALLEST_BATCH], self.fabric.device)
            counts += self.adversary.count_robust(network, batch, self.recipe.seed)
        robust, single_step = (counts / len(indices)).tolist()
        return robust, single_step

    def _stopping(self, items: Iterable[T], what: str, total: int) -> Iterator[T]:  # noqa: ARG002
        """A Track that raises Stopped on request; several processes would have to agree first, so they go on to the
        end.
        """
        for item in items:
            if self.stop.is_set and self.fabric.world_size == 1:
                raise Stopped
            yield item

    def _is_due(self, now: float) -> bool:
        """Whether to save now. Raises Stopped when it is time to stop instead; all processes decide alike."""
        is_due, must_stop = now - self.saved_at >= self.checkpoint_every_s, self.stop.is_set
        if self.fabric.world_size > 1:
            wishes = torch.tensor([is_due and self.fabric.is_global_zero, must_stop], dtype=torch.float32)
            agreed = self.fabric.all_reduce(wishes.to(self.fabric.device), reduce_op="sum")
            is_due, must_stop = (agreed > 0).tolist()  # type: ignore[operator, union-attr]
        if must_stop:
            raise Stopped
        return is_due

    def _save(self) -> None:
        """Write a checkpoint; all processes come here together, the first one writes."""
        self._read_queue(wait=True)
        self._write_best()
        progress = self.state.progress
        progress.elapsed_s = self._elapsed_s()
        own_sums = progress.sums
        progress.sums = own_sums.over_all_processes(self.fabric)
        if self.fabric.is_global_zero or is_sharded(self.state.network):
            checkpoint = to_checkpoint(self.state, self.identity, self.fabric)
            if self.fabric.is_global_zero:
                save_checkpoint(self.checkpoint_dir, checkpoint)
        self.fabric.barrier()  # else another process could end, and take the run up again, from the checkpoint before
        progress.sums = own_sums
        self.saved_at = time.monotonic()

    def _least_save_s(self) -> float:
        return 0.0 if self.fabric.device.type == "cpu" else min(LEAST_SAVE_S, self.checkpoint_every_s)

    def _write_best(self) -> None:
        """Hand the best weights on, where that was put off."""
        if self.unwritten_best is not None:
            self.on_best(*self.unwritten_best)
            self.unwritten_best = None

    def _show(self, now: float) -> None:
        progress, sums = self.state.progress, self.state.progress.sums
        if sums.num_images == 0:  # what the device has done so far is not known yet
            return
        self.shown_at = now
        self.observer.on_step(
            StepInfo(
                epoch=progress.epoch + 1,
                step=progress.step,
                loss=sums.loss_sum / sums.weight,
                score=sums.score_sum / sums.num_images,
                learning_rate=self._learning_rate(),
                grad_norm=self.last_grad_norm,
                images_per_s=self.fabric.world_size * sums.num_images / max(sums.training_s, 1e-9),
                eta_s=(self.num_steps - progress.step) * (now - self.started_at) / (progress.step - self.steps_before),
            )
        )

    def _explain(self, error: NonFiniteLoss, place: str, parts: list[Batch]) -> str:
        """The error with the place and the likely cause; `parts` are its batches, where they are still there."""
        progress = self.state.progress
        if not all(bool(part.images.isfinite().all()) for part in parts):
            cause = "the prepared images are not finite: look at the preprocessing"
        elif progress.step == 0 and not all(bool(p.isfinite().all()) for p in self.state.network.parameters()):
            cause = "the weights that the run starts from are not finite: the file they came from is damaged"
        elif autocast_dtype(self.fabric) == torch.float16:
            cause = "16-bit arithmetic probably overflows: use --precision bfloat16 or float32"
        else:
            cause = "the rate is probably too high: lower it, set max_grad_norm, or scan for a good one (--find-rate)"
        return f"{error} in {place}; {cause}. Nothing was updated with it"

    def _set_rates(self, step: int) -> None:
        """Every group's rate for update `step` (from 0)."""
        factor = rate_factor(self.recipe.schedule, step, self.num_steps) * self.state.progress.plateau.factor
        set_rates(self.state.optimizer, factor)

    def _learning_rate(self) -> float:
        """The recipe's, as it is now: that of the head, with muon that of the orthogonal updates."""
        group = self.state.optimizer.param_groups[0]
        return float(group["lr"]) / group["peak_rate"] * self.recipe.optimizer.learning_rate

    def _elapsed_s(self) -> float:
        return self.elapsed_before_s + time.monotonic() - self.started_at

    def _describe_start(self) -> RunStart:
        progress = self.state.progress
        return RunStart(
            num_epochs=self.recipe.epochs,
            num_steps=self.num_steps,
            steps_per_epoch=self.steps_per_epoch,
            num_train=len(self.loader.train),
            num_validation=len(self.loader.validation),
            score_name=self.loader.task.score_name,
            score_label=self.loader.task.score_label,
            keeps_latest=self.recipe.schedule.name in FALLING,
            epoch=progress.epoch,
            step=progress.step,
        )

    def _result(self, status: str) -> TrainingResult:
        progress = self.state.progress
        return TrainingResult(status, progress.epoch, progress.step, progress.best, progress.elapsed_s, self.checks)


def _in_parts(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` items, the last one maybe shorter."""
    iterator = iter(items)
    while part := list(islice(iterator, size)):
        yield part
