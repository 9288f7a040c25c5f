"""`striate compress` and `striate ledger`: smaller models, and what each step gains and costs."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from striate.cli.console import AsJson, Device, log, out, show_json, suggest
from striate.cli.memory import importing
from striate.cli.source_options import UNSAID, SourceOptions, reads_source
from striate.errors import InputError
from striate.units import percent

if TYPE_CHECKING:
    from striate.compression.steps import Step

Model = Annotated[str, typer.Argument(metavar="MODEL", help="A run folder, a model file, or NETWORK:WEIGHTS.")]
Source = Annotated[
    str | None,
    typer.Argument(metavar="[SOURCE]", help="Images to retrain and measure with; those it was trained on by default."),
]


@reads_source
def compress(
    model: Model,
    source: Source = None,
    to: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where to write the compressed model.")] = Path(
        "compressed.striate"
    ),
    deep: Annotated[
        bool, typer.Option("--deep", help="Deep compression: prune, retrain, share, train centroids, code.")
    ] = False,
    ratio: Annotated[
        float | None, typer.Option("--ratio", help="With --deep: how many times smaller than 32-bit weights.")
    ] = None,
    budget: Annotated[
        str | None, typer.Option("--budget", metavar="100kB", help="With --deep: bytes that the file may have.")
    ] = None,
    max_drop: Annotated[
        float | None,
        typer.Option(
            "--max-drop", metavar="POINTS", help="With --deep: the smallest file that loses no more, by validation."
        ),
    ] = None,
    prune: Annotated[
        float | None, typer.Option("--prune", metavar="FRACTION", help="Prune so much of the weights by magnitude.")
    ] = None,
    scope: Annotated[
        str, typer.Option("--scope", metavar="lamp|layer|global|sensitivity", help="How layers share the pruning.")
    ] = "lamp",
    sensitivity: Annotated[
        bool, typer.Option("--sensitivity", help="Prune each layer as far as its measured curve allows.")
    ] = False,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="Rounds of pruning and retraining.")] = 5,
    share: Annotated[
        str | None, typer.Option("--share", metavar="conv=8,dense=5", help="Share weights: bits for each weight.")
    ] = None,
    int8: Annotated[
        bool, typer.Option("--int8", help="Weights of 8 bits, a scale a channel, biases corrected.")
    ] = False,
    qat: Annotated[bool, typer.Option("--qat", help="With --int8: train with rounded weights first.")] = False,
    channels: Annotated[
        float | None,
        typer.Option("--channels", metavar="FRACTION", help="Prune whole channels down to so much of the MACs."),
    ] = None,
    low_rank: Annotated[
        float | None,
        typer.Option("--low-rank", metavar="ENERGY", help="Layers in factors that keep so much of the squares."),
    ] = None,
    ternary: Annotated[bool, typer.Option("--ternary", help="Train weights of three values.")] = False,
    binary: Annotated[bool, typer.Option("--binary", help="Train weights of two values a filter.")] = False,
    dsd: Annotated[bool, typer.Option("--dsd", help="Train dense, sparse, dense again.")] = False,
    distil: Annotated[
        str | None, typer.Option("--distil", metavar="TEACHER", help="Train on the answers of another model.")
    ] = None,
    network: Annotated[
        str | None, typer.Option("--network", metavar="NAME", help="With --distil: a fresh network as the student.")
    ] = None,
    temperature: Annotated[float, typer.Option("--temperature", help="With --distil: how soft the answers are.")] = 4.0,
    epochs: Annotated[
        int | None, typer.Option("--epochs", min=0, help="Epochs of retraining in each step (of the last round).")
    ] = None,
    coder: Annotated[str, typer.Option("--coder", metavar="range|huffman", help="How symbols become bits.")] = "range",
    reading: SourceOptions = UNSAID,
    device: Device = "cpu",
    as_json: AsJson = False,
) -> None:
    """Make a model smaller, step by step.

    Steps are taken in the order given; every step is a row of a ledger measured on this machine, from the file.

    Example: striate compress runs/mnist-lenet_300_100-1 --deep --ratio 40 --out small.striate
    """
    with importing():
        from striate.cli.progress_display import LiveDisplay
        from striate.compression.compress import compress as compress_model
        from striate.compression.search import parse_size, smallest_within
        from striate.compression.steps import (
            DenseSparseDense,
            Distil,
            FewValues,
            Int8,
            LowRank,
            Prune,
            PruneChannels,
            Share,
        )
        from striate.reports.frontier import draw_frontier

    steps: dict[str, Step] = {}
    chosen: dict[str, Any] = {} if epochs is None else {"epochs": epochs}
    if prune is not None:
        last: dict[str, Any] = {} if epochs is None else {"last_epochs": epochs, "epochs": min(epochs, 2)}
        how: Any = "sensitivity" if sensitivity else scope
        steps["--prune"] = Prune(prune, scope=how, rounds=rounds, **last)
    if share is not None:
        steps["--share"] = Share(**{**_bits(share), **chosen})
    if qat and not int8:
        raise InputError("--qat is for --int8: it trains with the weights as 8 bits hold them")
    if int8:
        steps["--int8"] = Int8(epochs=(2 if epochs is None else epochs) if qat else 0)
    if channels is not None:
        steps["--channels"] = PruneChannels(channels, **chosen)
    if low_rank is not None:
        steps["--low-rank"] = LowRank(low_rank, **chosen)
    if ternary:
        steps["--ternary"] = FewValues("ternary", **chosen)
    if binary:
        steps["--binary"] = FewValues("binary", **chosen)
    if dsd:
        steps["--dsd"] = DenseSparseDense(**chosen)
    if distil is not None:
        steps["--distil"] = Distil(distil, network=network, temperature=temperature, **chosen)
    if deep == bool(steps):
        raise InputError(
            "say what to do to the model: --deep (with --ratio 40), or single steps such as --prune 0.9 --share "
            "conv=8,dense=5"
        )
    if deep and epochs is not None:
        raise InputError("--epochs is for single steps; --deep retrains by its own schedule, so leave one of them out")
    if not deep and (ratio, budget, max_drop) != (None, None, None):
        raise InputError("--ratio, --budget and --max-drop are for --deep; single steps say themselves how far they go")
    if (ratio, budget, max_drop).count(None) < 2:
        raise InputError("give one of --ratio, --budget and --max-drop")
    access = reading.access()
    if max_drop is not None:
        found = smallest_within(
            model, source, to, max_drop, coder=coder, access=access, device=device, observer=LiveDisplay
        )
        picture = to.with_suffix(".frontier.png")
        draw_frontier(found, picture)
        log(f"frontier: {picture}")
        if as_json:
            show_json(found.to_json())
        else:
            show_ledger(found.to_json()["ledger"])
            suggest("striate", "evaluate", str(to), what="the file as the model it is")
        return
    result = compress_model(
        model,
        source,
        to,
        None if deep else in_order(steps, sys.argv),
        ratio=ratio,
        budget=None if budget is None else parse_size(budget),
        coder=coder,
        access=access,
        device=device,
        observer=LiveDisplay,
    )
    if as_json:
        show_json(result.to_json())
        return
    show_ledger(result.to_json()["ledger"])
    coding = result.coding
    out.print(
        f"{result.path}: {coding.file_bytes:,} bytes, {result.ratio:.1f} times smaller than 32-bit weights; coded "
        f"symbols {coding.coded_bytes:,} bytes, their entropy {coding.entropy_bytes:,.0f}",
        highlight=False,
        soft_wrap=True,
    )
    suggest("striate", "evaluate", str(result.path), what="the file as the model it is")


@reads_source
def ledger(
    models: Annotated[
        list[str], typer.Argument(metavar="MODEL...", help="Models of the same classes; the first is the original.")
    ],
    source: Annotated[
        str | None,
        typer.Option("--source", metavar="SOURCE", help="Images to measure with; those the first was trained on."),
    ] = None,
    reading: SourceOptions = UNSAID,
    device: Device = "cpu",
    as_json: AsJson = False,
) -> None:
    """Compare models: bytes, MACs, milliseconds, accuracy.

    Also parameters, agreement and energy; milliseconds are measured in turns with the first model.

    Example: striate ledger runs/mnist-lenet_300_100-1 small.striate
    """
    with importing():
        from striate.compression.compress import ledger as measure_all

    access = reading.access()
    lines = [line.to_json() for line in measure_all(models, source, access=access, device=device)]
    if as_json:
        show_json({"ledger": lines})
    else:
        show_ledger(lines)
        suggest("striate", "compare", *models, *([source] if source else []), what="are differences more than chance?")


def in_order(steps: "dict[str, Step]", words: Sequence[str]) -> "list[Step]":
    """The steps in the order in which their options stand on the command line."""
    options = [word.partition("=")[0] for word in words]
    return [
        steps[name] for name in sorted(steps, key=lambda name: options.index(name) if name in options else len(options))
    ]


def show_ledger(lines: list[dict[str, Any]]) -> None:
    """The ledger as a table."""
    table = Table(box=None, header_style="bold")
    headings = (
        "step", "bytes", "non-zero", "MACs", "effective", "ms, batch 1", "ms, batch 32", "accuracy", "agrees", "NLL",
        "energy µJ",
    )  # fmt: skip
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "step" else "right")
    for line in lines:
        table.add_row(
            Text(line["step"]),
            f"{line['file_bytes']:,}",
            f"{line['num_nonzero']:,}",
            f"{line['macs']:,}",
            f"{line['effective_macs']:,}",
            f"{line['ms_batch1']:.3f}{_slower(line, 1)}",
            f"{line['ms_batch32']:.3f}{_slower(line, 32)}",
            percent(line["top1_accuracy"]),
            percent(line["agreement"]),
            f"{line['negative_log_likelihood']:.4f}",
            f"{line['energy_uj']:,.1f}",
        )
    out.print(table)


def _slower(line: dict[str, Any], batch_size: int) -> str:
    """Says so where a model takes a tenth longer than the original beside it."""
    return " slower" if line[f"ms_batch{batch_size}"] > 1.1 * line[f"original_ms_batch{batch_size}"] else ""


def _bits(text: str) -> dict[str, int]:
    """ "conv=8,dense=5" -> the arguments of Share."""
    found = {}
    for part in text.split(","):
        kind, _, number = part.partition("=")
        if kind.strip() not in ("conv", "dense") or not number.strip().isdecimal():
            raise InputError(f"--share takes bits for each kind of layer, such as conv=8,dense=5, but got {text!r}")
        found[f"{kind.strip()}_bits"] = int(number)
    return found
