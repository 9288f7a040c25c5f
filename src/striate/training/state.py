"""Everything that a run has made so far: what a checkpoint holds and nothing else."""

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer

from striate.errors import RunError
from striate.progress import Log
from striate.training.batches import BatchSource
from striate.training.best_epoch import BestEpoch
from striate.training.checkpoints import Checkpoint, pack_tree, unpack_tree
from striate.training.checks import CheckResult
from striate.training.distributed.fsdp import all_whole, laid_out_like
from striate.training.ema import MovingAverage
from striate.training.recipe import Recipe
from striate.training.schedules import Plateau
from striate.training.step import StepResult


@dataclass
class EpochSums:
    """Running sums of the epoch in progress; `training_s` is time spent on updates."""

    loss_sum: float = 0.0
    weight: float = 0.0
    score_sum: float = 0.0
    num_images: int = 0
    training_s: float = 0.0

    def add(self, result: StepResult) -> None:
        self.loss_sum += result.loss_sum
        self.weight += result.weight
        self.score_sum += result.score_sum
        self.num_images += result.num_images

    def over_all_processes(self, fabric: Fabric) -> "EpochSums":
        """The sums of all processes together; their mean time."""
        if fabric.world_size == 1:
            return self
        values = torch.tensor(dataclasses.astuple(self), dtype=torch.float64, device=fabric.device)
        total = fabric.all_reduce(values, reduce_op="sum")
        loss_sum, weight, score_sum, num_images, training_s = total.tolist()  # type: ignore[union-attr]
        return EpochSums(loss_sum, weight, score_sum, int(num_images), training_s / fabric.world_size)


@dataclass
class Progress:
    """Where a run stands: whole epochs, batches of the one in progress, updates in all.

    `top_score` is the highest on the validation images. `metrics_position` is the length of metrics.jsonl in bytes;
    `elapsed_s` counts all sessions of the run.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    sums: EpochSums = field(default_factory=EpochSums)
    plateau: Plateau = field(default_factory=Plateau)
    best: BestEpoch | None = None
    top_score: float = 0.0
    elapsed_s: float = 0.0
    metrics_position: int = 0

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Progress":
        values = _renamed(values, {"top_accuracy": "top_score"})
        best = None if values["best"] is None else BestEpoch.from_json(values["best"])
        sums = EpochSums(**_renamed(values["sums"], {"num_correct": "score_sum"}))
        plateau = Plateau(**values["plateau"])
        return cls(**{**values, "sums": sums, "plateau": plateau, "best": best})


def _renamed(values: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """Values of a checkpoint made before there were other tasks than classification, by their present names."""
    return {names.get(name, name): value for name, value in values.items()}


@dataclass
class TrainingState:
    """The parts of a run that change. `network` is the bare one, not what Fabric wraps around it."""

    network: nn.Module
    average: MovingAverage | None
    optimizer: Optimizer
    progress: Progress = field(default_factory=Progress)

    @property
    def evaluated_network(self) -> nn.Module:
        """The network that is validated and kept: the weight average where there is one."""
        return self.network if self.average is None else self.average.network


@dataclass(frozen=True)
class TrainingResult:
    """The outcome of training. `epochs` and `steps` are those done; `checks` is empty where none were made."""

    status: str
    epochs: int
    steps: int
    best: BestEpoch | None
    elapsed_s: float
    checks: tuple[CheckResult, ...] = ()


def identify(recipe: Recipe, loader: BatchSource, fabric: Fabric) -> dict[str, Any]:
    """What must be the same for a run to go on ("recipe", "feed"), and what must be for it to go on bit for bit
    ("surroundings").
    """
    recipe_json = json.loads(json.dumps(recipe.to_json()))
    surroundings = {
        "torch": torch.__version__,
        "device": fabric.device.type,
        "num_processes": fabric.world_size,
        "num_threads": torch.get_num_threads(),
    }
    return {"recipe": recipe_json, "feed": loader.digest(), "surroundings": surroundings}


def to_checkpoint(state: TrainingState, identity: dict[str, Any], fabric: Fabric) -> Checkpoint:
    """The state as a checkpoint; its tensors are still the state's own, except that shared-out ones are whole: with
    these, all processes must come here together.
    """
    tensors: dict[str, Tensor] = {f"network.{name}": value for name, value in state.network.state_dict().items()}
    if state.average is not None:
        tensors |= {f"average.{name}": value for name, value in state.average.network.state_dict().items()}
    optimizer_state = state.optimizer.state_dict()["state"]
    values = {
        "identity": identity,
        "progress": state.progress.to_json(),
        "optimizer": pack_tree(optimizer_state, "optimizer", tensors),
        "precision": pack_tree(fabric.strategy.precision.state_dict(), "precision", tensors),
    }
    return Checkpoint(state.progress.step, values, all_whole(tensors))


def restore(
    state: TrainingState, checkpoint: Checkpoint, identity: dict[str, Any], fabric: Fabric, *, log: Log
) -> None:
    """Put the state back to where the checkpoint was made; RunError when the checkpoint is another run's."""
    _check_same_run(checkpoint.values["identity"], identity, log)
    _load_network(state.network, checkpoint, "network.")
    if state.average is not None:
        _load_network(state.average.network, checkpoint, "average.")
    optimizer_state = unpack_tree(checkpoint.values["optimizer"], checkpoint.tensors)
    state.optimizer.load_state_dict(
        {"state": optimizer_state, "param_groups": state.optimizer.state_dict()["param_groups"]}
    )
    _lay_out_alike(state.optimizer)
    fabric.strategy.precision.load_state_dict(unpack_tree(checkpoint.values["precision"], checkpoint.tensors))
    state.progress = Progress.from_json(checkpoint.values["progress"])
    if not fabric.is_global_zero:
        state.progress.sums = EpochSums()  # the checkpoint holds the sums of all, and the first process has them now


def _lay_out_alike(optimizer: Optimizer) -> None:
    """Give what belongs to a parameter its memory layout: PyTorch's fused steps read them side by side, unchecked."""
    for param, values in optimizer.state.items():
        for name, value in values.items():
            if isinstance(value, Tensor) and value.shape == param.shape:
                own = torch.empty_like(param, dtype=value.dtype)
                values[name] = own.copy_(laid_out_like(own, value))


def _check_same_run(saved: dict[str, Any], own: dict[str, Any], log: Log) -> None:
    usual = {each.name: each.default for each in dataclasses.fields(Recipe)}  # what older checkpoints leave unsaid
    changed = [name for name in own["recipe"] if saved["recipe"].get(name, usual[name]) != own["recipe"][name]]
    if changed:
        raise RunError(
            f"the run was started with another recipe ({', '.join(changed)} changed); resume it as it was, or start a "
            "new run"
        )
    if saved["feed"] != own["feed"]:
        raise RunError(
            "the images, labels, splits or preprocessing are not those that the run was started with; "
            "bring the data back, or start a new run"
        )
    for name, value in own["surroundings"].items():
        if (before := saved["surroundings"].get(name)) != value:
            log(f"the run goes on with {name} {value} and was at {before}: results can differ in the last digits")


def _load_network(network: nn.Module, checkpoint: Checkpoint, prefix: str) -> None:
    values = {name.removeprefix(prefix): v for name, v in checkpoint.tensors.items() if name.startswith(prefix)}
    own = network.state_dict()
    wrong = [name for name in own.keys() | values.keys() if name not in own or name not in values]
    wrong += [name for name in own.keys() & values.keys() if own[name].shape != values[name].shape]
    if wrong:
        raise RunError(
            f"the checkpoint is of another network: {sorted(wrong)[0]} and {len(wrong) - 1} more do not fit; "
            "resume the run with the network it was started with"
        )
    network.load_state_dict({name: laid_out_like(own[name], values[name]) for name in own})
