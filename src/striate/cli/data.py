"""`striate data`: what is in a source."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from striate.cli.console import (
    AsJson,
    GroupBy,
    log,
    out,
    show_json,
    suggest,
    track,
)
from striate.cli.source_options import UNSAID, SourceOptions, reads_source
from striate.units import counted, percent, percent_range

if TYPE_CHECKING:
    from striate.data.checks.groups import GroupSummary, SplitGroup
    from striate.data.checks.shortcuts import Shortcut
    from striate.data.dataset import Dataset
    from striate.data.summary import DataSummary
    from striate.evaluation.data_checks import DataChecks

_MOST_ROWS = 60
_MOST_LINES = 20


@reads_source
def look_at_data(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="As for train: a name, folder, CSV, IDX, CIFAR or .npz.")
    ],
    reading: SourceOptions = UNSAID,
    max_pixels: Annotated[
        int, typer.Option("--max-pixels", min=1, help="Refuse images with more pixels than this.")
    ] = 100_000_000,
    shards: Annotated[
        Path | None, typer.Option("--shards", metavar="DIR", help="Write the images to DIR as tar shards instead.")
    ] = None,
    shard_mb: Annotated[
        int, typer.Option("--shard-mb", min=1, metavar="MB", help="Millions of bytes in one shard.")
    ] = 256,
    ignore_index: Annotated[
        int | None, typer.Option("--ignore-index", metavar="VALUE", help="A value of masks that counts for nothing.")
    ] = None,
    task: Annotated[
        str | None,
        typer.Option("--task", metavar="TASK", help="Whose annotations to read, where there are several kinds."),
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="PAGE", help="Write a page with a thumbnail of what was found.")
    ] = None,
    group_by: GroupBy = None,
    exclude_list: Annotated[
        Path | None,
        typer.Option(
            "--exclude-list",
            metavar="FILE",
            help="Write broken, blank and repeated images as a list for train --exclude.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Summarise images: counts, broken files, leaks, copies.

    Every image is decoded to the end. Near duplicates are resized, encoded anew, turned, mirrored, brightened or
    cropped a little; shortcuts are what predicts the class without looking at what is shown. Nothing is changed or
    deleted.

    Example: striate data photos/ --html findings.html
    """
    from striate.data.opening import scan_source
    from striate.evaluation.data_checks import check_data

    access = replace(reading.access(), task=task, ignore_index=ignore_index)
    dataset = scan_source(source, access)
    if shards is not None:
        _write_shards(dataset, shards, shard_mb, as_json=as_json)
        return
    if dataset.kind == "shards":
        _verify_shards(dataset)
    checks = check_data(dataset, track=track, max_pixels=max_pixels, group_by=group_by, columns=access.columns)
    summary = checks.summary
    if html is not None:
        from striate.reports.data_page import write_data_page

        page = write_data_page(checks, dataset, html, max_pixels=max_pixels)
    if exclude_list is not None:
        from striate.evaluation.exclusion_list import write_exclusion_list

        path, num_listed = write_exclusion_list(checks, dataset, exclude_list)
        log(f"wrote {path}, which lists {counted(num_listed, 'image')}")
    if as_json:
        show_json(checks.to_json() | ({"page": str(page)} if html is not None else {}))
        return
    out.print(
        Text(f"{summary.source}: {summary.num_images:,} images of {summary.num_classes:,} classes ({summary.kind})")
    )
    if summary.num_classes <= _MOST_ROWS:
        out.print(_count_table(summary))
        if summary.objects_per_class is not None:
            out.print(_object_table(summary))
    if summary.num_ignored:
        out.print(Text(f"ignored  {summary.num_ignored:,}: crowds, difficult ones, regions left out for every class"))
    _show_sizes(summary)
    if checks.groups is not None:
        _show_groups(checks.groups)
    _show_findings(checks)
    if html is not None:
        out.print(Text(f"page     {page}"), soft_wrap=True)
    suggest("striate", "train", summary.source, "--dry-run", what="what a run would be, and how long it takes")


def _write_shards(dataset: "Dataset", folder: Path, shard_mb: int, *, as_json: bool) -> None:
    from striate.data.shards import write_shards

    for notice in dataset.notices:
        log(notice)
    written = write_shards(dataset, folder, shard_mb=shard_mb, log=log, track=track)
    for line in written.left_out[:_MOST_LINES]:
        log(f"left out: {line}")
    if as_json:
        show_json(written.to_json())
        return
    num_images = sum(shard.num_images for shard in written.shards)
    size_mb = sum(shard.size_bytes for shard in written.shards) / 1e6
    out.print(Text(f"{num_images:,} images in {len(written.shards):,} shards, {size_mb:,.1f} MB, in {folder}"))
    suggest("striate", "train", str(folder), "--dry-run", what="what a run on them would be")


def _verify_shards(dataset: "Dataset") -> None:
    """Raise DataError with the first shard whose bytes are not those that were written."""
    from striate.data.shards import damaged_shards, read_index
    from striate.errors import DataError

    folder = Path(dataset.source)
    for line in damaged_shards(folder, read_index(folder)[1], track=track):
        raise DataError(line)


def _count_table(summary: "DataSummary") -> Table:
    splits = list(summary.images_per_class)
    table = Table(box=None, header_style="bold")
    table.add_column("class")
    for split in splits:
        table.add_column("images" if split == "unassigned" else split, justify="right")
    pixels = summary.pixels_per_class
    if pixels is not None:
        table.add_column("of all pixels", justify="right")
    for name in next(iter(summary.images_per_class.values()), {}):
        counts = [summary.images_per_class[split].get(name, 0) for split in splits]
        fraction = [] if pixels is None else [percent(pixels[name])]
        table.add_row(Text(name), *(f"{count:,}" for count in counts), *fraction)
    if pixels is None and summary.objects_per_class is None:  # else an image counts for many classes
        totals = [sum(summary.images_per_class[split].values()) for split in splits]
        table.add_row("total", *(f"{total:,}" for total in totals), style="bold")
    return table


def _object_table(summary: "DataSummary") -> Table:
    """Objects of each class in each part, and how many an image has."""
    counts = summary.objects_per_class or {}
    table = Table(box=None, header_style="bold")
    table.add_column("class")
    for split in counts:
        table.add_column("objects" if split == "unassigned" else f"objects, {split}", justify="right")
    for name in next(iter(counts.values()), {}):
        table.add_row(Text(name), *(f"{counts[split][name]:,}" for split in counts))
    table.add_row("total", *(f"{sum(counts[split].values()):,}" for split in counts), style="bold")
    return table


def _show_sizes(summary: "DataSummary") -> None:
    if summary.sizes is None:
        return
    height, width = summary.sizes.height, summary.sizes.width
    if height.min == height.max and width.min == width.max:
        sizes = f"all {height.min} x {width.min}"
    else:
        sizes = (
            f"height {height.min} to {height.max}, width {width.min} to {width.max}, typically {height.median:g} x "
            f"{width.median:g}"
        )
    out.print(Text(f"size     {sizes} pixels (height x width)"), soft_wrap=True)
    for what, counts in (("modes", summary.modes), ("formats", summary.formats)):
        out.print(Text(f"{what:<8} " + ", ".join(f"{name} {count:,}" for name, count in counts.items())))


def _show_groups(groups: "GroupSummary") -> None:
    without = f"; {groups.num_without:,} images have none" if groups.num_without else ""
    out.print(
        Text(
            f"groups   {groups.num_groups:,} by {groups.by}, the largest {groups.largest} with "
            f"{groups.largest_num_images:,} images{without}"
        ),
        soft_wrap=True,
    )
    if alone := groups.single_group_classes:
        shown = ", ".join(alone[:_MOST_LINES]) + (", ..." if len(alone) > _MOST_LINES else "")
        out.print(Text(f"         all images of {shown} are in one group, so no split can train on them and test them"))


def _split_words(group: "SplitGroup") -> str:
    return f"{group.name}: {', '.join(f'{count:,} {split}' for split, count in group.num_images.items())}"


def _show_findings(checks: "DataChecks") -> None:
    """List what deserves a look, each with names; or that nothing does."""
    summary = checks.summary
    findings = [
        ("cannot be read", [f"{name} {reason}" for name, reason in summary.broken]),
        ("flawed boxes", list(summary.flaws)),
        ("the same image in several splits", [" = ".join(group) for group in summary.leaks]),
        ("the same image in several classes", [" = ".join(group) for group in summary.conflicts]),
        ("copies", [" = ".join(group) for group in summary.copies]),
        (
            "groups in several splits",
            [] if checks.groups is None else [_split_words(each) for each in checks.groups.across],
        ),
        ("near duplicates in several splits", [" ~ ".join(group) for group in checks.near_leaks]),
        ("near duplicates in several classes", [" ~ ".join(group) for group in checks.near_conflicts]),
        ("near duplicates", [" ~ ".join(group) for group in checks.near_duplicates]),
        *((flaw, list(names)) for flaw, names in checks.image_flaws.items()),
        ("shortcuts: the class can be told from", [shortcut_words(each) for each in checks.shortcuts]),
        (
            "parts that lack classes",
            [_shortened(split, names) for split, names in summary.missing_classes.items() if names],
        ),
        ("worth knowing", [*summary.notices, *checks.notices]),
    ]
    for what, lines in findings:
        if lines:
            out.print(Text(f"{what} ({len(lines):,})", style="bold yellow"))
            for line in lines[:_MOST_LINES]:
                out.print(Text(f"  {line}"), soft_wrap=True)
            if len(lines) > _MOST_LINES:
                out.print(Text(f"  and {len(lines) - _MOST_LINES:,} more; --json names them all", style="dim"))
    if not any(lines for _, lines in findings):
        out.print(Text("every image can be read; no copies, no leaks, no near duplicates", style="green"))


def shortcut_words(shortcut: "Shortcut") -> str:
    """A shortcut in one line, beside what always the commonest class would reach."""
    low, high = shortcut.interval
    return (
        f"{shortcut.what} alone: {percent(shortcut.accuracy, 1)} right (95 % interval "
        f"{percent_range(low, high, 1)}), against {percent(shortcut.majority, 1)} for always the commonest class"
    )


def _shortened(split: str, names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _MOST_LINES:,} more" if len(names) > _MOST_LINES else ""
    return f"{split}: {', '.join(names[:_MOST_LINES])}{more}"
