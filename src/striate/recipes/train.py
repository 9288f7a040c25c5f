"""A whole run: from a source to a trained, evaluated and reported model in one folder."""

import dataclasses
import platform
import shlex
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from striate.data.dataset import SPLITS
from striate.data.opening import Access
from striate.data.readers.folder_walk import RUN_FILE
from striate.errors import InputError, RunError, StriateError
from striate.networks.given import GivenNetwork, NetworkSource
from striate.notebook import Shown
from striate.processor import has_cpp_compiler
from striate.recipes.changed_versions import note_changed_versions
from striate.recipes.choices import Choices
from striate.recipes.defaults import default_num_threads
from striate.recipes.description import describe_run, processes_lines, split_names, summary_line, what_must_agree
from striate.recipes.devices import check_device, make_fabric, quiet_beside_first, threads, threads_per_process
from striate.recipes.estimate import estimate_s, in_words
from striate.recipes.evaluate_best import evaluate_best
from striate.recipes.frozen_base import feature_loader, trainee_of
from striate.recipes.mode_choice import ModeChoice, with_fastest_mode
from striate.recipes.prepare import Prepared, prepare
from striate.recipes.progress_bar import default_observer
from striate.recipes.run_again import access_of_run, prepared_again
from striate.recipes.run_folder import (
    SPLITS_FILE,
    check_run_dir,
    make_numbered_run_dir,
    make_run_dir,
    read_run,
    write_json,
)
from striate.recipes.run_keeper import RunKeeper
from striate.recipes.run_lock import locking_run
from striate.reports.report import write_report
from striate.tasks.task import Figures
from striate.training.checkpoints import has_checkpoints
from striate.training.distributed.collectives import (
    check_same,
    from_first,
    naming_lost_processes,
    raise_on_all_ranks,
    rank_zero_first,
)
from striate.training.distributed.fsdp import check_sharding
from striate.training.distributed.launch import Rank, current_rank, is_restart_of, launch_identity
from striate.training.loop import check_batch_size, train_network
from striate.training.observer import Observer, Observers
from striate.training.rate_finder import RateScan
from striate.training.rate_finder import find_rate as scan_rates
from striate.training.recipe import Recipe
from striate.training.repeatability import Repeatability, verify_steps
from striate.training.tensorboard import TensorBoardWriter
from striate.weights.model_file import MODEL_FILE


@dataclass(frozen=True, repr=False)
class Run(Shown):
    """A run folder and how it ended: `status` is "finished" or "interrupted"; the figures are there when it is
    finished.

    `split` is the part of the data that `evaluation` was measured on: "test", or "validation" where there is no test
    part.
    """

    path: Path
    status: str
    split: str | None = None
    evaluation: Figures | None = None

    def facts(self) -> tuple[str, tuple[tuple[str, object], ...]]:
        own: Any = self.evaluation
        figures = own.facts()[1] if isinstance(own, Shown) else ()
        return "striate run", (
            ("path", self.path),
            ("status", self.status),
            ("measured on", self.split or "nothing yet"),
            *figures,
        )

    @property
    def model_path(self) -> Path:
        return self.path / MODEL_FILE

    @property
    def report_path(self) -> Path:
        return self.path / "report.html"

    def to_json(self) -> dict[str, Any]:
        """Plain values: where things are, and the figures as `striate evaluate --json` gives them."""
        return {
            "run": str(self.path),
            "status": self.status,
            "model": str(self.model_path) if self.evaluation else None,
            "report": str(self.report_path) if self.evaluation else None,
            "split": self.split,
            "evaluation": self.evaluation.to_json() if self.evaluation else None,
        }


def train(
    source: str | Path,
    choices: Choices | None = None,
    *,
    run: str | Path | None = None,
    run_checks: bool = True,
    measure: bool = True,
    robustness: bool = True,
    device: str = "auto",
    shard_weights: bool = False,
    access: Access | None = None,
    observer: Observer | None = None,
    network: NetworkSource | None = None,
    head: str | None = None,
    progress: bool | None = None,
    evaluate_best: bool = True,
) -> Run:
    """Train on a source and evaluate; what `choices` leaves open is decided by the data.

    Makes the folder `run` (by default runs/SOURCE-NETWORK-NUMBER) with run.json, metrics.jsonl, model.safetensors (the
    best epoch by validation), checkpoint/, events/ and report.html. With `measure` a long run first
    tries how this machine computes it fastest, unless that was measured before. `robustness`: the report tells how
    small a change of the pixels fools the network, in at most a tenth of the training time or half a second. Without
    `evaluate_best` the run ends with its best weights and nothing looks at the test part. `device` is auto, cpu, cuda
    or mps. Called in every process that torchrun started, the processes share each batch and do together what one would
    do; the first writes, logs and evaluates, and the others' Run has no figures. `shard_weights` shares out the weights
    as well. Without an `observer` a bar shows how far the run is, where standard error is a terminal or in a notebook;
    `progress` says so outright. `network` is a network of your own in place of one that `choices` names: a function or
    class that takes `num_classes` (and `in_channels`, where it has that parameter), or a module, of which a copy is
    trained; `head` names its last layer as in `named_modules`, found by running it if left out. Ctrl-C stops between
    two updates; the run can be taken up by `resume`. Raises DataError, InputError, ModelFileError, RunError or
    NonFiniteLoss, each one line.

    `run_checks` tries the sanity checks before the first epoch.
    """
    started_at = datetime.now(UTC)
    place, observer = current_rank(), observer or default_observer(progress)
    access = quiet_beside_first(access or Access(), place)
    own_device = check_device(device, choices.precision if choices else None, place)
    if choices is not None and choices.use_compile and own_device.type == "cpu" and not has_cpp_compiler():
        raise InputError("compiling needs a C++ compiler and there is none here; install g++, or leave --compile out")
    if choices is not None and choices.use_cuda_graphs and own_device.type != "cuda":
        raise InputError(
            f"CUDA graphs need a CUDA device and this run is on {own_device.type}; leave --cuda-graphs out"
        )
    fabric = make_fabric(own_device, "32-true", place)
    with naming_lost_processes(fabric, "start the run again"):
        if begun := from_first(fabric, partial(_begun_by_this_launch, run)):
            access.log(f"torchrun has started the processes again: going on with {begun}")
            return resume(begun, device=device, access=access, observer=observer, network=network, head=head)
        if run is not None:
            from_first(fabric, partial(_checked_run_dir, Path(run)))  # before anything slow
        given = None if network is None else GivenNetwork(network, head)
        job = partial(prepare, str(source), choices or Choices(), access, own_device, given)
        prepared = rank_zero_first(fabric, place.local_rank, job)
        check_same(fabric, what_must_agree(prepared), platform.node())
        check_batch_size(prepared.recipe, fabric)
        if shard_weights:
            check_sharding(prepared.recipe, place.world_size)
        prepared, mode = _in_mode(prepared, choices or Choices(), own_device, place, access, measure=measure)
        fabric = make_fabric(own_device, prepared.recipe.precision, place)
        run_dir = Path(from_first(fabric, partial(_made_run_dir, run, str(source), prepared.entry.name)))
        with threads(prepared.recipe.num_threads), _locked(run_dir, fabric):
            described = describe_run(prepared, access, fabric, started_at, run_checks, mode, shard_weights)
            described["robustness"] = robustness
            described["evaluates"] = evaluate_best
            with raise_on_all_ranks(fabric):
                if fabric.is_global_zero:
                    write_json(run_dir / RUN_FILE, described)
                    write_json(run_dir / SPLITS_FILE, split_names(prepared))
            for line in (summary_line(prepared, own_device), *processes_lines(prepared, place)):
                access.log(line)
            if place.world_size == 1:
                access.log(_estimate_line(prepared, mode, own_device))
            with naming_lost_processes(fabric, f"go on with: striate train --resume {run_dir}"):
                return _run(
                    run_dir, described, prepared, fabric, access, observer, is_resumed=False, run_checks=run_checks
                )


def _estimate_line(prepared: Prepared, mode: ModeChoice | None, device: torch.device) -> str:
    epochs = prepared.recipe.epochs
    seconds = estimate_s(prepared, prepared.loader(), mode, device)
    return f"{in_words(seconds)} for {epochs:,} epoch{'s' * (epochs != 1)} on this machine, by a first guess"


@dataclass(frozen=True)
class RunPlan:
    """What a run would be: network, image size (height, width), images by split, epochs, and how long on this
    machine.
    """

    network: str
    num_params: int
    image_size: tuple[int, int]
    class_names: tuple[str, ...]
    num_images: dict[str, int]
    epochs: int
    batch_size: int
    estimate_s: float
    summary: str

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def plan_run(
    source: str | Path,
    choices: Choices | None = None,
    *,
    device: str = "auto",
    measure: bool = True,
    access: Access | None = None,
) -> RunPlan:
    """What `train` would do with the same arguments: everything is chosen and prepared, nothing is trained, no folder
    is made.

    Images are decoded, as for a run, and kept in the cache. Raises as `train` does.

    `measure` also finds how this machine computes it fastest, in up to a tenth of the run.
    """
    access, choices = access or Access(), choices or Choices()
    own_device = check_device(device, choices.precision, Rank())
    prepared = prepare(str(source), choices, access, own_device)
    prepared, mode = _in_mode(prepared, choices, own_device, Rank(), access, measure=measure)
    with threads(prepared.recipe.num_threads):
        seconds = estimate_s(prepared, prepared.loader(), mode, own_device)
    height, width = prepared.preprocessing.crop_size
    return RunPlan(
        network=prepared.entry.name,
        num_params=sum(param.numel() for param in prepared.network.parameters()),
        image_size=(height, width),
        class_names=prepared.task.class_names,
        num_images={name: len(prepared.splits[name]) for name in SPLITS},
        epochs=prepared.recipe.epochs,
        batch_size=prepared.recipe.batch_size,
        estimate_s=seconds,
        summary=summary_line(prepared, own_device),
    )


def resume(
    run: str | Path,
    *,
    device: str = "auto",
    access: Access | None = None,
    observer: Observer | None = None,
    network: NetworkSource | None = None,
    head: str | None = None,
    progress: bool | None = None,
) -> Run:
    """Go on with a run that was stopped or killed, exactly where its newest whole checkpoint left it.

    On the CPU the final weights are bit for bit those of the run that was never stopped. A finished run is left as it
    is and its figures come back. A run with a network of your own needs `network` and `head` again, as `train` got
    them. Raises RunError where the folder is no run or its data have changed.
    """
    run_dir, observer = Path(run), observer or default_observer(progress)
    place = current_rank()
    described = read_run(run_dir)
    recipe = Recipe.from_json(described["recipe"])
    access = access_of_run(described, quiet_beside_first(access or Access(), place))
    if described["status"] == "finished":
        access.log(
            f"{run_dir} is finished: nothing is left to train, these are its figures; to train on from its weights: "
            f"striate train {shlex.quote(described['source'])} --weights {shlex.quote(str(run_dir))} --epochs N"
        )
    own_device = check_device(described["machine"]["device"] if device == "auto" else device, recipe.precision, place)
    fabric = make_fabric(own_device, recipe.precision, place)
    with ExitStack() as stack:
        stack.enter_context(naming_lost_processes(fabric, f"go on with: striate train --resume {run_dir}"))
        stack.enter_context(threads(described["machine"]["threads"]))
        has_checkpoint = from_first(fabric, lambda: "yes" if has_checkpoints(run_dir / "checkpoint") else "") == "yes"
        given = None if network is None else GivenNetwork(network, head)
        job = partial(prepared_again, run_dir, described, recipe, access, has_checkpoint, given)
        prepared = rank_zero_first(fabric, place.local_rank, job)
        check_same(fabric, what_must_agree(prepared), platform.node())
        with raise_on_all_ranks(fabric):
            if fabric.is_global_zero:  # a kill may have come before it was written
                write_json(run_dir / SPLITS_FILE, split_names(prepared))
        stack.enter_context(_locked(run_dir, fabric))
        if described["status"] != "finished":
            note_changed_versions(described, prepared, access.log)
        has_yet_to_check = described.get("checks") == [] and not has_checkpoint
        return _run(
            run_dir, described, prepared, fabric, access, observer, is_resumed=True, run_checks=has_yet_to_check
        )


def re_evaluate(
    run: str | Path, *, device: str = "auto", access: Access | None = None, network: NetworkSource | None = None
) -> Run:
    """The figures and the report of a finished run anew, from its model file as it is now; one process. Raises as
    `resume`.
    """
    run_dir = Path(run)
    described = read_run(run_dir)
    if described["status"] != "finished":
        raise RunError(f"{run_dir} is not finished; go on with: striate train --resume {run_dir}")
    recipe = Recipe.from_json(described["recipe"])
    access = access_of_run(described, access or Access())
    fabric = make_fabric(check_device(device, recipe.precision, Rank()), recipe.precision, Rank())
    given = None if network is None else GivenNetwork(network)
    with threads(described["machine"]["threads"]), locking_run(run_dir):
        prepared = prepared_again(run_dir, described, recipe, access, True, given)
        split, evaluation = evaluate_best(run_dir, described, prepared, fabric, access)
    write_report(run_dir)
    return Run(run_dir, "finished", split, evaluation)


@contextmanager
def _locked(run_dir: Path, fabric: Fabric) -> Iterator[None]:
    """Hold the run folder in the first process; all learn of it where another run has it."""
    with ExitStack() as stack:
        with raise_on_all_ranks(fabric):
            if fabric.is_global_zero:
                stack.enter_context(locking_run(run_dir))
        yield


def _in_mode(
    prepared: Prepared, choices: Choices, device: torch.device, place: Rank, access: Access, *, measure: bool
) -> tuple[Prepared, ModeChoice | None]:
    """The run in the way of computing that was asked for, or measured, or is usual; several processes measure
    nothing.
    """
    if prepared.recipe.num_threads == 0:
        num_threads = default_num_threads(prepared.entry, threads_per_process(place))
        prepared = dataclasses.replace(prepared, recipe=dataclasses.replace(prepared.recipe, num_threads=num_threads))
    if not measure or place.world_size > 1:
        return prepared, None
    make = partial(make_fabric, device, place=place)
    return with_fastest_mode(prepared, prepared.loader(), choices, device, make, access.log, access.track)


def _begun_by_this_launch(run: str | Path | None) -> str:
    """The run folder that processes of the same torchrun made before one of them died; empty where there is none."""
    if launch_identity() is None:
        return ""
    candidates = [Path(run)] if run is not None else sorted(Path("runs").glob("*"))
    for folder in candidates:
        with suppress(RunError):  # a damaged neighbour is no run of ours
            if (folder / RUN_FILE).is_file() and is_restart_of(read_run(folder).get("launch")):
                return str(folder)
    return ""


def _checked_run_dir(wanted: Path) -> str:
    check_run_dir(wanted)
    return str(wanted)


def _made_run_dir(run: str | Path | None, source: str, network: str) -> str:
    return str(make_numbered_run_dir(source, network) if run is None else make_run_dir(Path(run)))


def find_rate(
    source: str | Path,
    choices: Choices | None = None,
    *,
    device: str = "auto",
    access: Access | None = None,
    network: NetworkSource | None = None,
    head: str | None = None,
) -> RateScan:
    """Scan learning rates for the run that `train` would make, on a copy of its network; nothing is written."""
    prepared, fabric = _prepare_alone(source, choices, device, access or Access(), network, head)
    return scan_rates(prepared.network, prepared.recipe, prepared.loader(), fabric=fabric, head=prepared.entry.head)


def verify_training(
    source: str | Path,
    choices: Choices | None = None,
    *,
    device: str = "auto",
    access: Access | None = None,
    network: NetworkSource | None = None,
    head: str | None = None,
) -> Repeatability:
    """Train ten steps of the run that `train` would make, twice, and compare them bit for bit; nothing is written."""
    access = access or Access()
    prepared, fabric = _prepare_alone(source, choices, device, access, network, head)
    return verify_steps(
        prepared.network,
        prepared.recipe,
        prepared.loader(),
        fabric=fabric,
        head=prepared.entry.head,
        track=access.track,
    )


def _prepare_alone(
    source: str | Path,
    choices: Choices | None,
    device: str,
    access: Access,
    network: NetworkSource | None,
    head: str | None,
) -> tuple[Prepared, Fabric]:
    """The run that `train` would make, in this process alone, and nothing written."""
    own_device = check_device(device, choices.precision if choices else None, Rank())
    given = None if network is None else GivenNetwork(network, head)
    prepared = prepare(str(source), choices or Choices(), access, own_device, given)
    return prepared, make_fabric(own_device, prepared.recipe.precision, Rank())


def _run(
    run_dir: Path,
    described: dict[str, Any],
    prepared: Prepared,
    fabric: Fabric,
    access: Access,
    observer: Observer,
    *,
    is_resumed: bool,
    run_checks: bool,
) -> Run:
    """Train from wherever the folder stands, then evaluate the best epoch and write the report."""
    keeper = RunKeeper(run_dir, described, prepared)
    observers = Observers([keeper, TensorBoardWriter(run_dir / "events"), observer])
    loader = prepared.loader()
    trainee = trainee_of(prepared)
    try:
        result = train_network(
            trainee or prepared.network,
            prepared.recipe,
            loader,
            run_dir,
            fabric=fabric,
            resume=is_resumed,
            use_checks=run_checks,
            head=f"network.{prepared.entry.head}" if trainee else prepared.entry.head,
            use_sharding=described["machine"].get("has_shared_out_weights", False),
            make_loader=None
            if trainee is None
            else partial(feature_loader, trainee, prepared, loader, fabric, access, observers),
            on_best=keeper.keep_best,
            observer=observers,
        )
    except StriateError as error:
        if fabric.is_global_zero:
            with suppress(RunError):  # what failed may be the disk itself
                keeper.write(status="failed", failure=str(error))
        raise
    if not fabric.is_global_zero:  # the first process evaluates and reports
        return Run(run_dir, result.status)
    best = None if result.best is None else asdict(result.best)
    keeper.write(status=result.status, elapsed_s=result.elapsed_s, best=best)
    if result.status != "finished":
        return Run(run_dir, result.status)
    if not described.get("evaluates", True):
        keeper.write(status="finished")
        return Run(run_dir, "finished")
    keeper.write(status="evaluating")
    split, evaluation = evaluate_best(run_dir, described, prepared, fabric, access)
    keeper.write(status="finished")
    write_report(run_dir)
    return Run(run_dir, "finished", split, evaluation)
