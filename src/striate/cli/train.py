"""`striate train`: from a source of images to a run folder with a model and a report."""

import json
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from striate.cli.before_training import tell_plan, tell_rates, tell_repeatability
from striate.cli.choice_options import with_choices
from striate.cli.console import (
    AsJson,
    Device,
    Exclude,
    Relabel,
    complain,
    log,
    show_json,
)
from striate.cli.folds import show_folds
from striate.cli.memory import importing
from striate.cli.progress_display import LiveDisplay
from striate.cli.source_options import UNSAID, SourceOptions, reads_source
from striate.errors import InputError
from striate.recipes.option import DATA
from striate.training.distributed.launch import current_rank, end_with_parent, is_launched, launch

if TYPE_CHECKING:
    from striate.recipes.choices import Choices


@reads_source
@with_choices()
def train(
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="SOURCE",
            help="digits, mnist, fashion-mnist, cifar10, cifar100, or a path: a folder with a subfolder "
            "per class or with masks beside images, a CSV, IDX files, CIFAR binary files, an .npz.",
            show_default=False,
        ),
    ] = None,
    *,
    choices: "Choices",
    run: Annotated[
        Path | None,
        typer.Option("--run", "--run-dir", metavar="DIR", help="The run folder to make; runs/... by default."),
    ] = None,
    resume: Annotated[
        Path | None, typer.Option("--resume", metavar="RUN", help="Go on with a run that was stopped or killed.")
    ] = None,
    device: Device = "auto",
    devices: Annotated[
        int | None,
        typer.Option("--devices", min=1, metavar="N", help="Processes that share every batch: as many GPUs."),
    ] = None,
    shard_weights: Annotated[
        bool,
        typer.Option("--shard-weights", help="Share out weights too (FSDP), for networks too large for one device."),
    ] = False,
    find_rate: Annotated[
        bool, typer.Option("--find-rate", help="Scan learning rates, show the curve and stop.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Show network, image size, epochs and how long it will take; train nothing."),
    ] = False,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Train ten steps twice: are they equal bit for bit? Exit code 1 if not."),
    ] = False,
    checks: Annotated[bool, typer.Option("--checks/--no-checks", help="Sanity checks before the first epoch.")] = True,
    measure: Annotated[
        bool,
        typer.Option("--measure/--no-measure", help="Before a long run, find how this machine computes it fastest."),
    ] = True,
    robustness: Annotated[
        bool,
        typer.Option(
            "--robustness/--no-robustness",
            help="Tell in the report how small a change of the pixels fools the network.",
        ),
    ] = True,
    as_json: AsJson = False,
    older_freeze: Annotated[str | None, typer.Option("--freeze", hidden=True)] = None,
    reading: SourceOptions = UNSAID,
    exclude: Exclude = None,
    labels: Relabel = None,
    folds: Annotated[
        int | None,
        typer.Option(
            "--folds",
            min=2,
            metavar="K",
            help="Cross-validate: so many runs, each tested on what the others train on.",
            rich_help_panel=DATA,
        ),
    ] = None,
    max_pixels: Annotated[
        int,
        typer.Option("--max-pixels", min=1, help="Refuse images with more pixels than this.", rich_help_panel=DATA),
    ] = 100_000_000,
    ignore_index: Annotated[
        int | None,
        typer.Option(
            "--ignore-index",
            metavar="VALUE",
            help="A value of masks that counts for nothing.",
            rich_help_panel=DATA,
        ),
    ] = None,
) -> None:
    """Train a model on a source of images.

    A classifier; with boxes or masks beside the images a localiser, a detector or a segmenter. Every choice you leave
    open is made from the data, and printed.

    Example: striate train photos/ --network squeezenet1_1 --weights imagenet
    """
    if source is None and resume is None:
        raise InputError("nothing to train on: name a SOURCE such as digits or a folder of photos, or --resume RUN")
    num_processes = devices or (_num_devices_of(resume) if resume is not None else 1)
    if num_processes > 1 and not is_launched():
        raise typer.Exit(launch(sys.argv[1:], num_processes, complain=complain))
    place = current_rank()
    if devices is not None and devices != place.local_world_size:
        raise InputError(
            f"--devices says {devices} but the launcher has started {place.local_world_size} on this machine; leave "
            "--devices out"
        )
    asked = {"--dry-run": dry_run, "--verify": verify, "--find-rate": find_rate}
    only = [flag for flag, is_asked in asked.items() if is_asked]
    _check_alone(only, folds=folds, shard_weights=shard_weights, num_processes=place.world_size)
    end_with_parent()

    with importing():
        from striate.data.edits import read_edits
        from striate.recipes.folds import cross_validate, is_cross_validation, resume_folds
        from striate.recipes.train import resume as resume_run
        from striate.recipes.train import train as train_source

    if older_freeze is not None:
        if choices.freeze is not None:
            raise InputError("--freeze is an older name of --train; give one of them")
        choices = replace(choices, freeze=older_freeze)
    display = LiveDisplay()
    edits = read_edits(exclude, labels)
    access = replace(reading.access(), max_pixels=max_pixels, ignore_index=ignore_index, edits=edits)
    if resume is not None:
        has_choices = bool(edits or folds or choices != type(choices)())
        if choices.epochs is not None:
            raise InputError(
                "a run's schedule is made for its own number of epochs, so it cannot be made longer; train on from its "
                f"weights: striate train {_source_of(resume)} --weights {resume} --epochs {choices.epochs}"
            )
        if source is not None or run is not None or only or shard_weights or has_choices:
            raise InputError(
                "--resume goes on with the run exactly as it was started; give it the run folder and nothing else"
            )
        if is_cross_validation(resume):
            show_folds(resume_folds(resume, device=device, access=access, observer=display), as_json=as_json)
            return
        finished = resume_run(resume, device=device, access=access, observer=display)
    elif source is None:
        raise AssertionError("refused above")
    elif folds is not None:
        found = cross_validate(
            source,
            choices,
            num_folds=folds,
            run=run,
            run_checks=checks,
            measure=measure,
            robustness=robustness,
            device=device,
            access=access,
            observer=display,
        )
        show_folds(found, as_json=as_json)
        return
    elif dry_run:
        tell_plan(source, choices, device=device, measure=measure, access=access, display=display, as_json=as_json)
        return
    elif verify:
        tell_repeatability(source, choices, device=device, access=access, display=display, as_json=as_json)
        return
    elif find_rate:
        tell_rates(source, choices, device=device, access=access, display=display, as_json=as_json)
        return
    else:
        finished = train_source(
            source,
            choices,
            run=run,
            run_checks=checks,
            measure=measure,
            robustness=robustness,
            device=device,
            shard_weights=shard_weights,
            access=access,
            observer=display,
        )
    if place.rank == 0:
        show_json(finished.to_json()) if as_json else display.show_run(finished)
    if finished.status != "finished":
        if as_json and place.rank == 0:
            log(f"stopped; go on with: striate train --resume {finished.path}")
        raise typer.Exit(1)


def _check_alone(only: list[str], *, folds: int | None, shard_weights: bool, num_processes: int) -> None:
    """InputError where words on the command line ask for things that are not done together."""
    if len(only) > 1:
        raise InputError(f"{' and '.join(only)} each tell something instead of training; give one of them")
    if folds is not None and (only or shard_weights or num_processes > 1):
        raise InputError(
            "--folds trains whole runs, one after the other; leave --find-rate, --verify, --dry-run, --devices and "
            "--shard-weights out"
        )
    if num_processes > 1 and only in (["--verify"], ["--find-rate"]):
        raise InputError(f"{only[0]} runs in one process; leave --devices out")


def _source_of(run: Path) -> str:
    """The source that the run was trained on, as one types it; SOURCE where the folder does not say."""
    try:
        return shlex.quote(str(json.loads((run / "run.json").read_bytes())["source"]))
    except (OSError, ValueError, KeyError, TypeError):
        return "SOURCE"


def _num_devices_of(run: Path) -> int:
    """Number of processes that striate started the run with; 1 where the folder does not say."""
    try:
        return int(json.loads((run / "run.json").read_bytes())["machine"]["devices"] or 1)
    except (OSError, ValueError, KeyError, TypeError):
        return 1
