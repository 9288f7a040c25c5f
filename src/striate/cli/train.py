"""`striate train`: from a source of images to a run folder with a model and a report."""

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from striate.cli.console import (
    AsJson,
    DataDir,
    Device,
    Download,
    LabelColumn,
    PathColumn,
    Root,
    SplitColumn,
    complain,
    log,
    show_json,
    suggest,
    track,
)
from striate.cli.memory import importing
from striate.cli.progress_display import LiveDisplay
from striate.errors import InputError
from striate.training.distributed.launch import current_rank, end_with_parent, is_launched, launch


def _option(name: str, panel: str, text: str, metavar: str | None = None) -> Any:
    return typer.Option(name, help=text, metavar=metavar, rich_help_panel=panel)


OPTIMISING, AUGMENTING, TRANSFER, DATA = "Optimisation", "Augmentation", "Transfer learning", "Data"
ROBUST = "Adversarial training"
SPEED = "Speed (measured where nothing is said)"


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
    task: Annotated[
        str | None,
        typer.Option(
            "--task",
            metavar="classification|localization|detection|segmentation",
            help="What to learn; by default the source tells.",
        ),
    ] = None,
    network: Annotated[
        str | None,
        typer.Option("--network", "-n", metavar="NAME", help="See `striate networks`; or timm:NAME, torchvision:NAME."),
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(
            "--encoder",
            metavar="NAME[:WEIGHTS]",
            help="The network on whose features --network is built, such as unet's.",
        ),
    ] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", "-e", help="Passes over the training images.")] = None,
    run: Annotated[
        Path | None,
        typer.Option("--run", "--run-dir", metavar="DIR", help="The run folder to make; runs/... by default."),
    ] = None,
    resume: Annotated[
        Path | None, typer.Option("--resume", metavar="RUN", help="Go on with a run that was stopped or killed.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Decides splits, first weights, order, augmentation. [default: 0]")
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
    weights: Annotated[
        str | None,
        _option("--weights", TRANSFER, "imagenet (published), a weights file, or a striate model.", "WEIGHTS"),
    ] = None,
    trained: Annotated[
        str | None,
        _option(
            "--train",
            TRANSFER,
            "What is trained; the rest keeps its weights. gradual: the head first, then more. By default data size "
            "decides.",
            "all|head|last-third|gradual",
        ),
    ] = None,
    freeze: Annotated[str | None, typer.Option("--freeze", hidden=True)] = None,
    layer_rate_factor: Annotated[
        float | None,
        _option("--layer-rate-factor", TRANSFER, "Rate of each earlier layer group, relative to the next."),
    ] = None,
    views: Annotated[
        int | None,
        _option("--views", TRANSFER, "Views of each image that frozen layers see, once; 0 runs them every epoch.", "K"),
    ] = None,
    label_column: LabelColumn = None,
    path_column: PathColumn = None,
    split_column: SplitColumn = None,
    root: Root = None,
    data_dir: DataDir = None,
    download: Download = False,
    image_size: Annotated[
        int | None, _option("--image-size", DATA, "Side of the square the network sees.", "PIXELS")
    ] = None,
    subtract: Annotated[
        str | None, _option("--subtract", DATA, "What is subtracted from images.", "channel_mean|mean_image")
    ] = None,
    validation_fraction: Annotated[
        float | None, _option("--validation-fraction", DATA, "Share set aside for validation. [default: 0.1]")
    ] = None,
    test_fraction: Annotated[
        float | None, _option("--test-fraction", DATA, "Share set aside for the test. [default: 0.1]")
    ] = None,
    max_pixels: Annotated[
        int,
        typer.Option("--max-pixels", min=1, help="Refuse images with more pixels than this.", rich_help_panel=DATA),
    ] = 100_000_000,
    ignore_index: Annotated[
        int | None, _option("--ignore-index", DATA, "A value of masks that counts for nothing.", "VALUE")
    ] = None,
    stream: Annotated[
        bool,
        typer.Option(
            "--stream", help="Decode images when they are needed and keep none decoded.", rich_help_panel=DATA
        ),
    ] = False,
    output: Annotated[
        str | None,
        _option("--output", DATA, "sigmoid: one output for two classes. [default: softmax]", "softmax|sigmoid"),
    ] = None,
    balanced: Annotated[
        bool | None, _option("--balanced-sampling/--no-balanced-sampling", DATA, "Draw every class equally often.")
    ] = None,
    batch_size: Annotated[int | None, _option("--batch-size", OPTIMISING, "Images in one update.")] = None,
    learning_rate: Annotated[float | None, _option("--learning-rate", OPTIMISING, "The peak rate.")] = None,
    optimizer: Annotated[
        str | None,
        _option(
            "--optimizer", OPTIMISING, "The optimiser.", "sgd|momentum|nesterov|adagrad|rmsprop|adam|adamw|muon|lbfgs"
        ),
    ] = None,
    momentum: Annotated[float | None, _option("--momentum", OPTIMISING, "Momentum of SGD, RMSProp and Muon.")] = None,
    weight_decay: Annotated[
        float | None, _option("--weight-decay", OPTIMISING, "Never applied to biases and norms.")
    ] = None,
    schedule: Annotated[
        str | None,
        _option("--schedule", OPTIMISING, "How the rate moves.", "constant|step|plateau|linear|cosine|one_cycle"),
    ] = None,
    warmup: Annotated[
        float | None, _option("--warmup", OPTIMISING, "Fraction of the run in which the rate rises.")
    ] = None,
    loss: Annotated[
        str | None,
        _option(
            "--loss",
            OPTIMISING,
            "Of the box, in localization (default l2); of pixels, in segmentation (default cross_entropy).",
            "l2|smooth_l1|giou|cross_entropy|dice|cross_entropy_dice",
        ),
    ] = None,
    label_smoothing: Annotated[float | None, _option("--label-smoothing", OPTIMISING, "In [0, 1].")] = None,
    class_weights: Annotated[
        bool | None, _option("--class-weights/--no-class-weights", OPTIMISING, "Weigh rare classes up in the loss.")
    ] = None,
    max_grad_norm: Annotated[
        float | None, _option("--max-grad-norm", OPTIMISING, "Clip gradients to this norm.")
    ] = None,
    accumulate_steps: Annotated[
        int | None, _option("--accumulate-steps", OPTIMISING, "Batches summed into one update.")
    ] = None,
    ema_decay: Annotated[
        float | None, _option("--ema-decay", OPTIMISING, "Keep and evaluate a moving average of the weights.")
    ] = None,
    precision: Annotated[str | None, _option("--precision", SPEED, "Arithmetic.", "float32|bfloat16|float16")] = None,
    channels_last: Annotated[
        bool | None, _option("--channels-last/--no-channels-last", SPEED, "How activations lie in memory.")
    ] = None,
    use_compile: Annotated[
        bool | None, _option("--compile/--no-compile", SPEED, "Have torch.compile write the code of a step.")
    ] = None,
    cuda_graphs: Annotated[
        bool | None,
        _option("--cuda-graphs/--no-cuda-graphs", SPEED, "Have a GPU replay a step as a CUDA graph."),
    ] = None,
    adversarial: Annotated[
        str | None,
        _option("--adversarial", ROBUST, "Train on attacked images.", "fgsm|fast|free|pgd|trades"),
    ] = None,
    epsilon: Annotated[
        str | None, _option("--epsilon", ROBUST, "Largest change, pixels being 0 to 1. [default: 8/255]", "E")
    ] = None,
    attack_steps: Annotated[
        int | None, _option("--attack-steps", ROBUST, "Steps of the attack; of free, updates on each batch.", "K")
    ] = None,
    threads: Annotated[int | None, _option("--threads", SPEED, "Threads that compute on the CPU.")] = None,
    flip: Annotated[bool | None, _option("--flip/--no-flip", AUGMENTING, "Mirror left and right.")] = None,
    crop_scale: Annotated[
        tuple[float, float] | None,
        _option(
            "--crop-scale", AUGMENTING, "Random resized crops of this share of the area, such as 0.35 1.", "LOW HIGH"
        ),
    ] = None,
    shift_px: Annotated[int | None, _option("--shift", AUGMENTING, "Largest shift.", "PIXELS")] = None,
    rotation_degrees: Annotated[float | None, _option("--rotation", AUGMENTING, "Largest turn.", "DEGREES")] = None,
    brightness: Annotated[float | None, _option("--brightness", AUGMENTING, "Largest relative change.")] = None,
    contrast: Annotated[float | None, _option("--contrast", AUGMENTING, "Largest relative change.")] = None,
    saturation: Annotated[float | None, _option("--saturation", AUGMENTING, "Largest relative change.")] = None,
    hue: Annotated[
        float | None, _option("--hue", AUGMENTING, "Largest turn of the colour circle, at most 0.5.")
    ] = None,
    pca_color: Annotated[
        float | None, _option("--pca-color", AUGMENTING, "AlexNet's colour noise, its standard deviation.")
    ] = None,
    cutout_px: Annotated[int | None, _option("--cutout", AUGMENTING, "Side of a square blanked out.", "PIXELS")] = None,
    mixup: Annotated[float | None, _option("--mixup", AUGMENTING, "Alpha of mixup.")] = None,
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
    if find_rate and place.world_size > 1:
        raise InputError("--find-rate scans in one process; leave --devices out")
    end_with_parent()

    with importing():
        from striate.data.opening import Access
        from striate.data.readers.columns import Columns
        from striate.recipes.choices import Choices
        from striate.recipes.train import find_rate as scan_rates
        from striate.recipes.train import plan_run
        from striate.recipes.train import resume as resume_run
        from striate.recipes.train import train as train_source
        from striate.robustness.request import parse_fraction

    choices = Choices(
        task=task, loss=loss, network=network, encoder=encoder, weights=weights,
        image_size=image_size, subtract=subtract, output=output, epochs=epochs, batch_size=batch_size,
        optimizer=optimizer, learning_rate=learning_rate, momentum=momentum, weight_decay=weight_decay,
        schedule=schedule, warmup=warmup, label_smoothing=label_smoothing, use_class_weights=class_weights,
        use_balanced_sampling=balanced, max_grad_norm=max_grad_norm, accumulate_steps=accumulate_steps,
        ema_decay=ema_decay, precision=precision,
        use_channels_last=channels_last, use_compile=use_compile, use_cuda_graphs=cuda_graphs, num_threads=threads,
        freeze=_one_of(trained, freeze), views=views, stream=stream, layer_rate_factor=layer_rate_factor, seed=seed,
        adversarial=adversarial,
        adversarial_epsilon=None if epsilon is None else parse_fraction(epsilon, "--epsilon"),
        attack_steps=attack_steps,
        validation_fraction=validation_fraction, test_fraction=test_fraction, crop_scale=crop_scale, flip=flip,
        shift_px=shift_px, rotation_degrees=rotation_degrees, brightness=brightness, contrast=contrast,
        saturation=saturation, hue=hue, pca_color=pca_color, cutout_px=cutout_px, mixup=mixup,
    )  # fmt: skip
    display = LiveDisplay()
    columns = Columns(path_column, label_column, split_column, root)
    access = Access(
        data_dir=data_dir,
        download=download,
        max_pixels=max_pixels,
        log=log,
        track=track,
        columns=columns,
        ignore_index=ignore_index,
    )
    if resume is not None:
        if epochs is not None:
            raise InputError(
                "a run's schedule is made for its own number of epochs, so it cannot be made longer; train on from its "
                f"weights: striate train {_source_of(resume)} --weights {resume} --epochs {epochs}"
            )
        if source is not None or run is not None or find_rate or shard_weights or choices != Choices():
            raise InputError(
                "--resume goes on with the run exactly as it was started; give it the run folder and nothing else"
            )
        finished = resume_run(resume, device=device, access=access, observer=display)
    elif source is None:
        raise AssertionError("refused above")
    elif dry_run:
        plan = plan_run(source, choices, device=device, measure=measure, access=access)
        if as_json:
            show_json(plan.to_json())
        else:
            display.show_plan(plan)
            suggest("striate", *(word for word in sys.argv[1:] if word != "--dry-run"), what="the run itself")
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


def _one_of(trained: str | None, freeze: str | None) -> str | None:
    if trained is not None and freeze is not None:
        raise InputError("--freeze is an older name of --train; give one of them")
    if trained is not None and trained not in ("all", "head", "last-third", "gradual"):
        raise InputError(f"--train must be one of all, head, last-third, gradual but is {trained!r}")
    return trained or freeze


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
