"""`striate bench`: how fast which engine answers for a model on this machine, and which may be used."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from striate.cli.console import AsJson, out, show_json, suggest
from striate.cli.memory import importing
from striate.cli.source_options import UNSAID, SourceOptions, reads_source
from striate.errors import InputError
from striate.units import percent

if TYPE_CHECKING:
    from striate.engines.benching import Bench
    from striate.engines.measurement import Row


_ENGINE_COLUMNS, _TIMING_COLUMNS, _FACTS_COLUMNS = 32, 20, 70
"""Columns of a terminal that the parts of a line about an engine take."""


@reads_source
def bench(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A run folder, a model.safetensors, or NETWORK:WEIGHTS.")
    ],
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="[SOURCE]", help="Images of yours to compare answers on; two built-in photos otherwise."
        ),
    ] = None,
    engines: Annotated[
        list[str] | None,
        typer.Option(
            "--engine", metavar="torch|compile|onnxruntime|openvino", help="Only this one; may be given several times."
        ),
    ] = None,
    batches: Annotated[str, typer.Option("--batch", metavar="N,N,...", help="Batch sizes to measure.")] = "1,8,32",
    use_int8: Annotated[
        bool, typer.Option("--int8", help="Also an 8-bit copy, its ranges found on half of the images.")
    ] = False,
    most_images: Annotated[
        int, typer.Option("--images", min=1, help="How many images of SOURCE to compare answers on, at most.")
    ] = 500,
    budget: Annotated[
        float | None,
        typer.Option(
            "--budget",
            min=1,
            help="Seconds after which nothing new is measured; 90 without it, up to 300 where a slow network needs "
            "them.",
            show_default=False,
        ),
    ] = None,
    device: Annotated[
        str,
        typer.Option("--device", metavar="auto|cpu|cuda", help="Where to measure; auto is a GPU where there is one."),
    ] = "cpu",
    reading: SourceOptions = UNSAID,
    as_json: AsJson = False,
) -> None:
    """Measure every installed engine; predict then uses the fastest.

    Only an engine that gives torch's answers is used: all best classes equal, and in float32 all probabilities within
    0.0001. Engines that compute in 16 bits can qualify only on SOURCE, with 200 held-back images.

    Example: striate bench runs/flowers photos
    """
    sizes = _parse_sizes(batches)
    with importing():
        from striate.engines.benching import bench as measure_engines
        from striate.engines.measuring import SLOW_NETWORK_S, Plan

    plan = Plan(batch_sizes=sizes, longest_s=SLOW_NETWORK_S)
    if budget is not None:
        plan = Plan(batch_sizes=sizes, budget_s=budget)
    result = measure_engines(
        model,
        source,
        engines=engines or ["auto"],
        plan=plan,
        use_int8=use_int8,
        most_images=most_images,
        device=device,
        access=reading.access(),
    )
    if as_json:
        show_json(result.to_json())
    else:
        _show(result)
        suggest("striate", "predict", model, "PHOTOS", what="by the fastest engine that may be used")


def _parse_sizes(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and 1 <= int(part) <= 4096 for part in parts):
        raise InputError(f"--batch must be whole numbers from 1 to 4096 with commas between them but is {text!r}")
    return tuple(sorted({int(part) for part in parts}))


def _show(result: "Bench") -> None:
    from striate.engines.choosing import why_not

    out.print(
        Text.assemble(
            (result.network_name, "bold"), f" on {result.num_images:,} images ({result.images}); ms and images/s"
        )
    )
    rows = [row for row in result.rows if row.timings]
    has_accuracy = any(row.accuracy is not None for row in rows)
    headings = [
        "memory",
        "same class",
        "largest difference",
        *(["accuracy"] if has_accuracy else []),
        "auto may use it",
    ]
    facts: list[list[str | Text]] = [[*_facts(row, has_accuracy), _verdict(why_not(row))] for row in rows]
    if _ENGINE_COLUMNS + _TIMING_COLUMNS * len(result.batch_sizes) + _FACTS_COLUMNS <= out.width:
        table = _table(*(f"batch {size}" for size in result.batch_sizes), *headings)
        for row, cells in zip(rows, facts, strict=True):
            timings = [Text(" ").join(_timing(row, size, result)) for size in result.batch_sizes]
            table.add_row(Text(str(row.kind)), *timings, *cells)
        out.print(table)
    else:  # one below the other, so that nothing is cut in a narrow terminal
        table = _table("batch", "time", "images/s")
        for row in rows:
            for place, size in enumerate(result.batch_sizes):
                table.add_row(Text(str(row.kind) if place == 0 else ""), f"{size:,}", *_timing(row, size, result))
        out.print(table)
        table = _table(*headings)
        for row, cells in zip(rows, facts, strict=True):
            table.add_row(Text(str(row.kind)), *cells)
        out.print(table)
    if result.choices:
        out.print(Text("* the fastest that auto may use at this batch size", style="dim"), soft_wrap=True)
    for row in result.rows:
        if not row.timings:
            out.print(Text(f" {row.kind}: {row.problem}", style="dim"), soft_wrap=True)
    for size, kind in result.choices.items():
        out.print(Text.assemble(f"auto at batch {size}: ", (str(kind), "bold")))


def _table(*headings: str) -> Table:
    """A table of engines; the last of these columns, where it is words, is on the left."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("engine", overflow="fold")
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "auto may use it" else "right", overflow="fold")
    return table


def _verdict(reason: str | None) -> Text:
    return Text("yes" if reason is None else reason, style="" if reason is None else "dim")


def _timing(row: "Row", size: int, result: "Bench") -> tuple[Text, Text]:
    """Milliseconds of a batch, and images a second; the fastest engine that may be used is marked."""
    timing = next((each for each in row.timings if each.batch_size == size), None)
    if timing is None:
        return Text("–", style="dim"), Text("")
    is_chosen = result.choices.get(size) == row.kind
    style = "bold green" if is_chosen else ""
    digits = 1 if timing.milliseconds >= 10 else 2 if timing.milliseconds >= 1 else 3
    return (
        Text(f"{timing.milliseconds:.{digits}f} ms", style=style),
        Text(f"{timing.images_per_s:,.0f}/s" + (" *" if is_chosen else "  "), style=style),
    )


def _facts(row: "Row", has_accuracy: bool) -> list[str]:
    found = row.agreement
    memory = "–" if row.memory_bytes is None else f"{row.memory_bytes / 1e6:,.0f} MB"
    facts = [
        memory,
        "–" if found is None else f"{found.num_equal} of {found.num_images}",
        "–" if found is None else f"{found.max_difference:.1e}",
    ]
    if has_accuracy:
        facts.append(percent(row.accuracy))
    return facts
