"""`striate train`: from a source of images to a run folder with a model and a report."""

import json
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from striate.cli.choice_options import with_choices
from striate.cli.console import (
    AsJson,
    Device,
    Exclude,
    Relabel,
    complain,
    log,
    show_json,
    suggest,
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
    if (find_rate or verify) and place.world_size > 1:
        raise InputError(f"--{'find-rate' if find_rate else 'verify'} works in one process; leave --devices out")
    end_with_parent()

    with importing():
        from striate.data.edits import read_edits
        from striate.recipes.folds import cross_validate, is_cross_validation, resume_folds
        from striate.recipes.train import find_rate as scan_rates
        from striate.recipes.train import plan_run, verify_training
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
        if source is not None or run is not None or find_rate or verify or shard_weights or has_choices:
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
        if find_rate or verify or dry_run or shard_weights or place.world_size > 1:
            raise InputError(
                "--folds trains whole runs, one after the other; leave --find-rate, --verify, --dry-run, "
                "--devices and --shard-weights out"
            )
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
        plan = plan_run(source, choices, device=device, measure=measure, access=access)
        if as_json:
            show_json(plan.to_json())
        else:
            display.show_plan(plan)
            suggest("striate", *(word for word in sys.argv[1:] if word != "--dry-run"), what="the run itself")
        return
    elif verify:
        repeated = verify_training(source, choices, device=device, access=access)
        if as_json:
            show_json(repeated.to_json())
        else:
            display.show_repeatability(repeated)
            suggest("striate", *(word for word in sys.argv[1:] if word != "--verify"), what="the run itself")
        if not repeated.is_equal:
            raise typer.Exit(1)
        return
    elif find_rate:
        scan = scan_rates(source, choices, device=device, access=access)
        if as_json:
            show_json(scan.to_json())
        else:
            display.show_rates(scan)
            rate = scan.suggested_learning_rate
            words = [word for word in sys.argv[1:] if word != "--find-rate"]
            suggest("striate", *words, *([] if rate is None else ["--learning-rate", f"{rate:.2g}"]))
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
