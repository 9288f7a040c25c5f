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
from torch import Tensor

from striate.baselines.run_panel import write_baselines
from striate.data.dataset import SPLITS
from striate.data.opening import Access
from striate.data.preprocessing import Preprocessing
from striate.data.readers.columns import columns_from_json
from striate.data.splits import digest
from striate.errors import InputError, ModelFileError, RunError, StriateError
from striate.evaluation.evaluate_network import evaluate as evaluate_network
from striate.evaluation.mistakes import write_mistakes
from striate.explanation.run_panel import write_inside
from striate.networks.catalogue import build_entry, entry_for
from striate.networks.entry import Entry
from striate.networks.given import EXTERNAL, GivenNetwork, NetworkSource, digest_of, given_entry
from striate.notebook import Shown
from striate.processor import has_cpp_compiler
from striate.recipes.changed_versions import note_changed_versions, other_readable_images
from striate.recipes.choices import Choices
from striate.recipes.defaults import default_num_threads
from striate.recipes.description import describe_run, processes_lines, split_names, summary_line, what_must_agree
from striate.recipes.devices import check_device, make_fabric, quiet_beside_first, threads, threads_per_process
from striate.recipes.estimate import estimate_s, in_words
from striate.recipes.mode_choice import ModeChoice, with_fastest_mode
from striate.recipes.prepare import Prepared, prepare, prepare_again, trainable_tail
from striate.recipes.progress_bar import default_observer
from striate.recipes.run_folder import (
    EVALUATION_FILE,
    RUN_FILE,
    SPLITS_FILE,
    check_run_dir,
    make_numbered_run_dir,
    make_run_dir,
    read_run,
    write_json,
)
from striate.recipes.run_lock import locking_run
from striate.reports.report import write_report
from striate.robustness.run_panel import write_robustness
from striate.tasks.catalogue import TASKS
from striate.tasks.classification.logits import Tempered, tempered
from striate.tasks.classification.task import Classification
from striate.tasks.model import task_of
from striate.tasks.task import Figures
from striate.training.checkpoints import cannot_write, has_checkpoints
from striate.training.checks import CheckResult
from striate.training.distributed.collectives import (
    check_same,
    from_first,
    naming_lost_processes,
    raise_on_all_ranks,
    rank_zero_first,
)
from striate.training.distributed.fsdp import check_sharding
from striate.training.distributed.launch import Rank, current_rank, is_restart_of, launch_identity
from striate.training.frozen.feature_cache import FeatureLoader, with_features
from striate.training.frozen.trainable_tail import TrainableTail, whole_state
from striate.training.loader import MAX_READERS, Loader
from striate.training.loop import check_batch_size, train_network
from striate.training.observer import Observer, Observers, SilentObserver
from striate.training.rate_finder import RateScan
from striate.training.rate_finder import find_rate as scan_rates
from striate.training.recipe import Recipe
from striate.training.tensorboard import TensorBoardWriter
from striate.training.validation import autocast_dtype
from striate.weights.model_file import MODEL_FILE, ModelFile, read_model_file, write_model_file


@dataclass(frozen=True, repr=False)
class Run(Shown):
    """A run folder and how it ended: `status` is "finished" or "interrupted"; the figures are there when it is finished.

    `split` is the part of the data that `evaluation` was measured on: "test", or "validation" where there is no test part.
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
    tries how this machine computes it fastest, unless that was measured before. `robustness`: the report tells how small a change of
    the pixels fools the network, in at most a tenth of the training time or half a second. Without `evaluate_best`
    the run ends with its best weights and nothing looks at the test part. `device` is auto, cpu, cuda or mps.
    Called in every process that torchrun started, the processes share each batch and do together what one would do; the first writes,
    logs and evaluates, and the others' Run has no figures. `shard_weights` shares out the weights as well.
    Without an `observer` a bar shows how far the run is, where standard error is a terminal or in a notebook; `progress` says so
    outright. `network` is a network of your own in place of one that `choices` names: a function or class that takes `num_classes` (and
    `in_channels`, where it has that parameter), or a module, of which a copy is trained; `head` names its last layer as in
    `named_modules`, found by running it if left out. Ctrl-C stops
    between two updates; the run can be taken up by `resume`. Raises DataError, InputError, ModelFileError, RunError or
    NonFiniteLoss, each one line.
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
    seconds = estimate_s(prepared, _loader(prepared), mode, device)
    return f"{in_words(seconds)} for {epochs:,} epoch{'s' * (epochs != 1)} on this machine, by a first guess"


@dataclass(frozen=True)
class RunPlan:
    """What a run would be: network, image size (height, width), images by split, epochs, and how long on this machine."""

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
    """What `train` would do with the same arguments: everything is chosen and prepared, nothing is trained, no folder is made.

    Images are decoded, as for a run, and kept in the cache. Raises as `train` does.
    """
    access, choices = access or Access(), choices or Choices()
    own_device = check_device(device, choices.precision, Rank())
    prepared = prepare(str(source), choices, access, own_device)
    prepared, mode = _in_mode(prepared, choices, own_device, Rank(), access, measure=measure)
    with threads(prepared.recipe.num_threads):
        seconds = estimate_s(prepared, _loader(prepared), mode, own_device)
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

    On the CPU the final weights are bit for bit those of the run that was never stopped. A finished run is left as it is and its
    figures come back. A run with a network of your own needs `network` and `head` again, as `train` got them. Raises RunError
    where the folder is no run or its data have changed.
    """
    run_dir, observer = Path(run), observer or default_observer(progress)
    place = current_rank()
    described = read_run(run_dir)
    recipe = Recipe.from_json(described["recipe"])
    access = _access_of_run(described, quiet_beside_first(access or Access(), place))
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
        job = partial(_prepared_again, run_dir, described, recipe, access, has_checkpoint, given)
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
    """The figures and the report of a finished run anew, from its model file as it is now; one process. Raises as `resume`."""
    run_dir = Path(run)
    described = read_run(run_dir)
    if described["status"] != "finished":
        raise RunError(f"{run_dir} is not finished; go on with: striate train --resume {run_dir}")
    recipe = Recipe.from_json(described["recipe"])
    access = _access_of_run(described, access or Access())
    fabric = make_fabric(check_device(device, recipe.precision, Rank()), recipe.precision, Rank())
    given = None if network is None else GivenNetwork(network)
    with threads(described["machine"]["threads"]), locking_run(run_dir):
        prepared = _prepared_again(run_dir, described, recipe, access, True, given)
        split, evaluation = _evaluate(run_dir, described, prepared, fabric, access)
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


def _access_of_run(described: dict[str, Any], access: Access) -> Access:
    """The data access of the run when it began, overridden by what `access` sets."""
    stored = described["data"]
    if access.data_dir is None and stored["data_dir"] is not None:
        access = dataclasses.replace(access, data_dir=stored["data_dir"])
    return dataclasses.replace(
        access,
        max_pixels=stored["max_pixels"],
        columns=access.columns or columns_from_json(stored.get("columns")),
        ignore_index=stored.get("ignore_index"),
    )


def _in_mode(
    prepared: Prepared, choices: Choices, device: torch.device, place: Rank, access: Access, *, measure: bool
) -> tuple[Prepared, ModeChoice | None]:
    """The run in the way of computing that was asked for, or measured, or is usual; several processes measure nothing."""
    if prepared.recipe.num_threads == 0:
        num_threads = default_num_threads(prepared.entry, threads_per_process(place))
        prepared = dataclasses.replace(prepared, recipe=dataclasses.replace(prepared.recipe, num_threads=num_threads))
    if not measure or place.world_size > 1:
        return prepared, None
    make = partial(make_fabric, device, place=place)
    return with_fastest_mode(prepared, _loader(prepared), choices, device, make, access.log, access.track)


def _prepared_again(
    run_dir: Path,
    described: dict[str, Any],
    recipe: Recipe,
    access: Access,
    has_checkpoint: bool,
    given: GivenNetwork | None,
) -> Prepared:
    """The run as its folder describes it. RunError where its data are gone or have changed."""
    source, stored = described["source"], described["data"]
    if Path(source).is_absolute() and not Path(source).exists():
        raise RunError(f"the images of {source} are not there any more; put them back or start a new run")
    preprocessing = Preprocessing.from_json(described["preprocessing"])
    prepared = prepare_again(
        source,
        recipe,
        preprocessing,
        _entry_again(run_dir, described["network"], preprocessing, recipe, given),
        access,
        has_checkpoint=has_checkpoint,
    )
    if prepared.data.fingerprint != stored["fingerprint"]:
        raise RunError(
            f"the images of {source} are not those that {run_dir} was started with; put them back or start a new run"
        )
    if digest(prepared.splits) != stored["splits"]["digest"]:
        raise RunError(
            f"other images of {source} can be read than when {run_dir} was started{other_readable_images(described)}; "
            "go back to the versions and permissions of then, or start a new run"
        )
    start = described["network"].get("start")
    if start is not None and not has_checkpoint and digest_of(prepared.network) != start:
        raise RunError(
            f"{run_dir} has no checkpoint yet and the network given does not begin with the weights it had; start a new run"
        )
    return prepared


def _entry_again(
    run_dir: Path, stored: dict[str, Any], preprocessing: Preprocessing, recipe: Recipe, given: GivenNetwork | None
) -> Entry:
    """The entry of the network that a run describes. InputError where it needs to be given from Python, or must not be."""
    if stored["name"] != EXTERNAL:
        if given is not None:
            raise InputError(f"{run_dir} trains {stored['name']}, which is built by name; leave network out")
        return entry_for(stored["name"])
    if given is None:
        label = stored.get("label", "its network")
        raise InputError(
            f"{run_dir} trains a network given from Python ({label}), whose code no file holds; go on from Python: "
            f"striate.resume({str(run_dir)!r}, network=...)"
        )
    config, size = stored["config"], preprocessing.crop_size
    return given_entry(
        given,
        num_classes=config["num_classes"],
        in_channels=config["in_channels"],
        sizes=[size],
        seed=recipe.seed,
        gives_maps=TASKS[recipe.task].labels_pixels,
    )


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
    own_device = check_device(device, choices.precision if choices else None, Rank())
    given = None if network is None else GivenNetwork(network, head)
    prepared = prepare(str(source), choices or Choices(), access or Access(), own_device, given)
    fabric = make_fabric(own_device, prepared.recipe.precision, Rank())
    loader = _loader(prepared)
    return scan_rates(prepared.network, prepared.recipe, loader, fabric=fabric, head=prepared.entry.head)


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
    keeper = _Keeper(run_dir, described, prepared)
    observers = Observers([keeper, TensorBoardWriter(run_dir / "events"), observer])
    loader = _loader(prepared)
    trainee = _trainable_tail(prepared)
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
            else partial(_features, trainee, prepared, loader, fabric, access, observers),
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
    split, evaluation = _evaluate(run_dir, described, prepared, fabric, access)
    keeper.write(status="finished")
    write_report(run_dir)
    return Run(run_dir, "finished", split, evaluation)


class _Keeper(SilentObserver):
    """Keeps run.json up to date and writes the model file whenever an epoch is the best so far."""

    def __init__(self, run_dir: Path, described: dict[str, Any], prepared: Prepared) -> None:
        self.run_dir = run_dir
        self.described = described
        self.prepared = prepared

    def write(self, **changes: Any) -> None:
        self.described.update(changes)
        write_json(self.run_dir / RUN_FILE, self.described)

    def on_checks(self, checks: tuple[CheckResult, ...]) -> None:
        self.write(checks=[asdict(check) for check in checks])

    def on_notice(self, line: str) -> None:
        self.write(notices=[*self.described["notices"], line])

    def keep_best(self, weights: dict[str, Tensor], epoch: int, record: dict[str, Any]) -> None:
        """Write model.safetensors with these weights and where they come from."""
        described = self.described
        provenance = {
            "striate": described["striate"],
            "versions": described["versions"],
            "started_at": described["started_at"],
            "data": described["data"] | {"source": described["source"]},
            "resumed": described.get("resumed", []),
            "recipe": described["recipe"],
            "epoch": epoch,
            "validation": {
                name.removeprefix("validation_"): value
                for name, value in record.items()
                if name.startswith("validation_")
            },
        }
        about = ModelFile(
            network=described["network"]["name"],
            config=described["network"]["config"],
            class_names=tuple(described["class_names"]),
            preprocessing=self.prepared.preprocessing,
            provenance=provenance,
            task=self.prepared.task.name,
            task_settings=self.prepared.task.settings(),
        )
        if self.prepared.recipe.views > 0:
            weights = whole_state(weights)
        try:
            write_model_file(self.run_dir / MODEL_FILE, about, weights)
        except OSError as error:
            raise RunError(cannot_write(self.run_dir / MODEL_FILE, error)) from error


def _trainable_tail(prepared: Prepared) -> TrainableTail | None:
    """The network with only its last layers to run, where the frozen ones run once for each view of an image."""
    if prepared.recipe.views == 0:
        return None
    part = trainable_tail(prepared.network, prepared.entry, prepared.recipe, prepared.preprocessing)
    assert not isinstance(part, str), part  # `prepare` has made sure
    return part


def _features(
    trainee: TrainableTail, prepared: Prepared, loader: Loader, fabric: Fabric, access: Access, observer: Observer
) -> FeatureLoader:
    """The features that the last layers are trained on, and a line that says so."""
    recipe = prepared.recipe
    made = with_features(
        loader, recipe, trainee, fabric.device, autocast_dtype=autocast_dtype(fabric), track=access.track
    )
    frozen, trained = ("base", "head") if recipe.freeze == "base" else ("lower part", "upper part")
    observer.on_notice(
        f"the frozen {frozen} ran once over {recipe.views} views of each of {len(loader.train):,} training images, and over the "
        f"{len(loader.validation):,} validation images; epochs train the {trained} on what it gave"
    )
    return made


def _evaluate(
    run_dir: Path, described: dict[str, Any], prepared: Prepared, fabric: Fabric, access: Access
) -> tuple[str, Figures]:
    """Measure the best model on the test part, or validation where there is none; leave evaluation.json and the worst mistakes."""
    is_given = prepared.entry.name == EXTERNAL
    try:
        about, weights = read_model_file(run_dir / MODEL_FILE, prepared.network if is_given else None)
    except ModelFileError as error:
        raise RunError(f"{error}; the run's best weights are lost with it, so start a new run") from None
    network = prepared.network
    if described["machine"].get("has_shared_out_weights"):  # what was trained lies in pieces in all processes
        network = build_entry(
            prepared.entry,
            num_classes=prepared.task.num_outputs(prepared.recipe.output),
            in_channels=prepared.preprocessing.channels,
        ).to(fabric.device)
    network.load_state_dict(weights)
    network = tempered(network, about.temperature)  # of a finished run that was calibrated since
    split = "test" if len(prepared.splits.test) else "validation"
    images = prepared.data.dataset.images
    evaluation = evaluate_network(
        network,
        prepared.preprocessing,
        prepared.packed,
        prepared.splits[split],
        prepared.annotations,
        task_of(about, run_dir / MODEL_FILE),
        device=fabric.device,
        track=access.track,
    )
    mistakes = write_mistakes(
        run_dir, evaluation.mistakes, prepared.packed, prepared.preprocessing, images.name, prepared.task
    )
    if isinstance(prepared.task, Classification):
        write_inside(
            run_dir,
            network.network if isinstance(network, Tempered) else network,
            prepared.preprocessing,
            prepared.packed,
            prepared.splits[split],
            prepared.annotations.labels,
            prepared.task.class_names,
            [mistake.index for mistake in evaluation.mistakes],
            images.name,
        )
        write_baselines(
            run_dir,
            prepared.packed,
            prepared.splits.train,
            prepared.splits[split],
            prepared.annotations.labels,
            prepared.task.class_names,
            seed=prepared.recipe.seed,
        )
        if described.get("robustness", False):
            write_robustness(
                run_dir,
                network,
                prepared.preprocessing,
                prepared.packed,
                prepared.splits[split],
                prepared.annotations.labels,
                training_s=described["elapsed_s"],
                seed=prepared.recipe.seed,
                track=access.track,
            )
    figures = {"split": split, "temperature": about.temperature, **evaluation.to_json(), "mistakes": mistakes}
    write_json(run_dir / EVALUATION_FILE, figures)
    return split, evaluation


def _loader(prepared: Prepared) -> Loader:
    splits = prepared.splits
    return Loader(
        prepared.packed,
        prepared.annotations,
        splits.train,
        splits.validation,
        prepared.preprocessing,
        prepared.task,
        max_readers=max(1, MAX_READERS // current_rank().local_world_size),
    )
